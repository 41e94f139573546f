//! P8 for the worker: balances go to the bus and into the table, and nowhere else.

use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use serde_json::{Value, json};
use tests::rightfoot_world::{API_KEY, RightfootWorld};
use tests::worker_effects::event_message;
use tests::{alert_event_id, completion_event_id};

use super::*;

/// An authorizer's id, which is personal data.
const USER: &str = "CANARY-user-7";
const BALANCE: &str = "5550142233.77";
const INSTITUTION: &str = "CANARY Bank of Springhill";

fn alert_with_canaries(batch: &str, event_uuid: &str, threshold: &str) -> String {
    format!(
        r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_THRESHOLD_ALERT","batch_id":"{batch}","alerts":[{{"authorizer_unique_id":"{USER}","institution_name":"{INSTITUTION}","balance":{BALANCE},"threshold_amount":{threshold}}}]}}"#
    )
}

/// A world with a recorded and queued event of every kind, and with messages that are no events.
async fn world_with_canaries() -> RightfootWorld {
    let it = RightfootWorld::with_run("b-1", &[(USER, BALANCE)]).await;
    let large =
        fynapse_body("e-2").replace(PERSONAL_DATA, &format!("{PERSONAL_DATA}{}", random_hex(300_000, 1)));
    for body in [fynapse_body("e-1"), large] {
        assert_eq!(it.world.deliver_fynapse(body).await.status, 200);
    }
    for body in [
        completion_body("b-1"),
        alert_with_canaries("b-1", "u-2", "100"),
        alert_with_canaries("b-1", "u-3", "99999999999").replace(USER, &format!("{USER}-and-nobody")),
        alert_with_canaries("b-2", "u-4", "1"),
    ] {
        assert_eq!(it.world.deliver_rightfoot(body).await.status, 200);
    }
    for body in [
        PERSONAL_DATA,
        "",
        &format!(r#"{{"specversion":"{PERSONAL_DATA}","id":"{PERSONAL_DATA}","source":"{PERSONAL_DATA}"}}"#),
    ] {
        it.world.send_message(format!("{body} ")).await;
    }
    it
}

fn assert_no_canary(what: &str, output: &str) {
    for canary in ["CANARY", "Jane-Doe", "078-05-1120", "5550142233", "Springhill", API_KEY] {
        let line = output.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "P8: {canary} in {what}: {}", line.unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_the_worker_lets_no_canary_out_whatever_fails() {
    let (output, metrics) = shared_capture();
    let faults = [
        Fault::Throttled,
        Fault::TimeoutAfter,
        Fault::AccessDenied,
        Fault::MalformedResponse,
        Fault::FirstEntryInvalid,
    ];
    let operations =
        ["nothing", "UpdateItem", "Query", "GetItem", "BatchWriteItem", "PutEvents", "GetSecretValue"];
    for operation in operations {
        for fault in faults {
            let is_of_bus = fault == Fault::FirstEntryInvalid;
            if (operation == "nothing" && !is_of_bus)
                || (is_of_bus && !["nothing", "PutEvents"].contains(&operation))
            {
                continue;
            }
            let it = world_with_canaries().await;
            it.world.inject_fault(operation, fault);
            it.world.run_worker().await;
        }
    }
    for answer in [
        CannedResponse::Status(401),
        CannedResponse::Status(500),
        CannedResponse::Html,
        CannedResponse::WrongShape,
        CannedResponse::Truncated,
    ] {
        let it = world_with_canaries().await;
        let scripted =
            ScriptedResponse { path_contains: "/v1/".to_owned(), response: answer, remaining_uses: None };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
        it.world.run_worker().await;
    }
    let output = flushed_output(output, metrics);
    for expected in [
        "\"outcome\":\"done\"",
        "\"outcome\":\"requeued\"",
        "\"outcome\":\"quarantined\"",
        "\"outcome\":\"returned\"",
        "\"processed\":",
    ] {
        assert!(output.contains(expected), "the capture is blind: no {expected}");
    }
    assert_no_canary("logs and metrics", &output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_the_deployed_worker_lets_no_canary_out() {
    let it = world_with_canaries().await;
    let aws = AwsEndpoint::serve(&it.world).await;
    let env = [
        ("BALANCES_TABLE", "balances"),
        ("EVENT_BUS_NAME", "balance-inbox"),
        ("RIGHTFOOT_API_URL", it.api_url.as_str()),
        ("RIGHTFOOT_API_KEY_SECRET_ID", "rightfoot-api-key"),
    ];
    let bodies = [
        event_message("fynapse/event/e-1"),
        event_message("fynapse/event/e-2"),
        event_message(&completion_event_id("b-1")),
        event_message(&alert_event_id("b-1", "u-2")),
        event_message(&alert_event_id("b-1", "u-3")),
        PERSONAL_DATA.to_owned(),
        format!("{{\"specversion\":\"{PERSONAL_DATA}\"}}"),
    ];
    let records: Vec<Value> = (0..)
        .zip(&bodies)
        .map(|(n, body)| json!({"messageId": format!("m-{n}"), "body": body, "attributes": {"SenderId": PERSONAL_DATA}}))
        .collect();
    let mut worker = start_at_trace(&aws, "event-worker", &env).await;
    let RuntimeResult::Response(answer) = worker.invoke(json!({"Records": records})).await else {
        panic!("it failed")
    };
    let mut failed: Vec<_> = answer["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["itemIdentifier"].as_str().unwrap())
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, ["m-5", "m-6"]);
    // Input that is no batch of messages is quoted by the runtime's own error.
    worker.invoke(json!({"Records": PERSONAL_DATA})).await;
    let published = it.world.drain_bus_ids().await;
    assert_eq!(
        published,
        [
            "fynapse/event/e-1",
            "fynapse/event/e-2",
            "rightfoot/batch/b-1/completed",
            &format!("rightfoot/batch/b-1/threshold-met/{USER}")
        ]
    );
    let output = worker.stop().await;
    assert!(output.contains("CloudWatchMetrics"), "the capture is blind: {output}");
    assert_no_canary("event-worker", &output);
}
