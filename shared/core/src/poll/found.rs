//! What the poll found, written as the webhook would have told it, less the `event_uuid` that only a webhook has.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::Proven;
use crate::event::{AuthorizersDigest, Event, EventKey, Id};
use crate::providers::{ALERT, COMPLETED};
use crate::rightfoot::Amount;
use crate::time::UnixMillis;

#[derive(Serialize)]
struct Completion<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    batch_id: &'a str,
}

#[derive(Serialize)]
struct Alerts<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    schedule_id: Option<&'a str>,
    batch_id: &'a str,
    alerts: Vec<Alert<'a>>,
    timestamp: String,
}

/// Without the institution's name, which the API does not tell.
#[derive(Serialize)]
struct Alert<'a> {
    authorizer_unique_id: &'a str,
    balance: Box<RawValue>,
    threshold_amount: Box<RawValue>,
}

/// The completion of a batch.
pub(super) fn completion(batch_id: &Id, now: UnixMillis) -> Event {
    let payload = Completion { event_type: COMPLETED, batch_id: batch_id.as_str() };
    let key = EventKey::RightfootCompletion { batch_id: batch_id.clone() };
    event(key, COMPLETED, &payload, now)
}

/// The alerts of a run: who, the balance, and the threshold that it met. Their key says whom they are about, and not what
/// else they hold: a time stamp, and a balance that may have changed.
pub(super) fn alerts(
    batch_id: &Id,
    schedule_id: Option<&Id>,
    met: &[(&Id, Amount, Amount)],
    now: UnixMillis,
) -> Event {
    let alerts = met.iter().map(|(authorizer, balance, threshold)| Alert {
        authorizer_unique_id: authorizer.as_str(),
        balance: balance.to_json(),
        threshold_amount: threshold.to_json(),
    });
    let payload = Alerts {
        event_type: ALERT,
        schedule_id: schedule_id.map(Id::as_str),
        batch_id: batch_id.as_str(),
        alerts: alerts.collect(),
        timestamp: now.rfc3339(),
    };
    let whom = Some(AuthorizersDigest::of(met.iter().map(|(authorizer, ..)| *authorizer)));
    let key = EventKey::RightfootPolledAlert { batch_id: batch_id.clone(), whom };
    event(key, ALERT, &payload, now)
}

fn event(key: EventKey, event_type: &'static str, payload: &impl Serialize, now: UnixMillis) -> Event {
    // Strings and numbers only: this cannot fail.
    let body = serde_json::to_vec(payload).unwrap_or_default();
    Event::new(key, event_type, Proven::by_api_answer(body, now))
}
