//! The earlier processing cycles of an event: each time that it is made due again after its end, its times are reset, and
//! those of the ended cycle are kept in the attribute `past_cycles`.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::time::UnixMillis;

use super::audit::field;
use crate::table::value::{FromAttribute, ToAttribute};

/// The times of a processing cycle that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastCycle {
    /// Time at which the event was put on the queue.
    pub sent_at: Option<UnixMillis>,
    /// Time at which it was done.
    pub done_at: Option<UnixMillis>,
    /// Time at which it was quarantined.
    pub quarantined_at: Option<UnixMillis>,
    /// Number of times that a worker requeued it.
    pub requeues: u64,
    /// Reason for the last requeue.
    pub retry_reason: Option<String>,
    /// Number of results or alerts that its effect had published.
    pub published_count: Option<u64>,
}

impl ToAttribute for PastCycle {
    fn to_attribute(&self) -> AttributeValue {
        let times =
            [("sent_at", self.sent_at), ("done_at", self.done_at), ("quarantined_at", self.quarantined_at)];
        let times = times.into_iter().filter_map(|(name, at)| Some((name, at?.to_attribute())));
        let reason = self.retry_reason.iter().map(|reason| ("retry_reason", reason.to_attribute()));
        let published = self.published_count.iter().map(|count| ("published_count", count.to_attribute()));
        let requeues = ("requeues", self.requeues.to_attribute());
        let fields = times.chain(reason).chain(published).chain([requeues]);
        AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl FromAttribute for PastCycle {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let fields = value.as_m().ok()?;
        Some(Self {
            sent_at: field(fields, "sent_at"),
            done_at: field(fields, "done_at"),
            quarantined_at: field(fields, "quarantined_at"),
            requeues: field(fields, "requeues").unwrap_or(0),
            retry_reason: field(fields, "retry_reason"),
            published_count: field(fields, "published_count"),
        })
    }
}
