//! What a record keeps of earlier cycles: each time that an event is made due again after its end, its time stamps begin
//! anew, and those of the cycle that ended stay beside them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::limits::PAST_CYCLES_MAX;
use inbox_core::time::UnixMillis;

use super::EventView;
use crate::item::{self, Item, millis, number, text};

/// The attribute that holds them, the earliest first.
pub(super) const PAST_CYCLES: &str = "past_cycles";

/// The time stamps of a cycle that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastCycle {
    /// When the event was put on the queue.
    pub sent_at: Option<UnixMillis>,
    /// When its effect had happened.
    pub done_at: Option<UnixMillis>,
    /// When it was given up.
    pub quarantined_at: Option<UnixMillis>,
    /// How often a worker put it back.
    pub requeues: u64,
    /// Why a worker put it back last.
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
        let works = ("works", number(self.requeues));
        AttributeValue::M(
            times.chain(reason).chain([works]).map(|(name, value)| (name.to_owned(), value)).collect(),
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

/// The cycles that a record keeps.
pub(super) fn read(item: &Item) -> Vec<PastCycle> {
    let all = item.get(PAST_CYCLES).and_then(|value| value.as_l().ok());
    all.into_iter().flatten().filter_map(|cycle| cycle.as_m().ok()).map(PastCycle::read).collect()
}

/// The cycles of a record whose present one has ended: the first, and the latest ones.
///
/// Written as a whole: whoever makes an event due again names the `rev` that he has read them under.
pub(super) fn with_current_cycle(event: &EventView) -> AttributeValue {
    let mut cycles = event.past_cycles.clone();
    cycles.push(PastCycle::from_event(event));
    let surplus = cycles.len().saturating_sub(PAST_CYCLES_MAX);
    cycles.drain(1..=surplus);
    AttributeValue::L(cycles.iter().map(PastCycle::to_attribute).collect())
}
