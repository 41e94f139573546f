//! The result of each write to a submission's item: true if it is applied. [`crate::write_protocol::conformance`]
//! compares this with the code.

use super::{SubmissionItem, SubmissionMutant};

impl SubmissionItem {
    /// A caller puts the submission, unless there is one that differs from the released one, `free`, that it has
    /// seen.
    pub(crate) fn begin(&mut self, call: u8, request: u8, free: Self) -> bool {
        // An earlier attempt of the same call was applied.
        if self.call == call {
            return true;
        }
        let is_free = self.call == 0 || (*self == free && self.declined);
        if is_free {
            *self = Self { call, request, rev: 1, attempts: 1, due: true, declined: false, batch: 0 };
        }
        is_free
    }

    /// A caller begins a retry of the POST.
    pub(crate) fn begin_retry(&mut self, seen: Self) -> bool {
        let holds = self.call == seen.call && self.rev == seen.rev && self.due;
        if holds {
            (self.rev, self.attempts) = (self.rev + 1, self.attempts + 1);
        }
        holds
    }

    /// A caller that Rightfoot rejected, or an operator, releases the name.
    pub(crate) fn release(&mut self, seen: Self, mutant: Option<SubmissionMutant>) -> bool {
        let holds =
            self.matches_seen(seen, mutant == Some(SubmissionMutant::ReleasedWithoutCall)) && self.due;
        if holds {
            *self = Self { rev: self.rev + 1, declined: true, due: false, ..*self };
        }
        holds
    }

    /// A caller stores the batch that was created.
    pub(crate) fn complete(&mut self, seen: Self, batch: u8, mutant: Option<SubmissionMutant>) -> bool {
        let holds = self.matches_seen(seen, mutant == Some(SubmissionMutant::CompletedWithoutCall));
        if holds {
            *self = Self { rev: self.rev + 1, batch, due: false, declined: false, ..*self };
        }
        holds
    }

    /// The poller defers it, while its outcome is unknown.
    pub(crate) fn defer(&mut self) -> bool {
        self.rev += u8::from(self.due);
        self.due
    }

    /// Returns `true` if the current item is the one that was seen; in a mutant, any item with the same `rev`.
    fn matches_seen(&self, seen: Self, whichever_call: bool) -> bool {
        self.rev == seen.rev && (whichever_call || self.call == seen.call) && self.call != 0
    }
}
