//! The model of CloudWatch agrees with AWS's examples.

use serde_json::{Value, json};

use super::cloudwatch::State::{self, Alarm as On, InsufficientData, Ok};
use super::cloudwatch::{Alarm, Evaluation, Statistic};
use super::series::{Minute, Samples, Series, once, samples};
use crate::tidy::{resources, template_at};

/// Datapoints, oldest first (`X` breaches, `-` is missing), the state if missing data is breaching, and if it is not.
type Example = (&'static str, State, State);

/// From AWS's "Configuring how CloudWatch alarms treat missing data": `EvaluationPeriods` is 3, and the evaluation range is 5. Our alarms
/// use two of its four columns.
const THREE_OF_THREE: [Example; 5] =
    [("0-X-X", Ok, Ok), ("----0", Ok, Ok), ("-----", On, Ok), ("0XX-X", On, On), ("--X--", On, Ok)];
const TWO_OF_THREE: [Example; 5] =
    [("0-X-X", On, On), ("00X0X", On, On), ("0-X--", On, Ok), ("----0", On, Ok), ("---X-", On, Ok)];

#[test]
fn missing_data_is_treated_as_in_the_examples() {
    for (datapoints_to_alarm, examples) in [(3, THREE_OF_THREE), (2, TWO_OF_THREE)] {
        for (datapoints, if_breaching, if_not_breaching) in examples {
            for (missing_is_breaching, expected) in [(true, if_breaching), (false, if_not_breaching)] {
                let evaluation = Evaluation { periods: 3, datapoints_to_alarm, missing_is_breaching };
                let range = datapoints.chars().rev().map(|it| (it != '-').then_some(it == 'X'));
                let case = format!("{datapoints}: {datapoints_to_alarm} of 3, {missing_is_breaching}");
                assert_eq!(evaluation.state(range), expected, "{case}");
            }
        }
    }
}

/// An alarm like one of ours on the metric `m`, with these properties changed.
fn alarm_with(changes: Value) -> Alarm {
    let mut alarm =
        resources(&template_at("infra/monitoring.yaml"), "AWS::CloudWatch::Alarm")["TooLarge"].clone();
    let properties = alarm["Properties"].as_object_mut().unwrap();
    properties.insert("MetricName".to_owned(), "m".into());
    properties.extend(changes.as_object().unwrap().clone());
    Alarm::parse(&alarm)
}

/// Values of the metric `m` by minute; `None` is missing.
fn series(values: &[Option<f64>]) -> Series {
    let mut series = Series::repeat(&Minute::new(), values.len());
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            series.add(at, &Minute::from([("m".to_owned(), once(*value))]));
        }
    }
    series
}

/// From AWS's "Alarm evaluation": the threshold is 3, and three periods count. The third to fifth periods are above it, and the ninth is.
#[test]
fn an_alarm_is_on_while_all_of_its_periods_breach() {
    let alarm = alarm_with(json!({"Period": 60, "EvaluationPeriods": 3, "Threshold": 3}));
    let values = [1.0, 2.0, 4.0, 5.0, 4.0, 2.0, 1.0, 2.0, 4.0, 2.0].map(Some);
    assert_eq!(alarm.changes(&series(&values), 0, InsufficientData, 2), [(0, Ok), (4, On), (5, Ok)]);
}

/// From the same page: with a period of 5 minutes, an alarm is evaluated on minutes 1 to 5, and then on minutes 2 to 6.
#[test]
fn periods_slide_by_a_minute() {
    let alarm = alarm_with(json!({"Period": 300, "EvaluationPeriods": 1, "Threshold": 2}));
    let values = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0].map(Some);
    assert_eq!(alarm.changes(&series(&values), 4, Ok, 2), [(6, On)], "minutes 3 to 7 have three");
}

#[test]
fn a_period_without_data_is_missing_and_older_data_counts_instead() {
    let alarm = alarm_with(json!({"Period": 60, "EvaluationPeriods": 1, "Threshold": 0}));
    let values = [None, Some(1.0), None, None, None, None];
    assert_eq!(alarm.changes(&series(&values), 0, Ok, 0), [(1, On), (2, Ok)]);
    assert_eq!(alarm.changes(&series(&values), 0, Ok, 2), [(1, On), (4, Ok)]);
}

#[test]
fn each_statistic_is_of_all_values_of_the_period() {
    let period: [Samples; 3] = [samples(1.0, 98.0), Vec::new(), [once(7.0), once(3.0)].concat()];
    for (statistic, expected) in [
        (Statistic::Sum, 108.0),
        (Statistic::SampleCount, 100.0),
        (Statistic::Average, 1.08),
        (Statistic::Maximum, 7.0),
        (Statistic::Percentile(98.0), 1.0),
        (Statistic::Percentile(99.0), 3.0),
        (Statistic::Percentile(100.0), 7.0),
    ] {
        assert_eq!(statistic.of(&period), Some(expected), "{statistic:?}");
        assert_eq!(statistic.of(&[Vec::new()]), None, "{statistic:?}");
    }
}

/// What the model does not know fails here, and so does any test of an alarm that uses it.
#[test]
fn a_feature_that_the_model_does_not_know_is_an_error() {
    for unknown in [
        json!({"Metrics": []}),
        json!({"EvaluateLowSampleCountPercentile": "ignore"}),
        json!({"EvaluationWindow": {}}),
        json!({"Statistic": "Minimum"}),
        json!({"ExtendedStatistic": "p99"}),
        json!({"TreatMissingData": "missing"}),
        json!({"ComparisonOperator": "LessThanOrEqualToThreshold"}),
        json!({"Period": 30}),
        json!({"EvaluationPeriods": 25}),
    ] {
        let parsed = std::panic::catch_unwind(|| alarm_with(unknown.clone()));
        assert!(parsed.is_err(), "{unknown}");
    }
}
