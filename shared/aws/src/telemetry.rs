//! Sets up logs and metrics.
//!
//! # What may be logged
//!
//! One JSON line per delivery, per request, per message of the worker, per run of the relay or the poller, and per item
//! that a run could not process: provider, outcome, reason, HTTP status, ids of events, batches, schedules and submissions, type,
//! sizes, durations, counts, the gateway's request id, and for a failed call its IAM action or endpoint and the kind of failure;
//! of a panic, its location. The last line of an invocation also has the metrics. Nothing else: no payload, path, header
//! value, token, secret, address, service message or `Debug` of a request (P8).
//!
//! Only our own targets are logged at all. The runtime and the SDK print whole bodies at TRACE and quote what they could
//! not read at ERROR, so their targets are off at every level. That is fixed here and not a setting.

pub mod invocation_log;
mod metric_lines;
pub mod metrics;

use metrics_cloudwatch_embedded::Collector;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use self::metrics::{METRICS, MetricKind};
use crate::escape::EscapedJsonLines;

const LOG_TARGETS: [&str; 8] =
    ["delivery", "relay", "poller", "auditor", "requests", "worker", "secrets", "panic"];

/// Registry behind the filter of our own targets.
pub type LogFilter = Layered<Targets, Registry>;

/// Starts the log of a deployed function: our own targets, from `level` on, one JSON object per line, to `writer`. Does
/// nothing if the process has a logger already.
///
/// The lines have no time and no target: CloudWatch adds its own time, and each function has a log group of its own.
pub fn init_logging<W>(level: Level, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    init_log_layer(level, &[], bare_json_lines(writer));
}

/// Starts logging as [`init_logging`] does, of our own targets and `more_targets`, in the form that `lines` writes.
pub fn init_log_layer<L>(level: Level, more_targets: &[&'static str], lines: L)
where
    L: Layer<LogFilter> + Send + Sync + 'static,
{
    let targets = LOG_TARGETS.iter().chain(more_targets);
    let targets = targets.map(|target| (*target, LevelFilter::from_level(level)));
    let filter = Targets::new().with_targets(targets).with_default(LevelFilter::OFF);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        // The text of a panic can quote what was being parsed; its location cannot.
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(tracing::field::display);
            tracing::error!(target: "panic", at, "panicked");
        }));
    }
}

/// Creates a layer that writes one JSON object per line to `writer`, with its time and its target.
pub fn json_lines<S, W>(writer: W) -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    bare_json_lines(writer).with_timer(SystemTime).with_target(true)
}

type JsonLines<S, W> = fmt::Layer<S, JsonFields, Format<Json, ()>, EscapedJsonLines<W>>;

fn bare_json_lines<S, W>(writer: W) -> JsonLines<S, W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .without_time()
        .with_writer(EscapedJsonLines(writer))
}

/// Starts collecting metrics in CloudWatch's embedded metric format; `None` if the process collects metrics
/// already. The [log](invocation_log) writes them at the end of each invocation.
pub fn init_metrics(namespace: String) -> Option<&'static Collector> {
    let collector =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(namespace).init().ok()?;
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Seconds) {
        ::metrics::describe_histogram!(metric.name, ::metrics::Unit::Seconds, metric.description);
    }
    Some(collector)
}

/// Removes the metrics that were collected so far, and returns them as lines of EMF.
pub fn flush_metrics(collector: &Collector) -> String {
    let mut lines = Vec::new();
    // Writing to memory cannot fail.
    let _ = collector.flush(&mut lines);
    String::from_utf8_lossy(&lines).into_owned()
}
