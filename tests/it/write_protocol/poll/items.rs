//! What each write to one item comes to: whether it is applied. [`crate::write_protocol::conformance`] holds this to
//! the code.

use super::{Record, Then, Tracked};

impl Tracked {
    /// A poller puts the batch off, before it asks.
    pub(crate) fn put_off(&mut self, rev: u8) -> bool {
        let holds = self.rev == rev && self.due;
        if holds {
            (self.rev, self.is_now) = (rev + 1, false);
        }
        holds
    }

    /// A poller ends or moves it.
    pub(crate) fn end(&mut self, rev: u8, then: Then) -> bool {
        let holds = self.rev == rev && self.due;
        if holds && then != Then::AsPlanned {
            (self.rev, self.is_now) = (rev + 1, false);
            self.shown |= then == Then::AlertsLater;
            (self.done, self.overdue) = (then == Then::Done, then == Then::Overdue);
            self.due = !self.done && !self.overdue;
        }
        holds
    }
}

impl Record {
    /// The worker gives it up.
    pub(crate) fn give_up(&mut self) -> bool {
        *self = match *self {
            Self::Stands => Self::GivenUp,
            Self::GivenBack => Self::GivenUpAgain,
            Self::None | Self::GivenUp | Self::GivenUpAgain => return false,
        };
        true
    }

    /// The poller gives it back: once.
    pub(crate) fn give_back(&mut self) -> bool {
        let holds = *self == Self::GivenUp;
        if holds {
            *self = Self::GivenBack;
        }
        holds
    }
}
