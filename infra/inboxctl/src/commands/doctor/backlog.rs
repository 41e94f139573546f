//! Checks for stuck items: at the relay, the poller, the worker and in quarantine.

use std::collections::BTreeSet;

use inbox_aws::AwsError;
use inbox_aws::items::{EventRecord, QuarantinedItem};
use inbox_aws::stores::{DueKey, EventFilter, PageStart, Stores, TimeRange};
use inbox_core::delivery::Provider;
use inbox_core::due_queue::DueQueue;
use inbox_core::event::EventKey;
use inbox_core::lateness::{is_late, is_outcome_late, is_processing_slow, slow_before};
use inbox_core::lifecycle::EventState;
use inbox_core::limits::QUEUE_RETENTION_DAYS;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::UnixMillis;

use super::check_result::CheckResult;
use crate::aws_error::ResourceRef;
use crate::commands::due::display_name;
use crate::output::{Timestamp, format_duration, pluralize};
use crate::short_id;
use crate::target::Target;

/// Name of the check for lost messages; skipped without a worker.
const LOST_MESSAGES: &str = "lost messages";
/// Name of the check for events that wait for the worker; skipped without a worker.
const PROCESSING: &str = "processing";
/// Name of the check for late polls.
const POLLER: &str = "poller";
/// Name of the check for submissions of unknown outcome.
const SUBMISSIONS: &str = "submissions";
/// Number of items of each due queue that are read.
const SAMPLE_SIZE: usize = 50;

pub(super) async fn checks(
    target: &Target,
    has_worker: bool,
    may_scan: bool,
) -> anyhow::Result<Vec<CheckResult>> {
    let backlog =
        BacklogChecks { target, stores: target.stores()?, table: target.inbox_table()?, now: target.now() };
    let processing = if has_worker {
        backlog.check_or_error(PROCESSING, backlog.processing().await)
    } else {
        CheckResult::skipped(PROCESSING, "there is no worker")
    };
    let lost = match (has_worker, may_scan) {
        (false, _) => CheckResult::skipped(LOST_MESSAGES, "there is no worker"),
        (true, false) => CheckResult::skipped(LOST_MESSAGES, "this check reads the whole table"),
        (true, true) => backlog.check_or_error(LOST_MESSAGES, backlog.lost_messages().await),
    };
    let [poller, submissions] = backlog.poll_queue_checks().await;
    Ok(vec![
        backlog.check_or_error("relay", backlog.relay().await),
        poller,
        processing,
        lost,
        backlog.check_or_error("quarantine", backlog.quarantine().await),
        backlog.check_or_error("stale deliveries", backlog.stale_deliveries().await),
        submissions,
    ])
}

struct BacklogChecks<'a> {
    target: &'a Target,
    stores: Stores,
    table: ResourceRef,
    now: UnixMillis,
}

impl BacklogChecks<'_> {
    fn check_or_error(&self, check: &'static str, result: Result<CheckResult, AwsError>) -> CheckResult {
        result.unwrap_or_else(|fault| CheckResult::from_error(self.target, check, &fault, &self.table))
    }

    /// Checks of what waits for the poller; skipped if the stack is deployed without Rightfoot, and so without a poller.
    async fn poll_queue_checks(&self) -> [CheckResult; 2] {
        if let Some(why) = self.target.disabled_text(Provider::Rightfoot) {
            return [POLLER, SUBMISSIONS].map(|check| CheckResult::skipped(check, why.clone()));
        }
        [
            self.check_or_error(POLLER, self.poller().await),
            self.check_or_error(SUBMISSIONS, self.submissions().await),
        ]
    }

    async fn relay(&self) -> Result<CheckResult, AwsError> {
        const CHECK: &str = "relay";
        let (due, _) = self.stores.due_index.list_due_keys(DueQueue::Outbox, None, SAMPLE_SIZE).await?;
        if let Some(oldest) = due.first().filter(|oldest| is_late(oldest.due_at, self.now)) {
            let found = format!(
                "{} is due since {}",
                display_name(oldest),
                Timestamp(oldest.due_at).with_age(self.now)
            );
            let advice = "event-relay does not run, or fails: check its errors and its schedule";
            return Ok(CheckResult::fail(CHECK, found, advice));
        }
        // Each try of the relay makes an event due later, so its age is taken from the record.
        for due_key in &due {
            let Some(key) = EventKey::from_table_key(&due_key.pk, &due_key.sk) else { continue };
            let Some(event) = self.stores.operator.event(&key).await? else { continue };
            let enqueue_after = event.enqueue_after.unwrap_or(event.received_at);
            if event.lifecycle.due_at.is_some() && event.attempts > 0 && is_late(enqueue_after, self.now) {
                let found = format!(
                    "{key} has to be enqueued since {}, and was tried {}",
                    Timestamp(enqueue_after).with_age(self.now),
                    pluralize(event.attempts, "time", "times")
                );
                return Ok(CheckResult::fail(
                    CHECK,
                    found,
                    "the queue rejects it: check event-relay's log lines",
                ));
            }
        }
        Ok(CheckResult::ok(CHECK, none_late_text(&due)))
    }

    async fn poller(&self) -> Result<CheckResult, AwsError> {
        let (due, _) = self.stores.due_index.list_due_keys(DueQueue::Poll, None, SAMPLE_SIZE).await?;
        Ok(match due.first().filter(|oldest| is_late(oldest.due_at, self.now)) {
            Some(oldest) => CheckResult::fail(
                POLLER,
                format!(
                    "{} is due since {}",
                    display_name(oldest),
                    Timestamp(oldest.due_at).with_age(self.now)
                ),
                "rightfoot-poller does not run or fails (is Rightfoot's key right?), or Rightfoot has limited its rate: check its log lines",
            ),
            None => CheckResult::ok(POLLER, none_late_text(&due)),
        })
    }

    /// Checks a sample: sent events among the newest ones that are old enough.
    async fn processing(&self) -> Result<CheckResult, AwsError> {
        // An event that was received later cannot be slow yet.
        let received = TimeRange { since: None, until: Some(slow_before(self.now)) };
        let states = BTreeSet::from([EventState::Sent]);
        let filter = EventFilter { received, states, ..EventFilter::default() };
        let listed =
            self.stores.operator.list_events(&filter, &PageStart::Newest, SAMPLE_SIZE, self.now).await?;
        let sent = listed.items;
        let sent_at = |event: &EventRecord| event.lifecycle.sent_at.unwrap_or(self.now);
        let slow = sent.iter().filter(|event| is_processing_slow(sent_at(event), self.now));
        Ok(match slow.clone().min_by_key(|event| sent_at(event)) {
            Some(oldest) => CheckResult::warn(
                PROCESSING,
                format!(
                    "waiting for long: {} of {} checked; {} since {}",
                    slow.count(),
                    pluralize(sent.len() as u64, "sent event", "sent events"),
                    oldest.key,
                    Timestamp(sent_at(oldest)).with_age(self.now)
                ),
                "event-worker does not run or fails, or the messages are dead letters (`inboxctl dead-letters list`). If you read the queue yourself, use --no-worker",
            ),
            None => CheckResult::ok(PROCESSING, "no checked sent event waits for long"),
        })
    }

    /// Checks as much of the table as one list reads.
    async fn lost_messages(&self) -> Result<CheckResult, AwsError> {
        let (lost, is_partial) = self.stores.operator.list_lost_events(SAMPLE_SIZE, self.now).await?;
        let sent_at = |event: &EventRecord| event.lifecycle.sent_at.unwrap_or(self.now);
        let scope_note = if is_partial { " (only a part of the table was checked)" } else { "" };
        Ok(match lost.iter().min_by_key(|event| sent_at(event)) {
            Some(oldest) => CheckResult::fail(
                LOST_MESSAGES,
                format!(
                    "sent {QUEUE_RETENTION_DAYS} days ago or more, and not done: {}, the oldest {} since {}{scope_note}",
                    lost.len(),
                    oldest.key,
                    Timestamp(sent_at(oldest)).with_age(self.now)
                ),
                format!(
                    "the queues keep no message for so long: `inboxctl events replay --lost {} --by NAME --why '…'` sends it again, until its record expires. If you read the queue yourself, use --no-worker",
                    oldest.key
                ),
            ),
            None => CheckResult::ok(
                LOST_MESSAGES,
                format!(
                    "no event that was sent {QUEUE_RETENTION_DAYS} days ago or more waits for its effect{scope_note}"
                ),
            ),
        })
    }

    async fn quarantine(&self) -> Result<CheckResult, AwsError> {
        const CHECK: &str = "quarantine";
        let (due, _) = self.stores.due_index.list_due_keys(DueQueue::Quarantine, None, SAMPLE_SIZE).await?;
        Ok(match due.first() {
            Some(oldest) => CheckResult::fail(
                CHECK,
                format!(
                    "open: {}, not processed; the oldest since {}",
                    count_text(&due),
                    Timestamp(oldest.due_at).with_age(self.now)
                ),
                "`inboxctl quarantine list` shows them; after a fix, `inboxctl quarantine replay --reason REASON --by NAME --why '…'` replays them",
            ),
            None => CheckResult::ok(CHECK, "nothing is open"),
        })
    }

    async fn stale_deliveries(&self) -> Result<CheckResult, AwsError> {
        const CHECK: &str = "stale deliveries";
        let (stale, _) = self.stores.operator.list_quarantine(Some(QuarantineReason::Stale), None, 1).await?;
        Ok(match stale.first() {
            Some(delivery) => CheckResult::warn(
                CHECK,
                format!(
                    "authentic deliveries are quarantined as too old: {}, received {}, {}",
                    short_id::shorten(&[delivery.id.to_string()]).concat(),
                    Timestamp(delivery.first_received_at).with_age(self.now),
                    signature_age(delivery)
                ),
                "a late retry by Fynapse is minutes old: then raise the parameter FynapseToleranceSecs, and replay it \
                 (`inboxctl quarantine replay ITEM --by NAME --why '…'`). If the signature is hours old, somebody may be replaying a \
                 captured delivery: ask Fynapse first. `inboxctl quarantine list --reason stale` shows all",
            ),
            None => CheckResult::ok(CHECK, "no authentic delivery is quarantined as stale"),
        })
    }

    async fn submissions(&self) -> Result<CheckResult, AwsError> {
        let (due_keys, _) = self.stores.due_index.list_due_keys(DueQueue::Poll, None, SAMPLE_SIZE).await?;
        for due_key in due_keys.iter().filter(|due_key| due_key.pk.starts_with("rightfoot#submission#")) {
            let timeline = self.stores.operator.timeline(&due_key.pk).await?;
            // Its outcome may be unknown all the same.
            if timeline.unreadable > 0 {
                let found = format!("{} cannot be read by this version of inboxctl", due_key.pk);
                return Ok(CheckResult::fail(
                    SUBMISSIONS,
                    found,
                    "use the version that the stack was deployed from",
                ));
            }
            // A younger one may still be in progress: its alarm is not due either.
            if let Some(unresolved) = timeline
                .submission
                .filter(|it| it.tracking.due_at.is_some() && is_outcome_late(it.written_at, self.now))
            {
                let found = format!(
                    "the outcome of {} is unknown since {}",
                    unresolved.submission_id,
                    Timestamp(unresolved.written_at).with_age(self.now)
                );
                let advice = "invoke rightfoot-requests again with the same request: it is idempotent";
                return Ok(CheckResult::fail(SUBMISSIONS, found, advice));
            }
        }
        Ok(CheckResult::ok(SUBMISSIONS, "no submission has an unknown outcome"))
    }
}

/// Age of the signature at the receipt of a delivery.
fn signature_age(delivery: &QuarantinedItem) -> String {
    let Some(signed_at) = delivery.signed_at else {
        return "the time of its signature is not known".to_owned();
    };
    let (signed_at, received_at) =
        (UnixMillis(signed_at.0.saturating_mul(1_000)), delivery.first_received_at);
    if signed_at > received_at {
        let ahead = format_duration(signed_at.since(received_at));
        return format!("with a signature of a time {ahead} later");
    }
    format!("with a signature {} old", format_duration(received_at.since(signed_at)))
}

fn none_late_text(due: &[DueKey]) -> String {
    match due {
        [] => "nothing waits".to_owned(),
        [_] => "1 waits, and is not late".to_owned(),
        _ => format!("{} wait, none of them late", count_text(due)),
    }
}

/// Count of a sample: `50 or more` if the sample is full.
fn count_text(due: &[DueKey]) -> String {
    let count = due.len();
    if count == SAMPLE_SIZE { format!("{count} or more") } else { count.to_string() }
}
