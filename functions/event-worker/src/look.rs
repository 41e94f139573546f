//! Reading the balances of a batch, page by page.

use std::ops::ControlFlow;

use inbox_aws::Fault;
use inbox_aws::inbox::Work;
use inbox_core::effect::look::{Earlier, Look};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::poll::Observation;
use inbox_core::poll::batch::Tracked;
use inbox_core::rightfoot::Balance;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::ApiError;

use crate::EventWorker;
use crate::work::{Later, Verdict};

/// What was seen of a batch.
pub(crate) struct Looked {
    pub(crate) look: Look,
    /// Whether the list was read to where it ended, or to where it was of use; or what there was instead.
    observed: Observation<()>,
    why_not: Option<&'static str>,
    reached_last_page: bool,
    began_at: UnixMillis,
    ended_at: UnixMillis,
}

impl Looked {
    /// Whether the batch is complete.
    pub(crate) fn is_complete(&self, tracked: Option<&Tracked>, earlier: Option<&Earlier>) -> bool {
        self.look.is_complete(self.reached_last_page, tracked, earlier, self.began_at)
    }

    /// What this shows of a batch that nobody tracks: to be compared with the next look.
    fn shown(&self) -> Option<Earlier> {
        let is_whole = self.reached_last_page && self.look.found > 0;
        is_whole.then(|| Earlier { digest: self.look.digest(), at: self.ended_at })
    }
}

impl EventWorker {
    /// Reads the balances of a batch, and hands on each page's rows, of each authorizer one, until the list ends or they
    /// are of no more use.
    pub(crate) async fn look(
        &self,
        batch_id: &Id,
        tracked: Option<&Tracked>,
        mut take: impl AsyncFnMut(Vec<Balance>) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<Looked, Fault> {
        let began_at = self.clock.now();
        let mut look = Look::default();
        let (mut observed, mut why_not, mut reached_last_page) = (Observation::Answered(()), None, false);
        let mut pages = match self.account.pages_of(batch_id) {
            Ok(pages) => Some(pages),
            Err(error) => {
                (observed, why_not) = self.no_answer(batch_id, &error);
                None
            }
        };
        while let Some(list) = &mut pages
            && let Some(page) = list.next()
        {
            let page = &page;
            let answer = self.account.ask(|client, key| async move { client.balance_page(&key, page).await });
            match answer.await {
                Ok(answer) => {
                    let rows = list.take(answer);
                    reached_last_page = list.reached_last_page();
                    rows.iter().for_each(|row| look.take(row, tracked));
                    if take(rows).await?.is_break() {
                        break;
                    }
                }
                Err(error) => {
                    (observed, why_not) = self.no_answer(batch_id, &error);
                    break;
                }
            }
        }
        let ended_at = self.clock.now();
        Ok(Looked { look, observed, why_not, reached_last_page, began_at, ended_at })
    }

    fn no_answer(&self, batch_id: &Id, error: &ApiError) -> (Observation<()>, Option<&'static str>) {
        let observed = error.observed();
        if observed != Observation::NotReady {
            let (batch_id, reason) = (batch_id.as_str(), error.name());
            tracing::warn!(target: "work", batch_id, reason, %error, "no answer");
        }
        (observed, Some(error.name()))
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
        let deadline = work.since.plus(self.deadline);
        let deadline = tracked.map_or(deadline, |batch| batch.deadline.max(deadline));
        if looked.ended_at >= deadline {
            if looked.observed.is_answer() {
                return Verdict::Never(in_the_end);
            }
            metrics::counter!("work_unanswered").increment(1);
        }
        let retry_after = match &looked.observed {
            Observation::RateLimited { retry_after } => *retry_after,
            Observation::Answered(())
            | Observation::NotReady
            | Observation::Refused
            | Observation::Unauthorized
            | Observation::Unanswered => None,
        };
        Verdict::Later(Later {
            reason: looked.why_not.unwrap_or("not_complete"),
            retry_after,
            seen: if tracked.is_none() { looked.shown() } else { None },
        })
    }
}
