//! The status of an event, batch or submission in its timeline, and who takes the next step.

use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

use crate::audit::{AuditEntry, message_expiry};
use crate::lifecycle::{EventState, Lifecycle};
use crate::time::UnixMillis;

/// The status of an event: its state, and for a sent one, whether its message still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStatus {
    /// Not known to be on the queue; the relay sends it.
    AwaitsRelay,
    /// On the queue; the worker receives it.
    AwaitsWorker,
    /// Sent, and dropped by the queues at the end of their retention; an operator has to replay it.
    MessageExpired,
    /// A worker is processing it.
    Claimed,
    /// Requeued by a worker; the relay sends it again.
    Requeued,
    /// Its effect has happened.
    Done,
    /// Quarantined; an operator has to decide.
    Quarantined,
}

impl EventStatus {
    /// The status at `now` of an event with these times and audit entries.
    pub fn of(lifecycle: &Lifecycle, audit_entries: &[AuditEntry], now: UnixMillis) -> Self {
        let is_expired = |sent_at| message_expiry(sent_at, audit_entries) <= now;
        match lifecycle.state(now) {
            EventState::Recorded => Self::AwaitsRelay,
            EventState::Sent if lifecycle.sent_at.is_some_and(is_expired) => Self::MessageExpired,
            EventState::Sent => Self::AwaitsWorker,
            EventState::Claimed => Self::Claimed,
            EventState::Waiting => Self::Requeued,
            EventState::Done => Self::Done,
            EventState::Quarantined => Self::Quarantined,
        }
    }
}

/// The status of a batch that is or was tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BatchStatus {
    /// Not complete; the poller asks for it again.
    Tracked,
    /// Polled no more: complete, by a webhook that is taken as confirmation or by an answer of the API.
    Settled,
    /// Polled no more: incomplete when the API answered past its deadline.
    Overdue,
}

impl BatchStatus {
    /// The status of a batch that was settled and became overdue at these times.
    pub const fn of(settled_at: Option<UnixMillis>, overdue_at: Option<UnixMillis>) -> Self {
        match (overdue_at, settled_at) {
            (Some(_), _) => Self::Overdue,
            (None, Some(_)) => Self::Settled,
            (None, None) => Self::Tracked,
        }
    }

    /// Every status.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The attributes of a submission from which its status follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmissionOutcome {
    /// The time of the next alarm about its unknown outcome.
    pub due_at: Option<UnixMillis>,
    /// The time at which Rightfoot declined it, or an operator released it.
    pub declined_at: Option<UnixMillis>,
    /// True if it created a batch or schedule.
    pub has_created: bool,
    /// The time at which it was abandoned.
    pub abandoned_at: Option<UnixMillis>,
}

/// The status of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(SubmissionState),
    derive(IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case"),
    doc = "The status of a submission, without its times."
)]
pub enum SubmissionStatus {
    /// Its outcome is unknown: the sender has to repeat the request, and an alarm is raised at this time.
    Unknown {
        /// The time of the alarm.
        alarm_at: UnixMillis,
    },
    /// It created nothing, and its name is free.
    CreatedNothing,
    /// It created a batch or schedule.
    Created,
    /// It is unknown whether it created anything, and nobody asks any more.
    Abandoned,
    /// Nothing is left to do.
    Concluded,
}

impl SubmissionState {
    /// Every state.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl SubmissionOutcome {
    /// The status that follows.
    pub fn status(&self) -> SubmissionStatus {
        // The order counts: an item may hold the attributes of several.
        match self {
            Self { due_at: Some(alarm_at), .. } => SubmissionStatus::Unknown { alarm_at: *alarm_at },
            Self { declined_at: Some(_), .. } => SubmissionStatus::CreatedNothing,
            Self { has_created: true, .. } => SubmissionStatus::Created,
            Self { abandoned_at: Some(_), .. } => SubmissionStatus::Abandoned,
            Self { .. } => SubmissionStatus::Concluded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::audit::{Operator, OperatorAction};
    use crate::limits::QUEUE_RETENTION_DAYS;

    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    fn days_ago(days: u64) -> UnixMillis {
        NOW.minus(std::time::Duration::from_secs(days * 86_400))
    }

    #[test]
    fn an_event_waits_for_the_relay_the_worker_or_an_operator() {
        let due = Lifecycle { due_at: Some(NOW), ..Lifecycle::default() };
        let sent = Lifecycle { sent_at: Some(days_ago(1)), ..Lifecycle::default() };
        for (lifecycle, status) in [
            (due, EventStatus::AwaitsRelay),
            (Lifecycle { requeues: 1, ..due }, EventStatus::Requeued),
            (sent, EventStatus::AwaitsWorker),
            (Lifecycle { claim_until: Some(UnixMillis(NOW.0 + 1)), ..sent }, EventStatus::Claimed),
            (Lifecycle { done_at: Some(NOW), ..sent }, EventStatus::Done),
            (Lifecycle { quarantined_at: Some(NOW), ..sent }, EventStatus::Quarantined),
        ] {
            assert_eq!(EventStatus::of(&lifecycle, &[], NOW), status, "{lifecycle:?}");
        }
    }

    #[test]
    fn a_message_expires_with_the_retention_of_the_queues_unless_it_was_redriven() {
        let sent_at = |at| Lifecycle { sent_at: Some(at), ..Lifecycle::default() };
        let old = sent_at(days_ago(QUEUE_RETENTION_DAYS));
        assert_eq!(EventStatus::of(&old, &[], NOW), EventStatus::MessageExpired);
        let younger = sent_at(UnixMillis(days_ago(QUEUE_RETENTION_DAYS).0 + 1));
        assert_eq!(EventStatus::of(&younger, &[], NOW), EventStatus::AwaitsWorker);
        let operator = Operator { name: "ada".to_owned(), reason: "outage".to_owned() };
        let redrive = operator.audit_entry(OperatorAction::Redrive, days_ago(1));
        assert_eq!(EventStatus::of(&old, &[redrive], NOW), EventStatus::AwaitsWorker);
        let done = Lifecycle { done_at: Some(days_ago(9)), ..old };
        assert_eq!(EventStatus::of(&done, &[], NOW), EventStatus::Done, "a done event needs no message");
    }

    #[test]
    fn a_batch_is_overdue_rather_than_settled() {
        assert_eq!(BatchStatus::of(None, None), BatchStatus::Tracked);
        assert_eq!(BatchStatus::of(Some(NOW), None), BatchStatus::Settled);
        assert_eq!(BatchStatus::of(None, Some(NOW)), BatchStatus::Overdue);
        assert_eq!(BatchStatus::of(Some(NOW), Some(NOW)), BatchStatus::Overdue);
    }

    #[test]
    fn the_outcome_of_a_submission_is_unknown_while_it_is_due() {
        let concluded = SubmissionOutcome::default();
        let abandoned = SubmissionOutcome { abandoned_at: Some(NOW), ..concluded };
        let created = SubmissionOutcome { has_created: true, ..abandoned };
        let declined = SubmissionOutcome { declined_at: Some(NOW), ..created };
        let due = SubmissionOutcome { due_at: Some(NOW), ..declined };
        assert_eq!(
            [concluded, abandoned, created, declined, due].map(|it| it.status()),
            [
                SubmissionStatus::Concluded,
                SubmissionStatus::Abandoned,
                SubmissionStatus::Created,
                SubmissionStatus::CreatedNothing,
                SubmissionStatus::Unknown { alarm_at: NOW },
            ]
        );
    }
}
