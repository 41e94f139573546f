//! The API key, and the requests that E1 accepts.

use std::collections::BTreeSet;

use super::*;
use crate::rightfoot_simulator::NoFailedAuthorizers;

const E1: &str = "/v1/balance_requests";

#[tokio::test]
async fn a_missing_or_wrong_key_is_answered_401_as_documented() {
    let rig = TestRig::new().await;
    for header in [None, Some("Bearer wrong"), Some("rf_test_key"), Some("Basic rf_test_key")] {
        for (method, path) in [("GET", "/v1/balances?batchId=x"), ("POST", E1), ("GET", "/nowhere")] {
            let mut request = rig.client.request(method.parse().unwrap(), format!("{}{path}", rig.url));
            if let Some(value) = header {
                request = request.header("authorization", value);
            }
            let answer = request.body(batch_of(1).to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 401);
            let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let expected = json!({
                "status": "error",
                "status_code": 401,
                "error": {
                    "code": "UNAUTHORIZED",
                    "message": "Invalid API key provided.",
                    "timestamp": "2026-01-02T03:04:05Z",
                    "suggestion": "Please check your API key.",
                },
                "batch_id": null,
                "documentation_url": "https://api.rightfoot.com/docs",
            });
            assert_eq!(body, expected);
        }
    }
    assert!(rig.sim.batches().is_empty());
}

#[tokio::test]
async fn every_request_is_logged_with_its_answer_and_every_body_as_it_came() {
    let rig = TestRig::new().await;
    let body = batch_of(1).to_string();
    rig.post(E1, &body).await;
    rig.advance(MINUTE);
    rig.get("/v1/balances?batchId=x&limit=5").await;
    let log: Vec<_> = rig.sim.requests();
    let logged: Vec<_> =
        log.iter().map(|it| (it.method.as_str(), it.path.as_str(), it.query.as_str(), it.status)).collect();
    assert_eq!(
        logged,
        [("POST", E1, "", Some(201)), ("GET", "/v1/balances", "batchId=x&limit=5", Some(404))]
    );
    assert_eq!(log[1].at.since(log[0].at), MINUTE);
    assert_eq!(rig.sim.post_bodies(), [body.into_bytes()]);
    rig.sim.clear_requests();
    assert!(rig.sim.requests().is_empty());
}

#[tokio::test]
async fn a_batch_is_answered_201_as_documented_and_ids_differ() {
    let rig = TestRig::new().await;
    let (status, answer) = rig.post(E1, batch_of(1)).await;
    assert_eq!(status, 201);
    let batch_id = answer["batch_id"].as_str().unwrap();
    uuid::Uuid::parse_str(batch_id).unwrap();
    let expected = json!({
        "batch_id": batch_id,
        "submitted_at": "2026-01-02T03:04:05Z",
        "message": "Batch has been successfully submitted and is pending processing.",
    });
    assert_eq!(answer, expected);
    assert_ne!(rig.submit(batch_of(2)).await, batch_id);
}

#[tokio::test]
async fn batch_ids_depend_on_seed_and_authorizers_and_not_on_order() {
    let (one, other) = (TestRig::new().await, TestRig::new().await);
    let in_order = [one.submit(batch_of(1)).await, one.submit(batch_of(2)).await];
    let reversed = [other.submit(batch_of(2)).await, other.submit(batch_of(1)).await];
    assert_eq!(in_order, [reversed[1].clone(), reversed[0].clone()]);
    assert_ne!(in_order[0], in_order[1]);
}

#[tokio::test]
async fn the_same_body_gets_the_same_answer_for_a_day_from_the_first() {
    let rig = TestRig::new().await;
    let body = with(batch_of(1), "webhook_url", json!("http://127.0.0.1:9/hook"));
    let first = rig.post(E1, &body).await;
    rig.advance(DAY / 2);
    assert_eq!(rig.post(E1, &body).await, first);
    rig.advance(DAY / 2 - Duration::from_millis(1));
    assert_eq!(rig.post(E1, &body).await, first);
    assert_eq!((rig.sim.batches().len(), rig.sim.webhooks().len()), (1, 1));
    let with_blank = rig.post(E1, format!("{body} ")).await;
    assert_ne!(with_blank.1["batch_id"], first.1["batch_id"]);
    rig.advance(Duration::from_millis(1));
    let (status, later) = rig.post(E1, &body).await;
    assert_eq!(status, 201);
    assert_ne!(later["batch_id"], first.1["batch_id"]);
    assert_eq!(rig.sim.batches().len(), 3);
}

#[tokio::test]
async fn bad_rows_are_listed_and_the_others_are_taken() {
    let rig = TestRig::new().await;
    let authorizers = json!([
        authorizer("good"),
        {"ssn": "1", "account_number": "1", "routing_number": "2"},
        {"authorizer_unique_id": "no-tax-id", "account_number": "1", "routing_number": "2"},
        {"authorizer_unique_id": "no-routing", "ein": "1", "account_number": "1"},
        {"authorizer_unique_id": "card", "ein": "1", "debit_card_number": "4"},
        {"authorizer_unique_id": "number", "ssn": 1, "account_number": "1", "routing_number": "2"},
        7,
    ]);
    let (status, answer) = rig.post(E1, json!({"authorizers": authorizers})).await;
    assert_eq!(status, 201);
    let failed = answer["failed_authorizers"].as_array().unwrap();
    let failed_rows: Vec<_> =
        failed.iter().map(|row| (row["authorizer_unique_id"].as_str(), row["row_number"].as_u64())).collect();
    let expected = [
        (None, Some(2)),
        (Some("no-tax-id"), Some(3)),
        (Some("no-routing"), Some(4)),
        (Some("number"), Some(6)),
        (None, Some(7)),
    ];
    assert_eq!(failed_rows, expected);
    let fields: BTreeSet<_> = failed[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["account_type", "authorizer_unique_id", "error", "row_number"].into());
    assert_eq!(
        (&failed[0]["account_type"], &failed[2]["account_type"]),
        (&json!("ACCOUNT_NUMBER"), &json!(null))
    );
    let batch = &rig.sim.batches()[0];
    assert_eq!(batch.authorizers, ["good", "card"]);
    assert_eq!(batch.failed_authorizers, ["no-tax-id", "no-routing", "number"]);
}

#[tokio::test]
async fn only_invalid_rows_are_answered_400() {
    let rig = TestRig::new().await;
    let (status, answer) = rig.post(E1, json!({"authorizers": [{"authorizer_unique_id": "a"}]})).await;
    assert_eq!(status, 400);
    assert_eq!(answer["status_code"], 400);
    assert_eq!(each(&answer["error"]["details"]["failed_authorizers"], "authorizer_unique_id"), ["a"]);
    assert!(rig.sim.batches().is_empty());
}

#[tokio::test]
async fn a_thousand_authorizers_are_taken_and_not_one_more() {
    let rig = TestRig::new().await;
    rig.submit(batch_of(1_000)).await;
    assert_eq!(rig.post(E1, batch_of(1_001)).await.0, 400);
    for bad in ["", "[]", "{}", r#"{"authorizers":[]}"#, r#"{"authorizers":7}"#] {
        assert_eq!(rig.post(E1, bad).await.0, 400, "{bad}");
    }
    assert_eq!(rig.post(E1, with(batch_of(1), "webhook_url", json!("no url"))).await.0, 400);
}

#[tokio::test]
async fn no_failures_are_absent_null_or_an_empty_list() {
    let rig = TestRig::new().await;
    for (number, form, expected) in [
        (1, NoFailedAuthorizers::Absent, None),
        (2, NoFailedAuthorizers::Null, Some(json!(null))),
        (3, NoFailedAuthorizers::EmptyList, Some(json!([]))),
    ] {
        rig.sim.configure(|behaviour| behaviour.no_failed_authorizers = form);
        assert_eq!(rig.post(E1, batch_of(number)).await.1.get("failed_authorizers").cloned(), expected);
    }
}
