//! A model of how CloudWatch evaluates metric alarms, for the features that infra/monitoring.yaml uses. Any other feature is an error.
//!
//! From AWS's [Alarm evaluation](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html) and
//! [Configuring how CloudWatch alarms treat missing data](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html):
//!
//! - With a period of a minute or longer, an alarm is evaluated every minute, on periods that end with that minute.
//! - CloudWatch retrieves more periods than `EvaluationPeriods`; how many is not documented. If enough of them have data, the
//!   newest of these count, and missing data does not. Otherwise all that have data count, and missing data fills the rest.
//!
//! CloudWatch's own delay is left out: a value is seen in its minute.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::series::{Sample, Samples, Series, metric_key};
use crate::tidy::{as_written, resources, template_at};

/// Periods that CloudWatch retrieves beyond `EvaluationPeriods`: none; two, as in AWS's examples; and many. Every alarm is evaluated with
/// each, since AWS does not document them.
pub(super) const EXTRA_PERIODS: [usize; 3] = [0, 2, 10];

/// Properties of an alarm that the model knows.
const PROPERTIES: [&str; 15] = [
    "AlarmActions",
    "AlarmDescription",
    "AlarmName",
    "ComparisonOperator",
    "DatapointsToAlarm",
    "Dimensions",
    "EvaluationPeriods",
    "ExtendedStatistic",
    "MetricName",
    "Namespace",
    "OKActions",
    "Period",
    "Statistic",
    "Threshold",
    "TreatMissingData",
];

/// State of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// New, and not evaluated yet.
    InsufficientData,
    Ok,
    Alarm,
}

/// Statistic over the values of a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    Average,
    Maximum,
    SampleCount,
    Sum,
    /// Per cent.
    Percentile(f64),
}

impl Statistic {
    fn parse(alarm: &Map<String, Value>) -> Self {
        let text = |name: &str| alarm.get(name).map(|value| value.as_str().unwrap());
        match (text("Statistic"), text("ExtendedStatistic")) {
            (Some("Average"), None) => Self::Average,
            (Some("Maximum"), None) => Self::Maximum,
            (Some("SampleCount"), None) => Self::SampleCount,
            (Some("Sum"), None) => Self::Sum,
            (None, Some(percentile)) => {
                Self::Percentile(percentile.strip_prefix('p').unwrap().parse().unwrap())
            }
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// The statistic of a period, by its minutes; `None` without data.
    pub(super) fn of(self, period: &[Samples]) -> Option<f64> {
        let samples: Vec<_> = period.iter().flatten().copied().collect();
        let count: f64 = samples.iter().map(|sample| sample.count).sum();
        let sum: f64 = samples.iter().map(|sample| sample.value * sample.count).sum();
        (count > 0.0).then(|| match self {
            Self::Average => sum / count,
            Self::Maximum => percentile(samples, count, 100.0),
            Self::SampleCount => count,
            Self::Sum => sum,
            Self::Percentile(per_cent) => percentile(samples, count, per_cent),
        })
    }
}

/// The smallest value below or at which are so many per cent of the values.
fn percentile(mut samples: Samples, count: f64, per_cent: f64) -> f64 {
    samples.sort_by(|one, other| one.value.total_cmp(&other.value));
    let mut before = 0.0;
    let reaches = |sample: &&Sample| {
        before += sample.count;
        before * 100.0 >= count * per_cent
    };
    samples.iter().find(reaches).unwrap().value
}

/// Comparison of a statistic with the threshold.
#[derive(Clone, Copy, Debug)]
enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
}

impl Comparison {
    fn parse(name: &str) -> Self {
        match name {
            "GreaterThanThreshold" => Self::Greater,
            "GreaterThanOrEqualToThreshold" => Self::GreaterOrEqual,
            "LessThanThreshold" => Self::Less,
            other => panic!("the model does not know {other}"),
        }
    }
}

/// How many datapoints of how many periods are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    pub(super) periods: usize,
    pub(super) datapoints_to_alarm: usize,
    pub(super) missing_is_breaching: bool,
}

impl Evaluation {
    /// The state after these datapoints, newest first: true if one breaches the threshold, `None` if it is missing.
    pub(super) fn state(self, range: impl Iterator<Item = Option<bool>>) -> State {
        let existing: Vec<_> = range.flatten().take(self.periods).collect();
        let filled = if self.missing_is_breaching { self.periods - existing.len() } else { 0 };
        let breaching = existing.iter().filter(|breaches| **breaches).count() + filled;
        if breaching >= self.datapoints_to_alarm { State::Alarm } else { State::Ok }
    }
}

/// An alarm of infra/monitoring.yaml.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    /// The condition under which a stack has it.
    pub(super) condition: Option<String>,
    /// True if it sends a message when it goes to `ALARM`.
    pub(super) notifies: bool,
    /// True if it sends a message when it goes to `OK`.
    pub(super) notifies_end: bool,
    pub(super) metric: String,
    pub(super) evaluation: Evaluation,
    pub(super) period_mins: usize,
    statistic: Statistic,
    comparison: Comparison,
    threshold: f64,
}

/// Every alarm, by its logical id.
pub(super) fn alarms() -> BTreeMap<String, Alarm> {
    let all = resources(&template_at("infra/monitoring.yaml"), "AWS::CloudWatch::Alarm");
    all.into_iter().map(|(id, resource)| (id, Alarm::parse(&resource))).collect()
}

impl Alarm {
    /// Parses an alarm. Panics if it uses a feature that the model does not know.
    pub(super) fn parse(resource: &Value) -> Self {
        let properties = resource["Properties"].as_object().unwrap();
        for name in properties.keys() {
            assert!(PROPERTIES.contains(&name.as_str()), "the model does not know {name}");
        }
        let text = |name: &str| as_written(&properties[name]);
        let number = |name: &str| usize::try_from(properties[name].as_u64().unwrap()).unwrap();
        let dimensions = properties.get("Dimensions").and_then(Value::as_array).into_iter().flatten();
        let dimensions = dimensions.map(|it| (as_written(&it["Name"]), as_written(&it["Value"])));
        let (periods, period_secs) = (number("EvaluationPeriods"), number("Period"));
        assert!(period_secs % 60 == 0 && periods * period_secs <= 86_400, "evaluated less or more often");
        Self {
            condition: resource["Condition"].as_str().map(str::to_owned),
            notifies: properties.contains_key("AlarmActions"),
            notifies_end: properties.contains_key("OKActions"),
            metric: metric_key(&text("Namespace"), &text("MetricName"), dimensions),
            evaluation: Evaluation {
                periods,
                datapoints_to_alarm: properties
                    .get("DatapointsToAlarm")
                    .map_or(periods, |_| number("DatapointsToAlarm")),
                missing_is_breaching: match text("TreatMissingData").as_str() {
                    "breaching" => true,
                    "notBreaching" => false,
                    other => panic!("the model does not know {other}"),
                },
            },
            period_mins: period_secs / 60,
            statistic: Statistic::parse(properties),
            comparison: Comparison::parse(&text("ComparisonOperator")),
            threshold: properties["Threshold"].as_f64().unwrap(),
        }
    }

    /// The smallest whole number that breaches the threshold.
    pub(super) fn smallest_breach(&self) -> f64 {
        match self.comparison {
            Comparison::Greater => self.threshold + 1.0,
            Comparison::GreaterOrEqual => self.threshold,
            Comparison::Less => self.threshold - 1.0,
        }
    }

    /// True if the values of a period add up.
    pub(super) fn adds_up(&self) -> bool {
        self.statistic == Statistic::Sum
    }

    fn is_breaching(&self, datapoint: f64) -> bool {
        match self.comparison {
            Comparison::Greater => datapoint > self.threshold,
            Comparison::GreaterOrEqual => datapoint >= self.threshold,
            Comparison::Less => datapoint < self.threshold,
        }
    }

    /// For the period that ends with each minute: true if its datapoint breaches the threshold, `None` if it is missing.
    fn breaches(&self, series: &Series) -> Vec<Option<bool>> {
        let samples = series.of(&self.metric);
        // Where no value differs from the one before, neither does the datapoint. Most minutes of a week are idle.
        let mut unchanged = 0;
        let mut breaches: Vec<Option<bool>> = Vec::with_capacity(series.minutes());
        for end in 0..samples.len() {
            unchanged = if end > 0 && samples[end] == samples[end - 1] { unchanged + 1 } else { 0 };
            let start = (end + 1).saturating_sub(self.period_mins);
            let known = breaches.last().filter(|_| unchanged >= self.period_mins).copied();
            breaches.push(known.unwrap_or_else(|| {
                self.statistic.of(&samples[start..=end]).map(|datapoint| self.is_breaching(datapoint))
            }));
        }
        breaches.resize(series.minutes(), None);
        breaches
    }

    /// Changes of state from the minute `first` on, if the state is `before` until then. See [`EXTRA_PERIODS`].
    pub(super) fn changes(
        &self,
        series: &Series,
        first: usize,
        before: State,
        extra_periods: usize,
    ) -> Vec<(usize, State)> {
        let breaches = self.breaches(series);
        // Missing data that is no breach turns no alarm on.
        if before == State::Ok && !self.evaluation.missing_is_breaching && !breaches.contains(&Some(true)) {
            return Vec::new();
        }
        let mut state = before;
        let mut changes = Vec::new();
        for end in first..series.minutes() {
            let range = (0..self.evaluation.periods + extra_periods)
                .map(|age| end.checked_sub(age * self.period_mins).and_then(|end| breaches[end]));
            let next = self.evaluation.state(range);
            if next != state {
                changes.push((end, next));
            }
            state = next;
        }
        changes
    }

    /// True if the change to this state sends a message.
    pub(super) fn sends(&self, state: State) -> bool {
        match state {
            State::Alarm => self.notifies,
            State::Ok => self.notifies_end,
            State::InsufficientData => false,
        }
    }
}
