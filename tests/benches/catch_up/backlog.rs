//! The backlog of each function, and the invocations that work it off.

use std::time::Duration;

use inbox_core::limits::WORKER_BATCH_MESSAGES;
use local::connector::Fault;
use serde_json::{Value, json};
use tests::simulated_network::SimulatedNetwork;
use tests::{QueuedMessage, SUBJECT, extract_body};

use crate::deferred_updates::DeferredUpdates;

/// Time that Rightfoot takes to answer.
const RIGHTFOOT_DELAY: Duration = Duration::from_millis(100);
/// Authorizers of each batch.
const AUTHORIZERS: usize = 10;

/// A function's emulators, with its backlog.
pub(crate) struct Backlog {
    pub(crate) network: SimulatedNetwork,
    updates: DeferredUpdates,
    function: &'static str,
    messages: Vec<QueuedMessage>,
}

impl Backlog {
    /// Serves the emulators, without a backlog.
    pub(crate) async fn new(function: &'static str) -> Self {
        let updates = DeferredUpdates::default();
        let is_deferred = function == "event-relay";
        let layer = |emulators| if is_deferred { updates.layer(emulators) } else { emulators };
        let network = SimulatedNetwork::with_layer(RIGHTFOOT_DELAY, layer).await;
        Self { network, updates, function, messages: Vec::new() }
    }

    /// Makes the backlog. It is due at once, because the emulators' clock is behind that of the function.
    pub(crate) async fn fill(&mut self, size: usize) {
        match self.function {
            "event-relay" => self.record_unsent(size).await,
            "rightfoot-poller" => self.track(size).await,
            "event-worker" => self.send(size).await,
            name => panic!("{name} has no backlog"),
        }
    }

    /// An invocation with nothing to do.
    pub(crate) fn idle_invocation(&self) -> Value {
        match self.function {
            "event-worker" => json!({"Records": []}),
            _ => json!({}),
        }
    }

    /// The invocations that work off the backlog: one run of a scheduled function, or one for each batch of messages.
    pub(crate) fn invocations(&self) -> Vec<Value> {
        let records = |batch: &[QueuedMessage]| {
            let records: Vec<_> =
                batch.iter().map(|it| json!({"messageId": it.id, "body": it.body})).collect();
            json!({"Records": records})
        };
        match self.function {
            "event-worker" => self.messages.chunks(WORKER_BATCH_MESSAGES).map(records).collect(),
            _ => vec![json!({})],
        }
    }

    /// The number of events, batches or messages that an invocation has done, by its response.
    pub(crate) fn count_done(&self, response: &Value) -> usize {
        let count = |name: &str| usize::try_from(response[name].as_u64().unwrap()).unwrap();
        match self.function {
            "event-relay" => count("sent"),
            "rightfoot-poller" => count("polled"),
            _ => {
                assert_eq!(response["batchItemFailures"], json!([]));
                WORKER_BATCH_MESSAGES
            }
        }
    }

    /// Checks that every event is marked as sent, and that a message of it is on the queue.
    pub(crate) async fn assert_relayed(&self, events: usize) {
        let world = &self.network.rightfoot_world.world;
        self.updates.apply(world.stack.connector.emulator()).await;
        assert_eq!(world.due_items().await.len(), 0, "still due");
        let mut ids = world.drain_event_ids().await;
        ids.dedup();
        assert_eq!(ids.len(), events);
    }

    /// Records events whose enqueueing fails.
    async fn record_unsent(&self, events: usize) {
        let world = &self.network.rightfoot_world.world;
        world.inject_fault("SendMessage", Fault::AccessDenied);
        for n in 0..events {
            assert!(world.deliver_fynapse(extract_body(&format!("e-{n:06}"))).await.is_success());
        }
        world.stack.connector.clear_fault_plan();
    }

    /// Tracks complete batches that no webhook has announced.
    async fn track(&self, batches: usize) {
        let people: Vec<_> = (0..AUTHORIZERS).map(|n| (format!("user-{n}"), format!("{n}.50"))).collect();
        for n in 0..batches {
            let batch_id = format!("00000000-0000-4000-8000-{n:012}");
            self.network.rightfoot_world.rightfoot.add_completed_batch(&batch_id, &people);
            self.network
                .rightfoot_world
                .request(json!({
                    "action": "track_batch", "batch_id": batch_id, "expected": AUTHORIZERS, "subject": SUBJECT,
                }))
                .await;
        }
    }

    /// Sends the messages of Fynapse events.
    async fn send(&mut self, events: usize) {
        let world = &self.network.rightfoot_world.world;
        for n in 0..events {
            assert!(world.deliver_fynapse(extract_body(&format!("e-{n:06}"))).await.is_success());
        }
        self.messages = world.drain_queue().await;
    }
}
