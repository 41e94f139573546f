//! Tests of the three calls that change nothing.

use inbox_core::rightfoot_api::{Balance, HistoryEntry, ScheduleState};
use inbox_core::time::UnixMillis;

use super::stub::{RecordedRequest, StubReply, StubServer, reply};
use super::{at, client, id, key};
use crate::{ApiError, AuthorizerHistory, BatchBalances, SkippedRows};

const BATCH: &str = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
const FIRST_PAGE: &str = r#"{"batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83","total_processed":3,
 "balances":[
  {"authorizer_unique_id":"1286672","balance":-83.68,"timestamp":"2024-08-09T18:10:44Z","balance_status_code":0,"status_code":0},
  {"authorizer_unique_id":"1258831","balance":null,"timestamp":"2024-08-09T17:55:25Z","balance_status_code":3300,"status_code":3300}],
 "has_more":true,"next_page_token":"eyJ0ZXN0IjogImN1cnNvciJ9"}"#;
const LAST_PAGE: &str = r#"{"batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83","total_processed":3,
 "balances":[{"authorizer_unique_id":"1a2b3c4d","balance":1523.40,"timestamp":"2024-08-09T18:10:44Z","balance_status_code":0}],
 "has_more":false,"next_page_token":null}"#;
const HISTORY: &str = r#"{"authorizer_unique_id":"1a2b3c4d","total_count":250,
 "history":[{"run_at":"2024-12-12T02:30:00Z","batch_id":"BATCH-98765","balance_amount":1523.47,"status":"success","error_message":null},
            {"run_at":"2024-11-28T02:30:00Z","batch_id":"BATCH-98763","balance_amount":null,"status":"failed","error_message":"Institution not supported"}],
 "next_page_token":"eyJjdXJzb3IiOiA1MDAsICJ0b3RhbF9yb3dzX3JldHVybmVkIjogMjB9","has_more":true}"#;

fn row(authorizer: &str, amount: Option<&str>, status_code: i64) -> Balance {
    let amount = amount.map(|text| text.parse().unwrap());
    Balance { authorizer: id(authorizer), amount, status_code, checked_at: None }
}

fn row_at(authorizer: &str, amount: Option<&str>, status_code: i64, checked_at: &str) -> Balance {
    Balance { checked_at: Some(at(checked_at)), ..row(authorizer, amount, status_code) }
}

fn whole(rows: Vec<Balance>) -> BatchBalances {
    BatchBalances { rows, reached_last_page: true, skipped: SkippedRows::default() }
}

fn entries(entries: Vec<HistoryEntry>) -> Result<AuthorizerHistory, ApiError> {
    Ok(AuthorizerHistory { entries, skipped: SkippedRows::default() })
}

fn run(run_at: &str, batch_id: &str) -> HistoryEntry {
    HistoryEntry { run_at: at(run_at), batch_id: id(batch_id) }
}

/// A page of rows of 1,000 authorizers, as the API would return it.
fn page_of_thousand_rows(request: &RecordedRequest, token: &str, rows: usize) -> StubReply {
    let first: usize = request.parameter(token).map_or(0, |token| token.parse().unwrap());
    let last = (first + rows).min(1_000);
    let rows: Vec<_> = (first..last)
        .map(|n| format!(r#"{{"authorizer_unique_id":"a{n}","balance":{n}.50,"balance_status_code":0}}"#))
        .collect();
    let next = if last < 1_000 { format!("\"{last}\"") } else { "null".to_owned() };
    reply(
        200,
        format!(
            r#"{{"balances":[{}],"has_more":{},"next_page_token":{next}}}"#,
            rows.join(","),
            last < 1_000
        ),
    )
}

#[tokio::test]
async fn balances_of_all_pages_are_read_digit_for_digit() {
    let stub = StubServer::with([reply(200, FIRST_PAGE), reply(200, LAST_PAGE)]).await;
    let balances = client(&stub).balances(&key(), &id(BATCH)).await.unwrap();
    let rows = vec![
        row_at("1286672", Some("-83.68"), 0, "2024-08-09T18:10:44Z"),
        row_at("1258831", None, 3300, "2024-08-09T17:55:25Z"),
        row_at("1a2b3c4d", Some("1523.40"), 0, "2024-08-09T18:10:44Z"),
    ];
    assert_eq!(balances.rows[2].amount.unwrap().to_string(), "1523.40");
    assert_eq!(balances, whole(rows));

    let [first, second] = &stub.requests()[..] else { panic!("two requests") };
    assert_eq!(
        (first.method.as_str(), first.header("authorization")),
        ("GET", Some("Bearer rf_live_canary"))
    );
    assert_eq!(first.target, format!("/v1/balances?batchId={BATCH}&limit=100"));
    assert_eq!(
        second.target,
        format!("/v1/balances?batchId={BATCH}&limit=100&next_page_token=eyJ0ZXN0IjogImN1cnNvciJ9")
    );
}

#[tokio::test]
async fn a_thousand_rows_are_ten_requests() {
    let stub = StubServer::with_handler(|_, seen| page_of_thousand_rows(seen, "next_page_token", 100)).await;
    let balances = client(&stub).balances(&key(), &id("b")).await.unwrap();
    assert_eq!((balances.rows.len(), balances.reached_last_page), (1_000, true));
    assert_eq!(stub.request_count(), 10);
    assert!(stub.requests().iter().all(|seen| seen.parameter("limit").as_deref() == Some("100")));
}

#[tokio::test]
async fn where_the_token_is_ignored_its_older_name_is_tried() {
    let stub = StubServer::with_handler(|_, seen| page_of_thousand_rows(seen, "nextPageToken", 100)).await;
    let balances = client(&stub).balances(&key(), &id("b")).await.unwrap();
    assert_eq!((balances.rows.len(), balances.reached_last_page), (1_000, true));
    assert_eq!(stub.request_count(), 11, "one page came twice");
    assert!(stub.requests().iter().skip(2).all(|seen| seen.parameter("next_page_token").is_none()));
}

#[tokio::test]
async fn where_both_names_are_ignored_there_is_an_end_but_not_the_last_page() {
    let stub = StubServer::with_handler(|_, seen| page_of_thousand_rows(seen, "page", 100)).await;
    let balances = client(&stub).balances(&key(), &id("b")).await.unwrap();
    assert_eq!((balances.rows.len(), balances.reached_last_page), (100, false));
    assert_eq!(stub.request_count(), 3);
}

#[tokio::test]
async fn an_authorizer_has_one_row_the_first() {
    let twice = r#"{"balances":[{"authorizer_unique_id":"a","balance":1,"balance_status_code":0},
        {"authorizer_unique_id":"b","balance":2},{"authorizer_unique_id":"a","balance":3}]}"#;
    let stub = StubServer::with([reply(200, twice)]).await;
    let rows = vec![row("a", Some("1"), 0), row("b", Some("2"), 0)];
    let expected = whole(rows);
    assert_eq!(client(&stub).balances(&key(), &id("b")).await, Ok(expected));
}

#[tokio::test]
async fn a_list_that_is_larger_than_any_batch_is_not_read_to_its_end() {
    let stub = StubServer::with_handler(|number, _| {
        let rows: Vec<_> =
            (0..20_000).map(|n| format!(r#"{{"authorizer_unique_id":"{number}-{n}"}}"#)).collect();
        reply(
            200,
            format!(r#"{{"balances":[{}],"has_more":true,"next_page_token":"{number}"}}"#, rows.join(",")),
        )
    })
    .await;
    let balances = client(&stub).balances(&key(), &id("b")).await.unwrap();
    assert_eq!((balances.rows.len(), balances.reached_last_page), (40_000, false));
    assert_eq!(stub.request_count(), 2);
}

#[tokio::test]
async fn an_empty_list_is_an_answer() {
    let empty = r#"{"batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83","total_processed":0,"balances":[],"has_more":false,"next_page_token":null}"#;
    let stub = StubServer::with([reply(200, empty)]).await;
    let expected = whole(vec![]);
    assert_eq!(client(&stub).balances(&key(), &id(BATCH)).await, Ok(expected));
}

#[tokio::test]
async fn ids_and_tokens_arrive_as_they_are() {
    let odd = "a&limit=1#/../é +%2F\n";
    let token = "eyJ+/=&batchId=x";
    let page = format!(
        r#"{{"balances":[{{"authorizer_unique_id":"a"}}],"has_more":true,"next_page_token":"{token}"}}"#
    );
    let stub = StubServer::with([reply(200, page), reply(200, r#"{"balances":[]}"#)]).await;
    client(&stub).balances(&key(), &id(odd)).await.unwrap();
    let [first, second] = &stub.requests()[..] else { panic!("two requests") };
    assert_eq!(first.parameter("batchId").as_deref(), Some(odd));
    assert_eq!(second.parameter("batchId").as_deref(), Some(odd));
    assert_eq!(second.parameter("next_page_token").as_deref(), Some(token));

    let stub = StubServer::with([reply(200, r#"{"total_authorizers":1,"history":[]}"#)]).await;
    client(&stub).schedule(&key(), &id(odd)).await.unwrap();
    client(&stub).history(&key(), &id(odd), UnixMillis(0)).await.unwrap();
    let element = "a%26limit%3D1%23%2F..%2F%C3%A9%20%2B%252F%0A";
    let targets: Vec<_> = stub.requests().into_iter().map(|seen| seen.target).collect();
    let schedule = format!("/v1/monitoring/schedules/{element}");
    let history = format!("/v1/monitoring/authorizers/{element}/history?limit=100");
    assert_eq!(targets, [schedule, history]);
}

#[tokio::test]
async fn an_id_that_would_ask_for_something_else_is_not_sent() {
    let stub = StubServer::with([reply(200, "{}")]).await;
    for dots in [".", ".."] {
        assert!(client(&stub).schedule(&key(), &id(dots)).await.is_err());
        assert!(client(&stub).history(&key(), &id(dots), UnixMillis(0)).await.is_err());
    }
    assert_eq!(stub.request_count(), 0);
}

#[tokio::test]
async fn a_schedule_is_read_in_both_versions() {
    let older = r#"{"schedule_id":"s","last_run_at":"2024-12-12T02:30:00Z","next_run_at":"2024-12-19T02:30:00Z","total_authorizers":150}"#;
    let newer = r#"{"schedule_id":"s","name":"Weekly","last_run_at":null,"next_run_at":"2024-12-19T02:30:00Z","total_authorizers":150}"#;
    let ended = r#"{"schedule_id":"s","name":"Weekly","last_run_at":"2024-12-12T02:30:00Z","next_run_at":null,"total_authorizers":150}"#;
    let (last, next) = (Some(at("2024-12-12T02:30:00Z")), Some(at("2024-12-19T02:30:00Z")));
    for (body, last_run_at, next_run_at) in [(older, last, next), (newer, None, next), (ended, last, None)] {
        let stub = StubServer::with([reply(200, body)]).await;
        let expected = ScheduleState { last_run_at, next_run_at, total_authorizers: 150 };
        assert_eq!(client(&stub).schedule(&key(), &id("s")).await, Ok(expected));
        assert_eq!(stub.requests()[0].target, "/v1/monitoring/schedules/s");
    }
}

#[tokio::test]
async fn history_is_read_back_to_the_requested_time_and_no_further() {
    let stub = StubServer::with([reply(200, HISTORY)]).await;
    let newest = run("2024-12-12T02:30:00Z", "BATCH-98765");
    let read = client(&stub).history(&key(), &id("1a2b3c4d"), at("2024-11-28T02:30:00.001Z")).await;
    assert_eq!(read, entries(vec![newest]));
    assert_eq!(stub.request_count(), 1);
    assert_eq!(stub.requests()[0].target, "/v1/monitoring/authorizers/1a2b3c4d/history?limit=100");
}

#[tokio::test]
async fn a_run_at_exactly_the_requested_time_is_included() {
    let last = r#"{"authorizer_unique_id":"1a2b3c4d","total_count":3,"history":[{"run_at":"2024-11-14T02:30:00Z","batch_id":"BATCH-98761"}],"has_more":false,"next_page_token":null}"#;
    let stub = StubServer::with([reply(200, HISTORY), reply(200, last)]).await;
    let read = client(&stub).history(&key(), &id("1a2b3c4d"), at("2024-11-28T02:30:00Z")).await;
    let both = vec![run("2024-12-12T02:30:00Z", "BATCH-98765"), run("2024-11-28T02:30:00Z", "BATCH-98763")];
    assert_eq!(read, entries(both));
    assert_eq!(stub.request_count(), 2, "there might have been more of that time");
}

#[tokio::test]
async fn a_history_that_cannot_be_read_back_far_enough_is_an_error_not_a_gap() {
    let stub = StubServer::with([reply(200, HISTORY)]).await;
    let read = client(&stub).history(&key(), &id("1a2b3c4d"), UnixMillis(0)).await;
    assert_eq!(read, Err(ApiError::InvalidResponse("a list that does not end")));
    assert_eq!(stub.request_count(), 3);
}

#[tokio::test]
async fn a_repeated_run_is_listed_once() {
    let twice =
        HISTORY.replace("2024-11-28T02:30:00Z", "2024-12-12T02:30:00Z").replace("BATCH-98763", "BATCH-98765");
    let stub =
        StubServer::with([reply(200, twice.replace(r#""has_more":true"#, r#""has_more":false"#))]).await;
    let read = client(&stub).history(&key(), &id("1a2b3c4d"), UnixMillis(0)).await;
    assert_eq!(read, entries(vec![run("2024-12-12T02:30:00Z", "BATCH-98765")]));
}

#[tokio::test]
async fn every_status_of_a_get_has_its_meaning() {
    let unauthorized = r#"{"status":"error","status_code":401,
 "error":{"code":"UNAUTHORIZED","message":"Invalid API key provided.","timestamp":"2024-09-16T12:01:00Z","suggestion":"Please check your API key."},
 "batch_id":null,"documentation_url":"https://api.rightfoot.com/docs"}"#;
    let declined = |status| ApiError::Declined { status, failed: vec![] };
    for (status, error) in [
        (401, ApiError::Unauthorized),
        (403, ApiError::Forbidden),
        (404, ApiError::NotReady),
        (202, ApiError::NotReady),
        (204, ApiError::NotReady),
        (425, ApiError::NotReady),
        (400, declined(400)),
        (409, declined(409)),
        (422, declined(422)),
        (201, ApiError::InvalidResponse("an unexpected status")),
    ] {
        let stub = StubServer::with([reply(status, if status == 204 { "" } else { unauthorized })]).await;
        let api = client(&stub);
        assert_eq!(api.balances(&key(), &id("b")).await, Err(error.clone()), "{status}");
        assert_eq!(api.schedule(&key(), &id("s")).await, Err(error.clone()), "{status}");
        assert_eq!(api.history(&key(), &id("a"), UnixMillis(0)).await, Err(error), "{status}");
        assert_eq!(stub.request_count(), 3, "none is asked again");
    }
}

#[tokio::test]
async fn garbage_is_an_invalid_response() {
    for body in ["", "<html>", "[]", "{}", "{\"balances\":{}}", "\u{0}", "\u{feff}"] {
        let stub = StubServer::with([reply(200, body)]).await;
        let api = client(&stub);
        assert!(matches!(api.balances(&key(), &id("b")).await, Err(ApiError::InvalidResponse(_))), "{body}");
        assert!(matches!(api.schedule(&key(), &id("s")).await, Err(ApiError::InvalidResponse(_))), "{body}");
        assert!(
            matches!(api.history(&key(), &id("a"), UnixMillis(0)).await, Err(ApiError::InvalidResponse(_))),
            "{body}"
        );
        assert_eq!(stub.request_count(), 3, "none is asked again");
    }
}

#[tokio::test]
async fn a_list_without_a_token_has_ended_whatever_it_says() {
    for more in [
        r#""has_more":true,"next_page_token":null"#,
        r#""has_more":"true","next_page_token":"""#,
        r#""has_more":true"#,
    ] {
        let history =
            format!(r#"{{"history":[{{"run_at":"2024-12-12T02:30:00Z","batch_id":"b-1"}}],{more}}}"#);
        let stub = StubServer::with([reply(200, history)]).await;
        let read = client(&stub).history(&key(), &id("a"), UnixMillis(0)).await;
        assert_eq!(read, entries(vec![run("2024-12-12T02:30:00Z", "b-1")]), "{more}");

        let page = format!(r#"{{"balances":[{{"authorizer_unique_id":"a","balance":1}}],{more}}}"#);
        let stub = StubServer::with([reply(200, page)]).await;
        assert_eq!(
            client(&stub).balances(&key(), &id("b")).await,
            Ok(whole(vec![row("a", Some("1"), 0)])),
            "{more}"
        );
        assert_eq!(stub.request_count(), 1);
    }
}

#[tokio::test]
async fn unreadable_rows_of_all_pages_are_counted_and_do_not_affect_the_others() {
    let first = r#"{"balances":[{"authorizer_unique_id":"a","balance":"1"},{"balance":1}],"has_more":true,"next_page_token":"t"}"#;
    let last = r#"{"balances":[{"authorizer_unique_id":"b","balance":"?"},{"authorizer_unique_id":"c"},{"balance":2}]}"#;
    let stub = StubServer::with([reply(200, first), reply(200, last)]).await;
    let read = client(&stub).balances(&key(), &id("b")).await.unwrap();
    assert_eq!(read.rows, [row("a", Some("1"), 0), row("c", None, 9000)]);
    assert_eq!(read.skipped.by_field().collect::<Vec<_>>(), [("authorizer_unique_id", 2), ("balance", 1)]);
}

#[tokio::test]
async fn a_compressed_response_is_read_for_every_endpoint() {
    let zipped = |body: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, body.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = |status, body: &str| reply(status, zipped(body)).with("content-encoding", "gzip");
    let balances = r#"{"balances":[{"authorizer_unique_id":"a","balance":150.00}],"has_more":false}"#;
    for answer in [gzip(200, balances), gzip(200, balances).in_chunks(7)] {
        let stub = StubServer::with([answer]).await;
        assert_eq!(
            client(&stub).balances(&key(), &id("b")).await,
            Ok(whole(vec![row("a", Some("150.00"), 0)]))
        );
        assert_eq!(stub.requests()[0].header("accept-encoding"), Some("gzip, deflate"));
    }
    let stub = StubServer::with([gzip(201, r#"{"batch_id":"b-1"}"#)]).await;
    assert_eq!(client(&stub).submit_batch(&key(), "{}").await.unwrap().batch_id, id("b-1"));
    let error_body = r#"{"error":{"details":{"failed_authorizers":["jane"]}}}"#;
    let stub = StubServer::with([gzip(400, error_body)]).await;
    let Err(ApiError::Declined { status: 400, failed }) = client(&stub).submit_batch(&key(), "{}").await
    else {
        panic!("not declined");
    };
    assert_eq!(failed.len(), 1);

    let stub = StubServer::with([reply(200, "...").with("content-encoding", "br")]).await;
    let error = client(&stub).balances(&key(), &id("b")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid response from Rightfoot: content-encoding br, which was not asked for"
    );
    let bomb = zipped(&" ".repeat(64 * 1024 * 1024));
    assert!(bomb.len() < 100_000);
    let stub = StubServer::with([reply(200, bomb).with("content-encoding", "gzip")]).await;
    assert_eq!(client(&stub).balances(&key(), &id("b")).await, Err(ApiError::InvalidResponse("too large")));
}
