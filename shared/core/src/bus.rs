//! What goes on the EventBridge bus: three types of event, each with a detail of its own.
//!
//! The JSON Schemas in `infra/schemas/` are made of the types in [`detail`].

pub mod detail;
mod eventbridge_limits;

use crate::delivery::Subject;
use crate::effect::alert::ThresholdCrossing;
use crate::effect::batch_snapshot::BatchSnapshot;
use crate::event::{EventKey, Id, Origin, batch_path, percent_encode};
use crate::limits::BUS_MAX_BYTES;
use crate::message::dataref;
use crate::time::UnixMillis;

use detail::{BalanceBatchCompleted, BalanceExtracted, BalanceThresholdMet, Detail, SourceEvent};

/// The source of everything on the bus.
pub const SOURCE: &str = "balance-inbox";
/// What EventBridge counts for a time.
const TIME_BYTES: usize = 14;

/// An event for the bus.
#[derive(Clone, PartialEq, Eq)]
pub struct BusEvent {
    /// EventBridge's `detail-type`.
    pub detail_type: &'static str,
    /// The detail: one JSON object.
    pub detail: String,
    /// What it is told by: two announcements of one id tell the same.
    pub id: String,
    /// When its event reached us.
    pub time: UnixMillis,
}

impl BusEvent {
    /// Its size as EventBridge counts it.
    pub fn size_bytes(&self) -> usize {
        TIME_BYTES + SOURCE.len() + self.detail_type.len() + self.detail.len()
    }

    fn new<D: Detail>(id: String, event: &EventMeta<'_>, detail: &D) -> Self {
        // Strings, numbers and JSON that was read before: this cannot fail.
        let detail = serde_json::to_string(detail).unwrap_or_default();
        Self { detail_type: D::TYPE, detail, id, time: event.received_at }
    }
}

/// Personal data (P8).
impl std::fmt::Debug for BusEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Announcement({}, {} bytes)", self.detail_type, self.detail.len())
    }
}

/// The event whose effect an announcement is.
#[derive(Clone, Copy, Debug)]
pub struct EventMeta<'a> {
    /// The event.
    pub key: &'a EventKey,
    /// The provider's own name of its type.
    pub event_type: &'a str,
    /// How it came to be recorded.
    pub origin: Origin,
    /// When it reached us.
    pub received_at: UnixMillis,
    /// How often it was replayed on purpose; 0 for never.
    pub replay: u64,
    /// 1, or 2 if its batch was published before with results missing.
    pub revision: u64,
}

/// The batch that an effect is about.
#[derive(Clone, Copy, Debug)]
pub struct BatchRef<'a> {
    /// The batch.
    pub batch_id: &'a Id,
    /// The schedule whose run it is, if that is known.
    pub schedule_id: Option<&'a Id>,
    /// Whose URL its webhooks come by: the one that it is tracked under, or, if it is not tracked, the one that the event
    /// came by.
    pub subject: Option<&'a Subject>,
}

/// A batch is complete, and its balances are stored. `expected` is how many there had to be, if that is known.
pub fn batch_completed(
    event: &EventMeta<'_>,
    batch: &BatchRef<'_>,
    snapshot: &BatchSnapshot,
    expected: Option<u64>,
) -> BusEvent {
    let id = event.key.event_id();
    let detail = BalanceBatchCompleted {
        id: &id,
        source_event: source_event(event, &id),
        batch_id: batch.batch_id.as_str(),
        schedule_id: batch.schedule_id.map(Id::as_str),
        subject: batch.subject.map(Subject::as_str),
        expected,
        revision: (event.revision > 1).then_some(event.revision),
        found: snapshot.found,
        by_status_code: snapshot
            .by_status_code
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect(),
    };
    BusEvent::new(id.clone(), event, &detail)
}

/// A balance met its threshold. Its id is made of batch and authorizer alone: by whichever event it is told.
pub fn threshold_met(
    event: &EventMeta<'_>,
    batch: &BatchRef<'_>,
    crossing: &ThresholdCrossing,
    confirmed: bool,
) -> BusEvent {
    let id = threshold_met_id(batch.batch_id, &crossing.authorizer);
    let event_id = event.key.event_id();
    let detail = BalanceThresholdMet {
        id: &id,
        source_event: source_event(event, &event_id),
        batch_id: batch.batch_id.as_str(),
        schedule_id: batch.schedule_id.map(Id::as_str),
        subject: batch.subject.map(Subject::as_str),
        authorizer_unique_id: crossing.authorizer.as_str(),
        institution_name: crossing.institution.as_deref(),
        balance: crossing.balance.to_string(),
        threshold: crossing.threshold.to_string(),
        threshold_source: crossing.threshold_source.as_str(),
        confirmed,
    };
    BusEvent::new(id.clone(), event, &detail)
}

/// What is told by [`threshold_met`], whoever tells it.
pub fn threshold_met_id(batch_id: &Id, authorizer: &Id) -> String {
    format!("{}/threshold-met/{}", batch_path(batch_id), percent_encode(authorizer.as_str()))
}

/// A Fynapse event. Its payload travels as it was received where EventBridge takes it, and by reference alone where
/// it does not, or with `by_reference`.
pub fn balance_extracted(event: &EventMeta<'_>, payload: &[u8], by_reference: bool) -> BusEvent {
    let id = event.key.event_id();
    let event_with = |data| {
        let detail = BalanceExtracted {
            id: &id,
            source_event: source_event(event, &id),
            event_type: event.event_type,
            dataref: dataref(&id),
            data,
        };
        BusEvent::new(id.clone(), event, &detail)
    };
    let data = if by_reference { None } else { eventbridge_limits::parse_embeddable(payload) };
    let with_data =
        data.map(|data| event_with(Some(data))).filter(|bus_event| bus_event.size_bytes() <= BUS_MAX_BYTES);
    with_data.unwrap_or_else(|| event_with(None))
}

fn source_event<'a>(event: &EventMeta<'a>, event_id: &'a str) -> SourceEvent<'a> {
    SourceEvent {
        event_id,
        origin: event.origin.as_str(),
        received_at: event.received_at.rfc3339(),
        replay: (event.replay > 0).then_some(event.replay),
    }
}

#[cfg(test)]
mod tests;
