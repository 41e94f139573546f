//! The events on the EventBridge bus: three types, each with a detail of its own.
//!
//! The JSON Schemas and OpenAPI documents in `infra/schemas/` are generated from the types in [`detail`].

pub mod detail;
mod eventbridge_limits;
pub mod openapi;

use crate::effect::alert::ThresholdCrossing;
use crate::effect::batch_snapshot::BatchSnapshot;
use crate::event::{EventKey, batch_path, percent_encode};
use crate::id::Id;
use crate::limits::BUS_MAX_BYTES;
use crate::message::dataref;
use crate::origin::Origin;
use crate::subject::Subject;
use crate::time::UnixMillis;

use detail::{BalanceBatchCompleted, BalanceExtracted, BalanceThresholdMet, Detail, SourceEvent};

/// EventBridge's `source` of every event.
pub const SOURCE: &str = "balance-inbox";
/// The size that EventBridge counts for a time.
const TIME_BYTES: usize = 14;

/// An event for the bus.
#[derive(Clone, PartialEq, Eq)]
pub struct BusEvent {
    /// EventBridge's `detail-type`.
    pub detail_type: &'static str,
    /// The detail, as one JSON object.
    pub detail: String,
    /// The idempotency key: two events with the same id have the same effect, so a consumer processes one of
    /// them.
    pub id: String,
    /// The time at which the inbox received the source event.
    pub time: UnixMillis,
}

impl BusEvent {
    /// The entry's size as EventBridge counts it.
    pub fn size_bytes(&self) -> usize {
        TIME_BYTES + SOURCE.len() + self.detail_type.len() + self.detail.len()
    }

    fn new<D: Detail>(id: String, event: &EventMeta<'_>, detail: &D) -> Self {
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        let detail = serde_json::to_string(detail).unwrap_or_default();
        Self { detail_type: D::TYPE, detail, id, time: event.received_at }
    }
}

/// Leaves out the detail: personal data (P8).
impl std::fmt::Debug for BusEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BusEvent({}, {} bytes)", self.detail_type, self.detail.len())
    }
}

/// The metadata of the inbox event that a bus event results from.
#[derive(Clone, Copy, Debug)]
pub struct EventMeta<'a> {
    /// The event's key.
    pub key: &'a EventKey,
    /// The provider's own name of the event's type.
    pub event_type: &'a str,
    /// The event's origin.
    pub origin: Origin,
    /// The time at which the inbox received the event.
    pub received_at: UnixMillis,
    /// The number of times that an operator had it sent again; 0 for never.
    pub replay: u64,
    /// 1, or 2 if the batch was already published with results missing.
    pub revision: u64,
}

/// The batch that a bus event is about.
#[derive(Clone, Copy, Debug)]
pub struct BatchRef<'a> {
    /// The batch.
    pub batch_id: &'a Id,
    /// The schedule whose run the batch is, if known.
    pub schedule_id: Option<&'a Id>,
    /// The subject that the batch is tracked under; if it is not tracked, the subject of the URL that the
    /// event came by.
    pub subject: Option<&'a Subject>,
}

/// Builds the event for a complete batch whose balances are stored. `expected` is the number of results that
/// there had to be, if known.
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

/// Builds the event for a balance that met its threshold. Its id depends only on batch and authorizer, so the
/// same alert from two events has the same id.
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

/// The id of [`threshold_met`]'s event.
pub fn threshold_met_id(batch_id: &Id, authorizer: &Id) -> String {
    format!("{}/threshold-met/{}", batch_path(batch_id), percent_encode(authorizer.as_str()))
}

/// Builds the event for a Fynapse event. The payload is embedded as received if EventBridge accepts it and
/// `by_reference` is false; otherwise the event carries only the reference to it.
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
    // The whole event is measured, because its other fields take up space, too.
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
