//! The outbox relay: reads what is due, and relays it batch by batch.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::timeout_at;

use inbox_aws::clock::Clock;
use inbox_aws::queue::EventsQueue;
use inbox_aws::stores::{DueIndex, DueKey, DueRecord, DueScan, Outbox, Table};
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::chunking::{ChunkLimits, chunk_by_size};
use inbox_core::due_queue::DueQueue;
use inbox_core::limits::{DUE_PAGE_ITEMS, RELAY_BATCH_MESSAGES, RELAY_CONCURRENCY};

use crate::relay_summary::RelaySummary;
use crate::run_context::RunContext;

/// The size of a batch: of one `SendMessageBatch`, which its messages may still exceed in bytes.
const BATCH_LIMITS: ChunkLimits = ChunkLimits { max_entries: RELAY_BATCH_MESSAGES, max_bytes: usize::MAX };

/// Enqueues the due records of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxRelay {
    due_index: DueIndex,
    pub(crate) outbox: Outbox,
    pub(crate) queue: EventsQueue,
    pub(crate) clock: Clock,
}

impl OutboxRelay {
    /// Builds a relay from this table to this queue.
    pub fn new(table: Table, queue: EventsQueue, clock: Clock) -> Self {
        Self { due_index: DueIndex::new(table.clone()), outbox: Outbox::new(table), queue, clock }
    }

    /// Relays the due records of every shard of the index until nothing is due, `budget` is used up, or the queue is
    /// down. Each round reads one page of every shard, and relays the longest due first.
    pub async fn run(&self, budget: Duration) -> RelaySummary {
        let run = RunContext::new(budget);
        // A cut-off is like a crash of the process: the claims expire, and the next run sends their records.
        if timeout_at(run.cut_off_at(), Box::pin(self.relay_due(&run))).await.is_err() {
            run.note_error(AwsError { action: "event-relay", kind: AwsErrorKind::Timeout });
        }
        let summary = run.summary().clone();
        summary.report();
        summary
    }

    async fn relay_due(&self, run: &RunContext) {
        // A failed attempt makes a record due later, so the ages of records that are not due yet count, too.
        let mut scan = DueScan::including_future(DueQueue::Outbox);
        let mut not_yet_due = Vec::new();
        while !scan.is_exhausted() {
            let page = scan.next_page(&self.due_index, self.clock.now()).await;
            page.errors.into_iter().for_each(|error| run.note_error(error));
            not_yet_due.extend(page.not_yet_due);
            self.relay_page(&page.due, run).await;
            if run.is_over() {
                // Counts one more page of each shard only: reading them
                // all would take the time that the run no longer has.
                let rest = scan.next_page(&self.due_index, self.clock.now()).await.due.len();
                run.summary().remaining += rest;
                return;
            }
        }
        self.observe_not_yet_due(&not_yet_due, run).await;
    }

    /// Relays a page batch by batch, several at the same time. A batch waits for its slot before more records are read, so that a run
    /// that ends early has read no more than it could send.
    async fn relay_page(&self, keys: &[DueKey], run: &RunContext) {
        // A page has keys of every shard, more than one `BatchGetItem` takes.
        stream::iter(keys.chunks(DUE_PAGE_ITEMS))
            .then(|keys| self.read_batches(keys, run))
            .flat_map(stream::iter)
            .then(async |batch| (run.slot().await, batch))
            .for_each_concurrent(RELAY_CONCURRENCY, async |(_slot, batch)| self.relay_batch(batch, run).await)
            .await;
    }

    /// Reads the records of these keys, and divides the due ones into batches.
    async fn read_batches(&self, keys: &[DueKey], run: &RunContext) -> Vec<Vec<DueRecord>> {
        if run.is_over() {
            run.summary().remaining += keys.len();
            return Vec::new();
        }
        let now = self.clock.now();
        let fetched = match self.outbox.read_due_records(keys).await {
            Ok(fetched) => fetched,
            Err(error) => {
                run.summary().remaining += keys.len();
                run.note_error(error);
                // The keys stay due, and the failure of one read says nothing about the others.
                return Vec::new();
            }
        };
        if fetched.unreadable > 0 {
            run.note_error(AwsError { action: "dynamodb:BatchGetItem", kind: AwsErrorKind::UnreadableItem });
        }
        let mut records = fetched.records;
        // The index may lag: a record may have been sent or claimed since.
        records.retain(|record| record.is_due(now));
        let mut summary = run.summary();
        summary.remaining += fetched.unprocessed;
        summary.due += fetched.unreadable + records.len();
        summary.failed += fetched.unreadable;
        if fetched.unreadable > 0 {
            // Their age is unknown. They stay due and will be
            // the oldest of their page, so count them as that.
            summary.observe_age(keys.iter().map(|key| now.since(key.due_at)).max());
        }
        summary.observe_ages(&records, now);
        chunk_by_size(records, BATCH_LIMITS, |_| 0)
    }

    /// Observes the ages of records that are not due yet: claimed, or deferred after a failed attempt.
    async fn observe_not_yet_due(&self, not_yet_due: &[DueKey], run: &RunContext) {
        // A sample, so that the report costs one read at most.
        let sample = not_yet_due.get(..not_yet_due.len().min(DUE_PAGE_ITEMS)).unwrap_or_default();
        match self.outbox.read_due_records(sample).await {
            Ok(fetched) => {
                let not_yet_due: Vec<_> =
                    fetched.records.into_iter().filter(DueRecord::is_awaiting_enqueue).collect();
                run.summary().observe_ages(&not_yet_due, self.clock.now());
            }
            Err(error) => run.note_error(error),
        }
    }
}
