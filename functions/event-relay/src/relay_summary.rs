//! The counts of one run, its log line and its metrics.

use std::time::Duration;

use inbox_aws::AwsError;
use inbox_aws::stores::DueRecord;
use inbox_aws::telemetry::metrics;
use inbox_core::time::UnixMillis;

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

impl RelaySummary {
    pub(crate) fn report(&self) {
        metrics::RELAYED.add(self.sent as u64);
        metrics::RELAY_FAILED.add(self.failed as u64);
        // If not everything could be read, an age of zero would be wrong: it is unknown. Not a gauge, since
        // the last value of a gauge is repeated with every flush.
        let read_all = self.first_error.is_none() && self.remaining == 0;
        if read_all || self.oldest_due_age_secs > 0 {
            metrics::OLDEST_DUE_AGE.record(self.oldest_due_age_secs);
        }
        let error = self.first_error.as_ref().map(tracing::field::display);
        let Self { due, sent, failed, quarantined, remaining, oldest_due_age_secs, .. } = *self;
        // Most runs have nothing to do: their line is for debugging, and the metric is the heartbeat.
        if due == 0 && error.is_none() {
            tracing::debug!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs);
        } else {
            tracing::info!(target: "relay", due, sent, failed, quarantined, remaining, oldest_due_age_secs, error);
        }
    }

    /// Observes the ages of records that are not enqueued.
    pub(crate) fn observe_ages(&mut self, records: &[DueRecord], now: UnixMillis) {
        self.observe_age(records.iter().map(|record| now.since(record.enqueue_after())).max());
    }

    pub(crate) fn observe_age(&mut self, age: Option<Duration>) {
        self.oldest_due_age_secs = self.oldest_due_age_secs.max(age.unwrap_or_default().as_secs());
    }
}
