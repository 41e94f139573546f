//! The workload of each function: its invocations, and the data that the emulators hold for them.

use std::time::SystemTime;

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use local::connector::Fault;
use local::fynapse_simulator::FynapseSimulator;
use local::lambda_api::aws_endpoint;
use local::senders::payloads;
use local::stack::{
    BALANCES_TABLE, EVENT_BUS, FYNAPSE_API_CREDENTIALS_SECRET, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET,
    FYNAPSE_SECRET, FYNAPSE_SUBSCRIPTION_ID, INBOX_TABLE, RIGHTFOOT_API_KEY_SECRET, RIGHTFOOT_URL_KEY_SECRET,
};
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, submit_batch_request};
use tests::{SUBJECT, completion_body, extract_body, gateway_event};

use crate::simulated_network::{CallLog, serve};

const SQS_ENDPOINT: &str = "AWS_ENDPOINT_URL_SQS";
/// Authorizers per batch.
const AUTHORIZERS: usize = 10;

/// One function's emulators, and the invocations for it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) calls: CallLog,
    rightfoot_world: RightfootWorld,
    fynapse: FynapseSimulator,
    env: Vec<(&'static str, String)>,
    invocations: usize,
}

impl Workload {
    pub(crate) async fn new(name: &'static str) -> Self {
        let rightfoot_world = RightfootWorld::new().await;
        let calls = CallLog::default();
        let mut env = vec![
            ("INBOX_TABLE", INBOX_TABLE.to_owned()),
            ("BALANCES_TABLE", BALANCES_TABLE.to_owned()),
            ("EVENT_BUS_NAME", EVENT_BUS.to_owned()),
            ("FYNAPSE_SIGNING_SECRET_ID", FYNAPSE_SECRET.to_owned()),
            ("RIGHTFOOT_URL_KEY_SECRET_ID", RIGHTFOOT_URL_KEY_SECRET.to_owned()),
            ("RIGHTFOOT_API_KEY_SECRET_ID", RIGHTFOOT_API_KEY_SECRET.to_owned()),
            ("WEBHOOK_BASE_URL", "https://inbox.example".to_owned()),
            ("FYNAPSE_API_CREDENTIALS_SECRET_ID", FYNAPSE_API_CREDENTIALS_SECRET.to_owned()),
            ("FYNAPSE_SUBSCRIPTION_ID", FYNAPSE_SUBSCRIPTION_ID.to_owned()),
        ];
        // Each service has a host of its own, as in AWS.
        for variable in [
            "AWS_ENDPOINT_URL_DYNAMODB",
            SQS_ENDPOINT,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_ENDPOINT_URL_EVENTBRIDGE",
        ] {
            let url = serve(&calls, |url| aws_endpoint(&rightfoot_world.world.stack, url.to_owned())).await;
            if variable == SQS_ENDPOINT {
                env.push(("EVENTS_QUEUE_URL", format!("{url}/123456789012/events")));
            }
            env.push((variable, url));
        }
        env.push(("RIGHTFOOT_API_URL", serve(&calls, |_| rightfoot_world.rightfoot.routes()).await));
        let fynapse = FynapseSimulator::new(
            rightfoot_world.world.stack.clock.clone(),
            FYNAPSE_SUBSCRIPTION_ID,
            FYNAPSE_CLIENT_ID,
            FYNAPSE_CLIENT_SECRET,
        );
        env.push(("FYNAPSE_API_URL", serve(&calls, |_| fynapse.routes()).await));
        Self { name, calls, rightfoot_world, fynapse, env, invocations: 0 }
    }

    pub(crate) fn env(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (*name, value.as_str())).collect()
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
        let token = self.rightfoot_world.world.stack.mint_url_token(&SUBJECT.parse().unwrap()).unwrap();
        let headers = json!({"content-type": "application/json"});
        let path = format!("/webhooks/rightfoot/{token}");
        gateway_event(&path, headers, completion_body(id, "u-1").as_bytes(), Some(&token))
    }

    /// Records an event whose enqueueing fails.
    async fn event_relay(&self, id: &str) -> Value {
        let world = &self.rightfoot_world.world;
        world.inject_fault("SendMessage", Fault::AccessDenied);
        assert!(world.deliver_fynapse(extract_body(id)).await.is_success());
        world.stack.connector.clear_fault_plan();
        json!({})
    }

    /// Lists a delivery whose event is recorded: always the same one, so that the list does not grow.
    async fn fynapse_auditor(&self) -> Value {
        const EVENT_ID: &str = "a3efc743-ac6c-463b-aa19-4dd9c45b5b96";
        assert!(self.rightfoot_world.world.deliver_fynapse(extract_body(EVENT_ID)).await.is_success());
        self.fynapse.add_ended(&payloads::balance_extracted(EVENT_ID), DeliveryStatus::Delivered);
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
        assert!(self.rightfoot_world.world.deliver_rightfoot(completion_body(id, "u-1")).await.is_success());
        let messages = self.rightfoot_world.world.drain_queue().await;
        let records = messages.iter().map(|message| json!({"messageId": message.id, "body": message.body}));
        json!({"Records": records.collect::<Vec<_>>()})
    }

    async fn track(&self, id: &str) {
        let people: Vec<_> = (0..AUTHORIZERS).map(|n| (format!("user-{n}"), format!("{n}.50"))).collect();
        self.rightfoot_world.rightfoot.add_completed_batch(id, &people);
        let track =
            json!({"action": "track_batch", "batch_id": id, "expected": AUTHORIZERS, "subject": SUBJECT});
        self.rightfoot_world.request(track).await;
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
