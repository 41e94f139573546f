//! Effects of alerts: which events have published the alert of one authorizer in a batch.

use std::fmt;

use inbox_core::id::Id;
use inbox_core::rightfoot_api::Amount;
use inbox_core::time::UnixMillis;

use crate::table::attribute::Attribute;
use crate::table::key::{ALERT_EFFECT_SK_PREFIX, Key};
use crate::table::value::{Item, read, read_count};

/// An alert that was published, or that a worker has claimed.
#[derive(Clone)]
pub struct AlertEffectItem {
    /// The authorizer that it is about.
    pub authorizer: Id,
    /// The event that it was last published for.
    pub event_id: Option<String>,
    /// The replay of that event; 0 for the event itself.
    pub replay: u64,
    /// Time of its publication; `None` if it is only claimed.
    pub published_at: Option<UnixMillis>,
    /// Tags of the events and replays that have published it.
    pub published_by: Vec<String>,
    /// The threshold of its last publication.
    pub threshold: Option<Amount>,
}

/// Shows no field: they are personal data (P8).
impl fmt::Debug for AlertEffectItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlertEffectItem")
    }
}

impl AlertEffectItem {
    /// Reads the effect of an alert; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let authorizer = Key::of_item(item)?.sk.strip_prefix(ALERT_EFFECT_SK_PREFIX).and_then(Id::new)?;
        let published_by = item.get(Attribute::PublishedBy.name()).and_then(|tags| tags.as_ss().ok());
        Some(Self {
            authorizer,
            event_id: read(item, Attribute::EventId),
            replay: read_count(item, Attribute::Replay),
            published_at: read(item, Attribute::PublishedAt),
            published_by: published_by.cloned().unwrap_or_default(),
            threshold: read(item, Attribute::Threshold),
        })
    }
}
