//! The state of an event, derived from its record and never stored.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::time::UnixMillis;

/// The time stamps and counters in an event's record from which its state follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// The time from which it has to be enqueued; `None` once it is on the queue.
    pub due_at: Option<UnixMillis>,
    /// The time at which it was put on the queue.
    pub sent_at: Option<UnixMillis>,
    /// The end of a worker's claim.
    pub claim_until: Option<UnixMillis>,
    /// The time at which its effect was complete.
    pub done_at: Option<UnixMillis>,
    /// The time at which it was quarantined.
    pub quarantined_at: Option<UnixMillis>,
    /// The number of times that a worker has requeued it.
    pub requeues: u64,
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EventState {
    /// Recorded, and not known to be on the queue.
    Recorded,
    /// On the queue.
    Sent,
    /// A worker is processing it.
    Claimed,
    /// Requeued by a worker; it will be sent to the queue again.
    Waiting,
    /// Its effect has happened.
    Done,
    /// Quarantined; an operator has to decide.
    Quarantined,
}

impl EventState {
    /// Every state, in the order in which an event passes through them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl Lifecycle {
    /// The event's state at `now`.
    pub fn state(&self, now: UnixMillis) -> EventState {
        // The order counts: a record may hold the time stamps of several states.
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
}
