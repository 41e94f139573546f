//! The simulated Fynapse that is served beside the webhook routes.

use axum::Router;
use inbox_core::delivery::Provider;

use crate::fynapse_simulator::{FynapseSimulator, extract_run_routes};
use crate::senders::{FynapseSender, SenderClient, SimClock};
use crate::stack::{FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET, FYNAPSE_SUBSCRIPTION_ID, Stack};

/// Most webhooks that are delivered at the same time.
const CONCURRENT_DELIVERIES: usize = 16;

/// The API, and the route that runs an extract. Its webhooks go to the route below this URL.
pub(super) fn routes(stack: &Stack, http_url: &str) -> anyhow::Result<Router> {
    let simulator = FynapseSimulator::new(
        stack.clock.clone(),
        FYNAPSE_SUBSCRIPTION_ID,
        FYNAPSE_CLIENT_ID,
        FYNAPSE_CLIENT_SECRET,
    );
    // Real time: a retry comes as late as Fynapse's.
    let http =
        SenderClient::new(SimClock::compressed(stack.clock.now(), 1), rand::random(), CONCURRENT_DELIVERIES)?;
    let keys = stack.webhook_keys(Provider::Fynapse)?;
    let sender = FynapseSender::new(http, format!("{http_url}/webhooks/fynapse"), keys);
    Ok(simulator.routes().merge(extract_run_routes(simulator, sender)))
}
