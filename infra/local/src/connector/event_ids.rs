//! Ids of the events that an AWS call concerns, from its request.

use inbox_core::bus::threshold_met_id;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use serde::Deserialize;
use serde_json::Value;

/// Bus id of the alert whose publication an `effect#alert#` item records.
fn alert_id(pk: &str, sk: &str) -> Option<String> {
    let (batch_id, authorizer) = (pk.strip_prefix("rightfoot#batch#")?, sk.strip_prefix("effect#alert#")?);
    Some(threshold_met_id(&Id::new(batch_id)?, &Id::new(authorizer)?))
}

/// Ids in the body of a message, or in the detail of an event on the bus.
#[derive(Deserialize)]
struct MessageIds {
    id: Option<String>,
    event_id: Option<String>,
}

/// Ids of the events in a request, without repetition: from item keys, message bodies and bus details.
pub(super) fn parse_event_ids(request: &Value) -> Vec<String> {
    let key_id = |holder: &Value| {
        let (pk, sk) = (holder.pointer("/pk/S")?.as_str()?, holder.pointer("/sk/S")?.as_str()?);
        EventKey::from_table_key(pk, sk).map(|key| key.event_id()).or_else(|| alert_id(pk, sk))
    };
    let parse_ids =
        |holder: &Value, name: &str| serde_json::from_str::<MessageIds>(holder.get(name)?.as_str()?).ok();
    let message_id = |holder: &Value| parse_ids(holder, "MessageBody")?.id;
    let detail_id = |holder: &Value| parse_ids(holder, "Detail")?.event_id;
    // A put has its key in `Item`, an update in `Key`; `SendMessage` has its body in the request itself.
    let holders = [request.get("Item"), request.get("Key"), Some(request)].into_iter().flatten();
    // `SendMessageBatch` and `PutEvents` have the same name for their lists.
    let entries = request.get("Entries").and_then(Value::as_array).into_iter().flatten();
    let body_ids =
        holders.clone().chain(entries).filter_map(|holder| message_id(holder).or_else(|| detail_id(holder)));
    let mut event_ids = Vec::new();
    for event_id in holders.filter_map(key_id).chain(body_ids) {
        // A linear search is enough: a batch call has at most ten entries.
        if !event_ids.contains(&event_id) {
            event_ids.push(event_id);
        }
    }
    event_ids
}
