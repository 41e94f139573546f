//! What an event puts on the queue and on the bus, as its record and the effects of its alerts show it.

use inbox_aws::items::{AlertEffectItem, EventRecord};
use inbox_aws::stores::Timeline;
use inbox_core::bus::threshold_met_id;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::message::message_without_payload;
use inbox_core::time::UnixMillis;

use crate::event_text::bus_event_type;
use crate::payload::indent_json;
use crate::time_text::TimeTag;

/// The message of an event, and the events on the bus that have resulted from it.
pub(crate) struct EventOutputs {
    /// The message as CloudEvents JSON, without the payload.
    pub(crate) message: String,
    /// Where the payload of the message is.
    pub(crate) payload_note: &'static str,
    pub(crate) bus_events: Vec<BusEventRow>,
    /// Said if there is no event on the bus.
    pub(crate) if_none: String,
}

/// An event on the bus.
pub(crate) struct BusEventRow {
    pub(crate) detail_type: &'static str,
    /// Its idempotency key, by which consumers find it.
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) published_at: TimeTag,
}

impl EventOutputs {
    pub(crate) fn new(event: &EventRecord, timeline: &Timeline, now: UnixMillis) -> Self {
        let message = message_without_payload(event.message_meta(), event.payload.bytes);
        let has_reference = message.contains("\"dataref\":");
        Self {
            message: indent_json(&message).unwrap_or(message),
            payload_note: if has_reference {
                "Its payload is too large for a message: dataref names it."
            } else {
                "Its payload is in data, which is left out here. (If SQS does not accept its characters, dataref names it instead.)"
            },
            bus_events: bus_events(event, timeline, now),
            if_none: match (event.lifecycle.state(now), event.published_count) {
                (EventState::Done, Some(0)) => "Nothing was published.".to_owned(),
                (EventState::Done, _) => "Nothing that is still recorded.".to_owned(),
                _ => format!("Nothing yet: {} once it is done.", bus_event_type(event)),
            },
        }
    }
}

fn bus_events(event: &EventRecord, timeline: &Timeline, now: UnixMillis) -> Vec<BusEventRow> {
    let detail_type = bus_event_type(event);
    let replay = |count: u64| if count > 0 { format!("replay {count}") } else { String::new() };
    match event.key.batch_id().filter(|_| !matches!(event.key, EventKey::RightfootCompletion { .. })) {
        // One for each authorizer, by this event or a replay of it.
        Some(batch_id) => {
            let id = event.key.event_id();
            let own = timeline.alerts.iter().filter(|alert| alert.event_id.as_deref() == Some(&id));
            let row = |alert: &AlertEffectItem| {
                Some(BusEventRow {
                    detail_type,
                    id: threshold_met_id(batch_id, &alert.authorizer),
                    about: replay(alert.replay),
                    published_at: TimeTag::new(alert.published_at?, now),
                })
            };
            own.filter_map(row).collect()
        }
        None => {
            let published_at = event.lifecycle.done_at.filter(|_| event.published_count != Some(0));
            let about = match event.revision {
                Some(revision) => {
                    format!("revision {revision} {}", replay(event.replay)).trim_end().to_owned()
                }
                None => replay(event.replay),
            };
            let id = event.key.event_id();
            let row = published_at.map(|at| BusEventRow {
                detail_type,
                id,
                about,
                published_at: TimeTag::new(at, now),
            });
            row.into_iter().collect()
        }
    }
}
