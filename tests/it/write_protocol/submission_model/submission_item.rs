//! What each write to a submission's item comes to: whether it is applied. [`crate::write_protocol::conformance`] holds
//! this to the code.

use super::{SubmissionItem, SubmissionMutant};

impl SubmissionItem {
    /// A caller writes it, unless one stands that is not the `free` one that he has seen.
    pub(crate) fn begin(&mut self, call: u8, request: u8, free: Self) -> bool {
        // The attempt before was applied.
        if self.call == call {
            return true;
        }
        let is_free = self.call == 0 || (*self == free && self.declined);
        if is_free {
            *self = Self { call, request, rev: 1, attempts: 1, due: true, declined: false, batch: 0 };
        }
        is_free
    }

    /// A caller sets out to post it once more.
    pub(crate) fn begin_retry(&mut self, seen: Self) -> bool {
        let holds = self.call == seen.call && self.rev == seen.rev && self.due;
        if holds {
            (self.rev, self.attempts) = (self.rev + 1, self.attempts + 1);
        }
        holds
    }

    /// A caller, whom Rightfoot has refused, or an operator frees the name.
    pub(crate) fn release(&mut self, seen: Self, mutant: Option<SubmissionMutant>) -> bool {
        let holds =
            self.matches_seen(seen, mutant == Some(SubmissionMutant::ReleasedWithoutCall)) && self.due;
        if holds {
            *self = Self { rev: self.rev + 1, declined: true, due: false, ..*self };
        }
        holds
    }

    /// A caller writes down what it made.
    pub(crate) fn complete(&mut self, seen: Self, batch: u8, mutant: Option<SubmissionMutant>) -> bool {
        let holds = self.matches_seen(seen, mutant == Some(SubmissionMutant::CompletedWithoutCall));
        if holds {
            *self = Self { rev: self.rev + 1, batch, due: false, declined: false, ..*self };
        }
        holds
    }

    /// The poller puts it off: nobody knows yet what became of it.
    pub(crate) fn defer(&mut self) -> bool {
        self.rev += u8::from(self.due);
        self.due
    }

    /// Whether somebody has read this very item, or, in a mutant, one of another call with the same `rev`.
    fn matches_seen(&self, seen: Self, whichever_call: bool) -> bool {
        self.rev == seen.rev && (whichever_call || self.call == seen.call) && self.call != 0
    }
}
