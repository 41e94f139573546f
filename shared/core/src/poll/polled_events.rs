//! The events that polling found, in the form of the webhook that would have announced them, without `event_uuid`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::{Provider, Verified};
use crate::event::{AuthorizersDigest, Event, EventKey};
use crate::id::Id;
use crate::providers::{BATCH_COMPLETED, THRESHOLD_ALERT};
use crate::rightfoot_api::Amount;
use crate::time::UnixMillis;

#[derive(Serialize)]
struct PolledCompletionPayload<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    batch_id: &'a str,
}

#[derive(Serialize)]
struct PolledAlertsPayload<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    schedule_id: Option<&'a str>,
    batch_id: &'a str,
    alerts: Vec<PolledAlert<'a>>,
    timestamp: String,
}

/// Has no institution name: the API does not return one.
#[derive(Serialize)]
struct PolledAlert<'a> {
    authorizer_unique_id: &'a str,
    balance: Box<RawValue>,
    threshold_amount: Box<RawValue>,
}

/// Makes the event for a batch's completion.
pub(super) fn completion(batch_id: &Id, now: UnixMillis) -> Event {
    let payload = PolledCompletionPayload { event_type: BATCH_COMPLETED, batch_id: batch_id.as_str() };
    let key = EventKey::RightfootCompletion { batch_id: batch_id.clone() };
    polled_event(key, BATCH_COMPLETED, &payload, now)
}

/// Makes the event for a run's alerts; each crossing is an authorizer, its balance, and the threshold that it
/// met.
pub(super) fn alerts(
    batch_id: &Id,
    schedule_id: Option<&Id>,
    crossings: &[(&Id, Amount, Amount)],
    now: UnixMillis,
) -> Event {
    let alerts = crossings.iter().map(|(authorizer, balance, threshold)| PolledAlert {
        authorizer_unique_id: authorizer.as_str(),
        balance: balance.to_json(),
        threshold_amount: threshold.to_json(),
    });
    let payload = PolledAlertsPayload {
        event_type: THRESHOLD_ALERT,
        schedule_id: schedule_id.map(Id::as_str),
        batch_id: batch_id.as_str(),
        alerts: alerts.collect(),
        timestamp: now.rfc3339(),
    };
    // Time stamp and balances may change between two polls, so they are not part of the key.
    let authorizers = AuthorizersDigest::of(crossings.iter().map(|(authorizer, ..)| *authorizer));
    let key = EventKey::RightfootPolledAlert { batch_id: batch_id.clone(), authorizers };
    polled_event(key, THRESHOLD_ALERT, &payload, now)
}

fn polled_event(key: EventKey, event_type: &'static str, payload: &impl Serialize, now: UnixMillis) -> Event {
    // Cannot fail: strings and numbers only.
    let body = serde_json::to_vec(payload).unwrap_or_default();
    let verified = Verified::from_api_response(Provider::Rightfoot, body, BTreeMap::new(), now);
    Event::new(key, event_type, verified)
}
