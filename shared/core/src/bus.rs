//! What goes on the EventBridge bus: three types of event, each with a detail of its own.
//!
//! The JSON Schemas in `infra/schemas/` are made of the types in [`detail`].

pub mod detail;
mod fits;

use crate::delivery::Subject;
use crate::effect::alert::Met;
use crate::effect::look::Look;
use crate::event::{EventKey, Id, Origin, batch_path, encode_opaque};
use crate::limits::BUS_MAX_BYTES;
use crate::message::dataref;
use crate::time::UnixMillis;

use detail::{BalanceBatchCompleted, BalanceExtracted, BalanceThresholdMet, Cause, Detail};

/// The source of everything on the bus.
pub const SOURCE: &str = "balance-inbox";
/// What EventBridge counts for a time.
const TIME_BYTES: usize = 14;

/// An event for the bus.
#[derive(Clone, PartialEq, Eq)]
pub struct Announcement {
    /// EventBridge's `detail-type`.
    pub detail_type: &'static str,
    /// The detail: one JSON object.
    pub detail: String,
    /// What it is told by: two announcements of one id tell the same.
    pub id: String,
    /// When its event reached us.
    pub time: UnixMillis,
}

impl Announcement {
    /// Its size as EventBridge counts it.
    pub fn bytes(&self) -> usize {
        TIME_BYTES + SOURCE.len() + self.detail_type.len() + self.detail.len()
    }

    fn of<D: Detail>(id: String, cause: &Effect<'_>, detail: &D) -> Self {
        // Strings, numbers and JSON that was read before: this cannot fail.
        let detail = serde_json::to_string(detail).unwrap_or_default();
        Self { detail_type: D::TYPE, detail, id, time: cause.received_at }
    }
}

/// Personal data (P8).
impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Announcement({}, {} bytes)", self.detail_type, self.detail.len())
    }
}

/// The event whose effect an announcement is.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
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
pub struct Batch<'a> {
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
    cause: &Effect<'_>,
    batch: &Batch<'_>,
    look: &Look,
    expected: Option<u64>,
) -> Announcement {
    let id = cause.key.event_id();
    let detail = BalanceBatchCompleted {
        id: &id,
        cause: cause_of(cause, &id),
        batch_id: batch.batch_id.as_str(),
        schedule_id: batch.schedule_id.map(Id::as_str),
        subject: batch.subject.map(Subject::as_str),
        expected,
        revision: (cause.revision > 1).then_some(cause.revision),
        found: look.found,
        by_status_code: look.by_status.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
    };
    Announcement::of(id.clone(), cause, &detail)
}

/// A balance met its threshold. Its id is made of batch and authorizer alone: by whichever event it is told.
pub fn threshold_met(cause: &Effect<'_>, batch: &Batch<'_>, met: &Met, confirmed: bool) -> Announcement {
    let id = threshold_met_id(batch.batch_id, &met.authorizer);
    let event_id = cause.key.event_id();
    let detail = BalanceThresholdMet {
        id: &id,
        cause: cause_of(cause, &event_id),
        batch_id: batch.batch_id.as_str(),
        schedule_id: batch.schedule_id.map(Id::as_str),
        subject: batch.subject.map(Subject::as_str),
        authorizer_unique_id: met.authorizer.as_str(),
        institution_name: met.institution.as_deref(),
        balance: met.balance.to_string(),
        threshold: met.threshold.to_string(),
        threshold_source: met.threshold_source.as_str(),
        confirmed,
    };
    Announcement::of(id.clone(), cause, &detail)
}

/// What is told by [`threshold_met`], whoever tells it.
pub fn threshold_met_id(batch_id: &Id, authorizer: &Id) -> String {
    format!("{}/threshold-met/{}", batch_path(batch_id), encode_opaque(authorizer.as_str()))
}

/// A Fynapse event. Its payload travels as it was received where EventBridge takes it, and by reference alone where
/// it does not, or with `by_reference`.
pub fn extracted(cause: &Effect<'_>, payload: &[u8], by_reference: bool) -> Announcement {
    let id = cause.key.event_id();
    let announcement = |data| {
        let detail = BalanceExtracted {
            id: &id,
            cause: cause_of(cause, &id),
            event_type: cause.event_type,
            dataref: dataref(&id),
            data,
        };
        Announcement::of(id.clone(), cause, &detail)
    };
    let data = if by_reference { None } else { fits::as_data(payload) };
    let whole = data.map(|data| announcement(Some(data))).filter(|whole| whole.bytes() <= BUS_MAX_BYTES);
    whole.unwrap_or_else(|| announcement(None))
}

fn cause_of<'a>(cause: &Effect<'a>, event_id: &'a str) -> Cause<'a> {
    Cause {
        event_id,
        origin: cause.origin.as_str(),
        received_at: cause.received_at.rfc3339(),
        replay: (cause.replay > 0).then_some(cause.replay),
    }
}

#[cfg(test)]
mod tests;
