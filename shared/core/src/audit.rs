//! The trace that an operator leaves on what he changed.

use std::time::Duration;

use crate::limits::QUEUE_RETENTION_DAYS;
use crate::time::UnixMillis;

/// What an operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Had quarantined bytes read again, or a done event sent again.
    Replay,
    /// Put an event that was given up on its way again.
    Requeue,
    /// Moved its dead message back to the queue.
    Redrive,
    /// Concluded a submission as one that made nothing.
    Conclude,
    /// Declared the message of a sent event lost: it is sent again.
    DeclareLost,
    /// Closed an item of quarantine, for good.
    Discard,
}

impl OperatorAction {
    /// Everything that can be done.
    const ALL: [Self; 6] =
        [Self::Replay, Self::Requeue, Self::Redrive, Self::Conclude, Self::DeclareLost, Self::Discard];

    /// The name used in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Requeue => "requeue",
            Self::Redrive => "redrive",
            Self::Conclude => "conclude",
            Self::DeclareLost => "declare_lost",
            Self::Discard => "discard",
        }
    }

    /// The deed of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// Who did what, when, and why: as it was given, not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub operator: String,
    /// What.
    pub action: OperatorAction,
    /// Why.
    pub reason: String,
}

/// Who asks for something to be changed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Operator {
    /// The trace of what he does now.
    pub fn audit_entry(&self, action: OperatorAction, now: UnixMillis) -> AuditEntry {
        AuditEntry { at: now, operator: self.name.clone(), action, reason: self.reason.clone() }
    }
}

/// The time until which the queues may hold the message of an event: they keep it for [`QUEUE_RETENTION_DAYS`], as a
/// dead letter, too, from when it was sent last. An operator who moves it back sends it anew.
pub fn message_expiry(sent_at: UnixMillis, entries: &[AuditEntry]) -> UnixMillis {
    let redrives = entries.iter().filter(|it| it.action == OperatorAction::Redrive).map(|it| it.at);
    redrives.fold(sent_at, UnixMillis::max).plus(Duration::from_secs(QUEUE_RETENTION_DAYS * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_parses_from_its_name() {
        for action in OperatorAction::ALL {
            assert_eq!(OperatorAction::from_name(action.as_str()), Some(action));
        }
        assert_eq!(OperatorAction::from_name("undo"), None);
    }

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
