//! The items of the table `inbox`: one type for each kind, with its attributes in both directions.
//!
//! | type | key | written by |
//! |---|---|---|
//! | [`EventRecord`] | `fynapse#event#…`, `rightfoot#batch#…` / `event`, `completed`, `alert#…` | [`crate::stores::EventStore`] and all that process events |
//! | [`BatchItem`] | `rightfoot#batch#…` / `tracked` | [`crate::stores::Submissions`], [`crate::stores::PollStore`] |
//! | [`ScheduleItem`] | `rightfoot#schedule#…` / `tracked` | the same |
//! | [`AlertEffectItem`] | `rightfoot#batch#…` / `effect#alert#…` | [`crate::stores::Processing`] |
//! | [`SubmissionItem`] | `rightfoot#submission#…` / `submitted` | [`crate::stores::Submissions`] |
//! | [`QuarantinedItem`] | `quarantine#…` / `delivery` | [`crate::stores::Quarantine`] |
//! | [`StoredPayload`] | `payload#…` / `part` | whoever stores a large payload |
//!
//! A subject has two more items without a type of their own, because they are only updated: `bound`
//! (`stores/bound_subjects.rs`) and `open#<day>` (`stores/processing/untracked_slots.rs`).

use strum::IntoEnumIterator;

use crate::table::attribute::Attribute;

mod alert_effect;
mod audit;
mod batch;
pub(crate) mod event_record;
mod past_cycle;
pub(crate) mod payload;
mod poll_problem;
mod quarantined;
mod schedule;
pub(crate) mod submission;
pub(crate) mod tracking_state;

pub use alert_effect::AlertEffectItem;
pub use batch::BatchItem;
pub use event_record::EventRecord;
pub use past_cycle::PastCycle;
pub use payload::StoredPayload;
pub use quarantined::QuarantinedItem;
pub use schedule::ScheduleItem;
pub use submission::SubmissionItem;
pub use tracking_state::TrackingState;

/// The names of all attributes that items can have.
pub fn attribute_names() -> impl Iterator<Item = &'static str> {
    Attribute::iter().map(Attribute::name)
}
