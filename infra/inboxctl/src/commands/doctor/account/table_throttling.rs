//! Check that DynamoDB has throttled no table and no index in the last day.

use serde_json::{Value, json};

use inbox_aws::AwsError;
use inbox_core::time::UnixMillis;

use crate::aws_error::ResourceRef;
use crate::cloudwatch::{MetricDataResult, get_metric_data, query_id, whole_secs};
use crate::commands::doctor::check_result::CheckResult;
use crate::output::{Timestamp, pluralize};
use crate::target::Target;

const CHECK: &str = "table throttling";
const HOUR_SECS: i64 = 3_600;
/// Span that is looked at.
const HOURS: i64 = 24;

/// A metric of a table or of one of its indexes.
struct ThrottleMetric {
    table: String,
    index: Option<&'static str>,
    name: &'static str,
    /// What it counts.
    counted: [&'static str; 2],
}

/// Throttled reads or writes.
struct Throttled {
    text: String,
    /// Start of the last hour that has some, in seconds since the epoch.
    last_hour: i64,
}

pub(super) async fn check(target: &Target) -> CheckResult {
    let tables = [
        (target.inbox_table(), ["due", "listed"].as_slice()),
        (target.balances_table(), ["batch"].as_slice()),
    ];
    let tables = tables.into_iter().filter_map(|(table, indexes)| Some((table.ok()?, indexes)));
    let metrics: Vec<_> =
        tables.flat_map(|(table, indexes)| throttle_metrics(&table.name, indexes)).collect();
    if metrics.is_empty() {
        return CheckResult::skipped(CHECK, "no table is named");
    }
    match read_throttled(target, &metrics).await {
        Ok(throttled) => check_throttled(&throttled),
        Err(fault) => {
            let resource = ResourceRef::new("the metrics of", "AWS/DynamoDB", "--stack");
            CheckResult::from_optional_call(target, CHECK, &fault, &resource)
        }
    }
}

/// Metrics of a table and its indexes: the table's own do not include those of an index
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>).
fn throttle_metrics(table: &str, indexes: &[&'static str]) -> Vec<ThrottleMetric> {
    let parts = std::iter::once(None).chain(indexes.iter().copied().map(Some));
    let of_part = |index: Option<&'static str>| {
        let metric = |name, counted| ThrottleMetric { table: table.to_owned(), index, name, counted };
        [metric("WriteThrottleEvents", ["write", "writes"]), metric("ReadThrottleEvents", ["read", "reads"])]
    };
    parts.flat_map(of_part).collect()
}

async fn read_throttled(target: &Target, metrics: &[ThrottleMetric]) -> Result<Vec<Throttled>, AwsError> {
    let results = get_metric_data(target, &request_body(metrics, target.now())).await?;
    let of_metric = |(index, metric): (usize, &ThrottleMetric)| {
        let result = results.iter().find(|result| result.id == query_id(index))?;
        throttled(metric, result)
    };
    Ok(metrics.iter().enumerate().filter_map(of_metric).collect())
}

fn request_body(metrics: &[ThrottleMetric], now: UnixMillis) -> Value {
    let query = |(index, metric): (usize, &ThrottleMetric)| {
        let mut dimensions = vec![json!({"Name": "TableName", "Value": metric.table})];
        dimensions.extend(metric.index.map(|it| json!({"Name": "GlobalSecondaryIndexName", "Value": it})));
        let of = json!({"Namespace": "AWS/DynamoDB", "MetricName": metric.name, "Dimensions": dimensions});
        json!({"Id": query_id(index), "MetricStat": {"Metric": of, "Period": HOUR_SECS, "Stat": "Sum"}})
    };
    // Whole hours, the current one among them: the times of values are then those of hours.
    let end = (now.0.div_euclid(1_000 * HOUR_SECS) + 1) * HOUR_SECS;
    json!({
        "StartTime": end - (HOURS + 1) * HOUR_SECS,
        "EndTime": end,
        "ScanBy": "TimestampAscending",
        "MetricDataQueries": metrics.iter().enumerate().map(query).collect::<Vec<_>>(),
    })
}

fn throttled(metric: &ThrottleMetric, result: &MetricDataResult) -> Option<Throttled> {
    let values = result.timestamps.iter().zip(&result.values);
    let hours: Vec<_> =
        values.map(|(at, value)| (whole_secs(*at).as_secs(), whole_secs(*value).as_secs())).collect();
    let count = hours.iter().map(|(_, value)| value).sum();
    let last_hour = hours.iter().filter(|(_, value)| *value > 0).map(|(at, _)| *at).max()?;
    let [one, many] = metric.counted;
    let place = match metric.index {
        Some(index) => format!("index {index} of table {}", metric.table),
        None => format!("table {}", metric.table),
    };
    let text = format!("{} of {place}", pluralize(count, one, many));
    Some(Throttled { text, last_hour: i64::try_from(last_hour).ok()? })
}

fn check_throttled(throttled: &[Throttled]) -> CheckResult {
    let Some(last_hour) = throttled.iter().map(|it| it.last_hour).max() else {
        return CheckResult::ok(CHECK, format!("no table was throttled in the last {HOURS} hours"));
    };
    let texts = throttled.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(", ");
    let last_hour = Timestamp(UnixMillis(last_hour * 1_000)).to_text();
    let found =
        format!("throttled in the last {HOURS} hours: {texts}; the last in the hour from {last_hour}");
    let advice = "throttled calls are tried again; if it goes on, lower the rate limits of the routes, or raise the warm throughput of the table and its indexes";
    CheckResult::warn(CHECK, found, advice)
}
