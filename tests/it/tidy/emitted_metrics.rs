//! The table of metrics, and who emits them.

use std::collections::{BTreeMap, BTreeSet};

use inbox_aws::telemetry::metrics::METRICS;

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
