//! What each write to a submission's item comes to: whether it is applied. [`crate::write_protocol::conformance`] holds
//! this to the code.

use super::{Item, Mutant};

impl Item {
    /// A caller writes it, unless one stands that is not the `free` one that he has seen.
    pub(crate) fn begin(&mut self, call: u8, request: u8, free: Self) -> bool {
        // The attempt before was applied.
        if self.call == call {
            return true;
        }
        let is_free = self.call == 0 || (*self == free && self.refused);
        if is_free {
            *self = Self { call, request, rev: 1, attempts: 1, due: true, refused: false, made: 0 };
        }
        is_free
    }

    /// A caller sets out to post it once more.
    pub(crate) fn set_out(&mut self, seen: Self) -> bool {
        let holds = self.call == seen.call && self.rev == seen.rev && self.due;
        if holds {
            (self.rev, self.attempts) = (self.rev + 1, self.attempts + 1);
        }
        holds
    }

    /// A caller, whom Rightfoot has refused, or an operator frees the name.
    pub(crate) fn free(&mut self, seen: Self, mutant: Option<Mutant>) -> bool {
        let holds = self.is_seen(seen, mutant == Some(Mutant::FreedWithoutCall)) && self.due;
        if holds {
            *self = Self { rev: self.rev + 1, refused: true, due: false, ..*self };
        }
        holds
    }

    /// A caller writes down what it made.
    pub(crate) fn conclude(&mut self, seen: Self, batch: u8, mutant: Option<Mutant>) -> bool {
        let holds = self.is_seen(seen, mutant == Some(Mutant::ConcludedWithoutCall));
        if holds {
            *self = Self { rev: self.rev + 1, made: batch, due: false, refused: false, ..*self };
        }
        holds
    }

    /// The poller puts it off: nobody knows yet what became of it.
    pub(crate) fn put_off(&mut self) -> bool {
        self.rev += u8::from(self.due);
        self.due
    }

    /// Whether somebody has read this very item, or, in a mutant, one of another call with the same `rev`.
    fn is_seen(&self, seen: Self, whichever_call: bool) -> bool {
        self.rev == seen.rev && (whichever_call || self.call == seen.call) && self.call != 0
    }
}
