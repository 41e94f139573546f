//! Counts of what the functions of this process report through the facade `metrics`, by minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use inbox_aws::clock::Clock;
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::minute_values::{Minute, MinuteValues};

/// Counters that are kept, each with its dimensions. All of the functions' together have fewer.
const COUNTERS_MAX: usize = 500;

/// Name and dimensions of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MetricKey {
    pub(super) name: String,
    pub(super) dimensions: BTreeMap<String, String>,
}

/// The counters of the last hour.
#[derive(Debug, Default)]
pub(super) struct CounterMetrics(Mutex<HashMap<MetricKey, MinuteValues>>);

impl CounterMetrics {
    fn add(&self, key: &MetricKey, minute: Minute, count: u64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() < COUNTERS_MAX || counters.contains_key(key) {
            counters.entry(key.clone()).or_default().add(minute, count);
        }
    }

    /// The values of a counter; none if it was never reported.
    pub(super) fn between(&self, key: &MetricKey, start: Minute, end: Minute) -> Vec<(Minute, u64)> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.get(key).map(|values| values.between(start, end)).unwrap_or_default()
    }
}

/// A recorder for the facade `metrics` that counts for [`Emulator::metrics_recorder`](super::Emulator::metrics_recorder).
/// Only counters are counted.
#[derive(Clone, Debug)]
pub struct MetricsRecorder {
    pub(super) counters: Arc<CounterMetrics>,
    pub(super) clock: Clock,
}

impl Recorder for MetricsRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let dimensions = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
        let key = MetricKey { name: key.name().to_owned(), dimensions: dimensions.collect() };
        Counter::from_arc(Arc::new(CountedMetric { key, recorder: self.clone() }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// One counter of a recorder.
struct CountedMetric {
    key: MetricKey,
    recorder: MetricsRecorder,
}

impl CounterFn for CountedMetric {
    fn increment(&self, value: u64) {
        let minute = Minute::of(self.recorder.clock.now());
        self.recorder.counters.add(&self.key, minute, value);
    }

    /// The functions only add.
    fn absolute(&self, _: u64) {}
}
