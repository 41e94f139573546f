//! Metrics that the code emits and their dimensions, read from the source.

use std::collections::BTreeSet;
use std::sync::Mutex;

use inbox_aws::telemetry::{METRICS, count_with_reason};
use inbox_core::delivery::Provider;
use inbox_core::reply::DeliveryOutcome;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::{rust_sources, string_literals};

/// One way in which a metric is emitted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EmittedMetric {
    pub(crate) name: String,
    /// Names of its dimensions.
    pub(crate) dimensions: BTreeSet<String>,
    /// `functions/<name>` or `shared/<name>`.
    pub(crate) emitter: String,
}

/// Every way in which the functions emit a metric.
pub(crate) fn emitted_metrics() -> BTreeSet<EmittedMetric> {
    const CALLS: [&str; 4] =
        ["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!(", "count_with_reason("];
    let mut all = BTreeSet::new();
    for source in rust_sources().iter().filter(|it| it.is_in("shared/") || it.is_in("functions/")) {
        let by = source.path.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        let code: String = source.code().map(|(_, line)| format!("{line} ")).collect();
        for (start, call) in CALLS.iter().flat_map(|call| code.match_indices(call)) {
            let arguments = arguments(&code[start + call.len()..]);
            let is_definition = code[..start].ends_with("fn ");
            // The body of `count_with_reason` is skipped: its label sets are recorded by calling it.
            if is_definition || arguments.starts_with("name,") || arguments == "name" {
                continue;
            }
            let emit = |name: &str, dimensions: BTreeSet<String>| EmittedMetric {
                name: name.to_owned(),
                dimensions,
                emitter: by.clone(),
            };
            let names = names(arguments).unwrap_or_else(|| panic!("{}: {arguments}", source.path));
            for name in names {
                match call {
                    "count_with_reason(" => {
                        let of = if arguments.contains("None") { None } else { Some(Provider::Fynapse) };
                        all.extend(
                            reason_label_sets(of).into_iter().map(|dimensions| emit(&name, dimensions)),
                        );
                    }
                    _ => drop(all.insert(emit(&name, labels(arguments)))),
                }
            }
        }
    }
    all
}

/// The arguments of a call: the code from behind its opening parenthesis to the closing one.
fn arguments(code: &str) -> &str {
    let mut open = 1;
    let end = code.find(|letter| {
        open += i32::from(letter == '(') - i32::from(letter == ')');
        open == 0
    });
    code[..end.unwrap()].trim()
}

/// Names of the metrics that a call emits: a literal, or one per outcome of a delivery.
fn names(arguments: &str) -> Option<Vec<String>> {
    if arguments.starts_with('"') {
        return string_literals(arguments).next().map(|name| vec![name.to_owned()]);
    }
    let outcomes = [
        DeliveryOutcome::Recorded,
        DeliveryOutcome::Duplicate,
        DeliveryOutcome::Stale,
        DeliveryOutcome::Unavailable,
    ];
    let names = outcomes.map(|outcome| outcome.as_str().to_owned());
    arguments.starts_with("outcome.as_str(),").then(|| names.to_vec())
}

/// Labels of a macro call: `"provider" => …`.
fn labels(arguments: &str) -> BTreeSet<String> {
    let before = |rest: &str| rest.trim_end().trim_end_matches('"').rsplit('"').next().unwrap().to_owned();
    let pieces: Vec<_> = arguments.split("=>").collect();
    pieces[..pieces.len() - 1].iter().map(|piece| before(piece)).collect()
}

/// Label sets with which `count_with_reason` counts.
fn reason_label_sets(of: Option<Provider>) -> Vec<BTreeSet<String>> {
    let keys = LabelRecorder::default();
    metrics::with_local_recorder(&keys, || count_with_reason("name", of, "reason"));
    keys.0.into_inner().unwrap()
}

/// Records the label names of every counter.
#[derive(Default)]
struct LabelRecorder(Mutex<Vec<BTreeSet<String>>>);

impl Recorder for LabelRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.lock().unwrap().push(key.labels().map(|label| label.key().to_owned()).collect());
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn every_metric_is_listed_and_every_listed_one_is_emitted() {
    let listed: BTreeSet<_> = METRICS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed.len(), METRICS.len(), "one is listed twice");
    assert_eq!(emitted_metrics().into_iter().map(|it| it.name).collect::<BTreeSet<_>>(), listed);
}

/// An alarm matches its dimensions exactly, so one on a reason would miss any new reason.
#[test]
fn what_has_a_reason_is_counted_as_a_whole_too() {
    let emitted = emitted_metrics();
    let by_reason = emitted.iter().filter(|it| it.dimensions.contains("reason"));
    let names: BTreeSet<_> = by_reason.map(|it| (&it.name, &it.emitter)).collect();
    assert!(names.len() >= 8, "{names:?}");
    for (name, by) in names {
        let whole = EmittedMetric { name: name.clone(), dimensions: BTreeSet::new(), emitter: by.clone() };
        assert!(emitted.contains(&whole), "{name} of {by}");
    }
}
