//! Responses that replace the genuine one.

use super::*;
use crate::rightfoot_simulator::{CannedResponse, ScriptedResponse};

async fn scripted(path_contains: &str, response: CannedResponse, remaining_uses: Option<usize>) -> TestRig {
    let path_contains = path_contains.to_owned();
    TestRig::with_behaviour(|behaviour| {
        behaviour.scripted_responses = vec![ScriptedResponse { path_contains, response, remaining_uses }]
    })
    .await
}

#[tokio::test]
async fn a_status_has_an_error_body_and_optionally_retry_after() {
    let rig = scripted("/balances", CannedResponse::Status(429), None).await;
    let (status, answer) = rig.get("/v1/balances?batchId=x").await;
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("TOO_MANY_REQUESTS")));
    let rig = scripted("/balances", CannedResponse::RetryAfter { status: 503, secs: 120 }, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"120".parse().unwrap()));
}

#[tokio::test]
async fn a_scripted_response_applies_to_matching_requests_a_limited_number_of_times() {
    let rig = scripted("batchId=x", CannedResponse::Status(500), Some(2)).await;
    let mut statuses = Vec::new();
    for path in ["batchId=y", "batchId=x", "batchId=x&limit=1", "batchId=x"] {
        statuses.push(rig.get(&format!("/v1/balances?{path}")).await.0);
    }
    assert_eq!(statuses, [404, 500, 500, 404]);
    rig.sim.configure(|behaviour| {
        let entry = |status, remaining_uses| ScriptedResponse {
            path_contains: "x".to_owned(),
            response: CannedResponse::Status(status),
            remaining_uses,
        };
        behaviour.scripted_responses = vec![entry(500, Some(1)), entry(502, Some(1)), entry(503, None)];
    });
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(rig.get("/v1/balances?batchId=x").await.0);
    }
    assert_eq!(statuses, [500, 502, 503, 503]);
    assert!(rig.sim.requests().iter().all(|request| request.status.is_some()));
}

#[tokio::test]
async fn a_canned_response_does_not_apply_the_request() {
    for answer in [CannedResponse::Status(500), CannedResponse::Html, CannedResponse::WrongShape] {
        let rig = scripted("balance_requests", answer, None).await;
        let request = rig.client.post(format!("{}/v1/balance_requests", rig.url)).bearer_auth(KEY);
        request.body(batch_of(1).to_string()).send().await.unwrap();
        assert_eq!((rig.sim.batches().len(), rig.sim.post_bodies().len()), (0, 1));
    }
}

#[tokio::test]
async fn html_and_a_wrong_shape_are_200() {
    let rig = scripted("", CannedResponse::Html, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().await.unwrap(), "<html>");
    let rig = scripted("", CannedResponse::WrongShape, None).await;
    assert_eq!(rig.get("/v1/balances").await, (200, json!({"balances": 7})));
}

#[tokio::test]
async fn too_large_is_valid_json_without_content_length() {
    let rig = scripted("", CannedResponse::TooLarge, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, None));
    let body = answer.bytes().await.unwrap();
    assert_eq!(body.len(), 64 * 1024 * 1024 + 15);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"balances": []}));
}

#[tokio::test]
async fn a_hanging_request_is_never_answered() {
    let rig = scripted("", CannedResponse::Hang, Some(1)).await;
    let hanging = tokio::time::timeout(Duration::from_millis(200), rig.try_get("/v1/balances")).await;
    assert!(hanging.is_err());
    assert_eq!(rig.get("/v1/balances?batchId=x").await.0, 404, "other requests are served");
    let statuses: Vec<_> = rig.sim.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [None, Some(404)]);
}

#[tokio::test]
async fn applied_then_500_applies_the_request() {
    let rig = scripted("balance_requests", CannedResponse::AppliedThen500, Some(1)).await;
    assert_eq!(rig.post("/v1/balance_requests", batch_of(1)).await.0, 500);
    let applied = rig.sim.batches()[0].batch_id.clone();
    assert_eq!(rig.submit(batch_of(1)).await, applied, "the response is cached");
    assert_eq!(rig.sim.batches().len(), 1);
    let rig = scripted("scheduled_balance_request", CannedResponse::AppliedThen500, Some(1)).await;
    let create = || rig.post("/v1/monitoring/scheduled_balance_request", daily("Daily", &["a"]));
    assert_eq!((create().await.0, create().await.0), (500, 409));
}

#[tokio::test]
async fn truncated_applies_the_request_and_breaks_the_response() {
    let rig = scripted("balance_requests", CannedResponse::Truncated, Some(1)).await;
    let request = rig.client.post(format!("{}/v1/balance_requests", rig.url)).bearer_auth(KEY);
    let answer = request.body(batch_of(1).to_string()).send().await;
    let read = match answer {
        Ok(answer) => answer.bytes().await.map(|_| ()),
        Err(error) => Err(error),
    };
    read.unwrap_err();
    assert_eq!(rig.sim.batches().len(), 1);
}

#[tokio::test]
async fn gzip_applies_the_request_and_compresses_the_genuine_response() {
    let rig = scripted("balance_requests", CannedResponse::Gzip, None).await;
    let request = rig.client.post(format!("{}/v1/balance_requests", rig.url)).bearer_auth(KEY);
    let answer = request.body(batch_of(1).to_string()).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-encoding"]),
        (201, &"gzip".parse().unwrap())
    );
    let body = answer.bytes().await.unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["batch_id"], rig.sim.batches()[0].batch_id.as_str());
}

#[tokio::test]
async fn edited_is_the_genuine_response_with_its_edits() {
    let edits = &[("\"error\"", "\"trouble\""), ("404", "\"404\"")];
    let rig = scripted("/balances", CannedResponse::Edited(edits), None).await;
    let (status, answer) = rig.get("/v1/balances?batchId=x").await;
    assert_eq!((status, &answer["status_code"]), (404, &json!("404")));
    assert!(answer["trouble"].is_object() && answer["error"].is_null());
}
