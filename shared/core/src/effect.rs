//! The effect of an event: confirmation by the provider's API, and the time of the next attempt.
//!
//! A webhook is only a hint. It has an effect only as far as the provider's API confirms it: [`admission`] decides whether the
//! API is asked at all, [`batch_snapshot`] when a batch is complete, [`alert`] which balances met their threshold,
//! [`tracking_wait`] how long an alert waits for its batch, [`pending_alerts`] how an event with alerts ends.
//! [`crate::bus`] builds the events.

pub mod admission;
pub mod alert;
pub mod batch_snapshot;
pub mod pending_alerts;
pub mod tracking_wait;

use std::time::Duration;

use crate::effect::batch_snapshot::PreviousSnapshot;
use crate::limits::{REQUEUE_DELAY_MAX_SECS, REQUEUE_DELAY_SECS};
use crate::quarantine::QuarantineReason;
use crate::table_keys::short_hash;
use crate::time::UnixMillis;

/// The outcome of processing an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectOutcome {
    /// The effect has happened.
    Done(Publication),
    /// The effect cannot happen yet.
    Requeue(RequeueDetails),
    /// The effect cannot happen unless an operator acts.
    Quarantine(QuarantineReason),
}

/// What an effect has published, as far as the event's record keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The number of results in a completion, or of alerts on the bus, by whichever event they came there. `None` for an
    /// extract, which is always one event.
    pub count: Option<u64>,
    /// True if the batch was not tracked, so that its results may not have been all.
    pub is_of_untracked_batch: bool,
}

/// Details of a requeue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequeueDetails {
    /// The reason, for logs, metrics and the record.
    pub reason: &'static str,
    /// Time until Rightfoot may be called again, if it has said so.
    pub retry_after: Option<Duration>,
    /// Snapshot of an untracked batch, to be compared with the next one.
    pub snapshot: Option<PreviousSnapshot>,
    /// The number of results of its batch, if that was read to its end.
    pub results_found: Option<u64>,
}

impl RequeueDetails {
    /// A requeue for this reason, with the usual pause.
    pub fn with_reason(reason: &'static str) -> Self {
        Self { reason, ..Self::default() }
    }
}

impl EffectOutcome {
    /// The names of the outcome and, if it has one, of its reason, for logs.
    pub fn name_and_reason(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Done(_) => ("done", None),
            Self::Requeue(later) => ("requeued", Some(later.reason)),
            Self::Quarantine(reason) => ("quarantined", Some(reason.as_str())),
        }
    }
}

/// The time of the next attempt at an event that was requeued `requeues` times before: after a minute,
/// doubling up to a quarter of an hour, and not before `retry_after`.
pub fn next_attempt_at(now: UnixMillis, requeues: u64, retry_after: Option<Duration>) -> UnixMillis {
    // The cap keeps the shift from overflowing; the longest delay is reached far below it.
    let doublings = u32::try_from(requeues.min(20)).unwrap_or(20);
    let pause_secs = REQUEUE_DELAY_SECS.saturating_mul(1 << doublings).min(REQUEUE_DELAY_MAX_SECS);
    let pause = Duration::from_secs(pause_secs);
    now.plus(retry_after.map_or(pause, |requested| requested.max(pause)))
}

/// The mark that one replay of one event leaves on an alert that it publishes: 22 characters, so that a set
/// of [`crate::limits::ALERT_PUBLISHERS_MAX`] fits into an item many times over.
pub fn publisher_tag(event_id: &str, replay: u64) -> String {
    short_hash(&format!("{replay}#{event_id}"))
}

/// The mark that a bulk replay leaves on an alert that one of its events publishes.
pub fn bulk_publisher_tag(bulk_id: &str) -> String {
    short_hash(&format!("bulk#{bulk_id}"))
}

/// The meaning of a row's status code (shared/providers/rightfoot.md, "Status codes"). `unknown` for an undocumented one: there may be
/// more.
pub const fn status_code_name(status_code: i64) -> &'static str {
    match status_code {
        0 => "success",
        2560 => "invalid_phone_number",
        3000 => "no_tax_id_match",
        3001 => "no_ssn_match",
        3100 => "no_date_of_birth_match",
        3200 => "account_closed",
        3300 => "institution_not_supported",
        3310 => "institution_in_testing",
        3400 => "no_match",
        9000 => "other_error",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requeued_events_back_off_from_one_minute() {
        let secs = |requeues| next_attempt_at(UnixMillis(0), requeues, None).0 / 1_000;
        assert_eq!([0, 1, 2, 3, 4, 5, u64::MAX].map(secs), [60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn a_publishers_tag_is_short_and_another_one_for_each_replay_of_each_event() {
        // printf '1#fynapse/event/e-1' | sha256sum | head -c 32 | xxd -r -p | basenc --base64url
        assert_eq!(publisher_tag("fynapse/event/e-1", 1), "s4oKq6TfMkR07UJJ7KoH9A");
        assert_ne!(publisher_tag("fynapse/event/e-1", 1), publisher_tag("fynapse/event/e-1", 2));
        assert_ne!(publisher_tag("fynapse/event/e-1", 1), publisher_tag("fynapse/event/e-2", 1));
        // printf 'bulk#b-1' | sha256sum | head -c 32 | xxd -r -p | basenc --base64url
        assert_eq!(bulk_publisher_tag("b-1"), "-nT66hPk2lhfAyzgA_lsaQ");
    }

    proptest! {
        #[test]
        fn the_next_attempt_respects_retry_after(requeues in any::<u64>(), asked_for_secs in 0u64..1_000_000) {
            let asked_for = Duration::from_secs(asked_for_secs);
            let pause = next_attempt_at(UnixMillis(5), requeues, Some(asked_for)).since(UnixMillis(5));
            prop_assert!(pause >= asked_for && pause >= next_attempt_at(UnixMillis(5), requeues, None).since(UnixMillis(5)));
        }
    }
}
