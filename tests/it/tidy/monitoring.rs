//! infra/monitoring.yaml watches what the code emits, and each alarm says what to do.

use std::collections::{BTreeMap, BTreeSet};

use inbox_aws::telemetry::METRICS;
use inbox_core::delivery::{Provider, Refusal};
use serde_json::{Value, json};

use super::metrics_emitted::emitted;
use super::template::{list, resources, template, template_at};
use super::{crates_in, read, rust, strings};

const OURS: &str = "BalanceInbox/${StackName}";

/// A metric that is named: with the values of its dimensions, or `*` for all of them.
#[derive(Debug)]
struct Named {
    by: String,
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

/// A value as it is written: what is substituted or referred to as `${…}`.
pub(crate) fn written(value: &Value) -> String {
    let text = value.as_str().or(value["Fn::Sub"].as_str()).map(str::to_owned);
    text.unwrap_or_else(|| format!("${{{}}}", value["Ref"].as_str().unwrap()))
}

fn in_alarms() -> Vec<Named> {
    let named = alarms().into_iter().map(|(by, alarm)| {
        let dimensions = alarm["Dimensions"].as_array().cloned().unwrap_or_default();
        let dimensions = dimensions.iter().map(|it| (written(&it["Name"]), written(&it["Value"]))).collect();
        Named { by, namespace: written(&alarm["Namespace"]), name: written(&alarm["MetricName"]), dimensions }
    });
    named.collect()
}

/// The dashboard as it is without the worker's alarms, and with what is substituted left as it is written.
fn dashboard() -> Value {
    let body = &monitoring()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"];
    serde_json::from_str(&body[0].as_str().unwrap().replace("${WorkerAlarms}", "")).unwrap()
}

fn in_dashboard() -> Vec<Named> {
    let widgets = dashboard()["widgets"].as_array().unwrap().clone();
    let metrics = widgets.iter().filter(|widget| widget["type"] == "metric");
    metrics
        .flat_map(|widget| list(&widget["properties"]["metrics"]))
        .map(|metric| in_widget(&metric))
        .collect()
}

/// `[namespace, name, dimension, value, …, {options}]`, or a search.
fn in_widget(metric: &Value) -> Named {
    let by = "Dashboard".to_owned();
    if let Some(expression) = metric[0]["expression"].as_str() {
        let inside = expression.strip_prefix("SEARCH('{").and_then(|rest| rest.split_once("} MetricName="));
        let (schema, rest) = inside.unwrap_or_else(|| panic!("{expression}"));
        let mut schema = schema.split(',').map(|word| word.trim_matches('"').to_owned());
        let (namespace, name) = (schema.next().unwrap(), strings(rest).next().unwrap().to_owned());
        return Named { by, namespace, name, dimensions: schema.map(|it| (it, "*".to_owned())).collect() };
    }
    let words: Vec<_> =
        metric.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let dimensions = words[2..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    Named { by, namespace: words[0].clone(), name: words[1].clone(), dimensions }
}

fn in_both() -> Vec<Named> {
    in_alarms().into_iter().chain(in_dashboard()).collect()
}

fn ours(named: Vec<Named>) -> Vec<Named> {
    named.into_iter().filter(|it| it.namespace == OURS).collect()
}

/// What the metric filters make of the access log: it has no dimensions.
pub(crate) fn filtered() -> BTreeMap<String, String> {
    let filters = resources(&monitoring(), "AWS::Logs::MetricFilter").into_values().map(|filter| {
        let filter = &filter["Properties"];
        let made = &filter["MetricTransformations"][0];
        assert_eq!(written(&made["MetricNamespace"]), OURS);
        assert_eq!((made.get("Dimensions"), &made["MetricValue"]), (None, &json!("1")));
        assert_eq!(filter["LogGroupName"], json!({"Ref": "AccessLogName"}));
        (written(&made["MetricName"]), written(&filter["FilterPattern"]))
    });
    filters.collect()
}

#[test]
fn every_metric_that_is_watched_is_emitted_with_these_very_dimensions() {
    let mut emitted: BTreeSet<_> = emitted().into_iter().map(|it| (it.name, it.dimensions)).collect();
    emitted.extend(filtered().into_keys().map(|name| (name, BTreeSet::new())));
    for it in ours(in_both()) {
        let dimensions = it.dimensions.keys().cloned().collect();
        assert!(emitted.contains(&(it.name.clone(), dimensions)), "nobody emits {it:?}");
        for (dimension, value) in it.dimensions.iter().filter(|(_, value)| *value != "*") {
            let values = values(&it.name, dimension);
            assert!(values.contains(value), "{it:?}: {dimension} is one of {values:?}");
        }
    }
}

/// The values of a dimension that is watched by its values.
fn values(name: &str, dimension: &str) -> BTreeSet<String> {
    match (name, dimension) {
        (_, "provider") => Provider::ALL.map(|it| it.as_str().to_owned()).into(),
        ("refused", "reason") => {
            let refusals = [Refusal::Malformed, Refusal::Mismatch, Refusal::Address, Refusal::Revoked];
            refusals.map(|it| it.as_str().to_owned()).into()
        }
        ("put_back", "reason") => put_back_reasons(),
        _ => panic!("say here which values {dimension} of {name} has"),
    }
}

/// Why the worker puts an event back, apart from what Rightfoot answers.
fn put_back_reasons() -> BTreeSet<String> {
    let worker = rust().into_iter().filter(|source| source.is_in("functions/event-worker/src/"));
    let code: String = worker.map(|source| source.text).collect();
    let reason = |rest: &str| strings(rest.split(')').next()?).next().map(str::to_owned);
    code.split("Later::because(").skip(1).filter_map(reason).collect()
}

/// Of what is put back as a whole nobody can say whether it is trouble: most of it waits for a batch to be complete.
#[test]
fn what_the_worker_puts_back_is_watched_or_only_waits() {
    const WAITS: [&str; 2] = ["alert_taken", "not_tracked"];
    let put_back = in_alarms().into_iter().filter(|it| it.name == "put_back");
    let watched = put_back.map(|it| it.dimensions["reason"].clone());
    assert_eq!(watched.chain(WAITS.map(str::to_owned)).collect::<BTreeSet<_>>(), put_back_reasons());
}

#[test]
fn every_metric_that_is_emitted_is_watched() {
    let watched: BTreeSet<_> = ours(in_both()).into_iter().map(|it| it.name).collect();
    let named: BTreeSet<_> = METRICS.into_iter().map(str::to_owned).chain(filtered().into_keys()).collect();
    assert_eq!(watched, named);
    let of = |it: &Named| (it.name.clone(), it.dimensions.keys().cloned().collect::<BTreeSet<_>>());
    let watched: BTreeSet<_> = ours(in_both()).iter().map(of).collect();
    let unwatched = emitted().into_iter().map(|it| (it.name, it.dimensions));
    let unwatched: BTreeSet<_> = unwatched.filter(|it| !watched.contains(it)).collect();
    // As a whole they tell nothing: most of the one waits, and the other is told to who asked.
    let as_a_whole = ["put_back", "request_failed"].map(|name| (name.to_owned(), BTreeSet::new()));
    assert_eq!(unwatched, as_a_whole.into());
    let alarmed: BTreeSet<_> = in_alarms().into_iter().map(|it| it.name).collect();
    for name in filtered().keys() {
        assert!(alarmed.contains(name), "{name}");
    }
}

/// What only one provider's deliveries can have.
const OF_ONE: [(&str, Provider); 4] = [
    ("late_webhook", Provider::Rightfoot),
    ("other_key", Provider::Fynapse),
    ("signature_age", Provider::Fynapse),
    ("stale_but_authentic", Provider::Fynapse),
];

#[test]
fn every_provider_is_watched() {
    let mut watched: BTreeMap<(String, bool), BTreeSet<String>> = BTreeMap::new();
    for it in ours(in_both()) {
        if let Some(provider) = it.dimensions.get("provider").filter(|value| *value != "*") {
            let place = (it.name.clone(), it.by == "Dashboard");
            watched.entry(place).or_default().insert(provider.clone());
        }
    }
    for ((name, _), providers) in watched {
        let one = OF_ONE.iter().find(|(of_one, _)| *of_one == name).map(|(_, one)| vec![*one]);
        let all = one.unwrap_or_else(|| Provider::ALL.to_vec());
        assert_eq!(providers, all.iter().map(|it| it.as_str().to_owned()).collect(), "{name}");
    }
}

/// AWS's own metrics and their dimensions, by its documentation: the pages `sqs-available-cloudwatch-metrics` of SQS,
/// `monitoring-metrics-types` of Lambda and `http-api-metrics` of API Gateway (detailed metrics of a route).
const AWS: [(&str, &[&str], &[&str]); 3] = [
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
    let routes: BTreeSet<_> = routes.map(|route| written(&route["Properties"]["RouteKey"])).collect();
    let mut watched = BTreeSet::new();
    for it in in_both().into_iter().filter(|it| it.namespace != OURS) {
        let fact = AWS.iter().find(|fact| fact.0 == it.namespace).unwrap_or_else(|| panic!("{it:?}"));
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
        watched.insert((it.by != "Dashboard", it.name.clone(), of));
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
        // What rightfoot-requests fails with is what its caller is told.
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
    assert_eq!(written(namespace).replace("AWS::StackName", "StackName"), OURS);
}

/// How long an alarm looks back.
pub(crate) fn seconds(alarm: &Value) -> u64 {
    alarm["Period"].as_u64().unwrap() * alarm["EvaluationPeriods"].as_u64().unwrap()
}

/// It is for information, and is told to nobody.
const INFORMATION: &str = "FoundByPoll";

#[test]
fn an_alarm_is_told_to_the_topic_and_has_a_name_that_says_whose_it_is() {
    let topic = json!({"Fn::If": ["WithTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    let mut names = BTreeSet::new();
    for (id, alarm) in alarms() {
        let told = alarm.get("AlarmActions");
        assert_eq!(told, (id != INFORMATION).then_some(&topic), "{id}");
        if let Some(ended) = alarm.get("OKActions") {
            assert_eq!(*ended, topic, "{id}");
        }
        let name = written(&alarm["AlarmName"]);
        let own = name.strip_prefix("${StackName}-").unwrap();
        assert!(
            own.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'),
            "{id}"
        );
        assert!(names.insert(name.clone()), "{name} twice");
        // Silence is bad of the two that report once a minute, and good of what counts trouble.
        let heartbeat = alarm["Statistic"] == "SampleCount";
        assert_eq!(alarm["TreatMissingData"], if heartbeat { "breaching" } else { "notBreaching" }, "{id}");
    }
    let heartbeats = in_alarms().into_iter().filter(|it| it.by.ends_with("Stopped")).map(|it| it.name);
    assert_eq!(heartbeats.collect::<Vec<_>>(), ["oldest_poll_delay", "oldest_due_age"]);
}

/// The alarms whose end somebody waits for: until then, deliveries or effects stand still.
const UNTIL_OVER: [&str; 12] = [
    "BusFailed",
    "DeadLetters",
    "FynapseErrors",
    "FynapseTooManyRequests",
    "OldestDueAge",
    "OldestMessageAge",
    "PollFailed",
    "PollerStopped",
    "RelayStopped",
    "RightfootErrors",
    "RightfootTooManyRequests",
    "WorkFailed",
];

/// A new alarm goes to OK, and says so if it says that at all: each of these is a message of the first deployment.
#[test]
fn an_alarm_tells_its_end_only_if_somebody_waits_for_it() {
    let (until_over, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        alarms().into_iter().partition(|(_, alarm)| alarm.get("OKActions").is_some());
    assert_eq!(until_over.keys().map(String::as_str).collect::<Vec<_>>(), UNTIL_OVER);
    for (id, alarm) in others {
        assert!(seconds(&alarm) >= 3_600, "{id}: repeats within an hour are one alarm");
    }
    let heartbeats = until_over.values().filter(|alarm| alarm["TreatMissingData"] == "breaching").count();
    assert_eq!((until_over.len(), heartbeats), (12, 2));
    let expected = "At the first deployment expect 14 messages";
    assert!(
        read("infra/OPERATIONS.md").replace('\n', " ").contains(expected),
        "12 of OK, 2 of heartbeats that are not seen yet"
    );
}

/// By the list prices: 0.10 dollars for an alarm, 3 for a dashboard.
#[test]
fn the_documents_say_what_alarms_and_dashboard_cost() {
    let cents = 10 * alarms().len() + 300;
    let dollars = format!("alarms and dashboard {}.{:02};", cents / 100, cents % 100);
    assert!(read("infra/OPERATIONS.md").replace('\n', " ").contains(&dollars), "{dollars}");
    let about = &template()["Parameters"]["MonitoringEnabled"]["Description"];
    assert!(about.as_str().unwrap().ends_with(&format!("about {} dollars a month.", cents / 100)), "{about}");
}

/// The alarms that have no sense without the worker: of what it alone emits, and of the function.
#[test]
fn without_the_worker_nothing_of_it_is_watched() {
    let only_worker = |it: &Named| {
        let dimensions: BTreeSet<_> = it.dimensions.keys().cloned().collect();
        let by: BTreeSet<_> = emitted()
            .into_iter()
            .filter(|one| one.name == it.name && one.dimensions == dimensions)
            .map(|one| one.by)
            .collect();
        let function = it.dimensions.get("FunctionName").map(String::as_str);
        by == BTreeSet::from(["functions/event-worker".to_owned()])
            || function == Some("${StackName}-event-worker")
    };
    let of_worker: BTreeSet<_> =
        in_alarms().iter().filter(|it| only_worker(it)).map(|it| it.by.clone()).collect();
    let all = resources(&monitoring(), "AWS::CloudWatch::Alarm");
    let conditional: BTreeSet<_> =
        all.iter().filter(|(_, it)| it["Condition"] == "WithEventWorker").map(|(id, _)| id.clone()).collect();
    assert_eq!(of_worker, conditional);
    // The dashboard shows all of them.
    let body = &monitoring()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"];
    let shown = &dashboard()["widgets"][1]["properties"]["alarms"];
    let shown: BTreeSet<_> = list(shown).iter().map(|arn| arn.as_str().unwrap().to_owned()).collect();
    let arns = |ids: &mut dyn Iterator<Item = &String>| {
        ids.map(|id| format!("${{Alarm}}:${{{id}}}")).collect::<BTreeSet<_>>()
    };
    assert_eq!(shown, arns(&mut all.keys().filter(|id| !conditional.contains(*id))));
    let with_worker = &body[1]["WorkerAlarms"]["Fn::If"];
    assert_eq!((&with_worker[0], &with_worker[2]), (&json!("WithEventWorker"), &json!("")));
    let with_worker = &with_worker[1]["Fn::Sub"];
    let before =
        json!({"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm"});
    assert_eq!((&body[1]["Alarm"], &with_worker[1]["Alarm"]), (&before, &before));
    let with_worker = with_worker[0].as_str().unwrap();
    assert!(with_worker.starts_with(','));
    assert_eq!(
        strings(with_worker).map(str::to_owned).collect::<BTreeSet<_>>(),
        arns(&mut conditional.iter())
    );
}
