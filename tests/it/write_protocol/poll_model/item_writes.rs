//! The result of each write to a single item: true if it is applied. [`crate::write_protocol::conformance`] compares
//! this with the code.

use super::{BatchItem, BatchUpdate, RecordState};

impl BatchItem {
    /// A poller defers the batch before it asks.
    pub(crate) fn defer(&mut self, rev: u8) -> bool {
        let holds = self.rev == rev && self.due;
        if holds {
            (self.rev, self.is_due_now) = (rev + 1, false);
        }
        holds
    }

    /// A poller ends or updates the batch.
    pub(crate) fn update(&mut self, rev: u8, then: BatchUpdate) -> bool {
        let holds = self.rev == rev && self.due;
        if holds && then != BatchUpdate::PollAsPlanned {
            (self.rev, self.is_due_now) = (rev + 1, false);
            self.shown_complete |= then == BatchUpdate::CheckAlertsAt;
            (self.done, self.overdue) = (then == BatchUpdate::Done, then == BatchUpdate::Overdue);
            self.due = !self.done && !self.overdue;
        }
        holds
    }
}

impl RecordState {
    /// The worker quarantines the record.
    pub(crate) fn quarantine(&mut self) -> bool {
        *self = match *self {
            Self::Active => Self::Quarantined,
            Self::Requeued => Self::QuarantinedAgain,
            Self::None | Self::Quarantined | Self::QuarantinedAgain => return false,
        };
        true
    }

    /// The poller requeues the record, once.
    pub(crate) fn requeue_quarantined(&mut self) -> bool {
        let holds = *self == Self::Quarantined;
        if holds {
            *self = Self::Requeued;
        }
        holds
    }
}
