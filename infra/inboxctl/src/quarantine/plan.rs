//! What is shown of items before something is done with them.

use inbox_aws::AwsError;
use inbox_aws::inbox::{Inbox, QuarantinedItem};
use inbox_core::quarantine::{QuarantineId, Reparsed, reparse};
use inbox_core::time::UnixMillis;

use crate::view::{At, table};

/// An item that was asked for, as it stands; or only its name, if there is none.
pub(super) struct Asked {
    pub(super) id: QuarantineId,
    pub(super) kept: Option<QuarantinedItem>,
}

impl Asked {
    /// Items that were found.
    pub(super) fn found(open: Vec<QuarantinedItem>) -> Vec<Self> {
        open.into_iter().map(|kept| Self { id: kept.id.clone(), kept: Some(kept) }).collect()
    }

    /// Items that were named.
    pub(super) async fn named(inbox: &Inbox, ids: Vec<QuarantineId>) -> Result<Vec<Self>, AwsError> {
        let mut asked = Vec::new();
        for id in ids {
            asked.push(Self { kept: inbox.quarantined_item(&id).await?, id });
        }
        Ok(asked)
    }
}

/// The items with how old they are, how large, and which event they are, as far as that is known.
pub(super) async fn rows(inbox: &Inbox, asked: &[Asked], now: UnixMillis) -> String {
    let mut rows = Vec::new();
    for Asked { id, kept } in asked {
        let Some(kept) = kept else {
            let none = || "-".to_owned();
            rows.push([id.to_string(), "not in quarantine".to_owned(), none(), none(), none()]);
            continue;
        };
        let age = match kept.signed_at {
            Some(at) => format!("signed {}", At(UnixMillis(at.0.saturating_mul(1_000))).told(now)),
            None => format!("received {}", At(kept.first_received_at).told(now)),
        };
        let event = event_of(inbox, kept).await.unwrap_or_else(|| "-".to_owned());
        rows.push([
            id.to_string(),
            kept.reason.as_str().to_owned(),
            age,
            kept.payload_bytes.to_string(),
            event,
        ]);
    }
    table(["ITEM", "REASON", "AGE", "BYTES", "EVENT"], rows, "")
}

/// The event that an item was made of, or that the present code reads in its bytes. What cannot be loaded is told when
/// something is done with it.
async fn event_of(inbox: &Inbox, kept: &QuarantinedItem) -> Option<String> {
    if let Some(key) = &kept.event {
        return Some(key.event_id());
    }
    let bytes = inbox.quarantined_payload(kept).await.ok()?;
    match reparse(kept.clone().with(bytes)) {
        Reparsed::Event(event) => Some(event.key().event_id()),
        Reparsed::StillUnusable(_) | Reparsed::Unverified => None,
    }
}
