//! CloudWatch emulator: `GetMetricData` of the counters that the functions report, and of two metrics of the queues.

use std::collections::BTreeMap;

use inbox_core::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};
use winterbaume_core::MockResponse;

use super::counter_metrics::{CounterMetrics, MetricKey};
use super::minute_values::Minute;
use super::queue_metrics::QueueMetrics;
use crate::resource_names::METRICS_NAMESPACE;

/// Namespace of the metrics of SQS.
const SQS_NAMESPACE: &str = "AWS/SQS";
/// Most metrics in one request: AWS's limit.
const QUERIES_MAX: usize = 500;
/// Length of a period, in seconds. The metrics are kept by minute.
const PERIOD_SECS: u64 = 60;

/// Error code and message.
type CloudWatchError = (&'static str, String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetMetricDataRequest {
    /// Seconds since the epoch.
    start_time: f64,
    end_time: f64,
    metric_data_queries: Vec<MetricDataQuery>,
    scan_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDataQuery {
    id: String,
    metric_stat: Option<MetricStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    metric: Metric,
    period: u64,
    stat: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// What is asked, and the state that answers it.
pub(super) struct CloudWatch<'a> {
    pub(super) counters: &'a CounterMetrics,
    pub(super) queues: &'a QueueMetrics,
    pub(super) now: UnixMillis,
}

impl CloudWatch<'_> {
    /// Handles a request.
    pub(super) fn handle(&self, operation: &str, body: &[u8]) -> MockResponse {
        let answer = match operation {
            "GetMetricData" => serde_json::from_slice(body)
                .map_err(|error| ("SerializationException", error.to_string()))
                .and_then(|request| self.get_metric_data(&request)),
            _ => Err(("UnknownOperationException", format!("{operation} is not emulated"))),
        };
        match answer {
            Ok(answer) => MockResponse::json(200, answer.to_string()),
            Err((code, message)) => {
                MockResponse::json(400, json!({"__type": code, "message": message}).to_string())
            }
        }
    }

    fn get_metric_data(&self, request: &GetMetricDataRequest) -> Result<Value, CloudWatchError> {
        if request.metric_data_queries.len() > QUERIES_MAX {
            return Err(("ValidationError", format!("more than {QUERIES_MAX} metrics")));
        }
        let (start, end) = (time(request.start_time)?, time(request.end_time)?);
        let (start, end) = (Minute::from(start), Minute::from(end));
        let is_ascending = request.scan_by.as_deref() == Some("TimestampAscending");
        let result = |query: &MetricDataQuery| {
            let stat = query.metric_stat.as_ref();
            let stat = stat.ok_or_else(|| invalid("only MetricStat is emulated, no Expression"))?;
            let mut values = self.values(stat, start, end)?;
            if !is_ascending {
                values.reverse();
            }
            let times: Vec<_> = values.iter().map(|(minute, _)| minute.start().0 / 1_000).collect();
            let values: Vec<_> = values.iter().map(|(_, value)| value).collect();
            Ok(json!({
                "Id": query.id,
                "Label": stat.metric.metric_name,
                "StatusCode": "Complete",
                "Timestamps": times,
                "Values": values,
            }))
        };
        let results = request.metric_data_queries.iter().map(result).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({"MetricDataResults": results, "Messages": []}))
    }

    fn values(
        &self,
        asked: &MetricStat,
        start: Minute,
        end: Minute,
    ) -> Result<Vec<(Minute, u64)>, CloudWatchError> {
        let Metric { namespace, metric_name, dimensions } = &asked.metric;
        let dimensions: BTreeMap<_, _> =
            dimensions.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
        let queue = dimensions.get("QueueName").map_or("", String::as_str);
        if asked.period != PERIOD_SECS {
            return Err(invalid("only the period 60 is emulated"));
        }
        match (namespace.as_str(), metric_name.as_str(), asked.stat.as_str()) {
            (METRICS_NAMESPACE, name, "Sum") => {
                let key = MetricKey { name: name.to_owned(), dimensions };
                Ok(self.counters.between(&key, start, end))
            }
            (SQS_NAMESPACE, "NumberOfMessagesSent", "Sum") => Ok(self.queues.sent(queue, start, end)),
            (SQS_NAMESPACE, "ApproximateAgeOfOldestMessage", "Maximum") => {
                Ok(self.queues.oldest_age_secs(queue, start, end, self.now))
            }
            (METRICS_NAMESPACE | SQS_NAMESPACE, name, stat) => {
                Err(invalid(&format!("{stat} of {name} is not emulated")))
            }
            // As in AWS, where any name may be asked for.
            _ => Ok(Vec::new()),
        }
    }
}

fn time(secs: f64) -> Result<UnixMillis, CloudWatchError> {
    let since = std::time::Duration::try_from_secs_f64(secs).map_err(|_| invalid("not a time"))?;
    Ok(UnixMillis(0).plus(since))
}

fn invalid(message: &str) -> CloudWatchError {
    ("InvalidParameterValueException", message.to_owned())
}
