//! Values of metrics, by minute, as CloudWatch stores them.

use std::collections::BTreeMap;

use serde_json::Value;

/// A value, and how often it was reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) count: f64,
}

/// The values of one metric in one minute; empty if there is no data.
pub(super) type Samples = Vec<Sample>;

/// The values of one minute, by [metric](metric_key).
pub(super) type Minute = BTreeMap<String, Samples>;

/// One value.
pub(super) fn once(value: f64) -> Samples {
    samples(value, 1.0)
}

/// The same value, reported `count` times.
pub(super) fn samples(value: f64, count: f64) -> Samples {
    vec![Sample { value, count }]
}

/// Identifies a metric: its namespace, its name and its dimensions. Our own namespace and the stack's name are left out.
pub(super) fn metric_key(
    namespace: &str,
    name: &str,
    dimensions: impl Iterator<Item = (String, String)>,
) -> String {
    let dimensions: BTreeMap<_, _> = dimensions.collect();
    let dimensions = dimensions.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let namespace = if namespace.starts_with("BalanceInbox/") { "" } else { &format!("{namespace} ") };
    format!("{namespace}{name}{dimensions}").replace("${StackName}-", "")
}

/// Reads lines of EMF as CloudWatch does.
pub(super) fn parse_emf(lines: &str) -> Minute {
    let mut minute = Minute::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let metrics = directive["Metrics"].as_array().unwrap();
            for set in directive["Dimensions"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let dimensions =
                    || set.as_array().unwrap().iter().map(|name| (text(name), text(&line[text(name)])));
                for name in metrics.iter().map(|metric| text(&metric["Name"])) {
                    let key = metric_key(directive["Namespace"].as_str().unwrap(), &name, dimensions());
                    add(minute.entry(key).or_default(), &line[&name]);
                }
            }
        }
    }
    minute
}

/// Adds a number, or each number of an array.
fn add(samples: &mut Samples, values: &Value) {
    let values = values.as_array().map_or_else(|| std::slice::from_ref(values), Vec::as_slice);
    for value in values.iter().map(|value| value.as_f64().unwrap()) {
        match samples.iter_mut().find(|sample| sample.value == value) {
            Some(sample) => sample.count += 1.0,
            None => samples.push(Sample { value, count: 1.0 }),
        }
    }
}

/// The values of a span of time.
#[derive(Clone)]
pub(super) struct Series {
    minutes: usize,
    metrics: BTreeMap<String, Vec<Samples>>,
}

impl Series {
    /// The same minute, so many times.
    pub(super) fn repeat(minute: &Minute, minutes: usize) -> Self {
        let metrics = minute.iter().map(|(metric, samples)| (metric.clone(), vec![samples.clone(); minutes]));
        Self { minutes, metrics: metrics.collect() }
    }

    /// Number of minutes.
    pub(super) fn minutes(&self) -> usize {
        self.minutes
    }

    /// Adds values to those of a minute. What happens after the end of the series is left out.
    pub(super) fn add(&mut self, at: usize, minute: &Minute) {
        if at >= self.minutes {
            return;
        }
        for (metric, samples) in minute {
            let metric = self.metrics.entry(metric.clone()).or_insert_with(|| vec![Vec::new(); self.minutes]);
            metric[at].extend(samples);
        }
    }

    /// Removes a metric's values from this minute on.
    pub(super) fn end(&mut self, metric: &str, from: usize) {
        self.metrics.get_mut(metric).unwrap()[from..].iter_mut().for_each(Vec::clear);
    }

    /// Removes a metric's values before this minute.
    pub(super) fn begin(&mut self, metric: &str, at: usize) {
        self.metrics.get_mut(metric).unwrap()[..at].iter_mut().for_each(Vec::clear);
    }

    /// The values of a metric, by minute; empty if it was never reported.
    pub(super) fn of(&self, metric: &str) -> &[Samples] {
        self.metrics.get(metric).map_or(&[], Vec::as_slice)
    }

    /// The sum of a metric's values.
    pub(super) fn sum(&self, metric: &str) -> f64 {
        self.of(metric).iter().flatten().map(|sample| sample.value * sample.count).sum()
    }
}

#[test]
fn emf_is_read_with_dimensions_and_every_value() {
    let lines = r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"BalanceInbox/s","Dimensions":[[],["provider","reason"]],"Metrics":[{"Name":"rejected"}]}]},"provider":"fynapse","reason":"mismatch","rejected":3}
{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"BalanceInbox/s","Dimensions":[[]],"Metrics":[{"Name":"age","Unit":"Seconds"}]}]},"age":[5.0,0.0,5.0]}"#;
    let expected = BTreeMap::from([
        ("age".to_owned(), vec![Sample { value: 5.0, count: 2.0 }, Sample { value: 0.0, count: 1.0 }]),
        ("rejected".to_owned(), once(3.0)),
        ("rejected provider=fynapse reason=mismatch".to_owned(), once(3.0)),
    ]);
    assert_eq!(parse_emf(lines), expected);
}
