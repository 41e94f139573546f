//! The polling fallback: events that no webhook announced are found, and at what cost.

use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiKey, ClientConfig, RightfootClient};
use local::rightfoot_simulator::Behaviour;
use serde_json::Value;
use tests::rightfoot_world::{API_KEY, RightfootWorld};
use tests::{Item, QueuedMessage, START, alert_event_id, completion_event_id};

mod api_ambiguities;
mod api_responses;
mod attacks;
mod batch_polls;
pub(crate) mod call_counts;
mod crashes;
mod poll_fault_matrix;
mod poll_problems;
mod poll_response_variants;
mod random_sequences;
mod results_found;
mod run_alerts;
mod schedule_polls;

/// An event's id and origin, as [`tests::World::drain_ids_and_origins`] returns them.
fn id_and_origin(id: String, origin: &str) -> (String, String) {
    (id, origin.to_owned())
}

/// Submits a batch; returns its id.
async fn submit_batch(it: &RightfootWorld, submission_id: &str, authorizers: &[&str]) -> String {
    it.submit_batch(submission_id, authorizers).await["batch_id"].as_str().unwrap().to_owned()
}

/// Submits a batch to Rightfoot directly, without our knowledge; returns its id.
async fn submit_without_inbox(it: &RightfootWorld, body: Value) -> String {
    let client = RightfootClient::new(ClientConfig::new(&it.api_url, None).unwrap()).unwrap();
    let submitted = client.submit_batch(&ApiKey::new(API_KEY).unwrap(), body.to_string()).await.unwrap();
    submitted.batch_id.as_str().to_owned()
}

/// The item of a tracked batch.
async fn tracked_item(it: &RightfootWorld, batch: &str) -> Item {
    it.world.item(&format!("rightfoot#batch#{batch}"), "tracked").await.unwrap()
}

/// Sets the balances that Rightfoot will report, by authorizer.
fn set_balances(rightfoot: &mut Behaviour, balances: &[(&str, &str)]) {
    rightfoot.balances = balances.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect();
}

fn authorizer_ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("person-{n:04}")).collect()
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The minutes since [`tests::START`] in which Rightfoot was asked.
fn request_minutes(it: &RightfootWorld) -> Vec<u64> {
    it.rightfoot.requests().iter().map(|request| minute(request.at)).collect()
}

/// Minutes since [`tests::START`].
fn minute(at: UnixMillis) -> u64 {
    at.since(START).as_secs() / 60
}

/// The authorizers of the alerts in a message.
fn alerted_authorizers(message: &QueuedMessage) -> Vec<String> {
    let event: Value = serde_json::from_str(&message.body).unwrap();
    let alerts = event["data"]["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["authorizer_unique_id"].as_str().unwrap().to_owned()).collect()
}
