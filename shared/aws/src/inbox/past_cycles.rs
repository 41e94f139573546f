//! The earlier processing cycles of a record: each time that an event is made due again after its end, its
//! times are reset, and those of the ended cycle are kept beside them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::limits::PAST_CYCLES_MAX;
use inbox_core::time::UnixMillis;

use super::EventView;
use crate::item::{self, Item, millis, number, text};

/// The attribute that holds the cycles, the earliest first.
pub(super) const PAST_CYCLES: &str = "past_cycles";

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
}

impl PastCycle {
    fn from_event(event: &EventView) -> Self {
        Self {
            sent_at: event.lifecycle.sent_at,
            done_at: event.lifecycle.done_at,
            quarantined_at: event.lifecycle.quarantined_at,
            requeues: event.lifecycle.requeues,
            retry_reason: event.retry_reason.clone(),
        }
    }

    fn to_attribute(&self) -> AttributeValue {
        let times =
            [("sent_at", self.sent_at), ("done_at", self.done_at), ("quarantined_at", self.quarantined_at)];
        let times = times.into_iter().filter_map(|(name, at)| Some((name, number(at?.0))));
        let reason = self.retry_reason.iter().map(|reason| ("retry_reason", text(reason)));
        let requeues = ("works", number(self.requeues));
        AttributeValue::M(
            times.chain(reason).chain([requeues]).map(|(name, value)| (name.to_owned(), value)).collect(),
        )
    }

    fn read(fields: &HashMap<String, AttributeValue>) -> Self {
        Self {
            sent_at: millis(fields, "sent_at"),
            done_at: millis(fields, "done_at"),
            quarantined_at: millis(fields, "quarantined_at"),
            requeues: item::parsed_number(fields, "works").unwrap_or(0),
            retry_reason: item::string(fields, "retry_reason").map(str::to_owned),
        }
    }
}

/// The cycles of a record, the earliest first.
pub(super) fn read(item: &Item) -> Vec<PastCycle> {
    let all = item.get(PAST_CYCLES).and_then(|value| value.as_l().ok());
    all.into_iter().flatten().filter_map(|cycle| cycle.as_m().ok()).map(PastCycle::read).collect()
}

/// The cycles of a record, with the current one, which has ended, added: the first one and the latest ones,
/// [`PAST_CYCLES_MAX`] at most.
///
/// The attribute is written as a whole, so the write must be conditional on the `rev` that the cycles were read
/// under.
pub(super) fn with_current_cycle(event: &EventView) -> AttributeValue {
    let mut cycles = event.past_cycles.clone();
    cycles.push(PastCycle::from_event(event));
    let surplus = cycles.len().saturating_sub(PAST_CYCLES_MAX);
    // The first cycle stays. Without a surplus, the range `1..=0` is empty.
    cycles.drain(1..=surplus);
    AttributeValue::L(cycles.iter().map(PastCycle::to_attribute).collect())
}
