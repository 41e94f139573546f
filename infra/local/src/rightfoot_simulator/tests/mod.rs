//! Tests of the simulated API over HTTP, with a clock that the test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Behaviour, RightfootSimulator};
use crate::stack;

mod balances;
mod canned_responses;
mod requests;
mod schedules;
mod webhooks;

/// 2026-01-02T03:04:05Z
const START_MS: i64 = 1_767_323_045_000;
const KEY: &str = "rf_test_key";

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A served simulator, its clock and a client.
struct TestRig {
    sim: RightfootSimulator,
    url: String,
    now_ms: Arc<AtomicI64>,
    client: reqwest::Client,
    server: JoinHandle<()>,
}

impl TestRig {
    async fn new() -> Self {
        Self::with_behaviour(|_| {}).await
    }

    async fn with_behaviour(change: impl FnOnce(&mut Behaviour)) -> Self {
        let now_ms = Arc::new(AtomicI64::new(START_MS));
        let shared_now_ms = Arc::clone(&now_ms);
        let clock = Clock::new(move || UnixMillis(shared_now_ms.load(Ordering::SeqCst)));
        let sim = RightfootSimulator::new(clock, KEY, 7).unwrap();
        sim.configure(change);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let server = stack::spawn_server(listener, sim.routes());
        Self { sim, url, now_ms, client, server }
    }

    fn advance(&self, span: Duration) {
        self.now_ms.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.try_get(path).await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn text(&self, path: &str) -> String {
        self.try_get(path).await.unwrap().text().await.unwrap()
    }

    async fn try_get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(KEY).send().await
    }

    async fn post(&self, path: &str, body: impl ToString) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(KEY);
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    /// Submits a batch and returns its id.
    async fn submit(&self, body: Value) -> String {
        let (status, answer) = self.post("/v1/balance_requests", body).await;
        assert_eq!(status, 201, "{answer}");
        answer["batch_id"].as_str().unwrap().to_owned()
    }

    /// Creates a schedule and returns its id.
    async fn schedule(&self, body: Value) -> String {
        let (status, answer) = self.post("/v1/monitoring/scheduled_balance_request", body).await;
        assert_eq!(status, 201, "{answer}");
        answer["schedule_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for TestRig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn authorizer(id: &str) -> Value {
    json!({"authorizer_unique_id": id, "ssn": "123456789", "account_number": "1", "routing_number": "031100649"})
}

/// E1's body for this many authorizers: `a0`, `a1` and so on.
fn batch_of(authorizers: usize) -> Value {
    let authorizers: Vec<_> = (0..authorizers).map(|n| authorizer(&format!("a{n}"))).collect();
    json!({"authorizers": authorizers})
}

/// E5's body for these authorizers, to run daily at 02:30.
fn daily(name: &str, authorizers: &[&str]) -> Value {
    let authorizers: Vec<_> = authorizers.iter().map(|id| authorizer(id)).collect();
    json!({"name": name, "interval_days": 1, "time_of_day": "02:30", "authorizers": authorizers})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body.as_object_mut().unwrap().insert(field.to_owned(), value);
    body
}

/// The value of a string field in each entry of a list.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap()).collect()
}
