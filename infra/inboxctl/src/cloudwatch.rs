//! The metrics of the last hour, from CloudWatch or from the endpoint of `local`, in one `GetMetricData`.

use std::time::{Duration, SystemTime};

use inbox_aws::telemetry::metrics;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_console::{LAST_HOUR_MINUTES, LastHour, MetricSeries, MetricSource, OverviewMetric};
use inbox_core::bus::detail::DETAIL_TYPES;
use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws_error::{ResourceRef, explain};
use crate::loopback::is_loopback;
use crate::sigv4_client::{AwsService, SigV4Client};
use crate::target::Target;

pub(crate) const CLOUDWATCH: AwsService = AwsService { sdk_id: "CloudWatch", signing_name: "monitoring" };
const GET_METRIC_DATA: &str = "cloudwatch:GetMetricData";
const OPERATION: &str = "GraniteServiceVersion20100801.GetMetricData";
/// The page waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
const MINUTE_MS: i64 = 60_000;

/// Names of the queues whose metrics are read.
#[derive(Debug)]
pub(crate) struct MonitoredQueues {
    pub(crate) events: String,
    pub(crate) dead_letters: String,
}

/// A metric in CloudWatch, and what it is on the overview.
struct RequestedMetric {
    metric: OverviewMetric,
    /// Provider or type, if it is counted by one.
    group: &'static str,
    namespace: String,
    name: &'static str,
    /// Its only dimension.
    dimension: Option<(&'static str, String)>,
    stat: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetMetricDataResponse {
    metric_data_results: Vec<MetricDataResult>,
}

/// Values of one query.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricDataResult {
    pub(crate) id: String,
    /// Seconds since the epoch.
    #[serde(default)]
    pub(crate) timestamps: Vec<f64>,
    #[serde(default)]
    pub(crate) values: Vec<f64>,
}

/// Reads the metrics of the last hour.
///
/// # Errors
///
/// The text says why there are none, and names a permission that is missing.
pub(crate) async fn read_last_hour(target: &Target, queues: &MonitoredQueues) -> Result<LastHour, String> {
    let namespace = target.metrics_namespace();
    let namespace = namespace.ok_or("CloudWatch's metrics are those of a stack: name it with --stack")?;
    let requested = requested_metrics(&namespace, queues);
    let start = first_minute(target.now());
    let series = read_series(target, &requested, start)
        .await
        .map_err(|error| explain(&error, &ResourceRef::new("the metrics of", namespace, "--stack")))?;
    let endpoint = target.account.endpoint_url(CLOUDWATCH.sdk_id).and_then(|url| Url::parse(&url).ok());
    let is_local = endpoint.is_some_and(|url| is_loopback(&url));
    Ok(LastHour { source: if is_local { MetricSource::Local } else { MetricSource::CloudWatch }, series })
}

async fn read_series(
    target: &Target,
    requested: &[RequestedMetric],
    start: UnixMillis,
) -> Result<Vec<MetricSeries>, AwsError> {
    let results = get_metric_data(target, &request_body(requested, start)).await?;
    let series = requested.iter().enumerate().map(|(index, requested)| {
        let result = results.iter().find(|result| result.id == query_id(index));
        MetricSeries {
            metric: requested.metric,
            group: requested.group.to_owned(),
            minutes: result.map_or([None; LAST_HOUR_MINUTES], |result| minutes(result, start)),
        }
    });
    Ok(series.collect())
}

/// Calls `GetMetricData`.
///
/// # Errors
///
/// The call failed.
pub(crate) async fn get_metric_data(
    target: &Target,
    body: &Value,
) -> Result<Vec<MetricDataResult>, AwsError> {
    let construction = |_| AwsError { action: GET_METRIC_DATA, kind: AwsErrorKind::Construction };
    let client = SigV4Client::new(target, TIMEOUT).map_err(construction)?;
    let signed_at = SystemTime::UNIX_EPOCH + Duration::from_millis(target.now().0.unsigned_abs());
    let response: GetMetricDataResponse =
        client.post_json(&CLOUDWATCH, GET_METRIC_DATA, OPERATION, body, signed_at).await?;
    Ok(response.metric_data_results)
}

/// Start of the first of the minutes: the last one is the current one.
fn first_minute(now: UnixMillis) -> UnixMillis {
    UnixMillis((now.0.div_euclid(MINUTE_MS) + 1) * MINUTE_MS - hour_ms())
}

const fn hour_ms() -> i64 {
    LAST_HOUR_MINUTES as i64 * MINUTE_MS
}

/// Every metric of the overview. Its price is per metric.
fn requested_metrics(namespace: &str, queues: &MonitoredQueues) -> Vec<RequestedMetric> {
    let count = |metric, name, group, dimension: Option<&'static str>| RequestedMetric {
        metric,
        group,
        namespace: namespace.to_owned(),
        name,
        dimension: dimension.map(|dimension| (dimension, group.to_owned())),
        stat: "Sum",
    };
    let of_queue = |metric, name, queue: &str, stat| RequestedMetric {
        metric,
        group: "",
        namespace: "AWS/SQS".to_owned(),
        name,
        dimension: Some(("QueueName", queue.to_owned())),
        stat,
    };
    let mut requested = Vec::new();
    for (metric, name) in [
        (OverviewMetric::Received, metrics::RECEIVED.name()),
        (OverviewMetric::Recorded, metrics::RECORDED.name()),
        (OverviewMetric::Duplicate, metrics::DUPLICATE.name()),
        (OverviewMetric::Processed, metrics::PROCESSED.name()),
    ] {
        requested.extend(Provider::ALL.iter().map(|it| count(metric, name, it.as_str(), Some("provider"))));
    }
    let published = metrics::PUBLISHED.name();
    requested
        .extend(DETAIL_TYPES.iter().map(|it| count(OverviewMetric::Published, published, it, Some("type"))));
    requested.push(count(OverviewMetric::Quarantined, metrics::QUARANTINED.name(), "", None));
    // SQS's own count has every message, whoever has sent it: webhook functions, relay, poller, or a redrive.
    let (sent, age) = ("NumberOfMessagesSent", "ApproximateAgeOfOldestMessage");
    requested.push(of_queue(OverviewMetric::Enqueued, sent, &queues.events, "Sum"));
    requested.push(of_queue(OverviewMetric::OldestMessageSecs, age, &queues.events, "Maximum"));
    requested.push(of_queue(OverviewMetric::OldestDeadLetterSecs, age, &queues.dead_letters, "Maximum"));
    requested
}

fn request_body(requested: &[RequestedMetric], start: UnixMillis) -> Value {
    let query = |(index, requested): (usize, &RequestedMetric)| {
        let dimensions = requested.dimension.iter();
        let dimensions: Vec<_> =
            dimensions.map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        let metric = json!({
            "Namespace": requested.namespace, "MetricName": requested.name, "Dimensions": dimensions,
        });
        json!({
            "Id": query_id(index),
            "MetricStat": {"Metric": metric, "Period": MINUTE_MS / 1_000, "Stat": requested.stat},
        })
    };
    json!({
        "StartTime": start.0 / 1_000,
        "EndTime": (start.0 + hour_ms()) / 1_000,
        "ScanBy": "TimestampAscending",
        "MetricDataQueries": requested.iter().enumerate().map(query).collect::<Vec<_>>(),
    })
}

/// An id begins with a small letter.
pub(crate) fn query_id(index: usize) -> String {
    format!("m{index}")
}

fn minutes(result: &MetricDataResult, start: UnixMillis) -> [Option<u64>; LAST_HOUR_MINUTES] {
    let mut minutes = [None; LAST_HOUR_MINUTES];
    for (at, value) in result.timestamps.iter().zip(&result.values) {
        let at = UnixMillis(0).plus(whole_secs(*at));
        let minute = usize::try_from(at.since(start).as_secs() / 60).ok();
        if let Some(minute) = minute.and_then(|it| minutes.get_mut(it)).filter(|_| at >= start) {
            *minute = Some(whole_secs(*value).as_secs());
        }
    }
    minutes
}

/// A number without its fraction; 0 if it is negative or too large. (A span of time is what the standard library converts.)
pub(crate) fn whole_secs(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use inbox_aws::telemetry::metrics::METRICS;

    use super::*;

    fn queues() -> MonitoredQueues {
        MonitoredQueues { events: "q".to_owned(), dead_letters: "d".to_owned() }
    }

    #[test]
    fn each_metric_is_requested_with_the_dimensions_that_it_is_emitted_with() {
        let requested = requested_metrics("BalanceInbox/ours", &queues());
        assert_eq!(requested.len(), 15);
        for requested in requested.iter().filter(|it| it.namespace == "BalanceInbox/ours") {
            let emitted = METRICS.iter().find(|metric| metric.name == requested.name).unwrap();
            let dimensions: Vec<_> = requested.dimension.iter().map(|(name, _)| *name).collect();
            assert!(emitted.dimension_sets.contains(&dimensions.as_slice()), "{}", requested.name);
        }
    }

    #[test]
    fn an_hour_ends_with_the_current_minute() {
        let now = UnixMillis(10 * 3_600_000 + 5 * MINUTE_MS + 7_000);
        let start = first_minute(now);
        assert_eq!(start, UnixMillis(9 * 3_600_000 + 6 * MINUTE_MS));
        let secs = |minute: f64| 9.0 * 3_600.0 + 6.0 * 60.0 + minute * 60.0;
        let result = MetricDataResult {
            id: "m0".to_owned(),
            timestamps: vec![secs(0.0), secs(58.0), secs(59.0), secs(60.0), f64::NAN],
            values: vec![1.0, 2.9, -3.0, 4.0, 5.0],
        };
        let minutes = minutes(&result, start);
        assert_eq!((minutes[0], minutes[1], minutes[58], minutes[59]), (Some(1), None, Some(2), Some(0)));
        assert_eq!(minutes.iter().flatten().count(), 3);
    }
}
