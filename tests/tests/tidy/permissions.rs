//! Each function's role: what it may do is what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local::rightfoot::Lose;
use local::system::TABLE;
use local::wire::Fault;
use serde_json::Value;
use tests::rightfoot::{MINUTE, RightfootWorld, daily, submission};
use tests::{World, alert, completion, extract, noise};

use crate::none;
use crate::template::{functions, list, name_of, template};

const HOUR: Duration = Duration::from_secs(3_600);

/// What a function may do, as `action on resource`.
fn permissions(function: &Value) -> Vec<String> {
    let mut permissions = Vec::new();
    for policy in list(&function["Properties"]["Policies"]) {
        for statement in list(&policy["Statement"]) {
            assert_eq!(statement["Effect"], "Allow");
            let on = statement["Resource"].as_object().unwrap().values().next().unwrap();
            let on = on.as_str().unwrap().trim_start_matches("${").replace(['}'], "").replace(".Arn", "");
            let actions = list(&statement["Action"]);
            permissions.extend(actions.iter().map(|action| format!("{} on {on}", action.as_str().unwrap())));
        }
    }
    permissions.sort();
    permissions
}

/// What each function may do.
const ROLES: [(&str, &[&str]); 6] = [
    (
        "FynapseWebhook",
        &[
            "dynamodb:GetItem on InboxTable",
            "dynamodb:PutItem on InboxTable",
            "dynamodb:UpdateItem on InboxTable",
            "secretsmanager:GetSecretValue on FynapseSigningSecret",
            "sqs:GetQueueAttributes on EventsQueue",
            "sqs:SendMessage on EventsQueue",
        ],
    ),
    (
        "RightfootWebhook",
        &[
            "dynamodb:GetItem on InboxTable",
            "dynamodb:PutItem on InboxTable",
            "dynamodb:UpdateItem on InboxTable",
            "secretsmanager:GetSecretValue on RightfootUrlKey",
            "sqs:GetQueueAttributes on EventsQueue",
            "sqs:SendMessage on EventsQueue",
        ],
    ),
    (
        "EventRelay",
        &[
            "dynamodb:BatchGetItem on InboxTable",
            "dynamodb:GetItem on InboxTable",
            "dynamodb:Query on InboxTable/index/due",
            "dynamodb:UpdateItem on InboxTable",
            "sqs:GetQueueAttributes on EventsQueue",
            "sqs:SendMessage on EventsQueue",
        ],
    ),
    (
        "RightfootPoller",
        &[
            "dynamodb:BatchGetItem on InboxTable",
            "dynamodb:GetItem on InboxTable",
            "dynamodb:PutItem on InboxTable",
            "dynamodb:Query on InboxTable",
            "dynamodb:Query on InboxTable/index/due",
            "dynamodb:UpdateItem on InboxTable",
            "secretsmanager:GetSecretValue on RightfootApiKey",
            "sqs:GetQueueAttributes on EventsQueue",
            "sqs:SendMessage on EventsQueue",
        ],
    ),
    (
        "RightfootRequests",
        &[
            "dynamodb:GetItem on InboxTable",
            "dynamodb:PutItem on InboxTable",
            "dynamodb:UpdateItem on InboxTable",
            "secretsmanager:GetSecretValue on RightfootApiKey",
            "secretsmanager:GetSecretValue on RightfootUrlKey",
        ],
    ),
    (
        "EventWorker",
        &[
            "dynamodb:BatchWriteItem on BalancesTable",
            "dynamodb:GetItem on InboxTable",
            "dynamodb:UpdateItem on InboxTable",
            "events:PutEvents on EventBus",
            "secretsmanager:GetSecretValue on RightfootApiKey",
            "sqs:DeleteMessage on EventsQueue",
            "sqs:GetQueueAttributes on EventsQueue",
            "sqs:ReceiveMessage on EventsQueue",
        ],
    ),
];

#[test]
fn a_function_may_do_what_it_does_and_nothing_else() {
    let permitted: BTreeMap<_, _> =
        functions(&template()).into_iter().map(|(id, function)| (id, permissions(&function))).collect();
    let roles = ROLES.map(|(id, role)| (id.to_owned(), role.iter().map(|it| (*it).to_owned()).collect()));
    assert_eq!(permitted, roles.into());
}

/// The IAM actions behind the calls on a world's wire.
fn actions_called(world: &World) -> BTreeSet<String> {
    let calls = world.system.wire.log().into_iter().map(|(call, _)| call.operation);
    let actions = |operation: String| match operation.as_str() {
        "GetSecretValue" => vec![format!("secretsmanager:{operation}")],
        "PutEvents" => vec![format!("events:{operation}")],
        "SendMessage" | "SendMessageBatch" => vec!["sqs:SendMessage".to_owned()],
        "GetQueueAttributes" => vec![format!("sqs:{operation}")],
        // A transaction needs the permissions of the writes in it: ours put and update.
        "TransactWriteItems" => vec!["dynamodb:PutItem".to_owned(), "dynamodb:UpdateItem".to_owned()],
        _ => vec![format!("dynamodb:{operation}")],
    };
    calls.flat_map(actions).collect()
}

/// Does everything that a function can come to do, in a world of its own.
async fn world_of(function: &str) -> World {
    if let "rightfoot-poller" | "rightfoot-requests" | "event-worker" = function {
        return rightfoot_world_of(function).await;
    }
    let world = World::new().await;
    let large = extract("large").replace("150.00", &format!("\"{}\"", noise(20_000, 1)));
    let broken_queue = |fault: Fault| {
        world.system.wire.plan(move |call| call.operation.starts_with("SendMessage").then_some(fault));
    };
    let functions = &world.system.functions;
    let (clients, queue_url) = (world.system.clients(), world.system.events_url.clone());
    match function {
        "fynapse-webhook" => {
            clients.warm_up(TABLE, &queue_url, functions.fynapse.load_secret()).await;
            for body in [extract("e-1"), extract("e-1"), large, "{".to_owned()] {
                assert_eq!(world.fynapse(body).await.status, 200);
            }
        }
        "rightfoot-webhook" => {
            clients.warm_up(TABLE, &queue_url, functions.rightfoot.load_secret()).await;
            for body in [completion("b-1", "u-1"), alert("b-1", "u-1"), alert("b-1", "u-1"), "{}".to_owned()]
            {
                world.rightfoot(body).await;
            }
        }
        "event-relay" => {
            broken_queue(Fault::AccessDenied);
            assert_eq!(world.fynapse(large).await.status, 200);
            world.system.wire.clear_log();
            clients.warm_up(TABLE, &queue_url, async {}).await;
            broken_queue(Fault::Refused);
            for _ in 0..10 {
                world.pass(Duration::from_secs(901));
                world.relay().await.unwrap().unwrap();
            }
            assert_eq!(world.quarantined().await.len(), 1, "given up");
        }
        _ => panic!("say here what {function} can come to do"),
    }
    world
}

/// The same, of the functions that ask Rightfoot.
async fn rightfoot_world_of(function: &str) -> World {
    let it = RightfootWorld::with(|rightfoot| rightfoot.lose_webhooks = Lose::All).await;
    let world = it.world.another();
    it.ask(daily("watch", &["a", "b"])).await;
    it.submit("payroll", &["a", "b"]).await;
    it.pass(HOUR * 24 + MINUTE * 10).await;
    let clients = world.system.clients();
    if function == "rightfoot-requests" {
        clients.warm_up_table(TABLE, world.system.requests.load_secrets()).await;
        world.ask(submission("payroll-2", &["a", "b"])).await.unwrap().unwrap();
        return world;
    }
    if function == "event-worker" {
        clients.warm_up_table(TABLE, world.system.worker.load_key()).await;
        it.world.fynapse(extract("large").replace("150.00", &format!("\"{}\"", noise(20_000, 1)))).await;
        it.world.rightfoot(alert("nowhere", "u-1")).await;
        it.live(HOUR).await;
        world.work().await;
        return world;
    }
    clients.warm_up(TABLE, &world.system.events_url, world.system.poller.load_key()).await;
    for _ in 0..6 {
        it.pass(MINUTE * 10).await;
        world.poll().await.unwrap().unwrap();
    }
    assert_eq!(it.world.drain_ids().await.len(), 3, "two completions, and the alerts of the run");
    world
}

#[tokio::test]
async fn a_function_needs_every_permission_that_it_has() {
    for function in functions(&template()).values() {
        let permitted = permissions(function).into_iter();
        let permitted: BTreeSet<_> =
            permitted.map(|permission| permission.split(' ').next().unwrap().to_owned()).collect();
        let name = name_of(function);
        let mut called = actions_called(&Box::pin(world_of(&name)).await);
        if name == "event-worker" {
            // By its event source mapping, in its name.
            called.extend(
                ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"].map(|it| format!("sqs:{it}")),
            );
        }
        assert_eq!(called, permitted, "{name}");
    }
}

#[test]
fn no_statement_holds_a_wildcard() {
    let mut found = none();
    let mut look = |id: &str, policies: &Value| {
        for policy in policies.as_array().into_iter().flatten() {
            let document = policy.get("PolicyDocument").unwrap_or(policy);
            for statement in list(&document["Statement"]) {
                if ["Action", "Resource"].iter().any(|part| statement[part].to_string().contains('*')) {
                    found.push(format!("{id}: {statement}"));
                }
            }
        }
    };
    for (id, resource) in template()["Resources"].as_object().unwrap() {
        look(id, &resource["Properties"]["Policies"]);
    }
    assert_eq!(found, none());
}
