//! One batch of a run: claims its records, sends their messages to the queue, and marks them as sent.

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use inbox_aws::queue::SendOutcome;
use inbox_aws::stores::{ClaimedRecord, DueRecord, RelayClaim, WriteOutcome};
use inbox_aws::telemetry::metrics;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::chunking::{ChunkLimits, chunk_by_size};
use inbox_core::limits::{CONCURRENT_CALLS, RELAY_BATCH_BYTES, RELAY_BATCH_MESSAGES, RELAY_SQS_ERRORS_MAX};
use inbox_core::message::QueueMessage;
use inbox_core::quarantine::QuarantineReason;

use crate::relay::OutboxRelay;
use crate::run_context::RunContext;

/// The size of one `SendMessageBatch`.
const CHUNK_LIMITS: ChunkLimits =
    ChunkLimits { max_entries: RELAY_BATCH_MESSAGES, max_bytes: RELAY_BATCH_BYTES };

impl OutboxRelay {
    /// Relays a batch of records, unless the run is over. Only what can be sent is claimed: a claim defers its record.
    pub(crate) async fn relay_batch(&self, records: Vec<DueRecord>, run: &RunContext) {
        if run.is_over() {
            run.stop();
            run.summary().remaining += records.len();
            return;
        }
        let claimed = self.claim_all(records, run).await;
        let outgoing = self.build_messages(claimed, run).await;
        self.send_all(outgoing, run).await;
    }

    async fn claim_all(&self, records: Vec<DueRecord>, run: &RunContext) -> Vec<ClaimedRecord> {
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
        run: &RunContext,
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

    async fn send_all(&self, outgoing: Vec<(ClaimedRecord, QueueMessage)>, run: &RunContext) {
        // If there is nothing to send, nothing shows that the queue is down.
        let mut is_queue_down = !outgoing.is_empty();
        for mut batch in chunk_by_size(outgoing, CHUNK_LIMITS, |(_, message)| message.size_bytes()) {
            let (now, in_time) = (self.clock.now(), Instant::now() < run.send_by());
            let claimed = batch.len();
            // A claim that could expire while its message is sent
            // is left to expire: its record becomes due again.
            batch.retain(|(claimed, _)| in_time && claimed.has_time_to_send(now));
            run.summary().remaining += claimed - batch.len();
            if batch.is_empty() || self.send_chunk(batch, run).await {
                is_queue_down = false;
            }
        }
        if is_queue_down {
            run.stop();
        }
    }

    /// Sends one chunk and marks the sent records. Returns `false` if the queue neither accepted nor rejected any of it,
    /// so it is probably down.
    async fn send_chunk(&self, chunk: Vec<(ClaimedRecord, QueueMessage)>, run: &RunContext) -> bool {
        let messages: Vec<&QueueMessage> = chunk.iter().map(|(_, message)| message).collect();
        let sent = self.queue.send_batch(&messages).await;
        let mut is_queue_up = false;
        let mut to_mark = Vec::with_capacity(chunk.len());
        for ((claimed, _), sent) in chunk.into_iter().zip(sent) {
            match sent {
                SendOutcome::Sent => {
                    is_queue_up = true;
                    run.summary().sent += 1;
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
        if is_queue_up {
            run.note_queue_up();
        }
        // Marked before the next chunk is sent: after a crash, every record without a mark is sent again.
        self.mark_all(to_mark, run).await;
        is_queue_up
    }

    async fn mark_all(&self, sent: Vec<ClaimedRecord>, run: &RunContext) {
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
    async fn handle_undeliverable(&self, claimed: &ClaimedRecord, run: &RunContext) {
        match self.outbox.count_undeliverable(claimed).await {
            // Without a limit it would be retried for ever.
            Ok(Some(count)) if count >= RELAY_SQS_ERRORS_MAX => {
                self.quarantine(claimed, QuarantineReason::QueueRefused, run).await;
            }
            Ok(_) => run.summary().failed += 1,
            Err(error) => run.count_failure(error),
        }
    }

    async fn quarantine(&self, claimed: &ClaimedRecord, reason: QuarantineReason, run: &RunContext) {
        match self.outbox.quarantine_claimed(claimed, reason, self.clock.now()).await {
            Ok(WriteOutcome::Applied) => {
                run.summary().quarantined += 1;
                metrics::QUARANTINED.add(claimed.key().provider(), reason.as_str(), 1);
            }
            // A worker may have claimed the event: then it was sent after all.
            Ok(WriteOutcome::Conflict) => run.summary().failed += 1,
            Err(error) => run.count_failure(error),
        }
    }
}

fn log_not_sent(claimed: &ClaimedRecord, error: &AwsError) {
    let event_id = claimed.key().event_id();
    tracing::warn!(target: "relay", event_id, attempts = claimed.attempts(), %error, "not sent");
}
