//! AWS's metrics of a minute, derived from ours by stated rules.
//!
//! | metric | rule | source |
//! |---|---|---|
//! | API Gateway `5xx` | for each delivery 0, or 1 if it was answered "unavailable" | `http-api-metrics`: a count of errors, whose average is their rate |
//! | API Gateway `Latency` | for each delivery [`WARM_MS`], or [`COLD_MS`] after a deployment | tests/README.md, "Cold and warm" |
//! | Lambda `Errors`, `Throttles` | 0 for each invocation | `monitoring-metrics`: sent in each minute in which a function is invoked |
//! | SQS age of the oldest message | 0 in each minute: the worker keeps up | `sqs-available-cloudwatch-metrics`: sent while a queue is active |
//! | SQS visible messages, dead letters | 0 in each minute | the same |
//! | filters of the access log | no data: they count only what the gateway itself refuses | infra/monitoring.yaml |
//!
//! A scheduled function is invoked in each minute that has its heartbeat, the worker once for ten processed events.

use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;

use super::series::{Minute, Sample, Samples, metric_key, once, samples};

/// Latency of a delivery, in milliseconds. `tests/README.md` has 24 and 30.
pub(super) const WARM_MS: f64 = 30.0;
/// Latency of the first delivery of an instance: ten times the time that `tests/README.md` has for it.
pub(super) const COLD_MS: f64 = 1_000.0;
/// Messages in an invocation of the worker, at most.
const MESSAGES_PER_INVOCATION: f64 = 10.0;

/// A metric of a provider's route.
pub(super) fn route_metric(provider: Provider, name: &str) -> String {
    let route = ProviderSpec::of(provider).route;
    let dimensions = [("ApiId", "${ApiId}"), ("Method", "POST"), ("Resource", route), ("Stage", "$default")];
    metric_key("AWS/ApiGateway", name, dimensions.map(owned).into_iter())
}

/// A metric of a function.
pub(super) fn function_metric(function: &str, name: &str) -> String {
    metric_key("AWS/Lambda", name, [owned(("FunctionName", function))].into_iter())
}

/// A metric of the queue of events.
pub(super) fn queue_metric(name: &str) -> String {
    metric_key("AWS/SQS", name, [owned(("QueueName", "${EventsQueueName}"))].into_iter())
}

/// A metric of the dead-letter queue.
pub(super) fn dead_letter_metric(name: &str) -> String {
    metric_key("AWS/SQS", name, [owned(("QueueName", "${DeadLetterQueueName}"))].into_iter())
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A minute of ours together with AWS's metrics, if a delivery takes `latency_ms`.
pub(super) fn with_aws_metrics(ours: &Minute, latency_ms: f64) -> Minute {
    let mut minute = ours.clone();
    for provider in Provider::ALL.iter().copied() {
        let (received, unavailable) = (sum(ours, "received", provider), sum(ours, "unavailable", provider));
        if received > 0.0 {
            minute.insert(route_metric(provider, "5xx"), answers(received, unavailable));
            minute.insert(route_metric(provider, "Latency"), samples(latency_ms, received));
        }
    }
    for (function, times) in invocations(ours).into_iter().filter(|(_, times)| *times > 0.0) {
        for name in ["Errors", "Throttles"] {
            minute.insert(function_metric(&function, name), samples(0.0, times));
        }
    }
    if ours.contains_key("oldest_due_age") {
        minute.insert(queue_metric("ApproximateAgeOfOldestMessage"), once(0.0));
        minute.insert(dead_letter_metric("ApproximateAgeOfOldestMessage"), once(0.0));
        minute.insert(dead_letter_metric("ApproximateNumberOfMessagesVisible"), once(0.0));
    }
    minute
}

/// How often each function is invoked.
fn invocations(ours: &Minute) -> Vec<(String, f64)> {
    let runs = |heartbeat: &str| ours.get(heartbeat).into_iter().flatten().map(|it| it.count).sum::<f64>();
    let processed = Provider::ALL.iter().map(|it| sum(ours, "processed", *it)).sum::<f64>();
    let webhook = |it: &Provider| (format!("{}-webhook", it.as_str()), sum(ours, "received", *it));
    let others = [
        ("event-relay", runs("oldest_due_age")),
        ("fynapse-auditor", runs("delivery_check_age")),
        ("rightfoot-poller", runs("oldest_poll_delay")),
        ("event-worker", (processed / MESSAGES_PER_INVOCATION).ceil()),
        ("rightfoot-requests", ours.get("requested").map_or(0.0, |it| it[0].value)),
    ];
    let others = others.map(|(function, times)| (function.to_owned(), times));
    Provider::ALL.iter().map(webhook).chain(others).collect()
}

fn answers(received: f64, failed: f64) -> Samples {
    let both = [Sample { value: 0.0, count: received - failed }, Sample { value: 1.0, count: failed }];
    both.into_iter().filter(|sample| sample.count > 0.0).collect()
}

fn sum(minute: &Minute, name: &str, provider: Provider) -> f64 {
    let metric = format!("{name} provider={}", provider.as_str());
    minute.get(&metric).into_iter().flatten().map(|it| it.value * it.count).sum()
}

#[test]
fn deliveries_are_answered_and_invoke_their_functions() {
    let ours = Minute::from([
        ("oldest_due_age".to_owned(), once(0.0)),
        ("processed provider=fynapse".to_owned(), once(11.0)),
        ("received provider=fynapse".to_owned(), once(12.0)),
        ("unavailable provider=fynapse".to_owned(), once(1.0)),
    ]);
    let minute = with_aws_metrics(&ours, WARM_MS);
    assert_eq!(
        minute[&route_metric(Provider::Fynapse, "5xx")],
        [Sample { value: 0.0, count: 11.0 }, Sample { value: 1.0, count: 1.0 }]
    );
    assert_eq!(minute[&route_metric(Provider::Fynapse, "Latency")], samples(30.0, 12.0));
    assert_eq!(minute["AWS/Lambda Errors FunctionName=event-worker"], samples(0.0, 2.0));
    assert_eq!(minute["AWS/Lambda Throttles FunctionName=fynapse-webhook"], samples(0.0, 12.0));
    assert_eq!(minute["AWS/Lambda Errors FunctionName=event-relay"], once(0.0));
    assert_eq!(minute.keys().filter(|metric| metric.contains("rightfoot")).count(), 0);
}
