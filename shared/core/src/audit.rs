//! The audit trail of operators' actions.

use std::fmt;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::event::EventKey;
use crate::id::Id;
use crate::limits::QUEUE_RETENTION_DAYS;
use crate::quarantine::QuarantineId;
use crate::subject::Subject;
use crate::time::UnixMillis;

/// An action of an operator on an event, quarantined item, batch, schedule, submission or missed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OperatorAction {
    /// Had quarantined bytes parsed again, or a finished event sent again.
    Replay,
    /// Made a quarantined event due again.
    Requeue,
    /// Moved the event's dead letter back to the queue.
    Redrive,
    /// Concluded a submission that created nothing.
    Conclude,
    /// Declared the message of a sent event lost, so that it is sent again.
    DeclareLost,
    /// Closed a quarantined item for good.
    Discard,
    /// Ended the tracking of a schedule.
    Untrack,
    /// Changed a tracked schedule.
    Update,
    /// Started the tracking of a batch.
    Track,
    /// Erased what is stored of a person.
    Erase,
    /// Declared that nothing is left to do about a missed delivery.
    Resolve,
}

impl OperatorAction {
    /// The name used in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Every action.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The action with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// An entry of the audit trail. Operator and reason are as given, not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The time of the action.
    pub at: UnixMillis,
    /// The operator's name.
    pub operator: String,
    /// The action.
    pub action: OperatorAction,
    /// The operator's reason.
    pub reason: String,
}

/// What an audit entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSubject {
    /// An event.
    Event(EventKey),
    /// A quarantined item.
    Quarantined(QuarantineId),
    /// A batch.
    Batch(Id),
    /// A schedule.
    Schedule(Id),
    /// A submission.
    Submission(Subject),
    /// A person, who is not named: only the number of items that hold the id, and the number of those that are to be erased.
    Person {
        /// Number of items that hold the person's id.
        found: usize,
        /// Number of those that are to be erased.
        to_erase: usize,
    },
    /// A missed delivery of Fynapse's, by what identifies it.
    MissedDelivery(Id),
}

/// Writes the subject as commands take it.
impl fmt::Display for AuditSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(key) => write!(f, "event {key}"),
            Self::Quarantined(id) => write!(f, "quarantine {id}"),
            Self::Batch(id) => write!(f, "batch {}", id.as_str()),
            Self::Schedule(id) => write!(f, "schedule {}", id.as_str()),
            Self::Submission(id) => write!(f, "submission {id}"),
            Self::Person { found, to_erase } => write!(f, "person ({to_erase} of {found} items)"),
            Self::MissedDelivery(id) => write!(f, "missed-delivery {}", id.as_str()),
        }
    }
}

/// The person who asks for a change, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The operator's name, as given.
    pub name: String,
    /// The reason, as given.
    pub reason: String,
}

impl Operator {
    /// The audit entry for an action at `now`.
    pub fn audit_entry(&self, action: OperatorAction, now: UnixMillis) -> AuditEntry {
        AuditEntry { at: now, operator: self.name.clone(), action, reason: self.reason.clone() }
    }
}

/// The time until which the queues may hold an event's message. They keep it for [`QUEUE_RETENTION_DAYS`]
/// after the last send, also as a dead letter. A redrive sends it anew.
pub fn message_expiry(sent_at: UnixMillis, entries: &[AuditEntry]) -> UnixMillis {
    let redrives = entries.iter().filter(|it| it.action == OperatorAction::Redrive).map(|it| it.at);
    redrives.fold(sent_at, UnixMillis::max).plus(Duration::from_secs(QUEUE_RETENTION_DAYS * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_expire_14_days_after_their_last_send() {
        let operator = Operator { name: "ada".to_owned(), reason: "mended".to_owned() };
        let fortnight = 14 * 86_400_000;
        assert_eq!(message_expiry(UnixMillis(5), &[]), UnixMillis(5 + fortnight));
        let entry = |action, at| operator.audit_entry(action, UnixMillis(at));
        let entries = [entry(OperatorAction::Redrive, 70), entry(OperatorAction::Replay, 90)];
        assert_eq!(message_expiry(UnixMillis(5), &entries), UnixMillis(70 + fortnight));
        assert_eq!(message_expiry(UnixMillis(80), &entries), UnixMillis(80 + fortnight));
    }
}
