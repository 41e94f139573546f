//! A world with Rightfoot in it: its simulated API, and the webhooks that it sends.

use std::time::Duration;

use axum::Router;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ClientConfig, RightfootClient};
use lambda_runtime::Diagnostic;
use local::connector::until_crash;
use local::rightfoot_simulator::{Behaviour, RightfootSimulator};
use local::stack::{self, StackOptions};
use rightfoot_requests::RequestError;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{SUBJECT, World, text};

/// The API key that the simulated Rightfoot accepts.
pub const API_KEY: &str = "rf_live_test";
/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// The system, and a simulated Rightfoot that shares its time.
pub struct RightfootWorld {
    /// The system.
    pub world: World,
    /// Rightfoot.
    pub rightfoot: RightfootSimulator,
    /// Where its API answers.
    pub api_url: String,
    server_tasks: Vec<JoinHandle<()>>,
}

impl RightfootWorld {
    /// A new world with a Rightfoot that behaves as its documents say.
    pub async fn new() -> Self {
        Self::with_behaviour(|_| {}).await
    }

    /// A new world whose Rightfoot's behaviour is changed first.
    pub async fn with_behaviour(change: impl FnOnce(&mut Behaviour)) -> Self {
        Self::with_transport(change, |_| {}, |_, routes| routes).await
    }

    /// A new world: how Rightfoot behaves, how patient its client is, and what stands before its API. Between two
    /// attempts at a request the client makes no pause that one would notice: its pauses are real time.
    pub async fn with_transport(
        change: impl FnOnce(&mut Behaviour),
        client: impl FnOnce(&mut ClientConfig),
        before_api: impl FnOnce(&World, Router) -> Router,
    ) -> Self {
        Self::build(change, client, before_api, |_| {}).await
    }

    /// A new world whose own options are changed first.
    pub async fn with_options(options: impl FnOnce(&mut StackOptions)) -> Self {
        Self::build(|_| {}, |_| {}, |_, routes| routes, options).await
    }

    async fn build(
        change: impl FnOnce(&mut Behaviour),
        client: impl FnOnce(&mut ClientConfig),
        before_api: impl FnOnce(&World, Router) -> Router,
        change_options: impl FnOnce(&mut StackOptions),
    ) -> Self {
        let (api, gateway) = (bind_listener().await, bind_listener().await);
        let (api_url, gateway_url) = (url(&api), url(&gateway));
        let mut config = ClientConfig::new(&api_url).unwrap();
        config.backoff_base = Duration::from_millis(1);
        client(&mut config);
        let world = World::with_options(|options| {
            options.rightfoot_client = RightfootClient::new(config).unwrap();
            options.rightfoot_api_key = API_KEY.to_owned();
            options.webhook_base_url = gateway_url;
            change_options(options);
        })
        .await;
        let rightfoot = RightfootSimulator::new(world.stack.clock.clone(), API_KEY, 7).unwrap();
        rightfoot.configure(change);
        let routes = before_api(&world, rightfoot.routes());
        let serving = vec![
            stack::spawn_server(api, routes),
            stack::spawn_server(gateway, world.stack.webhook_routes()),
        ];
        Self { world, rightfoot, api_url, server_tasks: serving }
    }

    /// Lets time pass minute by minute; Rightfoot sends the webhooks that are due meanwhile.
    pub async fn advance(&self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(MINUTE);
            self.world.advance(step);
            left -= step;
            self.rightfoot.tick().await;
        }
    }

    /// Lets time pass minute by minute, with a run of the poller and one of the relay in each.
    pub async fn run_for(&self, span: Duration) {
        self.run_in_steps(MINUTE, span).await;
    }

    /// Lets time pass, with a run of the poller and one of the relay after each of these steps.
    pub async fn run_in_steps(&self, step: Duration, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(step);
            self.advance(step).await;
            left -= step;
            self.run_poller().await.expect("the poller failed");
            self.world.run_relay().await.expect("the relay died").expect("the relay failed");
        }
    }

    /// One run of the poller.
    pub async fn run_poller(&self) -> Result<Value, Diagnostic> {
        self.world.run_poller().await.expect("the poller died")
    }

    /// Asks `rightfoot-requests`; the answer must be good.
    pub async fn request(&self, request: Value) -> Value {
        self.world.request(request).await.expect("the function died").expect("refused")
    }

    /// Has a schedule watched that was not made by us, and alerts from 100 dollars on; its runs are in the history of this
    /// authorizer.
    pub async fn track_schedule(&self, schedule_id: &str, probe: &str) {
        self.request(json!({
            "action": "track_schedule", "schedule_id": schedule_id, "probe_authorizers": [probe], "interval_days": 1,
            "thresholds": {"default": 100}, "expires_at": "2026-12-31", "subject": SUBJECT,
        }))
        .await;
    }

    /// Submits a batch of these authorizers.
    pub async fn submit_batch(&self, submission_id: &str, authorizers: &[&str]) -> Value {
        self.request(submit_batch_request(submission_id, authorizers)).await
    }
}

impl Drop for RightfootWorld {
    fn drop(&mut self) {
        self.server_tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    /// One run of the poller; `None` if it died.
    pub async fn run_poller(&self) -> Option<Result<Value, Diagnostic>> {
        until_crash(self.stack.poller.handle(MINUTE)).await
    }

    /// Asks `rightfoot-requests`; `None` if it died.
    pub async fn request(&self, request: Value) -> Option<Result<Value, RequestError>> {
        self.request_raw(&request.to_string()).await
    }

    /// Asks `rightfoot-requests` with exactly this JSON; `None` if it died.
    pub async fn request_raw(&self, request: &str) -> Option<Result<Value, RequestError>> {
        let request = RawValue::from_string(request.to_owned()).unwrap();
        until_crash(self.stack.requests.handle(&request)).await
    }

    /// The events on the queue as (id, origin), sorted; takes them off.
    pub async fn drain_ids_and_origins(&self) -> Vec<(String, String)> {
        let mut events: Vec<_> = self
            .drain_queue()
            .await
            .into_iter()
            .map(|message| {
                let event: Value = serde_json::from_str(&message.body).unwrap();
                (message.id, event["origin"].as_str().unwrap().to_owned())
            })
            .collect();
        events.sort();
        events
    }

    /// What stands in the index for the poller, as (pk, due_at), by time.
    pub async fn due_polls(&self) -> Vec<(String, UnixMillis)> {
        let due = self.due_items().await.into_iter().filter(|item| text(item, "due").starts_with("poll#"));
        let mut due: Vec<_> = due
            .map(|item| (text(&item, "pk").to_owned(), UnixMillis(crate::number(&item, "due_at").unwrap())))
            .collect();
        due.sort_by_key(|(_, due_at)| *due_at);
        due
    }
}

/// A request to submit a batch of these authorizers.
pub fn submit_batch_request(submission_id: &str, authorizers: &[&str]) -> Value {
    let authorizers: Vec<_> = authorizers.iter().map(|id| authorizer_json(id)).collect();
    json!({"action": "submit_batch", "submission_id": submission_id, "authorizers": authorizers})
}

/// A request to create a daily schedule of these authorizers that alerts from 100 dollars on.
pub fn daily_schedule_request(submission_id: &str, authorizers: &[&str]) -> Value {
    let authorizers: Vec<_> = authorizers.iter().map(|id| authorizer_json(id)).collect();
    json!({
        "action": "create_schedule",
        "submission_id": submission_id,
        "name": format!("Daily {submission_id}"),
        "interval_days": 1,
        "threshold_amount": 100,
        "authorizers": authorizers,
    })
}

/// An authorizer with a bank account, as Rightfoot takes it.
pub fn authorizer_json(id: &str) -> Value {
    json!({
        "authorizer_unique_id": id,
        "first_name": "Jane",
        "last_name": "Doe",
        "phone_number": "5551234567",
        "ssn": "078051120",
        "account_number": "000123456789",
        "routing_number": "021000021",
    })
}

async fn bind_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}
