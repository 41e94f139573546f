//! A [`World`] with a simulated Rightfoot: its API, and the webhooks that it sends.

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
use tokio::task::JoinHandle;

use crate::{MINUTE, SUBJECT, World, bind_listener, text};

/// API key that the simulated Rightfoot accepts.
pub const API_KEY: &str = "rf_live_test";

/// The stack, and a simulated Rightfoot that shares its clock.
pub struct RightfootWorld {
    /// The stack and its clock.
    pub world: World,
    /// The simulator.
    pub rightfoot: RightfootSimulator,
    /// Base URL of its API.
    pub api_url: String,
    server_tasks: Vec<JoinHandle<()>>,
}

impl RightfootWorld {
    /// Starts a world with a Rightfoot that behaves as documented.
    pub async fn new() -> Self {
        Self::with_behaviour(|_| {}).await
    }

    /// Starts a world with changed behaviour of Rightfoot.
    pub async fn with_behaviour(change: impl FnOnce(&mut Behaviour)) -> Self {
        Self::with_transport(change, |_| {}, |_, routes| routes).await
    }

    /// Starts a world with changed behaviour of Rightfoot, a changed API client, and a layer before the API. The
    /// client's pauses between attempts are real time, so they are made negligible here.
    pub async fn with_transport(
        change: impl FnOnce(&mut Behaviour),
        client: impl FnOnce(&mut ClientConfig),
        before_api: impl FnOnce(&World, Router) -> Router,
    ) -> Self {
        Self::build(change, client, before_api, |_| {}).await
    }

    /// Starts a world with changed stack options.
    pub async fn with_options(options: impl FnOnce(&mut StackOptions)) -> Self {
        Self::build(|_| {}, |_| {}, |_, routes| routes, options).await
    }

    async fn build(
        change: impl FnOnce(&mut Behaviour),
        client: impl FnOnce(&mut ClientConfig),
        before_api: impl FnOnce(&World, Router) -> Router,
        change_options: impl FnOnce(&mut StackOptions),
    ) -> Self {
        // Both ports are bound first, because the options of the world contain the URLs.
        let ((api, api_url), (gateway, gateway_url)) = (bind_listener().await, bind_listener().await);
        let mut config = ClientConfig::new(&api_url, None).unwrap();
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

    /// Advances the clock minute by minute; Rightfoot sends the webhooks that become due.
    pub async fn advance(&self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(MINUTE);
            self.world.advance(step);
            left -= step;
            self.rightfoot.tick().await;
        }
    }

    /// Advances the clock minute by minute, and runs the poller and the relay after each.
    pub async fn run_for(&self, span: Duration) {
        self.run_in_steps(MINUTE, span).await;
    }

    /// Advances the clock by `span` in steps, and runs the poller and the relay after each.
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

    /// Runs the poller once. Panics if it crashed.
    pub async fn run_poller(&self) -> Result<Value, Diagnostic> {
        self.world.run_poller().await.expect("the poller died")
    }

    /// Invokes `rightfoot-requests`. Panics if the request fails.
    pub async fn request(&self, request: Value) -> Value {
        self.world.request(request).await.expect("the function died").expect("refused")
    }

    /// Tracks a schedule that was created elsewhere, with a default threshold of 100 dollars. Its runs are found in
    /// the history of the authorizer `probe`.
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
    /// Runs the poller once; `None` if it crashed.
    pub async fn run_poller(&self) -> Option<Result<Value, Diagnostic>> {
        until_crash(self.stack.poller.handle(MINUTE)).await
    }

    /// Invokes `rightfoot-requests`; `None` if it crashed.
    pub async fn request(&self, request: Value) -> Option<Result<Value, RequestError>> {
        self.request_raw(&request.to_string()).await
    }

    /// Invokes `rightfoot-requests` with exactly this JSON; `None` if it crashed.
    pub async fn request_raw(&self, request: &str) -> Option<Result<Value, RequestError>> {
        let request = RawValue::from_string(request.to_owned()).unwrap();
        until_crash(self.stack.requests.handle(&request)).await
    }

    /// Receives every message, and returns the events as (id, origin), sorted.
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

    /// Items that are due for the poller, as (pk, due_at), by time.
    pub async fn due_polls(&self) -> Vec<(String, UnixMillis)> {
        let due = self.due_items().await.into_iter().filter(|item| text(item, "due").starts_with("poll#"));
        let mut due: Vec<_> = due
            .map(|item| (text(&item, "pk").to_owned(), UnixMillis(crate::number(&item, "due_at").unwrap())))
            .collect();
        due.sort_by_key(|(_, due_at)| *due_at);
        due
    }
}

/// Request to submit a batch of these authorizers.
pub fn submit_batch_request(submission_id: &str, authorizers: &[&str]) -> Value {
    let authorizers: Vec<_> = authorizers.iter().map(|id| authorizer_json(id)).collect();
    json!({"action": "submit_batch", "submission_id": submission_id, "authorizers": authorizers})
}

/// Request to create a daily schedule of these authorizers with a threshold of 100 dollars.
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

/// An authorizer with a bank account, in Rightfoot's format.
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
