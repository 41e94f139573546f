//! Tests of retries: the requests that are sent again, how often, and the final error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use inbox_http_client::RESPONSE_MAX_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::stub::{StubReply, StubServer, reply};
use super::{client, config, id, key};
use crate::{ApiError, BatchBalances, RightfootClient, SkippedRows, UnavailableReason};

const BATCH: &str = r#"{"batch_id":"b"}"#;
const EMPTY: &str = r#"{"balances":[]}"#;

fn empty() -> BatchBalances {
    BatchBalances { rows: vec![], reached_last_page: true, skipped: SkippedRows::default() }
}

fn limited(retry_after: Option<u64>) -> ApiError {
    ApiError::RateLimited { retry_after: retry_after.map(Duration::from_secs) }
}

/// A server below HTTP: reads the beginning of each request, writes these bytes and closes.
async fn raw_server(bytes: &'static [u8]) -> (RightfootClient, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, SeqCst);
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(bytes).await;
            let _ = socket.shutdown().await;
            // If it were closed with bytes unread, the connection would be reset and the response lost.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    (RightfootClient::new(config(&base_url)).unwrap(), count)
}

#[tokio::test]
async fn a_get_is_retried_after_a_server_error() {
    for status in [429, 500, 502, 503, 504, 408] {
        let stub = StubServer::with([reply(status, ""), reply(status, ""), reply(200, EMPTY)]).await;
        assert_eq!(client(&stub).balances(&key(), &id("b")).await, Ok(empty()), "{status}");
        assert_eq!(stub.request_count(), 3);
    }
}

#[tokio::test]
async fn three_attempts_are_the_most() {
    let server_error = ApiError::Unavailable(UnavailableReason::ServerError);
    for (status, error) in [(429, limited(None)), (500, server_error.clone()), (503, server_error)] {
        let stub = StubServer::with([reply(status, "")]).await;
        assert_eq!(client(&stub).balances(&key(), &id("b")).await, Err(error.clone()));
        assert_eq!(stub.request_count(), 3);
        assert_eq!(client(&stub).submit_batch(&key(), "{}").await, Err(error));
        assert_eq!(stub.request_count(), 6);
    }
}

#[tokio::test]
async fn a_schedule_is_never_sent_again_where_it_may_have_been_created() {
    for status in [500, 502, 503, 504, 408] {
        let stub = StubServer::with([reply(status, "").with("retry-after", "0")]).await;
        let error = client(&stub).create_schedule(&key(), "{}").await.unwrap_err();
        assert!(matches!(error, ApiError::Unavailable(_)) && error.is_outcome_unknown(), "{status}");
        assert_eq!(stub.request_count(), 1);
    }
    let (api, connections) = raw_server(b"").await;
    assert_eq!(
        api.create_schedule(&key(), "{}").await,
        Err(ApiError::Unavailable(UnavailableReason::ConnectionLost))
    );
    assert_eq!(connections.load(SeqCst), 1);

    let slow = StubServer::with([reply(201, "{}").delayed_by(Duration::from_secs(60))]).await;
    let mut config = config(slow.base_url());
    config.post_timeout = Duration::from_millis(500);
    let created = RightfootClient::new(config).unwrap().create_schedule(&key(), "{}").await;
    assert_eq!(created, Err(ApiError::Unavailable(UnavailableReason::TimedOut)));
    assert_eq!(slow.request_count(), 1);
}

#[tokio::test]
async fn a_schedule_is_sent_again_after_429_because_nothing_was_applied() {
    let stub = StubServer::with([reply(429, ""), reply(201, r#"{"schedule_id":"s"}"#)]).await;
    assert_eq!(client(&stub).create_schedule(&key(), "{}").await.unwrap().schedule_id, id("s"));
    assert_eq!(stub.request_count(), 2);
}

#[tokio::test]
async fn an_earlier_unknown_outcome_is_not_forgotten() {
    let stub = StubServer::with([reply(500, ""), reply(429, "").with("retry-after", "60")]).await;
    let error = client(&stub).submit_batch(&key(), "{}").await.unwrap_err();
    assert_eq!(error, ApiError::Unavailable(UnavailableReason::ServerError));
    assert!(error.is_outcome_unknown());
    assert_eq!(stub.request_count(), 2);

    let stub = StubServer::with([reply(500, ""), reply(429, "").with("retry-after", "60")]).await;
    assert_eq!(client(&stub).balances(&key(), &id("b")).await, Err(limited(Some(60))));
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let stub = StubServer::with([reply(429, "").with("retry-after", "1"), reply(200, EMPTY)]).await;
    let began = Instant::now();
    assert_eq!(client(&stub).balances(&key(), &id("b")).await, Ok(empty()));
    assert!(began.elapsed() >= Duration::from_secs(1));

    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(60));
    let stub = StubServer::with([reply(503, "").with("retry-after", past), reply(200, EMPTY)]).await;
    assert_eq!(client(&stub).balances(&key(), &id("b")).await, Ok(empty()));
}

#[tokio::test]
async fn a_long_retry_after_is_returned_to_the_caller() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
    for status in [429, 503] {
        let stub = StubServer::with([reply(status, "").with("retry-after", "3")]).await;
        assert_eq!(client(&stub).balances(&key(), &id("b")).await, Err(limited(Some(3))), "{status}");
        assert_eq!(stub.request_count(), 1);

        let stub = StubServer::with([reply(status, "").with("retry-after", date.as_str())]).await;
        let error = client(&stub).schedule(&key(), &id("s")).await.unwrap_err();
        let ApiError::RateLimited { retry_after: Some(pause) } = error else { panic!("{error:?}") };
        assert!((90..=100).contains(&pause.as_secs()), "{pause:?}");
        assert_eq!(stub.request_count(), 1);
    }
}

#[tokio::test]
async fn a_post_answered_503_has_an_unknown_outcome_even_with_retry_after() {
    let stub = StubServer::with([reply(503, "").with("retry-after", "60")]).await;
    let unavailable = ApiError::Unavailable(UnavailableReason::ServerError);
    assert_eq!(client(&stub).submit_batch(&key(), "{}").await, Err(unavailable.clone()));
    assert_eq!(client(&stub).create_schedule(&key(), "{}").await, Err(unavailable));
    assert_eq!(stub.request_count(), 2, "not before the pause is over");
}

#[tokio::test]
async fn a_timed_out_get_is_retried() {
    async fn client_with_short_timeout(replies: [StubReply; 3]) -> (RightfootClient, StubServer) {
        let stub = StubServer::with(replies).await;
        let mut config = config(stub.base_url());
        config.request_timeout = Duration::from_millis(500);
        (RightfootClient::new(config).unwrap(), stub)
    }
    let slow = |reply: StubReply| reply.delayed_by(Duration::from_secs(60));
    let (api, stub) =
        client_with_short_timeout([slow(reply(200, EMPTY)), slow(reply(200, EMPTY)), reply(200, EMPTY)])
            .await;
    assert!(api.balances(&key(), &id("b")).await.is_ok());
    assert_eq!(stub.request_count(), 3);

    let (api, stub) = client_with_short_timeout([
        slow(reply(200, EMPTY)),
        slow(reply(200, EMPTY)),
        slow(reply(200, EMPTY)),
    ])
    .await;
    assert_eq!(api.balances(&key(), &id("b")).await, Err(ApiError::Unavailable(UnavailableReason::TimedOut)));
    assert_eq!(stub.request_count(), 3);
}

#[tokio::test]
async fn a_post_that_may_be_in_flight_is_not_sent_again() {
    let stub =
        StubServer::with([reply(201, BATCH).delayed_by(Duration::from_secs(60)), reply(201, BATCH)]).await;
    let mut config = config(stub.base_url());
    config.post_timeout = Duration::from_millis(200);
    let api = RightfootClient::new(config).unwrap();
    assert_eq!(api.submit_batch(&key(), "{}").await, Err(ApiError::Unavailable(UnavailableReason::TimedOut)));
    assert_eq!(stub.request_count(), 1);
    assert_eq!(api.submit_batch(&key(), "{}").await.unwrap().batch_id, id("b"), "the caller's next try");
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("http://{}", listener.local_addr().unwrap()));
    config.request_timeout = Duration::from_millis(200);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").await;
            open.push(socket);
        }
    });
    let read = RightfootClient::new(config).unwrap().schedule(&key(), &id("s")).await;
    assert_eq!(read, Err(ApiError::Unavailable(UnavailableReason::TimedOut)));
}

#[tokio::test]
async fn a_get_is_retried_after_a_lost_connection() {
    let cut: [&[u8]; 3] =
        [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"balances\":[]", b"no HTTP at all\r\n\r\n"];
    for bytes in cut {
        let (api, connections) = raw_server(bytes).await;
        let lost = ApiError::Unavailable(UnavailableReason::ConnectionLost);
        assert_eq!(api.balances(&key(), &id("b")).await, Err(lost.clone()));
        assert_eq!(api.submit_batch(&key(), "{}").await, Err(lost));
        assert_eq!(connections.load(SeqCst), 3 + 1);
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_applied() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let api = RightfootClient::new(config(&closed)).unwrap();
    let not_connected = ApiError::Unavailable(UnavailableReason::NotConnected);
    assert_eq!(api.submit_batch(&key(), "{}").await, Err(not_connected.clone()));
    assert_eq!(api.create_schedule(&key(), "{}").await, Err(not_connected.clone()));
    assert_eq!(api.balances(&key(), &id("b")).await, Err(not_connected.clone()));
    assert!(!not_connected.is_outcome_unknown());
}

#[tokio::test]
async fn a_tls_handshake_that_gets_no_answer_is_no_connection() {
    // Connections stay in its backlog; they are never accepted.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("https://{}", silent.local_addr().unwrap()));
    config.connect_timeout = Duration::from_millis(100);
    let began = Instant::now();
    let read = RightfootClient::new(config).unwrap().schedule(&key(), &id("s")).await;
    assert_eq!(read, Err(ApiError::Unavailable(UnavailableReason::NotConnected)));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = StubServer::with([reply(200, EMPTY)]).await;
        let stub = StubServer::with([reply(status, "").with("location", other.base_url())]).await;
        let redirected = ApiError::InvalidResponse("a redirect");
        assert_eq!(client(&stub).balances(&key(), &id("b")).await, Err(redirected.clone()));
        assert_eq!(client(&stub).submit_batch(&key(), "{}").await, Err(redirected));
        assert_eq!((stub.request_count(), other.request_count()), (2, 0));
    }
}

#[tokio::test]
async fn no_answer_is_read_beyond_its_largest_size() {
    let body = |size: usize| {
        let head = r#"{"balances":[],"pad":""#;
        format!("{head}{}\"}}", "x".repeat(size - head.len() - 2))
    };
    let (fits, too_large) = (body(RESPONSE_MAX_BYTES), body(RESPONSE_MAX_BYTES + 1));
    for (answer, expected) in [(fits, Ok(empty())), (too_large, Err(ApiError::InvalidResponse("too large")))]
    {
        let response = reply(200, answer);
        for answer in [response.clone(), response.in_chunks(100_000)] {
            let stub = StubServer::with([answer]).await;
            assert_eq!(client(&stub).balances(&key(), &id("b")).await, expected);
            assert_eq!(stub.request_count(), 1);
        }
    }
    let (api, _) = raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 8388609\r\n\r\n").await;
    assert_eq!(
        api.balances(&key(), &id("b")).await,
        Err(ApiError::InvalidResponse("too large")),
        "the declared length is enough"
    );
}

#[tokio::test]
async fn a_declined_request_stays_declined_when_its_body_is_unreadable() {
    let refused = Err(ApiError::Declined { status: 400, failed: vec![] });
    let stub = StubServer::with([reply(400, "x".repeat(RESPONSE_MAX_BYTES + 1))]).await;
    assert_eq!(client(&stub).submit_batch(&key(), "{}").await, refused);
    let (api, _) = raw_server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 99\r\n\r\n{").await;
    assert_eq!(api.submit_batch(&key(), "{}").await, refused);
}

#[tokio::test]
async fn a_later_page_is_retried_on_its_own() {
    let first = r#"{"balances":[{"authorizer_unique_id":"a"}],"has_more":true,"next_page_token":"t"}"#;
    let last = r#"{"balances":[{"authorizer_unique_id":"b"}]}"#;
    let stub = StubServer::with([reply(200, first), reply(500, ""), reply(200, last)]).await;
    assert_eq!(client(&stub).balances(&key(), &id("b")).await.unwrap().rows.len(), 2);
    let asked: Vec<_> = stub.requests().iter().map(|seen| seen.parameter("next_page_token")).collect();
    assert_eq!(asked, [None, Some("t".to_owned()), Some("t".to_owned())]);
}
