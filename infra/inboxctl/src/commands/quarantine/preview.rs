//! Table of quarantine items for the confirmation of a replay or discard.

use inbox_aws::AwsError;
use inbox_aws::items::QuarantinedItem;
use inbox_aws::stores::Stores;
use inbox_core::quarantine::QuarantineId;
use inbox_core::reparse::{Reparsed, reparse};
use inbox_core::time::UnixMillis;

use crate::output::{Timestamp, render_table};

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

/// Renders the items with reason, age, size and event.
pub(super) async fn render_rows(stores: &Stores, items: &[RequestedItem], now: UnixMillis) -> String {
    let mut rows = Vec::new();
    for RequestedItem { id, delivery } in items {
        let Some(delivery) = delivery else {
            let none = || "-".to_owned();
            rows.push([id.to_string(), "not in quarantine".to_owned(), none(), none(), none()]);
            continue;
        };
        let age = match delivery.signed_at {
            Some(at) => format!("signed {}", Timestamp(UnixMillis(at.0.saturating_mul(1_000))).with_age(now)),
            None => format!("received {}", Timestamp(delivery.first_received_at).with_age(now)),
        };
        let event = event_id_of(stores, delivery).await.unwrap_or_else(|| "-".to_owned());
        rows.push([
            id.to_string(),
            delivery.reason.as_str().to_owned(),
            age,
            delivery.payload.bytes.to_string(),
            event,
        ]);
    }
    render_table(["ITEM", "REASON", "AGE", "BYTES", "EVENT"], rows, "")
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
