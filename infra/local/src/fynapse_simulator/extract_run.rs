//! Runs of an extract, on request: what a person at Fynapse starts in its user interface.
//!
//! `POST /simulator/extract-run?events=3&lost=1` makes three events. Two are delivered as webhooks; one is given up without an attempt.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::post;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use serde_json::json;
use uuid::Uuid;

use super::FynapseSimulator;
use super::http::{decode_pairs, error, respond};
use crate::senders::{FynapseSender, payloads};

/// Most events of one run.
const EVENTS_MAX: usize = 1_000;

/// The route that runs an extract, whose events this sender delivers.
pub fn extract_run_routes(simulator: FynapseSimulator, sender: FynapseSender) -> Router {
    Router::new().route("/simulator/extract-run", post(run)).with_state((simulator, Arc::new(sender)))
}

async fn run(
    State((simulator, sender)): State<(FynapseSimulator, Arc<FynapseSender>)>,
    uri: Uri,
) -> Response {
    let query = decode_pairs(uri.query().unwrap_or_default());
    let count = |name: &str, default: usize| query.get(name).map_or(Ok(default), |value| value.parse());
    let (Ok(events), Ok(lost)) = (count("events", 1), count("lost", 0)) else {
        return error(StatusCode::BAD_REQUEST, "events and lost are numbers");
    };
    if events > EVENTS_MAX || lost > events {
        return error(StatusCode::BAD_REQUEST, "at most 1000 events, and no more lost than that");
    }
    let mut event_ids = Vec::with_capacity(events);
    for number in 0..events {
        let event_id = Uuid::new_v4().to_string();
        let outgoing = payloads::balance_extracted(&event_id);
        if number < lost {
            simulator.add_ended(&outgoing, DeliveryStatus::DeadLetter);
        } else {
            let (simulator, sender) = (simulator.clone(), sender.clone());
            // In the background: a delivery may be retried for days.
            tokio::spawn(async move { simulator.deliver(&sender, &outgoing).await });
        }
        event_ids.push(event_id);
    }
    respond(StatusCode::ACCEPTED, json!({"event_ids": event_ids}).to_string())
}
