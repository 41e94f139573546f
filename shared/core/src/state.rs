//! How far an event has come: derived from what its record says, never stored.

use crate::time::UnixMillis;

/// What a record says of its event's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
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
    pub works: u64,
}

/// How far an event has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
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

impl State {
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

impl Facts {
    /// The state that these facts amount to.
    pub fn state(&self, now: UnixMillis) -> State {
        match self {
            Self { done_at: Some(_), .. } => State::Done,
            Self { quarantined_at: Some(_), .. } => State::Quarantined,
            Self { claim_until: Some(until), .. } if *until > now => State::Claimed,
            Self { due_at: Some(_), works: 1.., .. } => State::Waiting,
            Self { due_at: None, sent_at: Some(_), .. } => State::Sent,
            Self { .. } => State::Recorded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    #[test]
    fn a_state_is_what_the_facts_amount_to() {
        let (past, future) = (Some(UnixMillis(900)), Some(UnixMillis(1_100)));
        let new = Facts { due_at: future, ..Facts::default() };
        let sent = Facts { sent_at: past, ..Facts::default() };
        let state = |facts: Facts| facts.state(NOW);
        assert_eq!(state(new), State::Recorded);
        assert_eq!(state(sent), State::Sent);
        assert_eq!(state(Facts { claim_until: future, ..sent }), State::Claimed);
        assert_eq!(state(Facts { claim_until: past, ..sent }), State::Sent, "its worker has died");
        assert_eq!(state(Facts { claim_until: future, ..new }), State::Claimed, "the mark was lost");
        assert_eq!(state(Facts { works: 1, ..new }), State::Waiting);
        assert_eq!(state(Facts { works: 1, ..sent }), State::Sent, "on the queue again");
        assert_eq!(state(Facts { done_at: past, ..sent }), State::Done);
        assert_eq!(state(Facts { quarantined_at: past, ..sent }), State::Quarantined);
    }

    #[test]
    fn every_state_is_known_by_its_name() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.as_str()), Some(state));
        }
        assert_eq!(State::from_name("lost"), None);
    }
}
