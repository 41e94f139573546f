//! The outbox relay: claims due records, sends their messages to the queue, and marks them as sent.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use inbox_aws::clock::Clock;
use inbox_aws::queue::{EventsQueue, SendOutcome};
use inbox_aws::stores::{
    ClaimedRecord, DueIndex, DueKey, DueRecord, DueScan, Outbox, RelayClaim, Table, WriteOutcome,
};
use inbox_aws::telemetry::metrics;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::chunking::{ChunkLimits, chunk_by_size};
use inbox_core::due_queue::DueQueue;
use inbox_core::limits::{
    CONCURRENT_CALLS, DUE_PAGE_ITEMS, RELAY_BATCH_BYTES, RELAY_BATCH_MESSAGES, RELAY_DRAIN_MS,
    RELAY_SQS_ERRORS_MAX,
};
use inbox_core::message::QueueMessage;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::UnixMillis;

/// The size of one `SendMessageBatch`.
const CHUNK_LIMITS: ChunkLimits =
    ChunkLimits { max_entries: RELAY_BATCH_MESSAGES, max_bytes: RELAY_BATCH_BYTES };

/// Enqueues the due records of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxRelay {
    due_index: DueIndex,
    outbox: Outbox,
    queue: EventsQueue,
    clock: Clock,
}

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelaySummary {
    /// Due records that were read.
    pub due: usize,
    /// Events that were enqueued.
    pub sent: usize,
    /// Records that could not be sent; they stay due.
    pub failed: usize,
    /// Records that can never be sent, and were quarantined.
    pub quarantined: usize,
    /// Due items that the run did not reach: out of time, or the queue is down. A lower bound.
    pub remaining: usize,
    /// Age in seconds of the oldest event that is not enqueued, counted from its delivery or, if the worker requeued it,
    /// from its retry time. Includes events that are not due at the moment because an attempt at them has failed.
    pub oldest_due_age_secs: u64,
    /// The first AWS call that failed, if any.
    pub first_error: Option<AwsError>,
}

impl OutboxRelay {
    /// Builds a relay from this table to this queue.
    pub fn new(table: Table, queue: EventsQueue, clock: Clock) -> Self {
        Self { due_index: DueIndex::new(table.clone()), outbox: Outbox::new(table), queue, clock }
    }

    /// Relays the due records of every shard of the index until nothing is due, `budget` is used up, or the queue is
    /// down. Each round reads one page of every shard, and relays the longest due first.
    pub async fn run(&self, budget: Duration) -> RelaySummary {
        let stop_at = Instant::now() + budget;
        let mut run = RelaySummary::default();
        let cut_off_at = stop_at + Duration::from_millis(RELAY_DRAIN_MS);
        // A cut-off is like a crash of the process: the claims expire, and the next run sends their records.
        if timeout_at(cut_off_at, Box::pin(self.relay_due(stop_at, &mut run))).await.is_err() {
            run.note_error(AwsError { action: "event-relay", kind: AwsErrorKind::Timeout });
        }
        self.report(run)
    }

    async fn relay_due(&self, stop_at: Instant, run: &mut RelaySummary) {
        // A failed attempt makes a record due later, so the ages of records that are not due yet count, too.
        let mut scan = DueScan::including_future(DueQueue::Outbox);
        let mut not_yet_due = Vec::new();
        while !scan.is_exhausted() {
            let page = scan.next_page(&self.due_index, self.clock.now()).await;
            page.errors.into_iter().for_each(|error| run.note_error(error));
            not_yet_due.extend(page.not_yet_due);
            // A page has keys of every shard, more than one `BatchGetItem` takes.
            let mut chunks = page.due.chunks(DUE_PAGE_ITEMS);
            while let Some(chunk) = chunks.next() {
                if self.relay_page(chunk, stop_at, run).await.is_break() {
                    run.remaining += chunks.map(<[_]>::len).sum::<usize>();
                    // Counts one more page of each shard only: reading them
                    // all would take the time that the run no longer has.
                    run.remaining += scan.next_page(&self.due_index, self.clock.now()).await.due.len();
                    return;
                }
            }
        }
        self.observe_not_yet_due(&not_yet_due, run).await;
    }

    fn report(&self, run: RelaySummary) -> RelaySummary {
        metrics::RELAYED.add(run.sent as u64);
        metrics::RELAY_FAILED.add(run.failed as u64);
        // If not everything could be read, an age of zero would be wrong: it is unknown. Not a gauge, since
        // the last value of a gauge is repeated with every flush.
        let read_all = run.first_error.is_none() && run.remaining == 0;
        if read_all || run.oldest_due_age_secs > 0 {
            metrics::OLDEST_DUE_AGE.record(run.oldest_due_age_secs);
        }
        let error = run.first_error.as_ref().map(tracing::field::display);
        let RelaySummary { due, sent, failed, quarantined, remaining, oldest_due_age_secs, .. } = run;
        // Most runs have nothing to do: their line is for debugging, and the metric is the heartbeat.
        if due == 0 && error.is_none() {
            tracing::debug!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs);
        } else {
            tracing::info!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs, error);
        }
        run
    }

    /// Breaks when the run is out of time, or the queue accepts nothing: continuing would only defer more records.
    async fn relay_page(&self, keys: &[DueKey], stop_at: Instant, run: &mut RelaySummary) -> ControlFlow<()> {
        let now = self.clock.now();
        let fetched = match self.outbox.read_due_records(keys).await {
            Ok(found) => found,
            Err(error) => {
                run.remaining += keys.len();
                run.note_error(error);
                // The keys stay due, and the failure of one read says nothing about the others.
                return ControlFlow::Continue(());
            }
        };
        run.remaining += fetched.unprocessed;
        if fetched.unreadable > 0 {
            run.due += fetched.unreadable;
            run.failed += fetched.unreadable;
            // Their age is unknown. They stay due and will be
            // the oldest of their page, so count them as that.
            run.observe_age(keys.iter().map(|key| now.since(key.due_at)).max());
            run.note_error(AwsError { action: "dynamodb:BatchGetItem", kind: AwsErrorKind::UnreadableItem });
        }
        let mut records = fetched.records;
        // The index may lag: a record may have been sent or claimed since.
        records.retain(|record| record.is_due(now));
        run.due += records.len();
        run.observe_ages(&records, now);
        while !records.is_empty() {
            if Instant::now() >= stop_at {
                run.remaining += records.len();
                return ControlFlow::Break(());
            }
            // Claims one request's worth: a claim defers its record, and the run may end before it is sent.
            let rest = records.split_off(records.len().min(RELAY_BATCH_MESSAGES));
            let claimed = self.claim_all(std::mem::replace(&mut records, rest), run).await;
            let outgoing = self.build_messages(claimed, run).await;
            if self.send_all(outgoing, stop_at, run).await.is_break() {
                run.remaining += records.len();
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Observes the ages of records that are not due yet: claimed, or deferred after a failed attempt.
    async fn observe_not_yet_due(&self, not_yet_due: &[DueKey], run: &mut RelaySummary) {
        // A sample, so that the report costs one read at most.
        let sample = not_yet_due.get(..not_yet_due.len().min(DUE_PAGE_ITEMS)).unwrap_or_default();
        match self.outbox.read_due_records(sample).await {
            Ok(fetched) => {
                let not_yet_due: Vec<_> =
                    fetched.records.into_iter().filter(DueRecord::is_awaiting_enqueue).collect();
                run.observe_ages(&not_yet_due, self.clock.now());
            }
            Err(error) => run.note_error(error),
        }
    }

    async fn claim_all(&self, records: Vec<DueRecord>, run: &mut RelaySummary) -> Vec<ClaimedRecord> {
        let claims: Vec<_> = stream::iter(records)
            .map(|record| self.outbox.claim_record(record, self.clock.now()))
            // As many calls as there are warm connections.
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
                // Another run, or the webhook function, was faster.
                Ok(RelayClaim::NotDue) => {}
                Err(error) => run.count_failure(error),
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
                let message = self.outbox.build_message(&claimed).await;
                (claimed, message)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut outgoing = Vec::with_capacity(messages.len());
        for (claimed, message) in messages {
            match message {
                Ok(message) => outgoing.push((claimed, message)),
                Err(error) if error.kind == AwsErrorKind::PayloadGone => {
                    self.quarantine(&claimed, QuarantineReason::PayloadGone, run).await;
                }
                Err(error) => run.count_failure(error),
            }
        }
        outgoing
    }

    async fn send_all(
        &self,
        outgoing: Vec<(ClaimedRecord, QueueMessage)>,
        stop_at: Instant,
        run: &mut RelaySummary,
    ) -> ControlFlow<()> {
        // The other half of the drain time is for marking what was sent.
        let send_by = stop_at + Duration::from_millis(RELAY_DRAIN_MS / 2);
        // If there is nothing to send, nothing shows that the queue is down.
        let mut accepted_any = outgoing.is_empty();
        for mut batch in chunk_by_size(outgoing, CHUNK_LIMITS, |(_, message)| message.size_bytes()) {
            let (now, in_time) = (self.clock.now(), Instant::now() < send_by);
            let claimed = batch.len();
            // A claim that could expire while its message is sent
            // is left to expire: its record becomes due again.
            batch.retain(|(claimed, _)| in_time && claimed.has_time_to_send(now));
            run.remaining += claimed - batch.len();
            accepted_any |= batch.is_empty() || self.send_batch(batch, run).await;
        }
        if accepted_any { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Sends one batch and marks the sent records. Returns `false` if the queue neither accepted nor rejected any of it,
    /// so it is probably down.
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
                SendOutcome::Undeliverable(error) => {
                    // A rejection is an answer: only this message is bad.
                    is_queue_up = true;
                    log_not_sent(&claimed, &error);
                    self.handle_undeliverable(&claimed, run).await;
                }
                SendOutcome::Failed(error) => {
                    log_not_sent(&claimed, &error);
                    run.count_failure(error);
                }
            }
        }
        // Marked before the next batch is sent: after a crash, every record without a mark is sent again.
        self.mark_all(to_mark, run).await;
        is_queue_up
    }

    async fn mark_all(&self, sent: Vec<ClaimedRecord>, run: &mut RelaySummary) {
        let marks: Vec<_> = stream::iter(sent)
            .map(async |claimed| {
                let mark = self.outbox.mark_claimed_sent(&claimed, self.clock.now()).await;
                (claimed.key().provider(), mark)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        for (provider, mark) in marks {
            match mark {
                Ok(WriteOutcome::Applied) => {}
                // The record has changed, for example because it
                // was requeued: a late mark must not hide that.
                Ok(WriteOutcome::Conflict) => metrics::LATE_MARK.add(provider, 1),
                // Sent but not marked: it stays due and is sent again
                // with the same id, which the worker recognizes.
                Err(error) => run.note_error(error),
            }
        }
    }

    /// Counts a message that SQS rejected as invalid, and quarantines its record after
    /// [`RELAY_SQS_ERRORS_MAX`] times.
    async fn handle_undeliverable(&self, claimed: &ClaimedRecord, run: &mut RelaySummary) {
        match self.outbox.count_undeliverable(claimed).await {
            // Without a limit it would be retried for ever.
            Ok(Some(count)) if count >= RELAY_SQS_ERRORS_MAX => {
                self.quarantine(claimed, QuarantineReason::QueueRefused, run).await;
            }
            Ok(_) => run.failed += 1,
            Err(error) => run.count_failure(error),
        }
    }

    async fn quarantine(&self, claimed: &ClaimedRecord, reason: QuarantineReason, run: &mut RelaySummary) {
        match self.outbox.quarantine_claimed(claimed, reason, self.clock.now()).await {
            Ok(WriteOutcome::Applied) => {
                run.quarantined += 1;
                metrics::QUARANTINED.add(claimed.key().provider(), reason.as_str(), 1);
            }
            // A worker may have claimed the event: then it was sent after all.
            Ok(WriteOutcome::Conflict) => run.failed += 1,
            Err(error) => run.count_failure(error),
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

    fn count_failure(&mut self, error: AwsError) {
        self.failed += 1;
        self.note_error(error);
    }

    fn note_error(&mut self, error: AwsError) {
        self.first_error.get_or_insert(error);
    }
}

fn log_not_sent(claimed: &ClaimedRecord, error: &AwsError) {
    let event_id = claimed.key().event_id();
    tracing::warn!(target: "relay", event_id, attempts = claimed.attempts(), %error, "not sent");
}
