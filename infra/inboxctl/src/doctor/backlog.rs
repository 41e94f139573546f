//! Whether anything is stuck.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_aws::AwsError;
use inbox_aws::inbox::{EventView, Inbox, EventFilter, DueKey};
use inbox_core::event::EventKey;
use inbox_core::inbox::{DueQueue, QuarantineReason};
use inbox_core::limits::{QUEUE_RETENTION_DAYS, SUBMISSION_DUE_SECS};
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

use super::Check;
use crate::due::name_of;
use crate::place::{Place, Thing};
use crate::view::{At, counted};

/// Longer than a scheduled function that runs every minute lets anything wait.
const LATE: Duration = Duration::from_secs(5 * 60);
/// Longer than a message may be hidden and come again.
const SLOW: Duration = Duration::from_secs(30 * 60);
/// The check that is skipped where there is no worker.
const LOST: &str = "lost messages";
/// Items of each desk that are looked at.
const SAMPLE: usize = 50;

pub(super) async fn checks(at: &Place, has_worker: bool) -> anyhow::Result<Vec<Check>> {
    let look = Look { at, inbox: at.inbox()?, table: at.table()?, now: at.now() };
    let worked = if has_worker {
        look.answered("effects", look.worked().await)
    } else {
        Check::skipped("effects", "there is no worker")
    };
    let lost = if has_worker {
        look.answered(LOST, look.lost().await)
    } else {
        Check::skipped(LOST, "there is no worker")
    };
    Ok(vec![
        look.answered("relay", look.relay().await),
        look.answered("poller", look.poller().await),
        worked,
        lost,
        look.answered("quarantine", look.quarantine().await),
        look.answered("Fynapse's tolerance", look.stale().await),
        look.answered("submissions", look.submissions().await),
    ])
}

struct Look<'a> {
    at: &'a Place,
    inbox: Inbox,
    table: Thing,
    now: UnixMillis,
}

impl Look<'_> {
    fn answered(&self, check: &'static str, looked: Result<Check, AwsError>) -> Check {
        looked.unwrap_or_else(|fault| Check::unanswered(self.at, check, &fault, &self.table))
    }

    fn is_late(&self, since: UnixMillis) -> bool {
        self.now.since(since) > LATE
    }

    async fn relay(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "relay";
        let (waiting, _) = self.inbox.list_due_keys(DueQueue::Outbox, None, SAMPLE).await?;
        if let Some(oldest) = waiting.first().filter(|oldest| self.is_late(oldest.due_at)) {
            let found = format!("{} is due since {}", name_of(oldest), At(oldest.due_at).told(self.now));
            let advice = "event-relay does not run, or fails: look at its errors and its schedule";
            return Ok(Check::fail(CHECK, found, advice));
        }
        // What the relay has tried is due later each time: only the record tells since when it is wanted.
        for place in &waiting {
            let Some(key) = EventKey::from_table_key(&place.pk, &place.sk) else { continue };
            let Some(event) = self.inbox.event(&key).await? else { continue };
            let wanted_at = event.enqueue_after.unwrap_or(event.received_at);
            if event.lifecycle.due_at.is_some() && event.attempts > 0 && self.is_late(wanted_at) {
                let found = format!(
                    "{key} is wanted on the queue since {}, and was tried {}",
                    At(wanted_at).told(self.now),
                    counted(event.attempts, "time", "times")
                );
                return Ok(Check::fail(
                    CHECK,
                    found,
                    "the queue does not take it: look at event-relay's log lines",
                ));
            }
        }
        Ok(Check::ok(CHECK, none_late(&waiting)))
    }

    async fn poller(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "poller";
        let (waiting, _) = self.inbox.list_due_keys(DueQueue::Poll, None, SAMPLE).await?;
        Ok(match waiting.first().filter(|oldest| self.is_late(oldest.due_at)) {
            Some(oldest) => Check::fail(
                CHECK,
                format!("{} is due since {}", name_of(oldest), At(oldest.due_at).told(self.now)),
                "rightfoot-poller does not run or fails (is Rightfoot's key right?), or Rightfoot has asked for a pause: look at its log lines",
            ),
            None => Check::ok(CHECK, none_late(&waiting)),
        })
    }

    /// A sample: whatever of the table fits into one list.
    async fn worked(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "effects";
        let which = EventFilter { states: BTreeSet::from([EventState::Sent]), ..EventFilter::default() };
        let sent = self.inbox.list_events(&which, None, SAMPLE, self.now).await?.items;
        let sent_at = |event: &EventView| event.lifecycle.sent_at.unwrap_or(self.now);
        let slow = sent.iter().filter(|event| self.now.since(sent_at(event)) > SLOW);
        Ok(match slow.clone().min_by_key(|event| sent_at(event)) {
            Some(oldest) => Check::warn(
                CHECK,
                format!(
                    "waiting for long: {} of {} looked at; {} since {}",
                    slow.count(),
                    counted(sent.len() as u64, "sent event", "sent events"),
                    oldest.key,
                    At(sent_at(oldest)).told(self.now)
                ),
                "event-worker does not run or fails, or the messages are dead (`inboxctl dead list`). If you read the queue yourself, say --no-worker",
            ),
            None => Check::ok(CHECK, "no sent event that was looked at waits for long"),
        })
    }

    /// As much of the table as one list reads.
    async fn lost(&self) -> Result<Check, AwsError> {
        let page = self.inbox.list_lost_events(SAMPLE, self.now).await?;
        let sent_at = |event: &EventView| event.lifecycle.sent_at.unwrap_or(self.now);
        let far = if page.next.is_some() { " (a part of the table was looked at)" } else { "" };
        Ok(match page.items.iter().min_by_key(|event| sent_at(event)) {
            Some(oldest) => Check::fail(
                LOST,
                format!(
                    "sent {QUEUE_RETENTION_DAYS} days ago or more, and not done: {}, the oldest {} since {}{far}",
                    page.items.len(),
                    oldest.key,
                    At(sent_at(oldest)).told(self.now)
                ),
                format!(
                    "the queues keep no message for so long: `inboxctl events replay --lost {} --by NAME --why '…'` sends it again, while its record stands. If you read the queue yourself, say --no-worker",
                    oldest.key
                ),
            ),
            None => Check::ok(
                LOST,
                format!(
                    "nothing that was sent {QUEUE_RETENTION_DAYS} days ago or more waits for its effect{far}"
                ),
            ),
        })
    }

    async fn quarantine(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "quarantine";
        let (waiting, _) = self.inbox.list_due_keys(DueQueue::Quarantine, None, SAMPLE).await?;
        Ok(match waiting.first() {
            Some(oldest) => Check::fail(
                CHECK,
                format!(
                    "open: {}, whose effects have not happened; the oldest since {}",
                    count(&waiting),
                    At(oldest.due_at).told(self.now)
                ),
                "`inboxctl quarantine list` shows them; after a fix, `inboxctl quarantine replay --reason REASON --by NAME --why '…'` gives them their way",
            ),
            None => Check::ok(CHECK, "nothing is open"),
        })
    }

    async fn stale(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "Fynapse's tolerance";
        let (stale, _) = self.inbox.list_quarantine(Some(QuarantineReason::Stale), None, 1).await?;
        Ok(match stale.first() {
            Some(kept) => Check::warn(
                CHECK,
                format!(
                    "it refuses authentic deliveries: {} since {}",
                    kept.id,
                    At(kept.first_received_at).told(self.now)
                ),
                "raise the parameter FynapseToleranceSecs, and replay what is kept: `inboxctl quarantine replay --reason stale --by NAME --why '…'`",
            ),
            None => Check::ok(CHECK, "no authentic delivery is kept as stale"),
        })
    }

    async fn submissions(&self) -> Result<Check, AwsError> {
        const CHECK: &str = "submissions";
        let (waiting, _) = self.inbox.list_due_keys(DueQueue::Poll, None, SAMPLE).await?;
        let due = Duration::from_secs(SUBMISSION_DUE_SECS);
        for place in waiting.iter().filter(|place| place.pk.starts_with("rightfoot#submission#")) {
            let submission = self.inbox.timeline(&place.pk).await?.submission;
            if let Some(open) =
                submission.filter(|it| it.due_at.is_some() && self.now.since(it.written_at) > due)
            {
                let found = format!(
                    "what became of {} is not known since {}",
                    open.submission_id,
                    At(open.written_at).told(self.now)
                );
                let advice =
                    "invoke rightfoot-requests again with the same request: it ends with the same batch";
                return Ok(Check::fail(CHECK, found, advice));
            }
        }
        Ok(Check::ok(CHECK, "there is none whose outcome is unknown"))
    }
}

fn none_late(waiting: &[DueKey]) -> String {
    match waiting {
        [] => "nothing waits".to_owned(),
        [_] => "1 waits, and is not late".to_owned(),
        _ => format!("{} wait, none of them late", count(waiting)),
    }
}

/// How many, as far as was looked.
fn count(waiting: &[DueKey]) -> String {
    let count = waiting.len();
    if count == SAMPLE { format!("{count} or more") } else { count.to_string() }
}
