//! Each function's role permits exactly the calls that the function makes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::clients::Clients;
use inbox_aws::iam::{EVENT_SOURCE_MAPPING_ACTIONS, ROLES, Resource, Role};
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::bus::SOURCE;
use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::providers::{Credential, ProviderSpec};
use local::connector;
use local::rightfoot_simulator::WebhookLoss;
use local::stack::{BALANCES_TABLE, FYNAPSE_SECRET, INBOX_TABLE};
use serde_json::{Value, json};
use tests::fynapse_world::FynapseWorld;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{DAY, HOUR, MINUTE, World, alert_body, event_body, extract_body, random_hex};

use super::template::{as_list, functions, name_of, resources, template};

/// Logical id of a resource in the template.
fn logical_id(resource: Resource) -> String {
    let id = match resource {
        Resource::InboxTable => "InboxTable",
        Resource::DueIndex => "InboxTable/index/due",
        Resource::ListedIndex => "InboxTable/index/listed",
        Resource::BalancesTable => "BalancesTable",
        Resource::EventsQueue => "EventsQueue",
        Resource::EventBus => "EventBus",
        Resource::WebhookSecret(provider) => {
            let spec = ProviderSpec::of(provider);
            return match spec.credential {
                Credential::Signature(_) => format!("{}SigningSecret", spec.title),
                Credential::UrlToken => format!("{}UrlKey", spec.title),
            };
        }
        Resource::RightfootApiKey => "RightfootApiKey",
        Resource::FynapseApiCredentials => "FynapseApiCredentials",
    };
    id.to_owned()
}

/// Permissions of a role, as `action on resource`.
fn permissions(role: &Value) -> BTreeSet<String> {
    let mut permissions = Vec::new();
    for policy in as_list(&role["Properties"]["Policies"]) {
        for statement in as_list(&policy["PolicyDocument"]["Statement"]) {
            assert_eq!(statement["Effect"], "Allow");
            let on = statement["Resource"].as_object().unwrap().values().next().unwrap();
            let on = on.as_str().unwrap().trim_start_matches("${").replace(['}'], "").replace(".Arn", "");
            let actions = as_list(&statement["Action"]);
            permissions.extend(actions.iter().map(|action| format!("{} on {on}", action.as_str().unwrap())));
        }
    }
    let distinct: BTreeSet<_> = permissions.iter().cloned().collect();
    assert_eq!(distinct.len(), permissions.len(), "said twice: {permissions:?}");
    distinct
}

/// Calls that the code declares for a function, in the same form.
fn allowed_calls(role: &Role) -> BTreeSet<String> {
    role.allowed().map(|(on, action)| format!("{action} on {}", logical_id(on))).collect()
}

/// Lambda writes a function's output to its log group, with the function's role.
#[test]
fn a_function_may_do_what_it_does_and_nothing_else() {
    let template = template();
    let functions = functions(&template);
    assert_eq!(functions.len(), ROLES.len());
    for (id, function) in functions {
        let (name, properties) = (name_of(&function), &function["Properties"]);
        let role = properties["Role"]["Fn::GetAtt"].as_str().unwrap().replace(".Arn", "");
        let role = &template["Resources"][role];
        assert_eq!(role["Properties"]["ManagedPolicyArns"], json!([{"Ref": "FunctionPolicy"}]), "{name}");
        let log = format!("{id}Log");
        assert_eq!(properties["LoggingConfig"]["LogGroup"], json!({"Ref": log}), "{name}");
        let mut needed = allowed_calls(ROLES.iter().find(|role| role.function == name).unwrap());
        needed
            .extend(["logs:CreateLogStream", "logs:PutLogEvents"].map(|action| format!("{action} on {log}")));
        assert_eq!(permissions(role), needed, "{name}");
    }
}

/// A statement and the name of its condition, which is empty if it always applies.
fn conditional(statement: Value) -> (String, Value) {
    match statement["Fn::If"].as_array() {
        Some(either) => {
            assert_eq!(either[2], json!({"Ref": "AWS::NoValue"}));
            (either[0].as_str().unwrap().to_owned(), either[1].clone())
        }
        None => (String::new(), statement),
    }
}

/// Permissions common to all functions. IAM rejects a policy without statements.
#[test]
fn all_functions_may_trace_and_what_a_parameter_asks_for() {
    let template = template();
    let policy = &template["Resources"]["FunctionPolicy"]["Properties"]["PolicyDocument"];
    let via = ["dynamodb", "secretsmanager", "sqs"]
        .map(|service| json!({"Fn::Sub": format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}")}));
    let statements = as_list(&policy["Statement"]).into_iter().map(|statement| {
        let (condition, statement) = conditional(statement);
        let actions =
            as_list(&statement["Action"]).iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        if statement["Resource"] != "*" {
            // The key may only be used by the services on our behalf.
            assert_eq!(
                statement["Condition"],
                json!({"StringEquals": {"kms:ViaService": via}}),
                "{condition}"
            );
        }
        (condition, (actions, statement["Resource"].clone()))
    });
    let expected = [
        ("", vec!["xray:PutTelemetryRecords", "xray:PutTraceSegments"], json!("*")),
        (
            "InVpc",
            vec![
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:UnassignPrivateIpAddresses",
            ],
            json!("*"),
        ),
        ("WithKey", vec!["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], json!({"Ref": "KmsKeyArn"})),
        ("WithPreviousKey", vec!["kms:Decrypt", "kms:GenerateDataKey"], json!({"Ref": "PreviousKmsKeyArn"})),
    ];
    let expected = expected.map(|(condition, actions, on)| {
        (condition.to_owned(), (actions.into_iter().map(str::to_owned).collect::<Vec<_>>(), on))
    });
    assert_eq!(statements.collect::<BTreeMap<_, _>>(), expected.into());
}

/// A request with another path or method starts no function.
#[test]
fn the_gateway_may_invoke_what_a_route_leads_to_and_only_by_that_route() {
    let template = template();
    let routes = resources(&template, "AWS::ApiGatewayV2::Route");
    let permissions = resources(&template, "AWS::Lambda::Permission");
    let led = routes.values().map(|route| {
        let integration = route["Properties"]["Target"]["Fn::Sub"].as_str().unwrap();
        let integration = integration.trim_start_matches("integrations/${").trim_end_matches('}');
        let leads_to = &template["Resources"][integration]["Properties"]["IntegrationUri"]["Fn::Sub"];
        let function = leads_to.as_str().unwrap().split(":function:${").nth(1).unwrap();
        let function = function.trim_end_matches('}').to_owned();
        let (method, path) = route["Properties"]["RouteKey"].as_str().unwrap().split_once(' ').unwrap();
        (function, format!("${{HttpApi}}/*/{method}{}", path.replace("{token}", "*")))
    });
    let permitted = permissions.values().map(|permission| {
        let Value::Object(properties) = &permission["Properties"] else { panic!("{permission}") };
        assert_eq!(properties["Principal"], "apigateway.amazonaws.com");
        assert_eq!(properties["Action"], "lambda:InvokeFunction");
        let by = properties["SourceArn"]["Fn::Sub"].as_str().unwrap();
        let by = by.strip_prefix("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:");
        (properties["FunctionName"]["Ref"].as_str().unwrap().to_owned(), by.unwrap().to_owned())
    });
    let led: BTreeMap<_, _> = led.collect();
    assert_eq!([led.len(), permissions.len()], [Provider::ALL.len(); 2]);
    assert_eq!(permitted.collect::<BTreeMap<_, _>>(), led);
}

/// A schedule may only invoke its function.
#[test]
fn a_schedule_may_invoke_its_function_and_nothing_else() {
    let template = template();
    let schedules = resources(&template, "AWS::Scheduler::Schedule");
    assert_eq!(schedules.len(), 3);
    for (id, schedule) in schedules {
        let target = &schedule["Properties"]["Target"];
        let by =
            |name: &str| target[name]["Fn::GetAtt"].as_str().unwrap().trim_end_matches(".Arn").to_owned();
        let role = &template["Resources"][by("RoleArn")];
        assert_eq!(role["Properties"].get("ManagedPolicyArns"), None, "{id}");
        // A schedule without a group name is in the group `default`.
        assert_eq!(schedule["Properties"].get("GroupName"), None, "{id}");
        let group = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule-group/default";
        let trusted = json!([{
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {
                "aws:SourceAccount": {"Ref": "AWS::AccountId"}, "aws:SourceArn": {"Fn::Sub": group},
            }},
        }]);
        assert_eq!(role["Properties"]["AssumeRolePolicyDocument"]["Statement"], trusted, "{id}");
        let may = format!("lambda:InvokeFunction on {}", by("Arn"));
        assert_eq!(permissions(role), BTreeSet::from([may]), "{id}");
    }
}

/// IAM permissions that the logged calls of a world needed, as `action on resource`.
fn needed_permissions(world: &World) -> BTreeSet<String> {
    let needs = world.stack.connector.call_log().into_iter().flat_map(|(call, _)| call.permissions);
    needs.map(|need| format!("{} on {}", need.action, logical_id(need.resource.unwrap()))).collect()
}

/// The same event, but larger than what a record holds.
fn with_large_field(body: &str) -> String {
    body.replacen('{', &format!("{{\"large\":\"{}\",", random_hex(20_000, 1)), 1)
}

/// Runs every path of a function, in a world of its own.
async fn exercise(function: &str) -> World {
    if let "rightfoot-poller" | "rightfoot-requests" | "event-worker" = function {
        return exercise_rightfoot(function).await;
    }
    if function == "fynapse-auditor" {
        return exercise_auditor().await;
    }
    let world = World::new().await;
    let large = with_large_field(&extract_body("large"));
    let broken_queue = |fault: connector::Fault| {
        world
            .stack
            .connector
            .set_fault_plan(move |call| call.operation.starts_with("SendMessage").then_some(fault));
    };
    let functions = &world.stack.webhooks;
    let (clients, queue_url) = (world.stack.clients_for(function), world.stack.events_queue_url.clone());
    match function {
        "event-relay" => {
            broken_queue(connector::Fault::AccessDenied);
            assert_eq!(world.deliver_fynapse(large).await.status, 200);
            world.stack.connector.clear_call_log();
            clients.warm_up_due_scan(INBOX_TABLE, &queue_url, async {}).await;
            broken_queue(connector::Fault::InvalidMessage);
            for _ in 0..10 {
                world.advance(Duration::from_secs(901));
                world.run_relay().await.unwrap().unwrap();
            }
            assert_eq!(world.quarantined().await.len(), 1, "given up");
        }
        _ => {
            let provider = function.strip_suffix("-webhook").and_then(Provider::from_name);
            let provider = provider.unwrap_or_else(|| panic!("say here what {function} can come to do"));
            clients.warm_up(INBOX_TABLE, &queue_url, functions[&provider].load_secret()).await;
            let event = event_body(provider, "e-1");
            for body in
                [event.clone(), event, with_large_field(&event_body(provider, "large")), "{".to_owned()]
            {
                world.deliver(provider, body).await;
            }
            if provider == Provider::Rightfoot {
                for _ in 0..2 {
                    world.deliver_rightfoot(alert_body("b-1", "u-1")).await;
                }
            }
        }
    }
    world
}

/// Runs every path of the auditor: an event that is here, one that is not, and one whose payload is in the list.
async fn exercise_auditor() -> World {
    let it = FynapseWorld::new().await;
    let world = it.world.another_process();
    let clients = world.stack.clients_for("fynapse-auditor");
    clients.warm_up(INBOX_TABLE, &world.stack.events_queue_url, async {}).await;
    it.deliver("e-1").await;
    it.add_ended("e-2", DeliveryStatus::DeadLetter);
    it.world.advance(HOUR);
    drop(world.stack.auditor.handle(MINUTE).await.unwrap());
    it.fynapse.configure(|list| list.has_payloads = true);
    it.add_ended("e-3", DeliveryStatus::Cancelled);
    drop(world.stack.auditor.handle(MINUTE).await.unwrap());
    world
}

/// Runs every path of a function that calls Rightfoot.
async fn exercise_rightfoot(function: &str) -> World {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let world = it.world.another_process();
    it.request(daily_schedule_request("watch", &["a", "b"])).await;
    it.submit_batch("payroll", &["a", "b"]).await;
    it.advance(DAY + MINUTE * 10).await;
    let clients = world.stack.clients_for(function);
    if function == "rightfoot-requests" {
        clients.warm_up_table(INBOX_TABLE, world.stack.requests.load_secrets()).await;
        world.request(submit_batch_request("payroll-2", &["a", "b"])).await.unwrap().unwrap();
        return world;
    }
    if function == "event-worker" {
        clients.warm_up_table(INBOX_TABLE, world.stack.worker.load_api_key()).await;
        it.world
            .deliver_fynapse(
                extract_body("large").replace("150.00", &format!("\"{}\"", random_hex(20_000, 1))),
            )
            .await;
        it.world.deliver_rightfoot(alert_body("nowhere", "u-1")).await;
        it.run_for(HOUR).await;
        world.run_worker().await;
        return world;
    }
    clients
        .warm_up_due_scan(INBOX_TABLE, &world.stack.events_queue_url, world.stack.poller.load_api_key())
        .await;
    for _ in 0..6 {
        it.advance(MINUTE * 10).await;
        world.run_poller().await.unwrap().unwrap();
    }
    assert_eq!(it.world.drain_event_ids().await.len(), 3, "two completions, and the alerts of the run");
    world
}

#[tokio::test]
async fn a_function_needs_every_permission_that_it_has() {
    for role in &ROLES {
        let mut needed = needed_permissions(&Box::pin(exercise(role.function)).await);
        if role.function == "event-worker" {
            needed
                .extend(EVENT_SOURCE_MAPPING_ACTIONS.iter().map(|action| format!("{action} on EventsQueue")));
        }
        assert_eq!(needed, allowed_calls(role), "{}", role.function);
    }
}

/// Every test and the demo therefore fail on a call that the function's role does not permit.
#[tokio::test]
async fn the_local_system_refuses_what_a_role_does_not_permit() {
    let world = World::new().await;
    let of = |function| world.stack.clients_for(function);
    let key = || AttributeValue::S("k".to_owned());
    let get = async |by: Clients, table| {
        let got = by.dynamodb.get_item().table_name(table).key("pk", key()).key("sk", key()).send().await;
        got.map(drop).map_err(|error| AwsError::from_sdk_error("get", &error).kind)
    };
    let put =
        of("event-relay").dynamodb.put_item().table_name(INBOX_TABLE).item("pk", key()).item("sk", key());
    let put = put.send().await.map(drop).map_err(|error| AwsError::from_sdk_error("put", &error).kind);
    let secret = of("event-relay").secrets.get_secret_value().secret_id(FYNAPSE_SECRET);
    let secret =
        secret.send().await.map(drop).map_err(|error| AwsError::from_sdk_error("secret", &error).kind);
    let refused = Err(AwsErrorKind::Service("AccessDeniedException".to_owned()));
    assert_eq!(get(of("event-relay"), INBOX_TABLE).await, Ok(()));
    assert_eq!(get(of("event-relay"), BALANCES_TABLE).await, refused, "another table");
    assert_eq!(put, refused, "another action");
    assert_eq!(secret, refused, "a secret");
    assert_eq!(get(of("nobody"), INBOX_TABLE).await, refused, "without a role");
}

/// Rules trust the source of an event, so nobody else may use ours; any other source stays allowed as before.
#[test]
fn p4_only_the_worker_may_put_events_of_our_source_on_the_bus() {
    let template = template();
    let policies = resources(&template, "AWS::Events::EventBusPolicy");
    assert_eq!(policies.len(), 1);
    let policy = policies.values().next().unwrap();
    let worker = &template["Resources"]["EventWorker"];
    assert_eq!(policy["Condition"], worker["Condition"], "there as long as its worker is");
    assert_eq!(policy["Properties"]["EventBusName"], json!({"Ref": "EventBus"}));
    let but = json!({"StringEquals": {"events:source": SOURCE}, "ArnNotEquals": {"aws:PrincipalArn": worker["Properties"]["Role"]}});
    let statement = json!({
        "Effect": "Deny",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Resource": {"Fn::GetAtt": "EventBus.Arn"},
        "Condition": but,
    });
    assert_eq!(policy["Properties"]["Statement"], statement);
}

/// IAM supports no narrower resource for these actions.
#[test]
fn a_wildcard_is_only_for_traces_and_for_the_interfaces_in_a_vpc() {
    let mut found = BTreeSet::new();
    let template = template();
    for (id, resource) in template["Resources"].as_object().unwrap() {
        let properties = &resource["Properties"];
        let inline =
            as_list(&properties["Policies"]).into_iter().map(|policy| policy["PolicyDocument"].clone());
        for document in inline.chain([properties["PolicyDocument"].clone()]) {
            for statement in as_list(&document["Statement"]) {
                let (condition, statement) = conditional(statement);
                assert!(!statement["Action"].to_string().contains('*'), "{id}: {statement}");
                if statement["Resource"].to_string().contains('*') {
                    found.insert(format!("{id}: {condition}"));
                }
            }
        }
    }
    assert_eq!(found, ["FunctionPolicy: ", "FunctionPolicy: InVpc"].map(str::to_owned).into());
}

/// In an account that requires a permissions boundary, a role without one cannot be deployed.
#[test]
fn every_role_takes_the_permissions_boundary() {
    let roles = resources(&template(), "AWS::IAM::Role");
    assert_eq!(roles.len(), ROLES.len() + 3, "one for each function, and one for each schedule");
    let boundary =
        json!({"Fn::If": ["WithBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]});
    for (id, role) in roles {
        assert_eq!(role["Properties"]["PermissionsBoundary"], boundary, "{id}");
    }
}
