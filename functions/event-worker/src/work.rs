//! One message: its event is claimed, its effect happens, and what became of it is written down.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use inbox_aws::inbox::{Work, WorkClaim, Written};
use inbox_aws::telemetry::count_reason;
use inbox_aws::{Cause, Fault};
use inbox_core::effect::again;
use inbox_core::effect::look::Earlier;
use inbox_core::event::EventKey;
use inbox_core::inbox::Reason;
use inbox_core::limits::WORK_BUDGET_SECS;
use inbox_core::message::about;

use crate::EventWorker;

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It is taken off the queue: its event is done, due again, in quarantine, or somebody else's.
    Delete,
    /// It comes again, until it is a dead letter.
    Return,
}

/// What becomes of a claimed event.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Its effect has happened.
    Done,
    /// A batch that nobody tracks is published, with so many results.
    DoneUntracked(u64),
    /// Its effect cannot happen yet.
    Later(Later),
    /// Its effect cannot happen as it is.
    Never(Reason),
}

/// Why an effect cannot happen yet.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// Why, for logs and metrics.
    pub(crate) reason: &'static str,
    /// When Rightfoot may be asked again, if it has said so.
    pub(crate) retry_after: Option<Duration>,
    /// What the look at an untracked batch has shown.
    pub(crate) seen: Option<Earlier>,
}

impl Later {
    pub(crate) fn because(reason: &'static str) -> Self {
        Self { reason, ..Self::default() }
    }
}

impl EventWorker {
    /// Works on one message.
    pub(crate) async fn work(&self, body: &str) -> Ack {
        let key = match about(body) {
            Ok(key) => key,
            Err(why) => return returned(None, why.as_str(), None),
        };
        match self.inbox.claim_work(&key, self.clock.now()).await {
            Ok(WorkClaim::Ours(work)) => self.work_on(*work).await,
            Ok(WorkClaim::Over) => acknowledged(&key, "over"),
            Ok(WorkClaim::Taken) => returned(Some(&key), "taken", None),
            Ok(WorkClaim::NotRecorded) => returned(Some(&key), "not_recorded", None),
            Err(fault) => returned(Some(&key), "fault", Some(&fault)),
        }
    }

    async fn work_on(&self, work: Work) -> Ack {
        let began = Instant::now();
        let budget = Duration::from_secs(WORK_BUDGET_SECS);
        // What is cut off here is as if the process had died, but for that it is due again at once.
        let verdict = match timeout(budget, Box::pin(self.effect_of(&work))).await {
            Ok(Ok(verdict)) => verdict,
            // What stands in the table is not of our form: no time mends that.
            Ok(Err(fault)) if fault.cause == Cause::Item => {
                return returned(Some(work.key()), "unreadable_item", Some(&fault));
            }
            Ok(Err(fault)) if fault.cause == Cause::PayloadGone => Verdict::Never(Reason::PayloadGone),
            Ok(Err(fault)) => {
                tracing::warn!(target: "work", event_id = work.key().event_id(), %fault, "failed");
                Verdict::Later(Later::because("fault"))
            }
            Err(_) => Verdict::Later(Later::because("timed_out")),
        };
        let written = self.write_down(&work, &verdict).await;
        let (outcome, reason) = verdict.in_words();
        let (event_id, works) = (work.key().event_id(), work.works);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match written {
            Ok(Written::Applied) => {
                tracing::info!(target: "work", event_id, outcome, reason, works, took_ms);
                self.count(&work, &verdict);
                self.count_out(&work, &verdict).await;
                Ack::Delete
            }
            // The claim ran out, and somebody else has the event: perhaps by this very message, which SQS may give to two.
            Ok(Written::Overtaken) => {
                metrics::counter!("claim_lost").increment(1);
                tracing::warn!(target: "work", event_id, outcome, reason, works, took_ms, "claim lost");
                Ack::Return
            }
            Err(fault) => returned(Some(work.key()), "fault", Some(&fault)),
        }
    }

    async fn write_down(&self, work: &Work, verdict: &Verdict) -> Result<Written, Fault> {
        let now = self.clock.now();
        match verdict {
            Verdict::Done => self.inbox.done(work, now).await,
            Verdict::DoneUntracked(results) => self.inbox.done_untracked(work, *results, now).await,
            Verdict::Later(later) => {
                let until = again(now, work.works, later.retry_after);
                self.inbox.put_back(work, until, later.reason, later.seen.as_ref()).await
            }
            Verdict::Never(reason) => self.inbox.quarantine_work(work, *reason, now).await,
        }
    }

    /// An event that has ended is none of its subject's open ones any more. If that cannot be written, its place is taken
    /// until the day's count expires: the event has had its effect, and must not come again on that account.
    async fn count_out(&self, work: &Work, verdict: &Verdict) {
        let closed = match verdict {
            Verdict::Done | Verdict::DoneUntracked(_) | Verdict::Never(_) => {
                self.inbox.close_untracked(work).await
            }
            Verdict::Later(_) => Ok(()),
        };
        if let Err(fault) = closed {
            tracing::warn!(target: "work", event_id = work.key().event_id(), %fault, "still counted as open");
        }
    }

    fn count(&self, work: &Work, verdict: &Verdict) {
        let provider = work.key().provider().as_str();
        match verdict {
            Verdict::Done | Verdict::DoneUntracked(_) => {
                metrics::counter!("worked", "provider" => provider).increment(1);
                let age_secs = self.clock.now().since(work.since).as_secs();
                metrics::histogram!("work_age", "provider" => provider)
                    .record(u32::try_from(age_secs).unwrap_or(u32::MAX));
            }
            Verdict::Later(later) => {
                count_reason("put_back", None, later.reason);
                if self.clock.now() >= work.since.plus(self.deadline) {
                    metrics::counter!("work_overdue").increment(1);
                }
            }
            Verdict::Never(reason) => {
                count_reason("quarantined", Some(work.key().provider()), reason.as_str());
            }
        }
    }
}

impl Verdict {
    const fn in_words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Done | Self::DoneUntracked(_) => ("done", ""),
            Self::Later(later) => ("put_back", later.reason),
            Self::Never(reason) => ("quarantined", reason.as_str()),
        }
    }
}

fn acknowledged(key: &EventKey, reason: &'static str) -> Ack {
    tracing::info!(target: "work", event_id = key.event_id(), outcome = "acknowledged", reason);
    Ack::Delete
}

fn returned(key: Option<&EventKey>, reason: &'static str, fault: Option<&Fault>) -> Ack {
    count_reason("returned", None, reason);
    let (event_id, fault) = (key.map(EventKey::event_id), fault.map(tracing::field::display));
    tracing::warn!(target: "work", event_id, outcome = "returned", reason, fault);
    Ack::Return
}
