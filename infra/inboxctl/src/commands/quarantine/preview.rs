//! Quarantine items as they are listed for the confirmation of a replay or discard.

use inbox_aws::AwsError;
use inbox_aws::items::QuarantinedItem;
use inbox_aws::stores::Stores;
use inbox_core::quarantine::QuarantineId;
use inbox_core::reparse::{Reparsed, reparse};
use inbox_core::time::UnixMillis;

use crate::output::{Timestamp, line, pluralize};

/// A requested item. `delivery` is `None` if it is not in quarantine.
pub(super) struct RequestedItem {
    pub(super) id: QuarantineId,
    pub(super) delivery: Option<QuarantinedItem>,
}

impl RequestedItem {
    /// Items that a search has returned.
    pub(super) fn from_deliveries(open: Vec<QuarantinedItem>) -> Vec<Self> {
        open.into_iter().map(|delivery| Self { id: delivery.id.clone(), delivery: Some(delivery) }).collect()
    }

    /// Loads items by their ids.
    pub(super) async fn load(stores: &Stores, ids: Vec<QuarantineId>) -> Result<Vec<Self>, AwsError> {
        let mut items = Vec::new();
        for id in ids {
            items.push(Self { delivery: stores.operator.quarantined_item(&id).await?, id });
        }
        Ok(items)
    }
}

/// Renders the items with reason, age, size and event, on two or three lines each: whole ids are too wide for a table.
pub(super) async fn render_items(stores: &Stores, items: &[RequestedItem], now: UnixMillis) -> String {
    let mut text = String::new();
    for RequestedItem { id, delivery } in items {
        text += &format!("  {}\n", line(&id.to_string()));
        let Some(delivery) = delivery else {
            text += "    not in quarantine\n";
            continue;
        };
        let age = match delivery.signed_at {
            Some(at) => format!("signed {}", Timestamp(UnixMillis(at.0.saturating_mul(1_000))).with_age(now)),
            None => format!("received {}", Timestamp(delivery.first_received_at).with_age(now)),
        };
        let bytes = pluralize(delivery.payload.bytes as u64, "byte", "bytes");
        text += &format!("    {}, {age}, {bytes}\n", delivery.reason.as_str());
        if let Some(event) = event_id_of(stores, delivery).await {
            text += &format!("    event {}\n", line(&event));
        }
    }
    text
}

/// Event of an item, or the event that the current code parses from its bytes. `None` also if the bytes cannot
/// be loaded.
async fn event_id_of(stores: &Stores, delivery: &QuarantinedItem) -> Option<String> {
    if let Some(key) = &delivery.event {
        return Some(key.event_id());
    }
    // An error is reported when the command processes the item.
    let bytes = stores.operator.quarantined_payload(delivery).await.ok()?;
    match reparse(delivery.clone().with_body(bytes)) {
        Reparsed::Event(event) => Some(event.key().event_id()),
        Reparsed::StillUnusable(_) | Reparsed::Unverified => None,
    }
}
