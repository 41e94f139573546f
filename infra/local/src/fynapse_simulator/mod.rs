//! A simulated Fynapse: its token endpoint, its secrets and subscriptions, and the list of the deliveries of a subscription
//! (shared/providers/fynapse.md, "Management API", "Deliveries"). How that list looks is not documented, so it has several shapes and styles of
//! paging.
//!
//! Its webhooks are those of [`FynapseSender`]; [`FynapseSimulator::deliver`] sends one and lists what
//! became of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use inbox_aws::clock::Clock;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::time::UnixMillis;

mod behaviour;
mod delivery_list;
mod extract_run;
mod http;
mod management;
mod routes;
mod state;

pub use behaviour::{ListPaging, ListShape, SimulatedList};
pub use extract_run::extract_run_routes;
pub use state::{SimulatedDelivery, SimulatedSecret, SimulatedSubscription};

use crate::senders::{DeliveryEnd, FynapseSender, OutgoingDelivery};
use state::SimulatorState;

/// The simulated API. Clones share its state.
#[derive(Clone)]
pub struct FynapseSimulator {
    clock: Clock,
    state: Arc<Mutex<SimulatorState>>,
}

impl FynapseSimulator {
    /// Creates an API with one subscription, without deliveries, that accepts a client with this id and secret.
    pub fn new(clock: Clock, subscription_id: &str, client_id: &str, client_secret: &str) -> Self {
        Self {
            clock,
            state: Arc::new(Mutex::new(SimulatorState::new(subscription_id, client_id, client_secret))),
        }
    }

    /// The API's routes, for the caller to serve.
    pub fn routes(&self) -> Router {
        routes::router(self.clone())
    }

    /// Changes the list from now on.
    pub fn configure(&self, change: impl FnOnce(&mut SimulatedList)) {
        self.with_state(|state, _| change(&mut state.list));
    }

    /// Changes the secret that it accepts, as if the client's had ended.
    pub fn set_client_secret(&self, client_secret: &str) {
        self.with_state(|state, _| client_secret.clone_into(&mut state.client_secret));
    }

    /// Adds a delivery to the list. One of the same id is replaced.
    pub fn add_delivery(&self, delivery: SimulatedDelivery) {
        self.with_state(|state, _| state.add_delivery(delivery));
    }

    /// The deliveries, the oldest first.
    pub fn deliveries(&self) -> Vec<SimulatedDelivery> {
        self.with_state(|state, _| state.deliveries.clone())
    }

    /// The secrets, the oldest first.
    pub fn secrets(&self) -> Vec<SimulatedSecret> {
        self.with_state(|state, _| state.secrets.clone())
    }

    /// The subscriptions, the oldest first.
    pub fn subscriptions(&self) -> Vec<SimulatedSubscription> {
        self.with_state(|state, _| state.subscriptions.clone())
    }

    /// Adds a subscription, as another client would.
    pub fn add_subscription(&self, subscription: SimulatedSubscription) {
        self.with_state(|state, _| state.subscriptions.push(subscription));
    }

    /// Rotates a secret, and from now on does it at another path only.
    pub fn rotate_elsewhere(&self, name: &str) {
        self.with_state(|state, _| {
            state.has_rotation = false;
            let value = state.make_secret_value();
            state.secrets.iter_mut().filter(|it| it.name == name).for_each(|it| it.value.clone_from(&value));
        });
    }

    /// The requests so far, as method, path and query.
    pub fn requests(&self) -> Vec<String> {
        self.with_state(|state, _| state.requests.clone())
    }

    /// Adds an event as a delivery that ended like this, without sending anything.
    pub fn add_ended(&self, outgoing: &OutgoingDelivery, status: DeliveryStatus) {
        let now = self.clock.now();
        self.add_delivery(SimulatedDelivery::new(outgoing, status, now));
    }

    /// Delivers an event by the sender's rules, and lists the delivery with its state.
    pub async fn deliver(&self, sender: &FynapseSender, outgoing: &OutgoingDelivery) -> DeliveryEnd {
        let mut listed = SimulatedDelivery::new(outgoing, DeliveryStatus::Pending, self.clock.now());
        self.add_delivery(listed.clone());
        // The sender would draw a key of its own.
        let outgoing = outgoing.with_idempotency_key(&listed.idempotency_key);
        let end = sender.deliver(&outgoing).await.end;
        listed.status = match end {
            DeliveryEnd::Delivered => DeliveryStatus::Delivered,
            DeliveryEnd::PermanentFailure(_) | DeliveryEnd::Exhausted | DeliveryEnd::GivenUp => {
                DeliveryStatus::DeadLetter
            }
        };
        self.add_delivery(listed);
        end
    }

    fn with_state<T>(&self, f: impl FnOnce(&mut SimulatorState, UnixMillis) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }
}

impl fmt::Debug for FynapseSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FynapseSimulator")
    }
}
