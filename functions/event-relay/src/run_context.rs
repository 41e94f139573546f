//! The state of a run in progress, which the batches of the run share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use inbox_aws::AwsError;
use inbox_core::limits::{RELAY_CONCURRENCY, RELAY_DRAIN_MS};

use crate::relay_summary::RelaySummary;

/// The state of a run in progress.
pub(crate) struct RunContext {
    summary: Mutex<RelaySummary>,
    stop_at: Instant,
    is_stopped: AtomicBool,
    /// One slot at first, [`RELAY_CONCURRENCY`] once the queue has accepted a batch: while the queue is down, a run claims one batch
    /// only, because a claim defers its records.
    slots: Semaphore,
    is_queue_up: AtomicBool,
}

impl RunContext {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            summary: Mutex::default(),
            stop_at: Instant::now() + budget,
            is_stopped: AtomicBool::new(false),
            slots: Semaphore::new(1),
            is_queue_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn summary(&self) -> MutexGuard<'_, RelaySummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time at which the run is cut off.
    pub(crate) fn cut_off_at(&self) -> Instant {
        self.stop_at + Duration::from_millis(RELAY_DRAIN_MS)
    }

    /// Latest time of a send. The other half of the drain time is for marking what was sent.
    pub(crate) fn send_by(&self) -> Instant {
        self.stop_at + Duration::from_millis(RELAY_DRAIN_MS / 2)
    }

    /// Returns `true` if no further batch may begin: the run is out of time, or the queue accepts nothing.
    pub(crate) fn is_over(&self) -> bool {
        // Relaxed: at worst, one more batch is begun.
        self.is_stopped.load(Ordering::Relaxed) || Instant::now() >= self.stop_at
    }

    /// Lets no further batch begin.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for a slot for a batch. `None` never occurs, because the semaphore is never closed.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.acquire().await.ok()
    }

    /// Notes that the queue has accepted messages: from now on, batches go side by side.
    pub(crate) fn note_queue_up(&self) {
        if !self.is_queue_up.swap(true, Ordering::Relaxed) {
            self.slots.add_permits(RELAY_CONCURRENCY - 1);
        }
    }

    pub(crate) fn note_error(&self, error: AwsError) {
        self.summary().first_error.get_or_insert(error);
    }

    pub(crate) fn count_failure(&self, error: AwsError) {
        self.summary().failed += 1;
        self.note_error(error);
    }
}
