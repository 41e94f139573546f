//! The simulator's state.

use std::collections::HashMap;

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::time::UnixMillis;

use super::behaviour::SimulatedList;
use crate::senders::OutgoingDelivery;

/// A delivery in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedDelivery {
    /// Its own id.
    pub id: String,
    /// The `event_id` of its event.
    pub event_id: String,
    /// Its `Idempotency-Key`.
    pub idempotency_key: String,
    /// Its state.
    pub status: DeliveryStatus,
    /// Time of its creation.
    pub created_at: UnixMillis,
    /// The webhook's body.
    pub body: String,
}

impl SimulatedDelivery {
    /// A delivery of this event. Its ids follow from the event's, unless the event names its key.
    pub fn new(outgoing: &OutgoingDelivery, status: DeliveryStatus, created_at: UnixMillis) -> Self {
        let event_id = outgoing.id.rsplit('/').next().unwrap_or_default();
        Self {
            id: format!("delivery-{event_id}"),
            event_id: event_id.to_owned(),
            idempotency_key: outgoing.idempotency_key.clone().unwrap_or_else(|| format!("key-{event_id}")),
            status,
            created_at,
            body: String::from_utf8_lossy(&outgoing.body).into_owned(),
        }
    }
}

/// A secret that signs webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSecret {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSubscription {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The address that it delivers to.
    pub endpoint_url: String,
    /// The name of the secret that it signs with.
    pub secret_ref: String,
    /// The types of events that it delivers.
    pub event_types: Vec<String>,
}

/// Sessions, deliveries and log of the simulator.
pub(super) struct SimulatorState {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) list: SimulatedList,
    /// The oldest first.
    pub(super) deliveries: Vec<SimulatedDelivery>,
    pub(super) requests: Vec<String>,
    pub(super) secrets: Vec<SimulatedSecret>,
    pub(super) subscriptions: Vec<SimulatedSubscription>,
    /// False if the path that rotates a secret is another one.
    pub(super) has_rotation: bool,
    /// Values of secrets so far.
    values_made: usize,
    /// The time at which each token was last used.
    sessions: HashMap<String, UnixMillis>,
}

impl SimulatorState {
    /// A state with one subscription, to another receiver.
    pub(super) fn new(subscription_id: &str, client_id: &str, client_secret: &str) -> Self {
        Self {
            secrets: Vec::new(),
            subscriptions: vec![SimulatedSubscription {
                id: subscription_id.to_owned(),
                name: "first".to_owned(),
                endpoint_url: "https://receiver.invalid/webhooks".to_owned(),
                secret_ref: "first".to_owned(),
                event_types: Vec::new(),
            }],
            has_rotation: true,
            values_made: 0,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            list: SimulatedList::default(),
            deliveries: Vec::new(),
            requests: Vec::new(),
            sessions: HashMap::new(),
        }
    }

    pub(super) fn add_delivery(&mut self, delivery: SimulatedDelivery) {
        match self.deliveries.iter_mut().find(|listed| listed.id == delivery.id) {
            Some(listed) => *listed = delivery,
            None => self.deliveries.push(delivery),
        }
    }

    /// A new value of a secret, as long as a real one.
    pub(super) fn make_secret_value(&mut self) -> String {
        self.values_made += 1;
        format!("simulated-signing-secret-value-{:04}", self.values_made)
    }

    /// Begins a session; returns its token.
    pub(super) fn begin_session(&mut self, now: UnixMillis) -> String {
        let token = format!("simulated-token-{}", self.sessions.len());
        self.sessions.insert(token.clone(), now);
        token
    }

    /// Returns `true` if the session of a token has not ended, and notes its use.
    pub(super) fn use_session(&mut self, token: &str, now: UnixMillis) -> bool {
        let ends_after = self.list.session_ends_after;
        match self.sessions.get_mut(token) {
            Some(used_at) if now.since(*used_at) < ends_after => {
                *used_at = now;
                true
            }
            Some(_) | None => false,
        }
    }
}
