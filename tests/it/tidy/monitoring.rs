//! Dashboard and alarms of infra/monitoring.yaml cover the metrics that the code emits.

use std::collections::{BTreeMap, BTreeSet};

use inbox_aws::telemetry::metrics::METRICS;
use inbox_core::delivery::{Provider, RejectReason};
use inbox_core::lateness::MESSAGE_LATE_SECS;
use inbox_core::providers::{Credential, ProviderSpec};
use serde_json::{Value, json};

use super::emitted_metrics::{emitted_dimension_sets, emitters};
use super::template::{as_list, resources, template, template_at};
use super::{crates_in, read_file, rust_sources, string_literals};

const NAMESPACE: &str = "BalanceInbox/${StackName}";

/// A reference to a metric: with values of its dimensions, or `*` for all of them.
#[derive(Debug)]
struct MetricRef {
    source: String,
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

fn monitoring() -> Value {
    template_at("infra/monitoring.yaml")
}

pub(crate) fn alarms() -> BTreeMap<String, Value> {
    let mut alarms = resources(&monitoring(), "AWS::CloudWatch::Alarm");
    alarms.values_mut().for_each(|alarm| *alarm = alarm["Properties"].take());
    alarms
}

/// A value as it is written, with `${…}` for references and substitutions.
pub(crate) fn as_written(value: &Value) -> String {
    let text = value.as_str().or(value["Fn::Sub"].as_str()).map(str::to_owned);
    text.unwrap_or_else(|| format!("${{{}}}", value["Ref"].as_str().unwrap()))
}

fn metrics_in_alarms() -> Vec<MetricRef> {
    let named = alarms().into_iter().map(|(by, alarm)| {
        let dimensions = alarm["Dimensions"].as_array().cloned().unwrap_or_default();
        let dimensions =
            dimensions.iter().map(|it| (as_written(&it["Name"]), as_written(&it["Value"]))).collect();
        MetricRef {
            source: by,
            namespace: as_written(&alarm["Namespace"]),
            name: as_written(&alarm["MetricName"]),
            dimensions,
        }
    });
    named.collect()
}

/// Parts of the dashboard that are left out together with a part of the stack: the list of its alarms, and the condition.
const CONDITIONAL_ALARMS: [(&str, &str); 4] = [
    ("FynapseAlarms", "WithFynapse"),
    ("AuditorAlarms", "WithFynapseAuditor"),
    ("RightfootAlarms", "WithRightfoot"),
    ("WorkerAlarms", "WithEventWorker"),
];

/// The body of the dashboard, and the texts that are substituted in it.
fn dashboard_body() -> Value {
    monitoring()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"].clone()
}

/// The dashboard without the alarms that are left out together with a part of the stack; other substitutions are left as they are
/// written.
fn dashboard() -> Value {
    let body = dashboard_body();
    let mut text = body[0].as_str().unwrap().to_owned();
    for (name, condition) in [("RightfootWidgets", "WithRightfoot"), ("AuditorWidgets", "WithFynapseAuditor")]
    {
        let row = &body[1][name]["Fn::If"];
        assert_eq!((&row[0], &row[2]), (&json!(condition), &json!("")));
        text = text.replace(&format!("${{{name}}}"), row[1]["Fn::Sub"].as_str().unwrap());
    }
    let text =
        CONDITIONAL_ALARMS.iter().fold(text, |text, (name, _)| text.replace(&format!("${{{name}}}"), ""));
    serde_json::from_str(&text).unwrap()
}

fn metrics_in_dashboard() -> Vec<MetricRef> {
    let widgets = dashboard()["widgets"].as_array().unwrap().clone();
    let metrics = widgets.iter().filter(|widget| widget["type"] == "metric");
    metrics
        .flat_map(|widget| as_list(&widget["properties"]["metrics"]))
        .map(|metric| metric_in_widget(&metric))
        .collect()
}

/// Parses `[namespace, name, dimension, value, …, {options}]`, or a search.
fn metric_in_widget(metric: &Value) -> MetricRef {
    let by = "Dashboard".to_owned();
    if let Some(expression) = metric[0]["expression"].as_str() {
        let inside = expression.strip_prefix("SEARCH('{").and_then(|rest| rest.split_once("} MetricName="));
        let (schema, rest) = inside.unwrap_or_else(|| panic!("{expression}"));
        let mut schema = schema.split(',').map(|word| word.trim_matches('"').to_owned());
        let (namespace, name) = (schema.next().unwrap(), string_literals(rest).next().unwrap().to_owned());
        return MetricRef {
            source: by,
            namespace,
            name,
            dimensions: schema.map(|it| (it, "*".to_owned())).collect(),
        };
    }
    let words: Vec<_> =
        metric.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let dimensions = words[2..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    MetricRef { source: by, namespace: words[0].clone(), name: words[1].clone(), dimensions }
}

fn watched_metrics() -> Vec<MetricRef> {
    metrics_in_alarms().into_iter().chain(metrics_in_dashboard()).collect()
}

fn own_metrics(named: Vec<MetricRef>) -> Vec<MetricRef> {
    named.into_iter().filter(|it| it.namespace == NAMESPACE).collect()
}

/// Metrics that the filters make of the access log, with their patterns. They have no dimensions.
pub(crate) fn log_metric_filters() -> BTreeMap<String, String> {
    let filters = resources(&monitoring(), "AWS::Logs::MetricFilter").into_values().map(|filter| {
        let filter = &filter["Properties"];
        let made = &filter["MetricTransformations"][0];
        assert_eq!(as_written(&made["MetricNamespace"]), NAMESPACE);
        assert_eq!((made.get("Dimensions"), &made["MetricValue"]), (None, &json!("1")));
        assert_eq!(filter["LogGroupName"], json!({"Ref": "AccessLogName"}));
        (as_written(&made["MetricName"]), as_written(&filter["FilterPattern"]))
    });
    filters.collect()
}

#[test]
fn every_metric_that_is_watched_is_emitted_with_these_very_dimensions() {
    let mut emitted = emitted_dimension_sets();
    emitted.extend(log_metric_filters().into_keys().map(|name| (name, BTreeSet::new())));
    for it in own_metrics(watched_metrics()) {
        let dimensions = it.dimensions.keys().cloned().collect();
        assert!(emitted.contains(&(it.name.clone(), dimensions)), "nobody emits {it:?}");
        for (dimension, value) in it.dimensions.iter().filter(|(_, value)| *value != "*") {
            let values = dimension_values(&it.name, dimension);
            assert!(values.contains(value), "{it:?}: {dimension} is one of {values:?}");
        }
    }
}

/// Values of a dimension that alarms or widgets name one by one.
fn dimension_values(name: &str, dimension: &str) -> BTreeSet<String> {
    match (name, dimension) {
        (_, "provider") => Provider::ALL.iter().map(|it| it.as_str().to_owned()).collect(),
        ("rejected", "reason") => {
            let refusals = [
                RejectReason::Malformed,
                RejectReason::Mismatch,
                RejectReason::AddressNotAllowed,
                RejectReason::Revoked,
            ];
            refusals.map(|it| it.as_str().to_owned()).into()
        }
        ("requeued", "reason") => requeue_reasons(),
        _ => panic!("say here which values {dimension} of {name} has"),
    }
}

/// Reasons for which the worker requeues an event, apart from Rightfoot's errors.
fn requeue_reasons() -> BTreeSet<String> {
    let is_worker_code = |path: &str| {
        path.starts_with("functions/event-worker/src/") || path.starts_with("shared/core/src/effect/")
    };
    let code: String =
        rust_sources().into_iter().filter(|it| is_worker_code(&it.path)).map(|it| it.text).collect();
    let reason = |rest: &str| string_literals(rest.split(')').next()?).next().map(str::to_owned);
    code.split("RequeueDetails::with_reason(").skip(1).filter_map(reason).collect()
}

/// The total of requeued events is no sign of trouble: most of them wait for their batch to be complete.
#[test]
fn what_the_worker_requeues_is_monitored_or_only_waits() {
    const WAITS: [&str; 2] = ["alert_held_by_other", "not_tracked"];
    let requeued = metrics_in_alarms().into_iter().filter(|it| it.name == "requeued");
    let watched = requeued.map(|it| it.dimensions["reason"].clone());
    assert_eq!(watched.chain(WAITS.map(str::to_owned)).collect::<BTreeSet<_>>(), requeue_reasons());
}

#[test]
fn every_metric_that_is_emitted_is_watched() {
    let watched: BTreeSet<_> = own_metrics(watched_metrics()).into_iter().map(|it| it.name).collect();
    let listed = METRICS.iter().map(|metric| metric.name.to_owned());
    let named: BTreeSet<_> = listed.chain(log_metric_filters().into_keys()).collect();
    assert_eq!(watched, named);
    let of = |it: &MetricRef| (it.name.clone(), it.dimensions.keys().cloned().collect::<BTreeSet<_>>());
    let watched: BTreeSet<_> = own_metrics(watched_metrics()).iter().map(of).collect();
    let unwatched: BTreeSet<_> =
        emitted_dimension_sets().into_iter().filter(|it| !watched.contains(it)).collect();
    // Totals without an alarm: most requeued events only wait, and a failed request is reported to its caller.
    let as_a_whole = ["requeued", "request_failed"].map(|name| (name.to_owned(), BTreeSet::new()));
    assert_eq!(unwatched, as_a_whole.into());
    let alarmed: BTreeSet<_> = metrics_in_alarms().into_iter().map(|it| it.name).collect();
    for name in log_metric_filters().keys() {
        assert!(alarmed.contains(name), "{name}");
    }
}

/// The providers whose deliveries have this metric.
fn providers_of(metric: &str) -> Vec<Provider> {
    let is_signed = |it: &Provider| matches!(ProviderSpec::of(*it).credential, Credential::Signature(_));
    match metric {
        "late_webhook" => vec![Provider::Rightfoot],
        "other_key" => vec![Provider::Fynapse],
        "signature_age" | "stale_but_authentic" => Provider::ALL.iter().copied().filter(is_signed).collect(),
        _ => Provider::ALL.to_vec(),
    }
}

#[test]
fn every_provider_is_watched() {
    let mut watched: BTreeMap<(String, bool), BTreeSet<String>> = BTreeMap::new();
    for it in own_metrics(watched_metrics()) {
        if let Some(provider) = it.dimensions.get("provider").filter(|value| *value != "*") {
            let place = (it.name.clone(), it.source == "Dashboard");
            watched.entry(place).or_default().insert(provider.clone());
        }
    }
    for ((name, _), providers) in watched {
        assert_eq!(
            providers,
            providers_of(&name).iter().map(|it| it.as_str().to_owned()).collect(),
            "{name}"
        );
    }
}

/// AWS's own metrics and their dimensions, from its documentation: the pages `sqs-available-cloudwatch-metrics` of
/// SQS, `monitoring-metrics-types` of Lambda and `http-api-metrics` of API Gateway (detailed metrics of a route).
const AWS_METRICS: [(&str, &[&str], &[&str]); 3] = [
    (
        "AWS/SQS",
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        ],
        &["QueueName"],
    ),
    ("AWS/Lambda", &["Duration", "Errors", "Throttles"], &["FunctionName"]),
    ("AWS/ApiGateway", &["4xx", "5xx", "Count", "Latency"], &["ApiId", "Method", "Resource", "Stage"]),
];

#[test]
fn what_is_watched_of_aws_is_there_and_is_of_this_stack() {
    let template = template();
    let routes = resources(&template, "AWS::ApiGatewayV2::Route").into_values();
    let routes: BTreeSet<_> = routes.map(|route| as_written(&route["Properties"]["RouteKey"])).collect();
    let mut watched = BTreeSet::new();
    for it in watched_metrics().into_iter().filter(|it| it.namespace != NAMESPACE) {
        let fact = AWS_METRICS.iter().find(|fact| fact.0 == it.namespace).unwrap_or_else(|| panic!("{it:?}"));
        assert!(fact.1.contains(&it.name.as_str()), "{it:?}");
        assert!(it.dimensions.keys().map(String::as_str).eq(fact.2.iter().copied()), "{it:?}");
        let dimension = |name: &str| it.dimensions[name].as_str();
        let of = match fact.0 {
            "AWS/SQS" => {
                let queue = dimension("QueueName");
                assert!(["${EventsQueueName}", "${DeadLetterQueueName}"].contains(&queue), "{it:?}");
                queue.to_owned()
            }
            "AWS/Lambda" => {
                let function = dimension("FunctionName").strip_prefix("${StackName}-").unwrap();
                assert!(crates_in("functions").contains(&function.to_owned()), "{it:?}");
                function.to_owned()
            }
            _ => {
                let stage = &template["Resources"]["HttpApiStage"]["Properties"]["StageName"];
                assert_eq!((dimension("ApiId"), dimension("Stage")), ("${ApiId}", stage.as_str().unwrap()));
                let route = format!("{} {}", dimension("Method"), dimension("Resource"));
                assert!(routes.contains(&route), "{it:?}");
                route
            }
        };
        watched.insert((it.source != "Dashboard", it.name.clone(), of));
    }
    let watched =
        |by_alarm: bool, name: &str, of: &str| watched.contains(&(by_alarm, name.to_owned(), of.to_owned()));
    for route in &routes {
        assert!(["5xx", "Latency"].into_iter().all(|name| watched(true, name, route)), "{route}");
        assert!(
            ["5xx", "4xx", "Count", "Latency"].into_iter().all(|name| watched(false, name, route)),
            "{route}"
        );
    }
    for function in crates_in("functions") {
        assert!(watched(true, "Throttles", &function), "{function}");
        // Failures of rightfoot-requests are reported to its caller.
        assert_eq!(watched(true, "Errors", &function), function != "rightfoot-requests", "{function}");
        assert!(
            ["Duration", "Errors", "Throttles"].into_iter().all(|name| watched(false, name, &function)),
            "{function}"
        );
    }
}

#[test]
fn the_nested_stack_is_given_what_it_asks_for() {
    let template = template();
    let nested = &template["Resources"]["Monitoring"];
    assert_eq!(nested["Condition"], "WithMonitoring");
    assert_eq!(nested["Properties"]["TemplateURL"], "infra/monitoring.yaml");
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let given = &nested["Properties"]["Parameters"];
    assert_eq!(names(given), names(&monitoring()["Parameters"]));
    for (name, of) in [("AccessLogName", "AccessLog"), ("ApiId", "HttpApi"), ("StackName", "AWS::StackName")]
    {
        assert_eq!(given[name], json!({"Ref": of}));
    }
    for (name, of) in [("EventsQueueName", "EventsQueue"), ("DeadLetterQueueName", "DeadLetterQueue")] {
        assert_eq!(given[name], json!({"Fn::GetAtt": format!("{of}.QueueName")}));
    }
    let namespace = &template["Globals"]["Function"]["Environment"]["Variables"]["METRICS_NAMESPACE"];
    assert_eq!(as_written(namespace).replace("AWS::StackName", "StackName"), NAMESPACE);
}

/// Seconds that an alarm looks back.
pub(crate) fn evaluation_secs(alarm: &Value) -> u64 {
    alarm["Period"].as_u64().unwrap() * alarm["EvaluationPeriods"].as_u64().unwrap()
}

/// For information only, so it notifies nobody.
const ALARM_WITHOUT_TOPIC: &str = "FoundByPoll";

#[test]
fn an_alarm_notifies_the_topic_and_its_name_begins_with_the_stacks() {
    let topic = json!({"Fn::If": ["WithTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    let mut names = BTreeSet::new();
    for (id, alarm) in alarms() {
        let actions = alarm.get("AlarmActions");
        assert_eq!(actions, (id != ALARM_WITHOUT_TOPIC).then_some(&topic), "{id}");
        if let Some(ended) = alarm.get("OKActions") {
            assert_eq!(*ended, topic, "{id}");
        }
        let name = as_written(&alarm["AlarmName"]);
        let own = name.strip_prefix("${StackName}-").unwrap();
        assert!(
            own.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'),
            "{id}"
        );
        assert!(names.insert(name.clone()), "{name} twice");
        // Three metrics are reported by each run, so missing data is bad; for counters of problems it is good.
        let heartbeat = alarm["Statistic"] == "SampleCount";
        assert_eq!(alarm["TreatMissingData"], if heartbeat { "breaching" } else { "notBreaching" }, "{id}");
    }
    let heartbeats =
        metrics_in_alarms().into_iter().filter(|it| it.source.ends_with("Stopped")).map(|it| it.name);
    let expected = ["delivery_check_age", "oldest_poll_delay", "oldest_due_age"];
    assert_eq!(heartbeats.collect::<Vec<_>>(), expected);
}

/// Alarms whose end matters: until then, deliveries or effects are stopped.
fn state_alarms() -> BTreeSet<String> {
    const OF_NO_PROVIDER: [&str; 9] = [
        "AuditorStopped",
        "BusFailed",
        "DeadLetters",
        "OldestDueAge",
        "OldestMessageAge",
        "PollFailed",
        "PollerStopped",
        "RelayStopped",
        "WorkFailed",
    ];
    let titles = Provider::ALL.iter().map(|provider| ProviderSpec::of(*provider).title);
    let of_providers = titles.flat_map(|title| [format!("{title}Errors"), format!("{title}TooManyRequests")]);
    of_providers.chain(OF_NO_PROVIDER.map(str::to_owned)).collect()
}

/// A new alarm changes to OK, and with an OK action it notifies: each of these sends a message at the first
/// deployment.
#[test]
fn an_alarm_notifies_its_end_only_if_it_describes_a_state() {
    let (until_over, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        alarms().into_iter().partition(|(_, alarm)| alarm.get("OKActions").is_some());
    assert_eq!(until_over.keys().cloned().collect::<BTreeSet<_>>(), state_alarms());
    for (id, alarm) in others {
        assert!(evaluation_secs(&alarm) >= 3_600, "{id}: repeats within an hour are one alarm");
    }
    let heartbeats = until_over.values().filter(|alarm| alarm["TreatMissingData"] == "breaching").count();
    assert_eq!(heartbeats, 3);
    // An OK of each, and an alarm of each heartbeat that is not seen yet. The auditor is left out by default.
    let messages = until_over.len() + heartbeats;
    let expected = format!(
        "At the first deployment expect {} messages, with `fynapse-auditor` {messages}",
        messages - 2
    );
    assert!(read_file("infra/OPERATIONS.md").replace('\n', " ").contains(&expected), "{expected}");
}

/// The console marks the queue as late when the alarm is on.
#[test]
fn a_message_is_late_from_the_age_of_its_alarm_on() {
    let alarms = alarms();
    let age = alarms.values().find(|it| as_written(&it["AlarmName"]).ends_with("-oldest-message-age"));
    let age = age.unwrap();
    assert_eq!(
        (&age["Threshold"], &age["ComparisonOperator"]),
        (&json!(MESSAGE_LATE_SECS), &json!("GreaterThanThreshold"))
    );
}

/// List prices: 0.10 dollars per alarm, 3 dollars per dashboard.
#[test]
fn the_documents_say_what_alarms_and_dashboard_cost() {
    let cents = 10 * alarms().len() + 300;
    let dollars = format!("alarms and dashboard {}.{:02};", cents / 100, cents % 100);
    assert!(read_file("infra/OPERATIONS.md").replace('\n', " ").contains(&dollars), "{dollars}");
    let about = &template()["Parameters"]["MonitoringEnabled"]["Description"];
    assert!(about.as_str().unwrap().ends_with(&format!("about {} dollars a month.", cents / 100)), "{about}");
}

/// Alarms that are pointless without a part of the stack: on metrics that only its functions emit, on its functions, on its route, or
/// with its name as a dimension.
fn alarms_of(part: &str) -> BTreeSet<String> {
    let emitters = emitters();
    let names_part = |text: &str| text.to_lowercase().contains(&part.to_lowercase());
    let is_its_own = |it: &MetricRef| {
        let its_functions = |all: &BTreeSet<String>| all.iter().all(|it| names_part(it));
        emitters.get(&it.name).is_some_and(its_functions)
            || names_part(&it.name)
            || it.dimensions.values().any(|value| names_part(value))
    };
    metrics_in_alarms().iter().filter(|it| is_its_own(it)).map(|it| it.source.clone()).collect()
}

/// An alarm on a metric that the worker emits as well, for Rightfoot's events alone.
const RIGHTFOOT_ALARMS_OF_THE_WORKER: [&str; 1] = ["ThresholdDiffers"];
/// An alarm on a metric that only signed deliveries have.
const FYNAPSE_ALARMS_OF_SIGNATURES: [&str; 1] = ["StaleButAuthentic"];

#[test]
fn without_a_provider_or_the_worker_nothing_of_it_is_watched() {
    let all = resources(&monitoring(), "AWS::CloudWatch::Alarm");
    let with = |condition: Option<&str>| -> BTreeSet<String> {
        let ids = all.iter().filter(|(_, it)| it.get("Condition").and_then(Value::as_str) == condition);
        ids.map(|(id, _)| id.clone()).collect()
    };
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(with(Some("WithEventWorker")), alarms_of("event-worker"));
    let of_auditor = alarms_of("fynapse-auditor");
    let of_fynapse = &alarms_of("fynapse") | &owned(&FYNAPSE_ALARMS_OF_SIGNATURES);
    assert_eq!(with(Some("WithFynapse")), &of_fynapse - &of_auditor);
    assert_eq!(with(Some("WithFynapseAuditor")), of_auditor);
    let of_rightfoot = &alarms_of("rightfoot") | &owned(&RIGHTFOOT_ALARMS_OF_THE_WORKER);
    assert_eq!(with(Some("WithRightfoot")), of_rightfoot);
    // A filter of the access log makes a metric even if nobody watches it.
    for (id, filter) in resources(&monitoring(), "AWS::Logs::MetricFilter") {
        let alarm = id.strip_suffix("Filter").unwrap();
        assert_eq!(filter.get("Condition"), all[alarm].get("Condition"), "{id}");
    }
    // The dashboard shows all of them.
    let arns =
        |ids: BTreeSet<String>| ids.iter().map(|id| format!("${{Alarm}}:${{{id}}}")).collect::<BTreeSet<_>>();
    let shown = as_list(&dashboard()["widgets"][1]["properties"]["alarms"]);
    let shown: BTreeSet<_> = shown.iter().map(|arn| arn.as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, arns(with(None)));
    let (body, before) = (
        dashboard_body(),
        json!({"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm"}),
    );
    assert_eq!(body[1]["Alarm"], before);
    for (name, condition) in CONDITIONAL_ALARMS {
        let list = &body[1][name]["Fn::If"];
        assert_eq!((&list[0], &list[2]), (&json!(condition), &json!("")), "{name}");
        let list = &list[1]["Fn::Sub"];
        assert_eq!(list[1]["Alarm"], before, "{name}");
        let list = list[0].as_str().unwrap();
        assert!(list.starts_with(','), "{name}");
        let list: BTreeSet<_> = string_literals(list).map(str::to_owned).collect();
        assert_eq!(list, arns(with(Some(condition))), "{name}");
    }
}
