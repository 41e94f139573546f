//! The table of metrics, and who emits them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use inbox_aws::telemetry::metrics::{self as table, METRICS};
use inbox_core::delivery::Provider;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::{no_offences, offences, rust_sources};

/// The table's own file.
const TABLE: &str = "shared/aws/src/telemetry/metrics.rs";

/// Names of metrics with the names of their dimensions: one pair for each set that is emitted.
pub(crate) fn emitted_dimension_sets() -> BTreeSet<(String, BTreeSet<String>)> {
    let sets = METRICS.iter().flat_map(|metric| metric.dimension_sets.iter().map(|set| (metric.name, set)));
    sets.map(|(name, set)| (name.to_owned(), set.iter().map(|it| (*it).to_owned()).collect())).collect()
}

/// Who emits each metric: `functions/<name>` or `shared/<name>`, by the metric's name.
pub(crate) fn emitters() -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<_, _> = METRICS.iter().map(|metric| (metric.constant, metric.name)).collect();
    let mut emitters = BTreeMap::<_, BTreeSet<_>>::new();
    for source in rust_sources().iter().filter(|it| it.is_in("shared/") || it.is_in("functions/")) {
        let emitter = source.path.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        for rest in source.code().flat_map(|(_, line)| line.split("metrics::").skip(1)) {
            let constant = rest.split('.').next().unwrap();
            if let Some(name) = names.get(constant) {
                emitters.entry((*name).to_owned()).or_default().insert(emitter.clone());
            }
        }
    }
    emitters
}

#[test]
fn every_metric_is_listed_and_every_listed_one_is_emitted() {
    let listed: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(listed.len(), METRICS.len(), "one is listed twice");
    assert_eq!(emitters().into_keys().collect::<BTreeSet<_>>(), listed);
    let ours: Vec<_> = rust_sources()
        .into_iter()
        .filter(|it| (it.is_in("shared/") || it.is_in("functions/")) && it.path != TABLE)
        .collect();
    let emits = |line: &str| ["counter!", "gauge!", "histogram!"].iter().any(|call| line.contains(call));
    let describes = |line: &str| line.contains("describe_histogram!(metric.name");
    assert_eq!(offences(&ours, |line| emits(line) && !describes(line)), no_offences());
}

#[test]
fn a_metric_has_the_name_of_its_constant_and_a_sentence() {
    for metric in METRICS {
        assert_eq!(metric.name, metric.constant.to_ascii_lowercase());
        assert!(metric.description.ends_with('.') && metric.description.len() > 15, "{metric:?}");
    }
}

/// An alarm matches its dimensions exactly, so one on a reason would miss any new reason.
#[test]
fn what_has_a_reason_is_counted_as_a_whole_too() {
    let by_reason: Vec<_> =
        METRICS.iter().filter(|it| it.dimension_sets.iter().any(|set| set.contains(&"reason"))).collect();
    assert!(by_reason.len() >= 8, "{by_reason:?}");
    for metric in by_reason {
        assert!(metric.dimension_sets.iter().any(|set| set.is_empty()), "{metric:?}");
    }
}

/// One metric of each type of the table.
#[test]
fn metrics_are_emitted_with_the_names_and_dimensions_of_the_table() {
    let emitted: [(&str, fn()); 7] = [
        ("polled", || table::POLLED.add(1)),
        ("received", || table::RECEIVED.add(Provider::Fynapse, 1)),
        ("returned", || table::RETURNED.add("fault", 1)),
        ("rejected", || table::REJECTED.add(Provider::Fynapse, "mismatch", 1)),
        ("published", || table::PUBLISHED.add("type", 1)),
        ("oldest_due_age", || table::OLDEST_DUE_AGE.record(1)),
        ("signature_age", || table::SIGNATURE_AGE.record(Provider::Fynapse, 1)),
    ];
    for (name, emit) in emitted {
        let recorder = KeyRecorder::default();
        metrics::with_local_recorder(&recorder, emit);
        let recorded = recorder.0.into_inner().unwrap();
        let listed: Vec<_> = emitted_dimension_sets().into_iter().filter(|(it, _)| it == name).collect();
        assert_eq!(
            (recorded.len(), recorded.into_iter().collect()),
            (listed.len(), BTreeSet::from_iter(listed))
        );
    }
}

/// Records name and dimensions of every counter and histogram.
#[derive(Default)]
struct KeyRecorder(Mutex<Vec<(String, BTreeSet<String>)>>);

impl KeyRecorder {
    fn record(&self, key: &Key) {
        let dimensions = key.labels().map(|label| label.key().to_owned()).collect();
        self.0.lock().unwrap().push((key.name().to_owned(), dimensions));
    }
}

impl Recorder for KeyRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.record(key);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.record(key);
        Histogram::noop()
    }
}
