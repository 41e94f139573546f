//! Recordings of our own metrics: what the functions reported, minute by minute.
//!
//! tests/fixtures/alarm_recordings.json keeps the metrics that alarms watch or that AWS's metrics are derived from. A recording is a list
//! of `[minutes, {metric: [[value, count], …]}]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::sync::LazyLock;

use inbox_aws::telemetry::init_metrics;
use serde_json::{Value, json};

use super::cloudwatch::alarms;
use super::recorded_runs::{Recorder, record_all};
use super::series::{Minute, Sample};
use crate::tidy::read_file;

const PATH: &str = "tests/fixtures/alarm_recordings.json";
/// Environment variable: if set, the file is written.
const WRITE: &str = "WRITE_RECORDINGS";

/// The minutes of a run.
pub(super) type Recording = Vec<Minute>;

static RECORDINGS: LazyLock<BTreeMap<String, Recording>> = LazyLock::new(|| {
    let file: BTreeMap<String, Vec<(usize, Value)>> = serde_json::from_str(&read_file(PATH)).unwrap();
    let minutes = |(count, minute): (usize, Value)| std::iter::repeat_n(parse(&minute), count);
    file.into_iter().map(|(name, runs)| (name, runs.into_iter().flat_map(minutes).collect())).collect()
});

/// A recording in the file.
pub(super) fn recording(name: &str) -> &'static Recording {
    RECORDINGS.get(name).unwrap_or_else(|| panic!("{PATH} has no {name}"))
}

/// A recording of one minute.
pub(super) fn minute(name: &str) -> &'static Minute {
    let recording = recording(name);
    assert_eq!(recording.len(), 1, "{name}");
    &recording[0]
}

fn parse(minute: &Value) -> Minute {
    let sample = |pair: &Value| Sample { value: pair[0].as_f64().unwrap(), count: pair[1].as_f64().unwrap() };
    let metrics = minute.as_object().unwrap().iter();
    metrics
        .map(|(metric, samples)| (metric.clone(), samples.as_array().unwrap().iter().map(sample).collect()))
        .collect()
}

/// Metrics that are kept.
fn kept_metrics() -> BTreeSet<String> {
    let deliveries = ["received", "unavailable", "processed"].into_iter();
    let of_deliveries = deliveries
        .flat_map(|name| ["fynapse", "rightfoot"].map(|provider| format!("{name} provider={provider}")));
    let of_alarms = alarms().into_values().map(|alarm| alarm.metric);
    of_deliveries.chain(of_alarms).chain(["requested".to_owned()]).collect()
}

/// The text of the file: one line for equal minutes in a row.
fn render(recordings: &BTreeMap<&str, Recording>) -> String {
    let kept = kept_metrics();
    let mut text = String::new();
    for (name, recording) in recordings {
        let mut runs: Vec<(usize, Value)> = Vec::new();
        for minute in recording {
            let metrics = minute.iter().filter(|(metric, _)| kept.contains(*metric));
            let samples = |it: &[Sample]| it.iter().map(|it| json!([it.value, it.count])).collect::<Vec<_>>();
            let metrics: Value = metrics.map(|(metric, it)| (metric.clone(), json!(samples(it)))).collect();
            match runs.last_mut() {
                Some((count, last)) if *last == metrics => *count += 1,
                _ => runs.push((1, metrics)),
            }
        }
        let lines: Vec<_> = runs.iter().map(|(count, metrics)| format!("  [{count}, {metrics}]")).collect();
        let comma = if text.is_empty() { "" } else { ",\n" };
        write!(text, "{comma}\"{name}\": [\n{}\n]", lines.join(",\n")).unwrap();
    }
    format!("{{\n{text}\n}}\n")
}

/// Runs the functions. It collects the metrics of the whole process, so no other test may run beside it.
#[tokio::test]
#[ignore = "takes a minute, and needs a process of its own; .ci/nightly runs it"]
async fn the_recordings_are_what_the_functions_report_today() {
    let recorder = Recorder::new(init_metrics("BalanceInbox/recorded".to_owned()).unwrap());
    let text = render(&Box::pin(record_all(&recorder)).await);
    if std::env::var_os(WRITE).is_some() {
        fs::write(crate::tidy::repository_root().join(PATH), &text).unwrap();
    }
    assert!(
        text == read_file(PATH),
        "{PATH} is not what the functions report: {WRITE}=1 cargo test -p tests --test it alarms:: -- --ignored writes it"
    );
}
