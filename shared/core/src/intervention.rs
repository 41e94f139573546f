//! The trace that an operator leaves on what he changed.

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
}

impl Did {
    /// The name used in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Requeue => "requeue",
            Self::Redrive => "redrive",
            Self::Conclude => "conclude",
        }
    }

    /// The deed of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Replay, Self::Requeue, Self::Redrive, Self::Conclude];
        all.into_iter().find(|did| did.as_str() == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_is_known_by_its_name() {
        for did in [Did::Replay, Did::Requeue, Did::Redrive, Did::Conclude] {
            assert_eq!(Did::from_name(did.as_str()), Some(did));
        }
        assert_eq!(Did::from_name("undo"), None);
    }
}
