//! How far an event has come: derived from what its record says, never stored.

use crate::time::UnixMillis;

/// What a record says of its event's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// While it still has to be put on the queue: from when on.
    pub due_at: Option<UnixMillis>,
    /// When it was put on the queue.
    pub sent_at: Option<UnixMillis>,
    /// Until when a worker has claimed it.
    pub claim_until: Option<UnixMillis>,
    /// When its effect had happened.
    pub done_at: Option<UnixMillis>,
    /// When it was given up.
    pub quarantined_at: Option<UnixMillis>,
    /// How often a worker has put it back.
    pub requeues: u64,
}

/// How far an event has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventState {
    /// Recorded, and not known to be on the queue.
    Recorded,
    /// On the queue.
    Sent,
    /// A worker is at it.
    Claimed,
    /// A worker has put it back: it will be on the queue again.
    Waiting,
    /// Its effect has happened.
    Done,
    /// Given up; an operator has to look at it.
    Quarantined,
}

impl EventState {
    /// Every state there is, in the order in which an event goes through them.
    pub const ALL: [Self; 6] =
        [Self::Recorded, Self::Sent, Self::Claimed, Self::Waiting, Self::Done, Self::Quarantined];

    /// The name used by operators.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Sent => "sent",
            Self::Claimed => "claimed",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl Lifecycle {
    /// The state that these facts amount to.
    pub fn state(&self, now: UnixMillis) -> EventState {
        match self {
            Self { done_at: Some(_), .. } => EventState::Done,
            Self { quarantined_at: Some(_), .. } => EventState::Quarantined,
            Self { claim_until: Some(until), .. } if *until > now => EventState::Claimed,
            Self { due_at: Some(_), requeues: 1.., .. } => EventState::Waiting,
            Self { due_at: None, sent_at: Some(_), .. } => EventState::Sent,
            Self { .. } => EventState::Recorded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    #[test]
    fn the_state_follows_from_the_lifecycle() {
        let (past, future) = (Some(UnixMillis(900)), Some(UnixMillis(1_100)));
        let new = Lifecycle { due_at: future, ..Lifecycle::default() };
        let sent = Lifecycle { sent_at: past, ..Lifecycle::default() };
        let state = |lifecycle: Lifecycle| lifecycle.state(NOW);
        assert_eq!(state(new), EventState::Recorded);
        assert_eq!(state(sent), EventState::Sent);
        assert_eq!(state(Lifecycle { claim_until: future, ..sent }), EventState::Claimed);
        assert_eq!(state(Lifecycle { claim_until: past, ..sent }), EventState::Sent, "its worker has died");
        assert_eq!(state(Lifecycle { claim_until: future, ..new }), EventState::Claimed, "the mark was lost");
        assert_eq!(state(Lifecycle { requeues: 1, ..new }), EventState::Waiting);
        assert_eq!(state(Lifecycle { requeues: 1, ..sent }), EventState::Sent, "on the queue again");
        assert_eq!(state(Lifecycle { done_at: past, ..sent }), EventState::Done);
        assert_eq!(state(Lifecycle { quarantined_at: past, ..sent }), EventState::Quarantined);
    }

    #[test]
    fn every_state_parses_from_its_name() {
        for state in EventState::ALL {
            assert_eq!(EventState::from_name(state.as_str()), Some(state));
        }
        assert_eq!(EventState::from_name("lost"), None);
    }
}
