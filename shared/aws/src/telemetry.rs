//! Logs and metrics.
//!
//! # What may be logged
//!
//! One JSON line per delivery, per request, per message of the worker, per run of the relay or the poller, and per item
//! that a run could not deal with: provider, outcome, reason, ids of events, batches, schedules and submissions, type, sizes, durations,
//! counts, the gateway's request id, and for a failed call its IAM action or endpoint and the kind of failure; of a
//! panic, where it happened. Nothing else: no payload, path, header
//! value, token, secret, address, service message or `Debug` of a request (P8).
//!
//! Only our own targets are logged at all. The runtime and the SDK print whole bodies at TRACE and quote what
//! they could not read at ERROR, so their targets are off, whatever the level: that is fixed here and not a
//! setting.

use std::io::Write;

use inbox_core::delivery::Provider;
use metrics_cloudwatch_embedded::Collector;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::escape::EscapedJsonLines;

/// The targets that are logged.
const LOG_TARGETS: [&str; 7] = ["delivery", "relay", "poll", "requests", "work", "secrets", "panic"];

/// Every metric that the functions emit.
pub const METRICS: [&str; 41] = [
    "received",
    "recorded",
    "duplicate",
    "other_key",
    "payload_differs",
    "late_mark",
    "quarantined",
    "refused",
    "stale_but_authentic",
    "unavailable",
    "enqueue_failed",
    "relayed",
    "relay_failed",
    "oldest_due_age",
    "signature_age",
    "secret_fetch_failed",
    "key_refused",
    "late_webhook",
    "polled",
    "found_by_poll",
    "poll_failed",
    "poll_left",
    "overdue",
    "overdue_unanswered",
    "oldest_poll_delay",
    "submission_unknown",
    "schedule_alarm",
    "schedule_overtaken",
    "alert_flood",
    "row_skipped",
    "record_mended",
    "requested",
    "request_failed",
    "worked",
    "published",
    "threshold_differs",
    "put_back",
    "returned",
    "claim_lost",
    "work_overdue",
    "work_age",
];

/// Logs our own targets from `level` on, one JSON object a line, to `writer`.
/// Does nothing if the process logs already.
pub fn init_logging<W>(level: Level, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let targets = LOG_TARGETS.map(|target| (target, LevelFilter::from_level(level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(EscapedJsonLines(writer));
    let filter = Targets::new().with_targets(targets).with_default(LevelFilter::OFF);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        // The text of a panic can quote what was being read; where it happened cannot.
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(tracing::field::display);
            tracing::error!(target: "panic", at, "panicked");
        }));
    }
}

/// Collects metrics for CloudWatch's embedded metric format. They are written by [`flush`], or by the
/// runtime's wrapper after each invocation.
pub fn init_metrics(namespace: String) -> Option<&'static Collector> {
    let collector =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(namespace).init().ok()?;
    metrics::describe_histogram!(
        "oldest_due_age",
        metrics::Unit::Seconds,
        "age of the oldest event not enqueued"
    );
    metrics::describe_histogram!(
        "oldest_poll_delay",
        metrics::Unit::Seconds,
        "how long the oldest due poll has waited"
    );
    metrics::describe_histogram!(
        "work_age",
        metrics::Unit::Seconds,
        "from an event's delivery to its effect"
    );
    metrics::describe_histogram!("signature_age", metrics::Unit::Seconds, "age of proven signatures");
    Some(collector)
}

/// Counts what has a reason: by it, and by provider where `of` names one, and once more without any dimension. An alarm
/// names the dimensions of its metric exactly, so only the second is sure to see a reason that is new.
pub fn count_with_reason(name: &'static str, provider: Option<Provider>, reason: &'static str) {
    match provider {
        Some(provider) => {
            metrics::counter!(name, "provider" => provider.as_str(), "reason" => reason).increment(1)
        }
        None => metrics::counter!(name, "reason" => reason).increment(1),
    }
    metrics::counter!(name).increment(1);
}

/// Writes the metrics collected so far.
pub fn flush_metrics(collector: &Collector, writer: impl Write) {
    let _ = collector.flush(writer);
}
