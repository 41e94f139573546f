//! Tests of the two calls that change something.

use super::stub::{StubServer, reply};
use super::{KEY, at, client, id, key};
use crate::{ApiError, CreatedSchedule, FailedAuthorizer, SubmittedBatch};

const BATCH: &str = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
const CREATED: &str = r#"{"batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83",
 "submitted_at":"2024-09-17T10:00:00Z",
 "message":"Batch has been successfully submitted and is pending processing."}"#;
const PARTLY: &str = r#"{"batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83",
 "submitted_at":"2024-09-17T10:00:00Z","message":"Batch has been successfully submitted and is pending processing.",
 "failed_authorizers":[{"authorizer_unique_id":"5e6f7g8h","error":"Invalid SSN","account_type":"ACCOUNT_NUMBER","row_number":4}],
 "warnings":["decoded as Latin-1"]}"#;
const SCHEDULED: &str = r#"{"schedule_id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890","name":"Weekly Balance Check","message":"Schedule created successfully","expires_at":"2025-01-15T00:00:00Z","next_run_at":"2024-12-19T02:30:00Z"}"#;
/// Not as this code would print it: spaces, an escape, a trailing zero, a newline at the end.
const BODY: &str =
    "{ \"authorizers\" : [ {\"authorizer_unique_id\":\"\\u0031a2b\"} ],\n  \"threshold_amount\": 100.00 }\n";

fn whole() -> SubmittedBatch {
    SubmittedBatch {
        batch_id: id(BATCH),
        submitted_at: Some(at("2024-09-17T10:00:00Z")),
        failed_authorizers: vec![],
        warnings: vec![],
    }
}

fn failed() -> FailedAuthorizer {
    FailedAuthorizer {
        authorizer: Some(id("5e6f7g8h")),
        error: "Invalid SSN".to_owned(),
        account_type: Some("ACCOUNT_NUMBER".to_owned()),
        row_number: Some(4),
    }
}

#[tokio::test]
async fn a_batch_is_submitted_with_exactly_the_bytes_given() {
    let stub = StubServer::with([reply(201, CREATED)]).await;
    assert_eq!(client(&stub).submit_batch(&key(), BODY).await, Ok(whole()));

    let [seen] = &stub.requests()[..] else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/balance_requests"));
    assert_eq!(seen.body, BODY.as_bytes());
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("accept-encoding"), Some("gzip, deflate"));
    assert_eq!(seen.header("cookie"), None);
}

#[tokio::test]
async fn a_partly_accepted_batch_names_whom_it_leaves_out() {
    let stub = StubServer::with([reply(201, PARTLY)]).await;
    let expected = SubmittedBatch {
        failed_authorizers: vec![failed()],
        warnings: vec!["decoded as Latin-1".to_owned()],
        ..whole()
    };
    assert_eq!(client(&stub).submit_batch(&key(), BODY).await, Ok(expected));
}

#[tokio::test]
async fn any_2xx_with_a_batch_id_is_a_batch() {
    for status in [200, 201, 202, 206] {
        let stub = StubServer::with([reply(status, CREATED)]).await;
        assert_eq!(client(&stub).submit_batch(&key(), BODY).await, Ok(whole()), "{status}");
    }
}

#[tokio::test]
async fn a_batch_is_sent_again_with_the_same_bytes_where_its_outcome_is_unknown() {
    let stub = StubServer::with([reply(500, ""), reply(502, "<html>"), reply(201, CREATED)]).await;
    assert_eq!(client(&stub).submit_batch(&key(), BODY.as_bytes().to_vec()).await, Ok(whole()));
    assert_eq!(stub.request_count(), 3);
    assert!(stub.requests().iter().all(|seen| seen.body == BODY.as_bytes()));
}

#[tokio::test]
async fn a_declined_batch_names_its_failed_authorizers() {
    let body = r#"{"status":"error","status_code":400,"error":{"code":"BAD_REQUEST","message":"All rows failed","details":
        {"failed_authorizers":[{"authorizer_unique_id":"5e6f7g8h","error":"Invalid SSN","account_type":"ACCOUNT_NUMBER","row_number":4}]}},"batch_id":null}"#;
    let stub = StubServer::with([reply(400, body)]).await;
    let refused = ApiError::Declined { status: 400, failed: vec![failed()] };
    assert_eq!(client(&stub).submit_batch(&key(), BODY).await, Err(refused));
    assert_eq!(stub.request_count(), 1);
}

/// A gateway may answer this to any attempt, whatever the outcome of an earlier one.
#[tokio::test]
async fn an_unexpected_status_of_a_post_leaves_the_outcome_unknown() {
    for status in [404, 405, 410, 415, 421] {
        let stub = StubServer::with([reply(status, "")]).await;
        let error = client(&stub).submit_batch(&key(), BODY).await.unwrap_err();
        assert_eq!(
            (&error, error.is_outcome_unknown()),
            (&ApiError::InvalidResponse("an unexpected status"), true)
        );
        assert_eq!(stub.request_count(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_post_is_declined_forbidden_or_in_conflict_without_retry() {
    let refused = |status| ApiError::Declined { status, failed: vec![] };
    for (status, error) in [
        (401, ApiError::Unauthorized),
        (403, ApiError::Forbidden),
        (400, refused(400)),
        (409, ApiError::Conflict),
        (413, refused(413)),
        (422, refused(422)),
    ] {
        let stub = StubServer::with([reply(status, "<html>no JSON</html>")]).await;
        assert_eq!(client(&stub).submit_batch(&key(), BODY).await, Err(error.clone()));
        assert_eq!(client(&stub).create_schedule(&key(), BODY).await, Err(error.clone()));
        assert_eq!(stub.request_count(), 2, "{status}");
        assert_eq!(error.is_outcome_unknown(), status == 409, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_an_id_leaves_the_outcome_unknown() {
    for (status, body) in
        [(201, ""), (204, ""), (200, "{}"), (200, "<html>"), (201, r#"{"batch_id":null,"schedule_id":null}"#)]
    {
        let stub = StubServer::with([reply(status, body)]).await;
        let submitted = client(&stub).submit_batch(&key(), BODY).await.unwrap_err();
        let scheduled = client(&stub).create_schedule(&key(), BODY).await.unwrap_err();
        assert!(
            matches!((&submitted, &scheduled), (ApiError::InvalidResponse(_), ApiError::InvalidResponse(_))),
            "{status} {body}"
        );
        assert!(submitted.is_outcome_unknown() && scheduled.is_outcome_unknown());
    }
}

#[tokio::test]
async fn a_schedule_is_created_with_exactly_the_bytes_given() {
    let stub = StubServer::with([reply(201, SCHEDULED)]).await;
    let expected = CreatedSchedule {
        schedule_id: id("a1b2c3d4-e5f6-7890-abcd-ef1234567890"),
        expires_at: Some(at("2025-01-15T00:00:00Z")),
        next_run_at: Some(at("2024-12-19T02:30:00Z")),
    };
    assert_eq!(client(&stub).create_schedule(&key(), BODY).await, Ok(expected.clone()));
    let [seen] = &stub.requests()[..] else { panic!("one request") };
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/v1/monitoring/scheduled_balance_request")
    );
    assert_eq!(seen.body, BODY.as_bytes());
    assert_eq!(seen.header("content-type"), Some("application/json"));

    let older = SCHEDULED.replace(r#""name":"Weekly Balance Check","#, "");
    let stub = StubServer::with([reply(200, older)]).await;
    assert_eq!(client(&stub).create_schedule(&key(), BODY).await, Ok(expected));
}

#[tokio::test]
async fn a_base_path_stands_before_the_version() {
    let stub = StubServer::with([reply(201, CREATED)]).await;
    let config = super::config(&format!("{}/proxy/", stub.base_url()));
    crate::RightfootClient::new(config).unwrap().submit_batch(&key(), BODY).await.unwrap();
    assert_eq!(stub.requests()[0].target, "/proxy/v1/balance_requests");
}
