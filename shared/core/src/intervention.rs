//! The trace that an operator leaves on what he changed.

use std::time::Duration;

use crate::limits::QUEUE_RETENTION_DAYS;
use crate::time::UnixMillis;

/// What an operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
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

impl Did {
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
        Self::ALL.into_iter().find(|did| did.as_str() == name)
    }
}

/// Who did what, when, and why: as it was given, not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervention {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub by: String,
    /// What.
    pub did: Did,
    /// Why.
    pub why: String,
}

/// Who asks for something to be changed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Operator {
    /// The trace of what he does now.
    pub fn did(&self, did: Did, now: UnixMillis) -> Intervention {
        Intervention { at: now, by: self.by.clone(), did, why: self.why.clone() }
    }
}

/// The time until which the queues may hold the message of an event: they keep it for [`QUEUE_RETENTION_DAYS`], as a
/// dead letter, too, from when it was sent last. An operator who moves it back sends it anew.
pub fn message_expiry(sent_at: UnixMillis, interventions: &[Intervention]) -> UnixMillis {
    let redrives = interventions.iter().filter(|it| it.did == Did::Redrive).map(|it| it.at);
    redrives.fold(sent_at, UnixMillis::max).plus(Duration::from_secs(QUEUE_RETENTION_DAYS * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_is_known_by_its_name() {
        for did in Did::ALL {
            assert_eq!(Did::from_name(did.as_str()), Some(did));
        }
        assert_eq!(Did::from_name("undo"), None);
    }

    #[test]
    fn a_message_lasts_for_a_fortnight_from_its_last_sending() {
        let operator = Operator { by: "ada".to_owned(), why: "mended".to_owned() };
        let fortnight = 14 * 86_400_000;
        assert_eq!(message_expiry(UnixMillis(5), &[]), UnixMillis(5 + fortnight));
        let did = |did, at| operator.did(did, UnixMillis(at));
        let moved = [did(Did::Redrive, 70), did(Did::Replay, 90)];
        assert_eq!(message_expiry(UnixMillis(5), &moved), UnixMillis(70 + fortnight));
        assert_eq!(message_expiry(UnixMillis(80), &moved), UnixMillis(80 + fortnight));
    }
}
