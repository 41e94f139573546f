//! A [`World`] with a simulated Fynapse: its API, and the webhooks that it sends.

use std::time::Duration;

use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_fynapse::{ClientConfig, FynapseClient};
use lambda_runtime::Diagnostic;
use local::connector::until_crash;
use local::fynapse_simulator::FynapseSimulator;
use local::senders::{DeliveryEnd, FynapseSender, OutgoingDelivery, SenderClient, SimClock, payloads};
use local::stack::{
    self, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET, FYNAPSE_SUBSCRIPTION_ID, FynapseApi, StackOptions,
};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{Item, World, bind_listener, text};

/// The stack, and a simulated Fynapse that shares its clock.
pub struct FynapseWorld {
    /// The stack and its clock.
    pub world: World,
    /// The simulator.
    pub fynapse: FynapseSimulator,
    webhook_url: String,
    server_tasks: Vec<JoinHandle<()>>,
}

impl FynapseWorld {
    /// Starts a world with a Fynapse that has no deliveries.
    pub async fn new() -> Self {
        Self::with_options(|_| {}).await
    }

    /// Starts a world with changed stack options.
    pub async fn with_options(change: impl FnOnce(&mut StackOptions)) -> Self {
        let ((api, api_url), (gateway, gateway_url)) = (bind_listener().await, bind_listener().await);
        let mut config = ClientConfig::new(&api_url, None).unwrap();
        // The pauses between attempts are real time.
        config.backoff_base = Duration::from_millis(1);
        let world = World::with_options(|options| {
            options.fynapse_api = FynapseApi::simulated_at(&api_url).unwrap();
            options.fynapse_api.client = FynapseClient::new(config).unwrap();
            change(options);
        })
        .await;
        let fynapse = FynapseSimulator::new(
            world.stack.clock.clone(),
            FYNAPSE_SUBSCRIPTION_ID,
            FYNAPSE_CLIENT_ID,
            FYNAPSE_CLIENT_SECRET,
        );
        let server_tasks = vec![
            stack::spawn_server(api, fynapse.routes()),
            stack::spawn_server(gateway, world.stack.webhook_routes()),
        ];
        Self { world, fynapse, webhook_url: format!("{gateway_url}/webhooks/fynapse"), server_tasks }
    }

    /// Delivers an event by its webhook; it must be accepted.
    pub async fn deliver(&self, event_id: &str) {
        let clock = SimClock::auto_advancing(self.world.now());
        let http = SenderClient::new(clock, 7, 1).unwrap();
        let keys = self.world.stack.webhook_keys(Provider::Fynapse).unwrap();
        let sender = FynapseSender::new(http, &self.webhook_url, keys);
        let end = self.fynapse.deliver(&sender, &payloads::balance_extracted(event_id)).await;
        assert_eq!(end, DeliveryEnd::Delivered);
    }

    /// Lists an event as a delivery that ended like this; nothing is sent.
    pub fn add_ended(&self, event_id: &str, status: DeliveryStatus) -> OutgoingDelivery {
        let outgoing = payloads::balance_extracted(event_id);
        self.fynapse.add_ended(&outgoing, status);
        outgoing
    }

    /// Runs the auditor once; `None` if it crashed.
    pub async fn try_auditor(&self) -> Option<Result<Value, Diagnostic>> {
        until_crash(self.world.stack.auditor.handle(Duration::from_secs(60))).await
    }

    /// Runs the auditor once; it must not fail.
    pub async fn run_auditor(&self) -> Value {
        self.try_auditor().await.expect("no crash").expect("no error")
    }

    /// The items of missed deliveries, as (delivery, reason), sorted.
    pub async fn missed(&self) -> Vec<(String, String)> {
        let items = self.world.items().await;
        let missed = |item: &Item| {
            let delivery = text(item, "pk").strip_prefix("fynapse#delivery#")?.to_owned();
            Some((delivery, text(item, "reason").to_owned()))
        };
        let mut missed: Vec<_> = items.iter().filter_map(missed).collect();
        missed.sort();
        missed
    }
}

impl Drop for FynapseWorld {
    fn drop(&mut self) {
        self.server_tasks.iter().for_each(JoinHandle::abort);
    }
}
