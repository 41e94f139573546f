//! The workload of each function: its invocations, and the data that the emulators hold for them.

use std::time::SystemTime;

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use local::connector::Fault;
use local::senders::payloads;
use serde_json::{Value, json};
use tests::rightfoot_world::submit_batch_request;
use tests::simulated_network::{CALL_DELAY, SimulatedNetwork};
use tests::{SUBJECT, completion_body, extract_body, gateway_event};

/// Authorizers per batch.
const AUTHORIZERS: usize = 10;

/// One function's emulators, and the invocations for it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) network: SimulatedNetwork,
    invocations: usize,
}

impl Workload {
    pub(crate) async fn new(name: &'static str) -> Self {
        Self { name, network: SimulatedNetwork::new(CALL_DELAY).await, invocations: 0 }
    }

    /// Returns the next invocation. Its ids are new to the emulators.
    pub(crate) async fn next_invocation(&mut self) -> Value {
        self.invocations += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.invocations);
        match self.name {
            "fynapse-webhook" => fynapse_webhook(&id),
            "rightfoot-webhook" => self.rightfoot_webhook(&id),
            "event-relay" => self.event_relay(&id).await,
            "fynapse-auditor" => self.fynapse_auditor().await,
            "rightfoot-poller" => self.rightfoot_poller(&id).await,
            "rightfoot-requests" => rightfoot_requests(&id),
            "event-worker" => self.event_worker(&id).await,
            name => panic!("{name} has no workload"),
        }
    }

    fn rightfoot_webhook(&self, id: &str) -> Value {
        let token =
            self.network.rightfoot_world.world.stack.mint_url_token(&SUBJECT.parse().unwrap()).unwrap();
        let headers = json!({"content-type": "application/json"});
        let path = format!("/webhooks/rightfoot/{token}");
        gateway_event(&path, headers, completion_body(id, "u-1").as_bytes(), Some(&token))
    }

    /// Records an event whose enqueueing fails.
    async fn event_relay(&self, id: &str) -> Value {
        let world = &self.network.rightfoot_world.world;
        world.inject_fault("SendMessage", Fault::AccessDenied);
        assert!(world.deliver_fynapse(extract_body(id)).await.is_success());
        world.stack.connector.clear_fault_plan();
        json!({})
    }

    /// Lists a delivery whose event is recorded: always the same one, so that the list does not grow.
    async fn fynapse_auditor(&self) -> Value {
        const EVENT_ID: &str = "a3efc743-ac6c-463b-aa19-4dd9c45b5b96";
        assert!(
            self.network.rightfoot_world.world.deliver_fynapse(extract_body(EVENT_ID)).await.is_success()
        );
        // The times of this world are long ago for the function, so it would read none of its deliveries.
        self.network.fynapse.configure(|list| list.has_times = false);
        self.network.fynapse.add_ended(&payloads::balance_extracted(EVENT_ID), DeliveryStatus::Delivered);
        json!({})
    }

    /// Tracks a complete batch that no webhook has announced.
    async fn rightfoot_poller(&self, id: &str) -> Value {
        self.track(id).await;
        json!({})
    }

    /// Returns the message of a complete batch.
    async fn event_worker(&self, id: &str) -> Value {
        self.track(id).await;
        assert!(
            self.network
                .rightfoot_world
                .world
                .deliver_rightfoot(completion_body(id, "u-1"))
                .await
                .is_success()
        );
        let messages = self.network.rightfoot_world.world.drain_queue().await;
        let records = messages.iter().map(|message| json!({"messageId": message.id, "body": message.body}));
        json!({"Records": records.collect::<Vec<_>>()})
    }

    async fn track(&self, id: &str) {
        let people: Vec<_> = (0..AUTHORIZERS).map(|n| (format!("user-{n}"), format!("{n}.50"))).collect();
        self.network.rightfoot_world.rightfoot.add_completed_batch(id, &people);
        let track =
            json!({"action": "track_batch", "batch_id": id, "expected": AUTHORIZERS, "subject": SUBJECT});
        self.network.rightfoot_world.request(track).await;
    }
}

fn fynapse_webhook(id: &str) -> Value {
    let body = extract_body(id);
    let keys = Keys::parse(tests::FYNAPSE_SIGNING_SECRET, KeyCodec::Utf8).unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signature = signature::sign(UnixSecs(i64::try_from(now).unwrap()), body.as_bytes(), &keys);
    let headers = json!({
        "content-type": "application/json", "webhook-signature": signature, "idempotency-key": id,
    });
    gateway_event("/webhooks/fynapse", headers, body.as_bytes(), None)
}

fn rightfoot_requests(id: &str) -> Value {
    let people: Vec<_> = (0..AUTHORIZERS).map(|n| format!("user-{n}")).collect();
    submit_batch_request(id, &people.iter().map(String::as_str).collect::<Vec<_>>())
}
