//! The relay: it enqueues what was recorded and not enqueued.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use inbox_aws::clock::Clock;
use inbox_aws::inbox::{ClaimedRecord, DueKey, DueRecord, DueScan, Inbox, RelayClaim, WriteOutcome};
use inbox_aws::queue::{EventsQueue, SendOutcome};
use inbox_aws::telemetry::count_with_reason;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::inbox::{DueQueue, QuarantineReason, RELAY_CHUNK_LIMITS, chunk_by_size};
use inbox_core::limits::{
    CONCURRENT_CALLS, DUE_PAGE_ITEMS, RELAY_BATCH_MESSAGES, RELAY_DRAIN_MS, RELAY_SQS_ERRORS_MAX,
};
use inbox_core::message::QueueMessage;
use inbox_core::time::UnixMillis;

/// The relay.
#[derive(Clone, Debug)]
pub struct OutboxRelay {
    inbox: Inbox,
    queue: EventsQueue,
    clock: Clock,
}

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelaySummary {
    /// Due records that it saw.
    pub due: usize,
    /// Events that it put on the queue.
    pub sent: usize,
    /// Records that it could not send; they stay due.
    pub failed: usize,
    /// Records that cannot be sent; they went to quarantine.
    pub quarantined: usize,
    /// Due items that it did not get to: out of time, or the queue is down.
    pub remaining: usize,
    /// Age of the oldest event that is not enqueued, in seconds, since it should have been: from its delivery, or from
    /// when the worker wants it back. Also of one that is not due at the moment, because an attempt at it has failed.
    pub oldest_due_age_secs: u64,
    /// The first AWS call that failed, if one did.
    pub first_error: Option<AwsError>,
}

/// What is left of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ControlFlow {
    Continue,
    /// Out of time, or the queue took nothing: going on would only put records off.
    Break,
}

impl OutboxRelay {
    /// Relays from this inbox to this queue.
    pub fn new(inbox: Inbox, queue: EventsQueue, clock: Clock) -> Self {
        Self { inbox, queue, clock }
    }

    /// One run over every shard of the index, that which is due for longest first within a round of pages,
    /// until nothing is due, the budget is used up, or the queue is down.
    pub async fn run(&self, budget: Duration) -> RelaySummary {
        let stop_at = Instant::now() + budget;
        let mut run = RelaySummary::default();
        let cut_off_at = stop_at + Duration::from_millis(RELAY_DRAIN_MS);
        // What is cut off here is as if the process had died: claims run out, and nothing is lost.
        if timeout_at(cut_off_at, Box::pin(self.relay_due(stop_at, &mut run))).await.is_err() {
            run.note_error(AwsError { action: "event-relay", kind: AwsErrorKind::Timeout });
        }
        self.report(run)
    }

    async fn relay_due(&self, stop_at: Instant, run: &mut RelaySummary) {
        let mut scan = DueScan::including_future(DueQueue::Outbox);
        let mut not_yet_due = Vec::new();
        while !scan.is_exhausted() {
            let page = scan.next_page(&self.inbox, self.clock.now()).await;
            page.errors.into_iter().for_each(|fault| run.note_error(fault));
            not_yet_due.extend(page.not_yet_due);
            let mut chunks = page.due.chunks(DUE_PAGE_ITEMS);
            while let Some(chunk) = chunks.next() {
                if self.relay_page(chunk, stop_at, run).await == ControlFlow::Break {
                    run.remaining += chunks.map(<[_]>::len).sum::<usize>();
                    // As far as one more page of each shard tells.
                    run.remaining += scan.next_page(&self.inbox, self.clock.now()).await.due.len();
                    return;
                }
            }
        }
        self.observe_not_yet_due(&not_yet_due, run).await;
    }

    fn report(&self, run: RelaySummary) -> RelaySummary {
        metrics::counter!("relayed").increment(run.sent as u64);
        metrics::counter!("relay_failed").increment(run.failed as u64);
        // While not everything could be read the age is not zero but unknown. Not a gauge: that would be
        // repeated with every flush until the next one is set.
        let read_all = run.first_error.is_none() && run.remaining == 0;
        if read_all || run.oldest_due_age_secs > 0 {
            let age_secs = u32::try_from(run.oldest_due_age_secs).unwrap_or(u32::MAX);
            metrics::histogram!("oldest_due_age").record(age_secs);
        }
        let fault = run.first_error.as_ref().map(tracing::field::display);
        let RelaySummary { due, sent, failed, quarantined, remaining, oldest_due_age_secs, .. } = run;
        // A run with nothing to do is the rule: its line is for who looks closely, its metric for everyone.
        if due == 0 && fault.is_none() {
            tracing::debug!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs);
        } else {
            tracing::info!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs, fault);
        }
        run
    }

    /// Relays one page of due items.
    async fn relay_page(&self, keys: &[DueKey], stop_at: Instant, run: &mut RelaySummary) -> ControlFlow {
        let now = self.clock.now();
        let fetched = match self.inbox.read_due_records(keys).await {
            Ok(found) => found,
            Err(fault) => {
                run.remaining += keys.len();
                run.note_error(fault);
                return ControlFlow::Continue;
            }
        };
        run.remaining += fetched.unprocessed;
        if fetched.unreadable > 0 {
            run.due += fetched.unreadable;
            run.failed += fetched.unreadable;
            // How old they are is not known: as old as the page's oldest, which they become.
            run.observe_age(keys.iter().map(|key| now.since(key.due_at)).max());
            run.note_error(AwsError { action: "dynamodb:BatchGetItem", kind: AwsErrorKind::UnreadableItem });
        }
        let mut records = fetched.records;
        records.retain(|record| record.is_due(now));
        run.due += records.len();
        run.observe_ages(&records, now);
        while !records.is_empty() {
            if Instant::now() >= stop_at {
                run.remaining += records.len();
                return ControlFlow::Break;
            }
            let rest = records.split_off(records.len().min(RELAY_BATCH_MESSAGES));
            let claimed = self.claim_all(std::mem::replace(&mut records, rest), run).await;
            let outgoing = self.build_messages(claimed, run).await;
            if self.send_all(outgoing, stop_at, run).await == ControlFlow::Break {
                run.remaining += records.len();
                return ControlFlow::Break;
            }
        }
        ControlFlow::Continue
    }

    /// The age of what is not due at the moment: in the hands of a handler, or put off after a failed attempt.
    async fn observe_not_yet_due(&self, not_yet_due: &[DueKey], run: &mut RelaySummary) {
        let sample = not_yet_due.get(..not_yet_due.len().min(DUE_PAGE_ITEMS)).unwrap_or_default();
        match self.inbox.read_due_records(sample).await {
            Ok(fetched) => {
                let not_yet_due: Vec<_> =
                    fetched.records.into_iter().filter(DueRecord::is_awaiting_enqueue).collect();
                run.observe_ages(&not_yet_due, self.clock.now());
            }
            Err(fault) => run.note_error(fault),
        }
    }

    async fn claim_all(&self, records: Vec<DueRecord>, run: &mut RelaySummary) -> Vec<ClaimedRecord> {
        let claims: Vec<_> = stream::iter(records)
            .map(|record| self.inbox.claim_record(record, self.clock.now()))
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut claimed = Vec::with_capacity(claims.len());
        for claim in claims {
            match claim {
                Ok(RelayClaim::Acquired(acquired)) => claimed.push(*acquired),
                Ok(RelayClaim::AcquiredWithoutPayload(payload_missing)) => {
                    self.quarantine(&payload_missing, QuarantineReason::PayloadGone, run).await;
                }
                Ok(RelayClaim::NotDue) => {}
                Err(fault) => run.count_failure(fault),
            }
        }
        claimed
    }

    async fn build_messages(
        &self,
        claimed: Vec<ClaimedRecord>,
        run: &mut RelaySummary,
    ) -> Vec<(ClaimedRecord, QueueMessage)> {
        let messages: Vec<_> = stream::iter(claimed)
            .map(async |claimed| {
                let message = self.inbox.build_message(&claimed).await;
                (claimed, message)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut outgoing = Vec::with_capacity(messages.len());
        for (claimed, message) in messages {
            match message {
                Ok(message) => outgoing.push((claimed, message)),
                Err(fault) if fault.kind == AwsErrorKind::PayloadGone => {
                    self.quarantine(&claimed, QuarantineReason::PayloadGone, run).await;
                }
                Err(fault) => run.count_failure(fault),
            }
        }
        outgoing
    }

    async fn send_all(
        &self,
        outgoing: Vec<(ClaimedRecord, QueueMessage)>,
        stop_at: Instant,
        run: &mut RelaySummary,
    ) -> ControlFlow {
        let send_by = stop_at + Duration::from_millis(RELAY_DRAIN_MS / 2);
        let mut accepted_any = outgoing.is_empty();
        for mut batch in chunk_by_size(outgoing, RELAY_CHUNK_LIMITS, |(_, message)| message.size_bytes()) {
            let (now, in_time) = (self.clock.now(), Instant::now() < send_by);
            let claimed = batch.len();
            // What was claimed too long ago becomes due again.
            batch.retain(|(claimed, _)| in_time && claimed.has_time_to_send(now));
            run.remaining += claimed - batch.len();
            accepted_any |= batch.is_empty() || self.send_batch(batch, run).await;
        }
        if accepted_any { ControlFlow::Continue } else { ControlFlow::Break }
    }

    /// Sends one batch and marks what was sent. `false` if the queue took nothing of it and refused nothing.
    async fn send_batch(&self, batch: Vec<(ClaimedRecord, QueueMessage)>, run: &mut RelaySummary) -> bool {
        let messages: Vec<&QueueMessage> = batch.iter().map(|(_, message)| message).collect();
        let sent = self.queue.send_batch(&messages).await;
        let mut is_queue_up = false;
        let mut to_mark = Vec::with_capacity(batch.len());
        for ((claimed, _), sent) in batch.into_iter().zip(sent) {
            match sent {
                SendOutcome::Sent => {
                    is_queue_up = true;
                    run.sent += 1;
                    to_mark.push(claimed);
                }
                SendOutcome::Undeliverable(fault) => {
                    is_queue_up = true;
                    log_not_sent(&claimed, &fault);
                    self.handle_undeliverable(&claimed, run).await;
                }
                SendOutcome::Failed(fault) => {
                    log_not_sent(&claimed, &fault);
                    run.count_failure(fault);
                }
            }
        }
        self.mark_all(to_mark, run).await;
        is_queue_up
    }

    async fn mark_all(&self, sent: Vec<ClaimedRecord>, run: &mut RelaySummary) {
        let marks: Vec<_> = stream::iter(sent)
            .map(async |claimed| {
                let mark = self.inbox.mark_claimed_sent(&claimed, self.clock.now()).await;
                (claimed.key().provider().as_str(), mark)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        for (provider, mark) in marks {
            match mark {
                Ok(WriteOutcome::Applied) => {}
                Ok(WriteOutcome::Conflict) => {
                    metrics::counter!("late_mark", "provider" => provider).increment(1)
                }
                // Sent and not marked: it stays due, and is sent again under the same id.
                Err(fault) => run.note_error(fault),
            }
        }
    }

    /// A record that SQS refuses for what it is must not come back for ever: the tenth time it goes to
    /// quarantine.
    async fn handle_undeliverable(&self, claimed: &ClaimedRecord, run: &mut RelaySummary) {
        match self.inbox.count_undeliverable(claimed).await {
            Ok(Some(refusals)) if refusals >= RELAY_SQS_ERRORS_MAX => {
                self.quarantine(claimed, QuarantineReason::QueueRefused, run).await;
            }
            Ok(_) => run.failed += 1,
            Err(fault) => run.count_failure(fault),
        }
    }

    async fn quarantine(&self, claimed: &ClaimedRecord, reason: QuarantineReason, run: &mut RelaySummary) {
        match self.inbox.quarantine_claimed(claimed, reason, self.clock.now()).await {
            Ok(WriteOutcome::Applied) => {
                run.quarantined += 1;
                count_with_reason("quarantined", Some(claimed.key().provider()), reason.as_str());
            }
            Ok(WriteOutcome::Conflict) => run.failed += 1,
            Err(fault) => run.count_failure(fault),
        }
    }
}

impl RelaySummary {
    fn observe_ages(&mut self, records: &[DueRecord], now: UnixMillis) {
        self.observe_age(records.iter().map(|record| now.since(record.enqueue_after())).max());
    }

    fn observe_age(&mut self, age: Option<Duration>) {
        self.oldest_due_age_secs = self.oldest_due_age_secs.max(age.unwrap_or_default().as_secs());
    }

    fn count_failure(&mut self, fault: AwsError) {
        self.failed += 1;
        self.note_error(fault);
    }

    fn note_error(&mut self, fault: AwsError) {
        self.first_error.get_or_insert(fault);
    }
}

fn log_not_sent(claimed: &ClaimedRecord, fault: &AwsError) {
    let event_id = claimed.key().event_id();
    tracing::warn!(target: "relay", event_id, attempts = claimed.attempts(), %fault, "not sent");
}
