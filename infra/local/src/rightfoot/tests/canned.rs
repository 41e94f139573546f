//! Answers that replace the honest one.

use super::*;
use crate::rightfoot::{Canned, Scripted};

async fn scripted(path_contains: &str, answer: Canned, times: Option<usize>) -> Rig {
    let path_contains = path_contains.to_owned();
    Rig::behaving(|behaviour| behaviour.answers = vec![Scripted { path_contains, answer, times }]).await
}

#[tokio::test]
async fn a_status_comes_with_an_error_body_and_perhaps_retry_after() {
    let rig = scripted("/balances", Canned::Status(429), None).await;
    let (status, answer) = rig.get("/v1/balances?batchId=x").await;
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("TOO_MANY_REQUESTS")));
    let rig = scripted("/balances", Canned::RetryAfter { status: 503, secs: 120 }, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"120".parse().unwrap()));
}

#[tokio::test]
async fn it_answers_only_what_it_matches_and_only_so_often() {
    let rig = scripted("batchId=x", Canned::Status(500), Some(2)).await;
    let mut heard = Vec::new();
    for path in ["batchId=y", "batchId=x", "batchId=x&limit=1", "batchId=x"] {
        heard.push(rig.get(&format!("/v1/balances?{path}")).await.0);
    }
    assert_eq!(heard, [404, 500, 500, 404]);
    rig.sim.change(|behaviour| {
        let entry =
            |status, times| Scripted { path_contains: "x".to_owned(), answer: Canned::Status(status), times };
        behaviour.answers = vec![entry(500, Some(1)), entry(502, Some(1)), entry(503, None)];
    });
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(rig.get("/v1/balances?batchId=x").await.0);
    }
    assert_eq!(heard, [500, 502, 503, 503]);
    assert!(rig.sim.requests().iter().all(|request| request.status.is_some()));
}

#[tokio::test]
async fn a_canned_answer_applies_nothing() {
    for answer in [Canned::Status(500), Canned::Garbage, Canned::WrongShape] {
        let rig = scripted("balance_requests", answer, None).await;
        let request = rig.client.post(format!("{}/v1/balance_requests", rig.url)).bearer_auth(KEY);
        request.body(batch_of(1).to_string()).send().await.unwrap();
        assert_eq!((rig.sim.batches().len(), rig.sim.seen_bodies().len()), (0, 1));
    }
}

#[tokio::test]
async fn garbage_and_a_wrong_shape_are_200() {
    let rig = scripted("", Canned::Garbage, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().await.unwrap(), "<html>");
    let rig = scripted("", Canned::WrongShape, None).await;
    assert_eq!(rig.get("/v1/balances").await, (200, json!({"balances": 7})));
}

#[tokio::test]
async fn too_large_is_correct_json_of_unannounced_length() {
    let rig = scripted("", Canned::TooLarge, None).await;
    let answer = rig.try_get("/v1/balances").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, None));
    let body = answer.bytes().await.unwrap();
    assert_eq!(body.len(), 64 * 1024 * 1024 + 15);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"balances": []}));
}

#[tokio::test]
async fn a_hanging_request_is_never_answered() {
    let rig = scripted("", Canned::Hang, Some(1)).await;
    let hanging = tokio::time::timeout(Duration::from_millis(200), rig.try_get("/v1/balances")).await;
    assert!(hanging.is_err());
    assert_eq!(rig.get("/v1/balances?batchId=x").await.0, 404, "the others are served");
    let told: Vec<_> = rig.sim.requests().iter().map(|request| request.status).collect();
    assert_eq!(told, [None, Some(404)]);
}

#[tokio::test]
async fn dropped_after_applying_is_500_and_applied() {
    let rig = scripted("balance_requests", Canned::FailAfterApplying, Some(1)).await;
    assert_eq!(rig.post("/v1/balance_requests", batch_of(1)).await.0, 500);
    let applied = rig.sim.batches()[0].batch_id.clone();
    assert_eq!(rig.submit(batch_of(1)).await, applied, "the cache knows it");
    assert_eq!(rig.sim.batches().len(), 1);
    let rig = scripted("scheduled_balance_request", Canned::FailAfterApplying, Some(1)).await;
    let create = || rig.post("/v1/monitoring/scheduled_balance_request", daily("Daily", &["a"]));
    assert_eq!((create().await.0, create().await.0), (500, 409));
}

#[tokio::test]
async fn cut_short_is_applied_and_half_an_answer() {
    let rig = scripted("balance_requests", Canned::CutShort, Some(1)).await;
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
async fn compressed_is_applied_and_the_honest_answer() {
    let rig = scripted("balance_requests", Canned::Gzip, None).await;
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
async fn edited_is_the_honest_answer_but_for_its_edits() {
    let edits = &[("\"error\"", "\"trouble\""), ("404", "\"404\"")];
    let rig = scripted("/balances", Canned::Edited(edits), None).await;
    let (status, answer) = rig.get("/v1/balances?batchId=x").await;
    assert_eq!((status, &answer["status_code"]), (404, &json!("404")));
    assert!(answer["trouble"].is_object() && answer["error"].is_null());
}
