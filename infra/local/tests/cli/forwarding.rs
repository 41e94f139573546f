//! `--forward-to`: a handler of the user's own gets each event of the bus, and `local` prints its answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use inbox_aws::clock::Clock;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::local_process::LocalProcess;

type Request = (HeaderMap, String);

/// Serves a handler that fails twice and then answers. Returns its URL and the requests that it gets.
async fn failing_handler() -> (String, UnboundedReceiver<Request>) {
    let (sender, requests) = unbounded_channel();
    let answers =
        Arc::new(Mutex::new(vec![StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY]));
    let handler = move |headers: HeaderMap, body: String| async move {
        sender.send((headers, body)).unwrap();
        (answers.lock().unwrap().pop().unwrap(), [("retry-after", "1")], "s3cret answer")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events?key=s3cret", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/events", post(handler))).await });
    (url, requests)
}

async fn deliver(url: &str, event_id: &str) {
    let body =
        json!({"event_id": event_id, "event_type": "balance.extracted", "data": {"amount": 150}}).to_string();
    let keys = Keys::parse("local-fynapse-secret", KeyCodec::Utf8).unwrap();
    let signature = signature::sign(Clock::system().now().secs(), body.as_bytes(), &keys);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let delivery =
        client.post(url).header("content-type", "application/json").header("webhook-signature", signature);
    assert_eq!(delivery.body(body).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_twice_gets_the_event_until_it_answers() {
    let (handler_url, mut requests) = failing_handler().await;
    let api_key = ["--forward-header", "X-Api-Key: s3cret"];
    let local = LocalProcess::start(
        &[&["--forward-to", &handler_url, "--log-format", "text"][..], &api_key].concat(),
    );
    deliver(&local.webhook_url, "a3efc743-ac6c-463b-aa19-4dd9c45b5b96").await;
    let log = local.log_with(&["200 delivered", "worker "]).await;
    let received: Vec<_> = std::iter::from_fn(|| requests.try_recv().ok()).collect();
    assert_eq!(received.len(), 3);
    let (headers, body) = &received[0];
    for (name, value) in [
        ("x-api-key", "s3cret"),
        ("user-agent", "Amazon/EventBridge/ApiDestinations"),
        ("content-type", "application/json; charset=utf-8"),
        ("range", "bytes=0-1048575"),
        ("accept-encoding", "gzip,deflate"),
        ("connection", "close"),
        ("content-length", &body.len().to_string()),
    ] {
        assert_eq!(headers[name], value, "{headers:?}");
    }
    assert!(received.iter().all(|request| request.1 == *body), "the same bytes each time");
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&event["source"], &event["detail-type"]),
        (&json!("balance-inbox"), &json!("BalanceExtracted"))
    );
    assert_eq!(event["detail"]["event_id"], "fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96");

    let mut shown: Vec<_> = log.iter().map(|line| without_times(line)).collect();
    // The worker's outcome is written while the event is on its way.
    shown.sort();
    assert_eq!(
        shown,
        [
            "bus        published      BalanceExtracted  a3efc743…",
            "forward    200 delivered  BalanceExtracted  a3efc743…  attempt 3  [n] ms",
            "forward    429 retry in [n] s  BalanceExtracted  a3efc743…",
            "forward    502 retry in [n] s  BalanceExtracted  a3efc743…",
            "fynapse    200 received   a3efc743…  106 B  [n] ms",
            "worker     done           a3efc743…  [n] ms",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_neither_the_url_nor_an_answer_nor_a_payload_is_logged_and_logs_are_json_without_a_terminal() {
    let (handler_url, _requests) = failing_handler().await;
    let local =
        LocalProcess::start(&["--verbose", "--forward-to", &handler_url, "--forward-header", "a: s3cret"]);
    deliver(&local.webhook_url, "e-1").await;
    let log = local.log_with(&["forward"]).await;
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |target: &str| lines.iter().find(|line| line["target"] == target).unwrap();
    assert_eq!(
        (&of("delivery")["status"], &of("bus")["detail_type"]),
        (&json!(200), &json!("BalanceExtracted"))
    );
    assert_eq!((&of("forward")["status"], &of("forward")["outcome"]), (&json!(502), &json!("retry")));
    let text = log.join("\n");
    assert!(!text.contains("s3cret") && !text.contains("amount"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_logs_warnings_only() {
    let (handler_url, _requests) = failing_handler().await;
    let local = LocalProcess::start(&["-q", "--log-format", "text", "--forward-to", &handler_url]);
    deliver(&local.webhook_url, "e-1").await;
    let log = local.log_with(&["forward"]).await;
    let shown: Vec<_> = log.iter().map(|line| without_times(line)).collect();
    assert_eq!(shown, ["forward    502 retry in [n] s  BalanceExtracted  e-1"]);
}

/// A line without the time of day and the durations.
fn without_times(line: &str) -> String {
    let (_, text) = line.split_once("  ").unwrap();
    let is_unit = |word: &str| ["ms", "s"].contains(&word);
    let words: Vec<_> = text.split(' ').collect();
    let word = |index: usize| match words.get(index + 1) {
        Some(next) if is_unit(next) => "[n]",
        _ => words[index],
    };
    (0..words.len()).map(word).collect::<Vec<_>>().join(" ")
}
