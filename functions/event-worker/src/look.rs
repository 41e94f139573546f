//! Reading the balances of a batch, page by page.

use std::time::Duration;

use inbox_aws::inbox::Work;
use inbox_core::effect::look::{Earlier, Look, Next, not_complete, patience};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::limits::ALERT_LOOKS_APART_SECS;
use inbox_core::poll::Observation;
use inbox_core::poll::batch::Tracked;
use inbox_core::rightfoot::Balance;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiError, BalancePages};

use crate::EventWorker;
use crate::work::{Later, Verdict};

/// What was seen of a batch.
pub(crate) struct Looked {
    batch_id: Id,
    pub(crate) look: Look,
    /// Whether the list was read to where it ended, or to where it was of use; or what there was instead.
    observed: Observation<()>,
    why_not: Option<&'static str>,
    /// Whether the list was read to its end, every row of it could be read, and, unless it is known how many there have to be, it
    /// does not say that there are more.
    is_whole: bool,
    /// Whether there was a row, be it readable or not.
    has_rows: bool,
    began_at: UnixMillis,
    ended_at: UnixMillis,
}

impl Looked {
    /// Whether the batch is complete.
    pub(crate) fn is_complete(&self, tracked: Option<&Tracked>, earlier: Option<&Earlier>) -> bool {
        self.look.is_complete(self.is_whole, tracked, earlier, self.began_at)
    }

    /// Whether it began so long after an earlier look that what both do not show of an alert will not come.
    pub(crate) fn is_long_after(&self, earlier: &Earlier) -> bool {
        self.began_at.since(earlier.at) >= Duration::from_secs(ALERT_LOOKS_APART_SECS)
    }

    /// What this shows of a batch that nobody tracks: to be compared with the next look.
    fn shown(&self) -> Option<Earlier> {
        let is_shown = self.is_whole && self.look.found > 0;
        is_shown.then(|| Earlier { digest: self.look.digest(), at: self.ended_at })
    }

    fn verdict(&self, next: Next, in_the_end: Reason) -> Verdict {
        match next {
            Next::GiveUp => Verdict::Never(in_the_end),
            Next::LookAgain { retry_after, seen } => {
                Verdict::Later(Later { reason: self.why_not.unwrap_or("not_complete"), retry_after, seen })
            }
        }
    }
}

/// A look that is under way.
pub(crate) struct Looking<'a> {
    worker: &'a EventWorker,
    tracked: Option<&'a Tracked>,
    /// Where it is; `None` once there was no answer.
    pages: Option<BalancePages>,
    looked: Looked,
}

impl Looking<'_> {
    /// The rows of the next page, of each authorizer one; `None` if the list has ended, or there was no answer.
    pub(crate) async fn next(&mut self) -> Option<Vec<Balance>> {
        let pages = self.pages.as_mut()?;
        let page = &pages.next()?;
        let answer =
            self.worker.account.ask(|client, key| async move { client.balance_page(&key, page).await });
        match answer.await {
            Ok(answer) => {
                for (field, rows) in answer.skipped().by_field() {
                    let batch_id = self.looked.batch_id.as_str();
                    tracing::warn!(target: "work", batch_id, list = "balances", field, rows, "rows skipped");
                    self.looked.why_not = Some("row_skipped");
                }
                let rows = pages.take(answer);
                self.looked.is_whole = pages.reached_last_page()
                    && pages.skipped().rows() == 0
                    && (self.tracked.is_some() || !pages.says_more());
                self.looked.has_rows |= !rows.is_empty() || pages.skipped().rows() > 0;
                rows.iter().for_each(|row| self.looked.look.take(row, self.tracked));
                Some(rows)
            }
            Err(error) => {
                self.stop(&error);
                None
            }
        }
    }

    /// What was seen until now.
    pub(crate) fn end(self) -> Looked {
        Looked { ended_at: self.worker.clock.now(), ..self.looked }
    }

    fn stop(&mut self, error: &ApiError) {
        self.pages = None;
        self.looked.observed = error.observed();
        self.looked.why_not = Some(error.name());
        if self.looked.observed != Observation::NotReady {
            let (batch_id, reason) = (self.looked.batch_id.as_str(), error.name());
            tracing::warn!(target: "work", batch_id, reason, %error, "no answer");
        }
    }
}

impl EventWorker {
    /// Begins to read the balances of a batch.
    pub(crate) fn look<'a>(&'a self, batch_id: &Id, tracked: Option<&'a Tracked>) -> Looking<'a> {
        let now = self.clock.now();
        let looked = Looked {
            batch_id: batch_id.clone(),
            look: Look::default(),
            observed: Observation::Answered(()),
            why_not: None,
            is_whole: false,
            has_rows: false,
            began_at: now,
            ended_at: now,
        };
        let mut looking = Looking { worker: self, tracked, pages: None, looked };
        match self.account.pages_of(batch_id) {
            Ok(pages) => looking.pages = Some(pages),
            Err(error) => looking.stop(&error),
        }
        looking
    }

    /// The batch is not complete: it is looked at again, until an answer at or after the deadline says the same. While
    /// there is no answer, the event stays due.
    pub(crate) fn not_yet(
        &self,
        work: &Work,
        tracked: Option<&Tracked>,
        looked: &Looked,
        in_the_end: Reason,
    ) -> Verdict {
        let earlier = work.earlier.as_ref();
        let deadline = work.since.plus(patience(self.deadline, tracked, &looked.look, earlier));
        let deadline = tracked.map_or(deadline, |batch| batch.deadline.max(deadline));
        let is_past_deadline = looked.ended_at >= deadline;
        let shown = if tracked.is_none() { looked.shown() } else { None };
        let next = not_complete(&looked.observed, is_past_deadline, shown, earlier);
        looked.verdict(next, in_the_end)
    }

    /// An alert has waited for its batch to be tracked, and not for an answer: it is given up after one, `unless_shown` only
    /// after one that shows nothing of the batch. Until then it stays due.
    pub(crate) async fn last_look(&self, batch_id: &Id, unless_shown: bool) -> Verdict {
        let mut looking = self.look(batch_id, None);
        // One page is an answer.
        looking.next().await;
        let looked = looking.end();
        let is_over = !unless_shown || !looked.has_rows;
        looked.verdict(not_complete(&looked.observed, is_over, None, None), Reason::Unconfirmed)
    }
}
