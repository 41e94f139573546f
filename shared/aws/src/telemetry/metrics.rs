//! Every metric that the functions emit, and the only place that emits them.
//!
//! The type of a metric says which dimensions it has. A metric with a reason is counted twice: by reason, and
//! once more without any dimension. An alarm names the dimensions of its metric exactly, so only the metric
//! without dimensions also counts reasons that are new.

use metrics::{counter, histogram};

use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;

/// Description of a metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// The constant in this module.
    pub constant: &'static str,
    /// The name in CloudWatch.
    pub name: &'static str,
    /// Kind of its values.
    pub kind: MetricKind,
    /// The sets of dimensions that a value is emitted with.
    pub dimension_sets: &'static [&'static [&'static str]],
    /// One sentence about what it measures.
    pub description: &'static str,
}

/// Kind of the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A count, emitted without a unit.
    Counter,
    /// A histogram, with the unit seconds.
    Seconds,
}

macro_rules! metrics {
    ($($(#[doc = $sentence:literal])+ $constant:ident: $type:ident = $name:literal;)+) => {
        $($(#[doc = $sentence])+ pub const $constant: $type = $type($name);)+

        /// All metrics of this module.
        pub const METRICS: &[MetricInfo] = &[$(MetricInfo {
            constant: stringify!($constant),
            name: $name,
            kind: $type::KIND,
            dimension_sets: $type::DIMENSION_SETS,
            description: concat!($($sentence),+).trim_ascii(),
        }),+];
    };
}

metrics! {
    // Deliveries.
    /// Deliveries that arrived.
    RECEIVED: ProviderCounter = "received";
    /// Deliveries whose event was recorded.
    RECORDED: ProviderCounter = "recorded";
    /// Deliveries whose event was recorded before.
    DUPLICATE: ProviderCounter = "duplicate";
    /// Duplicates with another idempotency key than the recorded delivery.
    OTHER_KEY: ProviderCounter = "other_key";
    /// Duplicates, or events found again by the poller, with another payload than the recorded one.
    PAYLOAD_DIFFERS: ProviderCounter = "payload_differs";
    /// Webhooks that came after the poller had found their event.
    LATE_WEBHOOK: ProviderCounter = "late_webhook";
    /// Deliveries and events that were put into quarantine.
    QUARANTINED: ProviderReasonCounter = "quarantined";
    /// Deliveries that could not be verified.
    REJECTED: ProviderReasonCounter = "rejected";
    /// Deliveries with a valid signature and a time outside the tolerance.
    STALE_BUT_AUTHENTIC: ProviderCounter = "stale_but_authentic";
    /// Deliveries that were answered with 503, because nothing could be decided.
    UNAVAILABLE: ProviderCounter = "unavailable";
    /// Age of verified signatures, if it is a second or more.
    SIGNATURE_AGE: ProviderSeconds = "signature_age";
    /// Secrets that could not be loaded.
    SECRET_FETCH_FAILED: Counter = "secret_fetch_failed";

    // The outbox.
    /// New events that were not enqueued at once, and are left to the relay.
    ENQUEUE_FAILED: ProviderCounter = "enqueue_failed";
    /// Records that had changed before they could be marked as sent.
    LATE_MARK: ProviderCounter = "late_mark";
    /// Events that the relay has enqueued.
    RELAYED: Counter = "relayed";
    /// Events that the relay could not enqueue.
    RELAY_FAILED: Counter = "relay_failed";
    /// Age of the oldest event that is not enqueued.
    OLDEST_DUE_AGE: Seconds = "oldest_due_age";

    // The poller.
    /// Batches and schedules that were polled.
    POLLED: Counter = "polled";
    /// Events that the poller has found before their webhook.
    FOUND_BY_POLL: Counter = "found_by_poll";
    /// Polls that failed.
    POLL_FAILED: ReasonCounter = "poll_failed";
    /// Due items that a run had no time for.
    POLL_REMAINING: Counter = "poll_remaining";
    /// Batches that were not complete at their deadline.
    OVERDUE: Counter = "overdue";
    /// Polls after a batch's deadline that Rightfoot did not answer.
    OVERDUE_UNANSWERED: Counter = "overdue_unanswered";
    /// Delay of the oldest due poll.
    OLDEST_POLL_DELAY: Seconds = "oldest_poll_delay";
    /// Submissions whose outcome is unknown.
    SUBMISSION_UNKNOWN: Counter = "submission_unknown";
    /// Schedules that stopped, lack a run, or could not be polled.
    SCHEDULE_ALARM: ReasonCounter = "schedule_alarm";
    /// Writes of a polled schedule that lost to another write.
    SCHEDULE_OVERTAKEN: Counter = "schedule_overtaken";
    /// Batches with more alert events than authorizers.
    ALERT_FLOOD: Counter = "alert_flood";
    /// Records that the poller has reopened.
    RECORD_REOPENED: ReasonCounter = "record_reopened";

    // Rightfoot's API.
    /// Calls that failed because the API key is missing or rejected.
    KEY_REFUSED: Counter = "key_refused";
    /// Rows of a list that could not be parsed.
    ROW_SKIPPED: ReasonCounter = "row_skipped";
    /// Requests to `rightfoot-requests`.
    REQUESTED: Counter = "requested";
    /// Requests to `rightfoot-requests` that failed.
    REQUEST_FAILED: ReasonCounter = "request_failed";

    // The auditor.
    /// Deliveries that checks of Fynapse's list have read.
    DELIVERY_LISTED: StatusCounter = "delivery_listed";
    /// Deliveries that Fynapse gave up or cancelled, each once.
    DELIVERY_MISSED: ReasonCounter = "delivery_missed";
    /// Deliveries that Fynapse has made and whose event is not here, each once.
    DELIVERY_LOST: Counter = "delivery_lost";
    /// Events that were recorded from the list of deliveries.
    DELIVERY_RECOVERED: Counter = "delivery_recovered";
    /// Deliveries that could not be compared with the recorded events.
    DELIVERY_NOT_COMPARABLE: Counter = "delivery_not_comparable";
    /// Checks of Fynapse's deliveries that failed.
    DELIVERY_CHECK_FAILED: ReasonCounter = "delivery_check_failed";
    /// Time since the start of the last complete check of Fynapse's deliveries.
    DELIVERY_CHECK_AGE: Seconds = "delivery_check_age";
    /// Checks that failed because the credentials for Fynapse's API are missing or refused.
    CREDENTIALS_REFUSED: Counter = "credentials_refused";
    /// Checks with credentials that end within two weeks.
    CREDENTIALS_EXPIRING: Counter = "credentials_expiring";

    // The worker.
    /// Events that were processed.
    PROCESSED: ProviderCounter = "processed";
    /// Events that were published on the bus.
    PUBLISHED: TypeCounter = "published";
    /// Alerts that were published with another threshold.
    THRESHOLD_DIFFERS: Counter = "threshold_differs";
    /// Events that were requeued.
    REQUEUED: ReasonCounter = "requeued";
    /// Messages that were returned to the queue.
    RETURNED: ReasonCounter = "returned";
    /// Events whose outcome was not saved, because their claim had expired.
    CLAIM_LOST: Counter = "claim_lost";
    /// Events that were requeued although their deadline had passed.
    PROCESSING_OVERDUE: Counter = "processing_overdue";
    /// Time from an event's delivery to its effect.
    PROCESSING_AGE: ProviderSeconds = "processing_age";
}

/// A counter without dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Counter(&'static str);

impl Counter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&[]];

    /// Adds `count`.
    pub fn add(self, count: u64) {
        counter!(self.0).increment(count);
    }
}

/// A counter by provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderCounter(&'static str);

impl ProviderCounter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&["provider"]];

    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Adds `count`.
    pub fn add(self, provider: Provider, count: u64) {
        counter!(self.0, "provider" => provider.as_str()).increment(count);
    }
}

/// A counter by reason.
#[derive(Clone, Copy, Debug)]
pub struct ReasonCounter(&'static str);

impl ReasonCounter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&["reason"], &[]];

    /// Adds `count` to this reason and to the total.
    pub fn add(self, reason: &'static str, count: u64) {
        counter!(self.0, "reason" => reason).increment(count);
        counter!(self.0).increment(count);
    }
}

/// A counter by provider and reason.
#[derive(Clone, Copy, Debug)]
pub struct ProviderReasonCounter(&'static str);

impl ProviderReasonCounter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&["provider", "reason"], &[]];

    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Adds `count` to this provider's reason and to the total.
    pub fn add(self, provider: Provider, reason: &'static str, count: u64) {
        counter!(self.0, "provider" => provider.as_str(), "reason" => reason).increment(count);
        counter!(self.0).increment(count);
    }
}

/// A counter by the status of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct StatusCounter(&'static str);

impl StatusCounter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&["status"]];

    /// Adds `count`.
    pub fn add(self, status: DeliveryStatus, count: u64) {
        counter!(self.0, "status" => status.as_str()).increment(count);
    }
}

/// A counter by the detail type of a bus event.
#[derive(Clone, Copy, Debug)]
pub struct TypeCounter(&'static str);

impl TypeCounter {
    const KIND: MetricKind = MetricKind::Counter;
    const DIMENSION_SETS: &[&[&str]] = &[&["type"]];

    /// The name in CloudWatch.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Adds `count`.
    pub fn add(self, detail_type: &'static str, count: u64) {
        counter!(self.0, "type" => detail_type).increment(count);
    }
}

/// A histogram of seconds, without dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(&'static str);

impl Seconds {
    const KIND: MetricKind = MetricKind::Seconds;
    const DIMENSION_SETS: &[&[&str]] = &[&[]];

    /// Records one value.
    pub fn record(self, secs: u64) {
        histogram!(self.0).record(saturated(secs));
    }
}

/// A histogram of seconds by provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderSeconds(&'static str);

impl ProviderSeconds {
    const KIND: MetricKind = MetricKind::Seconds;
    const DIMENSION_SETS: &[&[&str]] = &[&["provider"]];

    /// Records one value.
    pub fn record(self, provider: Provider, secs: u64) {
        histogram!(self.0, "provider" => provider.as_str()).record(saturated(secs));
    }
}

/// Histograms take `f64`, and only 32 bits convert without loss.
fn saturated(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{flush_metrics, init_metrics};
    use inbox_core::delivery::Provider::Fynapse;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    #[test]
    fn metrics_are_written_with_the_names_dimensions_and_units_of_the_table() {
        let collector = init_metrics("Test".to_owned()).unwrap();
        // One of each type.
        POLLED.add(1);
        RECEIVED.add(Fynapse, 1);
        RETURNED.add("aws_error", 1);
        REJECTED.add(Fynapse, "mismatch", 1);
        PUBLISHED.add("type", 1);
        DELIVERY_LISTED.add(DeliveryStatus::DeadLetter, 1);
        OLDEST_DUE_AGE.record(1);
        SIGNATURE_AGE.record(Fynapse, 1);
        let emitted = [
            "polled",
            "received",
            "returned",
            "rejected",
            "published",
            "delivery_listed",
            "oldest_due_age",
            "signature_age",
        ];
        let mut written = BTreeSet::new();
        for line in flush_metrics(collector).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let block = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(block["Namespace"], "Test");
            for metric in block["Metrics"].as_array().unwrap() {
                if emitted.iter().any(|name| metric["Name"] == *name) {
                    written.insert(json!([metric["Name"], block["Dimensions"], metric["Unit"]]).to_string());
                }
            }
        }
        let mut expected = BTreeSet::new();
        for metric in METRICS.iter().filter(|metric| emitted.contains(&metric.name)) {
            let unit = (metric.kind == MetricKind::Seconds).then_some("Seconds");
            for set in metric.dimension_sets {
                expected.insert(json!([metric.name, [set], unit]).to_string());
            }
        }
        assert_eq!((expected.len(), written), (10, expected));
    }
}
