//! The polling fallback: what is known although no webhook told it, and what that costs.

use std::time::Duration;

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
mod call_counts;
mod crashes;
mod poll_fault_matrix;
mod poll_problems;
mod poll_response_variants;
mod random_sequences;
mod run_alerts;
mod schedule_polls;

const HOUR: Duration = Duration::from_secs(3_600);

/// An event's id and where it came from, as [`tests::World::drain_origins`] tells them.
fn id_and_origin(id: String, origin: &str) -> (String, String) {
    (id, origin.to_owned())
}

/// Submits a batch; its id.
async fn submit_batch(it: &RightfootWorld, submission_id: &str, authorizers: &[&str]) -> String {
    it.submit_batch(submission_id, authorizers).await["batch_id"].as_str().unwrap().to_owned()
}

/// Has Rightfoot take a batch without our knowledge; its id.
async fn submit_without_inbox(it: &RightfootWorld, body: Value) -> String {
    let client = RightfootClient::new(ClientConfig::new(&it.api_url).unwrap()).unwrap();
    let submitted = client.submit_batch(&ApiKey::new(API_KEY).unwrap(), body.to_string()).await.unwrap();
    submitted.batch_id.as_str().to_owned()
}

/// What is tracked of a batch.
async fn tracked_item(it: &RightfootWorld, batch: &str) -> Item {
    it.world.item(&format!("rightfoot#batch#{batch}"), "tracked").await.unwrap()
}

/// These balances, by authorizer.
fn set_balances(rightfoot: &mut Behaviour, balances: &[(&str, &str)]) {
    rightfoot.balances = balances.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect();
}

/// So many authorizers.
fn authorizer_ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("person-{n:04}")).collect()
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// In which minutes since the beginning Rightfoot was asked.
fn request_minutes(it: &RightfootWorld) -> Vec<u64> {
    it.rightfoot.requests().iter().map(|request| minute(request.at)).collect()
}

/// The minute since the beginning.
fn minute(at: UnixMillis) -> u64 {
    at.since(START).as_secs() / 60
}

/// The alerts in a message: whom they are about.
fn alerted_authorizers(message: &QueuedMessage) -> Vec<String> {
    let event: Value = serde_json::from_str(&message.body).unwrap();
    let alerts = event["data"]["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["authorizer_unique_id"].as_str().unwrap().to_owned()).collect()
}
