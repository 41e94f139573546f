//! template.yaml agrees with the code.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TableDescription;
use inbox_aws::config::{CommonConfig, Env};
use inbox_aws::webhook_function::WebhookConfig;
use inbox_core::delivery::Provider;
use inbox_core::limits;
use inbox_core::providers::ProviderSpec;
use local::stack::{BALANCES_TABLE, INBOX_TABLE};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;
use tests::World;

use super::{crates_in, read_file};

/// The template, with CloudFormation's short forms expanded: `!Ref x` is `{"Ref": x}`, `!Sub x` is `{"Fn::Sub": x}`.
pub(crate) fn template() -> Value {
    template_at("template.yaml")
}

pub(crate) fn template_at(path: &str) -> Value {
    to_json(serde_yaml_ng::from_str(&read_file(path)).unwrap())
}

fn to_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => truth.into(),
        Yaml::Number(number) => serde_json::to_value(number).unwrap(),
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => items.into_iter().map(to_json).collect(),
        Yaml::Mapping(fields) => {
            let field = |(name, value): (Yaml, Yaml)| (name.as_str().unwrap().to_owned(), to_json(value));
            Value::Object(fields.into_iter().map(field).collect())
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = match tag.trim_start_matches('!') {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            Value::Object(Map::from_iter([(name, to_json(tagged.value))]))
        }
    }
}

/// Resources of a type, by logical id.
pub(crate) fn resources(template: &Value, of_type: &str) -> BTreeMap<String, Value> {
    let all = template["Resources"].as_object().unwrap().clone();
    all.into_iter().filter(|(_, resource)| resource["Type"] == of_type).collect()
}

pub(crate) fn functions(template: &Value) -> BTreeMap<String, Value> {
    resources(template, "AWS::Serverless::Function")
}

/// Tables, queues and secrets.
pub(crate) fn data_resources(template: &Value) -> Vec<(String, Value)> {
    let types = ["AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SecretsManager::Secret"];
    types.into_iter().flat_map(|of_type| resources(template, of_type)).collect()
}

/// Name of a function without the stack's name.
pub(crate) fn name_of(function: &Value) -> String {
    let name = function["Properties"]["FunctionName"]["Fn::Sub"].as_str().unwrap();
    name.strip_prefix("${AWS::StackName}-").unwrap().to_owned()
}

/// A list as it is, and a single value as a list of one.
pub(crate) fn as_list(one_or_many: &Value) -> Vec<Value> {
    one_or_many.as_array().cloned().unwrap_or_else(|| vec![one_or_many.clone()])
}

#[test]
fn every_function_has_a_folder_and_every_folder_a_block() {
    let template = template();
    let mut named: Vec<_> = functions(&template).values().map(name_of).collect();
    named.sort();
    assert_eq!(named, crates_in("functions"));
    for function in functions(&template).values() {
        let code = format!("target/lambda/{}/", name_of(function));
        assert_eq!(function["Properties"]["CodeUri"], code.as_str());
    }
    let logged: BTreeSet<_> = resources(&template, "AWS::Logs::LogGroup")
        .values()
        .filter_map(|group| group["Properties"]["LogGroupName"]["Fn::Sub"].as_str().map(str::to_owned))
        .collect();
    let logs = |name: String| format!("/aws/lambda/${{AWS::StackName}}-{name}");
    let access = "/aws/vendedlogs/apigateway/${AWS::StackName}".to_owned();
    assert_eq!(logged, crates_in("functions").into_iter().map(logs).chain([access]).collect());
}

/// Lambda's limit for a function's name is 64 characters.
#[test]
fn the_template_says_how_long_a_stacks_name_may_be() {
    let longest = crates_in("functions").iter().map(|name| format!("-{name}").len()).max().unwrap();
    assert_eq!(longest, 19);
    assert!(read_file("template.yaml").contains("at most 64 characters, a stack's name may have 45."));
}

#[test]
fn limits_are_those_of_the_template() {
    let template = template();
    let property = |id: &str, name: &str| template["Resources"][id]["Properties"][name].as_u64();
    let parameter = |id: &str, name: &str| template["Parameters"][id][name].as_u64();
    let retention_secs = limits::QUEUE_RETENTION_DAYS * 86_400;
    for provider in Provider::ALL {
        let function = format!("{}Webhook", ProviderSpec::of(*provider).title);
        assert_eq!(property(&function, "Timeout"), Some(limits::WEBHOOK_TIMEOUT_SECS), "{function}");
    }
    assert_eq!(limits::WEBHOOK_TIMEOUT_SECS, 10);
    for (what, in_template, in_code, literal) in [
        ("relay time-out", property("EventRelay", "Timeout"), limits::RELAY_TIMEOUT_SECS, 60),
        ("auditor time-out", property("FynapseAuditor", "Timeout"), limits::AUDITOR_TIMEOUT_SECS, 60),
        ("poller time-out", property("RightfootPoller", "Timeout"), limits::POLL_TIMEOUT_SECS, 60),
        ("relay memory", property("EventRelay", "MemorySize"), limits::RELAY_MEMORY_MB, 1_024),
        ("requests time-out", property("RightfootRequests", "Timeout"), limits::REQUESTS_TIMEOUT_SECS, 60),
        ("worker time-out", property("EventWorker", "Timeout"), limits::WORKER_TIMEOUT_SECS, 90),
        (
            "worker batch",
            property("EventWorkerMapping", "BatchSize"),
            limits::WORKER_BATCH_MESSAGES as u64,
            10,
        ),
        ("first poll", parameter("PollFirstSecs", "Default"), limits::POLL_FIRST_DELAY_SECS, 600),
        ("between polls", parameter("PollEverySecs", "Default"), limits::POLL_INTERVAL_SECS, 300),
        ("grace", parameter("PollGraceSecs", "Default"), limits::POLL_GRACE_SECS, 1_200),
        ("deadline", parameter("PollDeadlineSecs", "Default"), limits::POLL_DEADLINE_SECS, 86_400),
        ("visibility", property("EventsQueue", "VisibilityTimeout"), limits::VISIBILITY_SECS, 540),
        ("events kept", property("EventsQueue", "MessageRetentionPeriod"), retention_secs, 1_209_600),
        ("dead kept", property("DeadLetterQueue", "MessageRetentionPeriod"), retention_secs, 1_209_600),
        ("tolerance", parameter("FynapseToleranceSecs", "Default"), limits::SIGNATURE_TOLERANCE_SECS, 300),
        ("records kept", parameter("RetentionDays", "Default"), limits::RETENTION_MIN_DAYS, 30),
        (
            "balances kept",
            parameter("BalancesRetentionDays", "Default"),
            limits::BALANCES_RETENTION_DAYS,
            400,
        ),
        ("records kept at least", parameter("RetentionDays", "MinValue"), limits::RETENTION_MIN_DAYS, 30),
    ] {
        assert_eq!((in_template, in_code), (Some(literal), literal), "{what}");
    }
    let redrive = &template["Resources"]["EventsQueue"]["Properties"]["RedrivePolicy"];
    assert_eq!(redrive["maxReceiveCount"], 5);
    for integration in resources(&template, "AWS::ApiGatewayV2::Integration").values() {
        let patience_ms = integration["Properties"]["TimeoutInMillis"].as_u64().unwrap();
        assert!((limits::WEBHOOK_TIMEOUT_SECS * 1_000..=30_000).contains(&patience_ms));
    }
    for id in ["EventRelay", "FynapseAuditor", "RightfootPoller"] {
        let scheduled = &template["Resources"][id]["Properties"];
        assert_eq!(scheduled["EventInvokeConfig"]["MaximumRetryAttempts"], 0, "{id}");
    }
    assert_eq!(limits::AUDITOR_INTERVAL_SECS, 15 * 60);
    // No webhook is retried after sixteen minutes, and alerts must not be looked for before that.
    assert!(parameter("PollGraceSecs", "MinValue").is_some_and(|least| least > 16 * 60));
    let most = |id: &str| parameter(id, "MaxValue").unwrap();
    let least_deadline = parameter("PollDeadlineSecs", "MinValue").unwrap();
    assert!(most("PollFirstSecs") < least_deadline && most("PollGraceSecs") <= least_deadline);
    assert_eq!(template["Parameters"]["RightfootApiUrl"]["Default"], inbox_rightfoot::BASE_URL);
    for (id, schedule) in resources(&template, "AWS::Scheduler::Schedule") {
        let expression = if id.starts_with("FynapseAuditor") { "rate(15 minutes)" } else { "rate(1 minute)" };
        assert_eq!(schedule["Properties"]["ScheduleExpression"], expression, "{id}");
        assert_eq!(schedule["Properties"]["Target"]["RetryPolicy"]["MaximumRetryAttempts"], 0);
    }
}

/// Environment variables that a function reads at its start, each answered as `sam local invoke` would; without
/// `AWS_…`, which depend on where the function runs.
fn variables_read(function: &str, env_values: &Value) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let env = Env(|name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        env_values[name].as_str().map(str::to_owned)
    });
    match function {
        "fynapse-auditor" => drop(fynapse_auditor::Config::read(&env).unwrap()),
        "rightfoot-poller" => drop(rightfoot_poller::Config::read(&env).unwrap()),
        "rightfoot-requests" => drop(rightfoot_requests::Config::read(&env).unwrap()),
        "event-relay" => drop(CommonConfig::from_env(&env).unwrap()),
        "event-worker" => drop(event_worker::Config::read(&env).unwrap()),
        _ => {
            let provider = function.strip_suffix("-webhook").and_then(Provider::from_name);
            let provider =
                provider.unwrap_or_else(|| panic!("say here how {function} reads its configuration"));
            drop(WebhookConfig::read(provider, &env).unwrap());
        }
    }
    let mut asked = asked.take();
    asked.retain(|name| !name.starts_with("AWS_"));
    asked
}

#[test]
fn every_variable_that_a_function_asks_for_is_set_and_no_other() {
    let template = template();
    let env_by_function: Value = serde_json::from_str(&read_file("tests/fixtures/events/env.json")).unwrap();
    let names = |variables: &Value| -> BTreeSet<String> {
        variables.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
    };
    let mut everywhere = names(&template["Globals"]["Function"]["Environment"]["Variables"]);
    // The SDK asks for it; it depends on where the function runs.
    assert!(everywhere.remove("AWS_ENDPOINT_URL"));
    for (id, function) in functions(&template) {
        let asked = variables_read(&name_of(&function), &env_by_function[&id]);
        let own = names(&function["Properties"]["Environment"]["Variables"]);
        assert_eq!(everywhere.union(&own).cloned().collect::<BTreeSet<_>>(), asked, "{id} in template.yaml");
        assert_eq!(names(&env_by_function[&id]), asked, "{id} in env.json");
    }
    let ids: BTreeSet<_> = functions(&template).into_keys().collect();
    assert_eq!(names(&env_by_function), ids, "env.json");
}

#[test]
fn the_stage_waits_for_every_route_and_settings_repeat_the_detailed_metrics() {
    let template = template();
    let routes = resources(&template, "AWS::ApiGatewayV2::Route");
    let stages = resources(&template, "AWS::ApiGatewayV2::Stage");
    assert_eq!((stages.len(), routes.len()), (1, Provider::ALL.len()));
    let stage = &stages["HttpApiStage"];
    let if_provider = |provider: &str, value: Value| json!({"Fn::If": [format!("With{provider}"), value, {"Ref": "AWS::NoValue"}]});
    let settings = stage["Properties"]["RouteSettings"].as_object().unwrap();
    let keys = routes.values().map(|route| route["Properties"]["RouteKey"].as_str().unwrap());
    assert_eq!(settings.keys().map(String::as_str).collect::<BTreeSet<_>>(), keys.collect());
    let mut waits_for = Vec::new();
    for (route, setting) in settings {
        let mut providers = Provider::ALL.iter().map(|provider| ProviderSpec::of(*provider));
        let provider = providers.find(|it| *route == format!("POST {}", it.route)).unwrap().title;
        waits_for.push(if_provider(provider, json!({"Ref": format!("{provider}Route")})));
        let if_enabled = setting;
        let setting = &setting["Fn::If"][1];
        assert_eq!(*if_enabled, if_provider(provider, setting.clone()));
        assert_eq!(setting["DetailedMetricsEnabled"], true, "{route}");
        for limit in ["RateLimit", "BurstLimit"] {
            let parameter = format!("{provider}{limit}");
            assert_eq!(template["Parameters"][&parameter]["Type"], "Number", "{route}");
            assert_eq!(setting[format!("Throttling{limit}")], json!({"Ref": parameter}), "{route}");
        }
    }
    // A reference makes it wait as DependsOn would.
    assert_eq!(stage["Metadata"]["Routes"], Value::Array(waits_for));
}

/// A new table takes 4,000 writes a second, and a new Fynapse event costs four: its record and its mark, each with
/// its entry in the index.
#[test]
fn fynapses_route_takes_by_default_what_a_new_table_takes() {
    let default = |name: &str| template()["Parameters"][name]["Default"].as_u64();
    assert_eq!((default("FynapseRateLimit"), default("FynapseBurstLimit")), (Some(4_000 / 4), Some(2_000)));
}

#[test]
fn p8_the_access_log_does_not_hold_the_path() {
    let stage = &template()["Resources"]["HttpApiStage"]["Properties"];
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let logged: BTreeSet<_> =
        format.split("$context.").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let harmless =
        BTreeSet::from(["integrationStatus", "requestId", "responseLatency", "routeKey", "status"]);
    assert_eq!(logged, harmless);
}

#[test]
fn what_holds_events_or_keys_outlives_the_stack_and_has_no_name_of_its_own() {
    let template = template();
    for (id, resource) in data_resources(&template) {
        // A table is protected from deletion, so the rollback of a first deployment could not delete it.
        let is_table = resource["Type"] == "AWS::DynamoDB::Table";
        let policy = if is_table { "Retain" } else { "RetainExceptOnCreate" };
        assert_eq!(resource["DeletionPolicy"], policy, "{id}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{id}");
        assert_eq!(resource.get("Condition"), None, "{id}: an update that left it out would orphan it");
        for name in ["TableName", "QueueName", "Name"] {
            assert_eq!(resource["Properties"].get(name), None, "{id}");
        }
    }
    let table = &template["Resources"]["InboxTable"]["Properties"];
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "expires_at", "Enabled": true}));
    assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    let own_key = json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KmsKeyArn"}});
    // Not `{"SSEEnabled": true}`: that selects the account's key for DynamoDB, which costs. Without it, AWS's own key
    // is used.
    let none = json!({"Ref": "AWS::NoValue"});
    assert_eq!(table["SSESpecification"], json!({"Fn::If": ["WithKey", own_key, none]}));
    assert_eq!(table["DeletionProtectionEnabled"], true);
    let balances = &template["Resources"]["BalancesTable"]["Properties"];
    for setting in [
        "TimeToLiveSpecification",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "DeletionProtectionEnabled",
    ] {
        assert_eq!(balances[setting], table[setting], "{setting}");
    }
}

#[test]
fn every_log_ends_some_day() {
    for (id, log) in resources(&template(), "AWS::Logs::LogGroup") {
        assert_eq!(log["Properties"]["RetentionInDays"], json!({"Ref": "LogRetentionDays"}), "{id}");
    }
}

/// Lambda's own lines of each invocation would cost as much as ours. And its filter must let every line of ours
/// pass: it takes those without a level, as metrics are, for INFO.
#[test]
fn lambda_logs_failures_only_and_leaves_the_level_to_the_functions() {
    let template = template();
    let of_all = &template["Globals"]["Function"]["LoggingConfig"];
    let expected = json!({"LogFormat": "JSON", "SystemLogLevel": "WARN", "ApplicationLogLevel": "TRACE"});
    assert_eq!(*of_all, expected);
    let functions = functions(&template);
    assert_eq!(functions.len(), crates_in("functions").len());
    for (id, function) in functions {
        // SAM merges it with that of all functions. A second key here would replace one of those.
        let own = &function["Properties"]["LoggingConfig"];
        assert_eq!(*own, json!({"LogGroup": {"Ref": format!("{id}Log")}}), "{id}");
    }
}

#[test]
fn traces_are_off_unless_somebody_asks_for_them() {
    let template = template();
    assert_eq!(template["Parameters"]["Tracing"]["Default"], "PassThrough");
    assert_eq!(template["Globals"]["Function"]["Tracing"], json!({"Ref": "Tracing"}));
}

/// The tables of the tests and the local system equal the template's.
#[tokio::test]
async fn the_local_tables_have_the_templates_keys_and_indexes() {
    let world = World::new().await;
    for (id, name) in [("InboxTable", INBOX_TABLE), ("BalancesTable", BALANCES_TABLE)] {
        let described =
            world.stack.inspector.dynamodb.describe_table().table_name(name).send().await.unwrap();
        let table = template()["Resources"][id]["Properties"].clone();
        assert_same_schema(&described.table.unwrap(), &table, id);
    }
}

fn assert_same_schema(local: &TableDescription, table: &Value, id: &str) {
    let schema = |keys: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Value {
        let key = |key: &aws_sdk_dynamodb::types::KeySchemaElement| json!({"AttributeName": key.attribute_name, "KeyType": key.key_type.as_str()});
        keys.iter().map(key).collect()
    };
    assert_eq!(schema(local.key_schema()), table["KeySchema"], "{id}");
    let types = |attributes: Vec<(String, String)>| attributes.into_iter().collect::<BTreeMap<_, _>>();
    let local_types = local.attribute_definitions().iter();
    let local_types =
        local_types.map(|it| (it.attribute_name.clone(), it.attribute_type.as_str().to_owned()));
    let template_types = as_list(&table["AttributeDefinitions"]).into_iter().map(|it| {
        let text = |name: &str| it[name].as_str().unwrap().to_owned();
        (text("AttributeName"), text("AttributeType"))
    });
    assert_eq!(types(local_types.collect()), types(template_types.collect()), "{id}");
    let projection = |it: &aws_sdk_dynamodb::types::Projection| {
        let kind = it.projection_type.as_ref().unwrap().as_str();
        match it.non_key_attributes() {
            [] => json!({"ProjectionType": kind}),
            attributes => json!({"ProjectionType": kind, "NonKeyAttributes": attributes}),
        }
    };
    let indexes: Vec<_> = local
        .global_secondary_indexes()
        .iter()
        .map(|index| {
            json!({
                "IndexName": index.index_name,
                "KeySchema": schema(index.key_schema()),
                "Projection": projection(index.projection.as_ref().unwrap()),
            })
        })
        .collect();
    assert_eq!(Value::Array(indexes), table["GlobalSecondaryIndexes"], "{id}");
}
