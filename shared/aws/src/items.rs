//! The items of the table `inbox`: one type for each kind, with its attributes in both directions.
//!
//! | type | key | written by |
//! |---|---|---|
//! | [`EventRecord`] | `fynapse#event#…`, `rightfoot#batch#…` / `event`, `completed`, `alert#…` | [`crate::stores::EventStore`] and all that process events |
//! | [`BatchItem`] | `rightfoot#batch#…` / `tracked` | [`crate::stores::Submissions`], [`crate::stores::PollStore`] |
//! | [`ScheduleItem`] | `rightfoot#schedule#…` / `tracked` | the same |
//! | [`AlertEffectItem`] | `rightfoot#batch#…` / `effect#alert#…` | [`crate::stores::Processing`] |
//! | [`SubmissionItem`] | `rightfoot#submission#…` / `submitted` | [`crate::stores::Submissions`] |
//! | [`DeliveryCheckItem`] | `fynapse#subscription#…` / `check` | [`crate::stores::DeliveryChecks`] |
//! | [`MissedDeliveryItem`] | `fynapse#delivery#…` / `missed` | the same |
//! | [`QuarantinedItem`] | `quarantine#…` / `delivery` | [`crate::stores::Quarantine`] |
//! | [`StoredPayload`] | `payload#…` / `part` | whoever stores a large payload |
//!
//! A subject has two more items without a type of their own, because they are only updated: `bound`
//! (`stores/bound_subjects.rs`) and `open#<day>` (`stores/processing/untracked_slots.rs`). So is a batch's item `effect#erased#<hash>`
//! (`stores/personal_data.rs`).
//!
//! [`BalanceItem`] is the item of the other table, `balances`.

use strum::IntoEnumIterator;

use crate::table::attribute::Attribute;

mod alert_effect;
mod audit;
mod balance;
mod batch;
mod bulk_replay;
mod delivery_check;
pub(crate) mod event_record;
mod missed_delivery;
mod past_cycle;
pub(crate) mod payload;
mod poll_note;
mod quarantined;
mod schedule;
pub(crate) mod submission;
pub(crate) mod tracking_state;

pub use alert_effect::AlertEffectItem;
pub use audit::AuditItem;
pub use balance::BalanceItem;
pub use batch::BatchItem;
pub use bulk_replay::BulkReplay;
pub use delivery_check::{CheckProgress, DeliveryCheckItem};
pub use event_record::EventRecord;
pub use missed_delivery::MissedDeliveryItem;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::types::AttributeValue;
    use inbox_core::event::EventKey;
    use inbox_core::fynapse_api::finding::MissedReason;
    use inbox_core::fynapse_api::paging::PageRequest;
    use inbox_core::id::Id;
    use inbox_core::poll::batch::TrackedBatch;
    use inbox_core::poll::problem::PollProblem;
    use inbox_core::poll::schedule::TrackedSchedule;
    use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
    use inbox_core::time::UnixMillis;

    use super::*;
    use crate::table::key::Key;
    use crate::table::new_item::NewItem;
    use crate::table::value::Item;

    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    fn id(name: &str) -> Id {
        Id::new(name).unwrap()
    }

    fn stored_payload() -> StoredPayload {
        let names = AttributeValue::L(vec![AttributeValue::S("part".to_owned())]);
        let item = NewItem::at(&Key::payload_part("x"))
            .set(Attribute::PayloadHash, "hash")
            .set(Attribute::PayloadBytes, &5_000_usize)
            .set(Attribute::Parts, &names)
            .set(Attribute::PartsExpireAt, &NOW.secs())
            .build();
        StoredPayload::from_item(&item).unwrap()
    }

    /// Every attribute that is written is read back, and nothing else is written.
    fn assert_read_back<T>(written: Item, from_item: fn(&Item) -> Option<T>, to_item: fn(&T) -> Item) {
        let read = from_item(&written).unwrap();
        assert_eq!(to_item(&read), written);
    }

    #[test]
    fn a_batch_is_read_back_as_it_was_written() {
        let tracked = TrackedBatch {
            batch_id: id("b-1"),
            subject: Some("payroll".parse().unwrap()),
            schedule_id: Some(id("s-1")),
            expected: 3,
            failed_authorizers: [].into(),
            deadline: UnixMillis(7),
            polls: 2,
        };
        let batch = BatchItem {
            run_at: Some(NOW),
            excluded: Some(stored_payload()),
            ..BatchItem::new(tracked, NOW, NOW)
        };
        assert_read_back(batch.to_item(), BatchItem::from_item, BatchItem::to_item);
    }

    #[test]
    fn a_schedule_is_read_back_as_it_was_written() {
        let schedule = TrackedSchedule {
            schedule_id: id("s-1"),
            subject: None,
            probes: vec![id("user-1"), id("user-7")],
            since: NOW,
            last_run_seen: None,
            interval: Duration::from_secs(86_400),
            expires_at: UnixMillis(9),
            polls: 1,
        };
        let schedule = ScheduleItem::new(schedule, stored_payload(), NOW);
        assert_read_back(schedule.to_item(), ScheduleItem::from_item, ScheduleItem::to_item);
    }

    #[test]
    fn a_submission_is_read_back_as_it_was_written() {
        let fingerprint = Fingerprint { mac: "mac".to_owned(), key_tag: "tag".to_owned() };
        let submission = SubmissionItem::new(
            "payroll".parse().unwrap(),
            SubmissionKind::Batch,
            "https://inbox.example/x".to_owned(),
            fingerprint,
            "call".to_owned(),
            NOW,
        );
        assert_read_back(submission.to_item(), SubmissionItem::from_item, SubmissionItem::to_item);
    }

    #[test]
    fn the_state_of_a_check_is_read_back_as_it_was_written() {
        let mut state = DeliveryCheckItem::new(&id("s-1"));
        state.checked_at = Some(NOW);
        state.started_at = Some(UnixMillis(7));
        let next_page = PageRequest::Number { page: 3, first: 1 };
        state.progress = CheckProgress { next_page, failed_runs: 3, rows: 9, ..CheckProgress::default() };
        state.problem = Some(PollProblem { reason: "unavailable".to_owned(), since: NOW, first_poll: 2 });
        state.runs = 4;
        (state.ran_at, state.unreported_since) = (Some(UnixMillis(8)), Some(UnixMillis(9)));
        state.note_match(true, true, Some(UnixMillis(10)), NOW);
        assert!(state.note_absent(&id("d-1"), UnixMillis(11), UnixMillis(12)));
        assert!(state.note_reported(&id("d-2")) && !state.note_reported(&id("d-2")));
        assert_eq!((state.stored_rev(), state.next().stored_rev()), (None, Some(1)));
        assert_eq!(DeliveryCheckItem::from_item(&state.next().to_item()), Some(state.next()));
    }

    #[test]
    fn a_missed_delivery_is_read_back_as_it_was_written() {
        let missed = MissedDeliveryItem {
            reference: id("d-1"),
            reason: MissedReason::DeadLetter,
            found_at: NOW,
            event: EventKey::from_event_id("fynapse/event/e-1"),
            idempotency_key: Some(id("k-1")),
            event_type: Some("balance.extracted".to_owned()),
            created_at: Some(UnixMillis(7)),
            resolved_at: None,
            audit_entries: Vec::new(),
        };
        let to_item = |it: &MissedDeliveryItem| it.to_item(30);
        assert_eq!(MissedDeliveryItem::from_item(&to_item(&missed)), Some(missed.clone()));
        let bare = MissedDeliveryItem {
            event: None,
            idempotency_key: None,
            event_type: None,
            created_at: None,
            ..missed
        };
        assert_eq!(MissedDeliveryItem::from_item(&to_item(&bare)), Some(bare));
    }

    #[test]
    fn an_item_that_lacks_an_attribute_is_unreadable_instead_of_half_read() {
        let tracked = TrackedBatch {
            batch_id: id("b-1"),
            subject: None,
            schedule_id: None,
            expected: 1,
            failed_authorizers: [].into(),
            deadline: UnixMillis(7),
            polls: 0,
        };
        let written = BatchItem::new(tracked, NOW, NOW).to_item();
        for attribute in [Attribute::Rev, Attribute::Expected, Attribute::DeadlineAt, Attribute::Polls] {
            let mut mangled = written.clone();
            mangled.remove(attribute.name());
            assert!(BatchItem::from_item(&mangled).is_none(), "{attribute:?}");
        }
    }
}
