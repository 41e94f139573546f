//! The record of an event, and every write to it: what `shared/aws/src/inbox/*.rs` does, without its payload.

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordMutant {
    /// A mark does not name the `rev` that it saw.
    MarkWithoutRev,
    /// A write to a standing record does not ask whether it is due.
    UpdateWithoutDue,
    /// Done, put back and given up by a worker do not name its claim.
    EndWithoutClaim,
    /// A record is given up before its item stands in quarantine.
    QuarantinedBeforeItem,
    /// The relay gives a record up that a worker has claimed.
    QuarantinedDespiteClaim,
    /// A message is declared lost while a worker has its event.
    LostDespiteClaim,
    /// What the relay gives up keeps the claim of a worker who was too slow.
    QuarantineKeepsClaim,
    /// Who is refused does not look whether it was he who wrote last.
    FailedWithoutWriterCheck,
    /// A claim that arrives after it was ended is good once more.
    ClaimAfterEnd,
}

/// Whether a record is in the index `due`, and whether its time has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DueState {
    /// It is not.
    #[default]
    No,
    /// It is, and its time has not come.
    Later,
    /// It is, and its time has come.
    Now,
}

/// A record. Claims and deliveries are numbered from 1; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ModelRecord {
    /// Whose put it is; 0 as long as there is no record.
    pub(crate) delivery: u8,
    /// The revision.
    pub(crate) rev: u8,
    /// Whether something has still to be done with it.
    pub(crate) due: DueState,
    /// Whether it has a `sent_at`.
    pub(crate) sent: bool,
    /// Whether it has an `expires_at`.
    pub(crate) expires: bool,
    /// The worker's claim.
    pub(crate) claim: u8,
    /// Whether that claim has run out.
    pub(crate) claim_expired: bool,
    /// The worker's claim that was ended last, as long as a request of its may arrive.
    pub(crate) last_ended_claim: u8,
    /// The id of the update that was applied last, as long as somebody may ask for it.
    pub(crate) write_id: u8,
    /// Whether its effect has happened.
    pub(crate) done: bool,
    /// Whether it was given up.
    pub(crate) quarantined: bool,
    /// How often it was replayed.
    pub(crate) replay: u8,
    /// The operators' traces, one bit each.
    pub(crate) audit_entries: u8,
}

/// From where an operator puts a record on its way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReopenFrom {
    /// Its effect has happened and shall happen again.
    Done,
    /// It was given up.
    Quarantined,
    /// Its message is lost.
    Sent,
}

/// A write to the record. `over` is the claim that had run out when the request was made: its time is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecordWrite {
    /// The event is recorded.
    Put { delivery: u8 },
    /// It was put on the queue.
    Mark { rev: u8 },
    /// The relay claims it.
    Relay { rev: u8 },
    /// The relay gives it up.
    QuarantineByRelay { rev: u8, expired_claim: u8 },
    /// A worker claims it.
    Claim { claim: u8, expired_claim: u8 },
    /// Its effect has happened.
    Done { claim: u8 },
    /// Its effect cannot happen yet.
    Requeue { claim: u8 },
    /// Its effect cannot happen.
    QuarantineByWorker { claim: u8 },
    /// An operator has it due again.
    Reopen { from: ReopenFrom, rev: u8, expired_claim: u8, trace: u8 },
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteResult {
    /// It was applied, now or by an attempt before.
    Applied,
    /// It was not: something else stands.
    ConditionFailed,
    /// The record is another delivery's.
    Duplicate,
    /// A worker's claim was applied, to a record that was replayed so often.
    Acquired { replay: u8 },
    /// There is nothing to do any more.
    AlreadyDone,
    /// Another worker has it.
    HeldByOther,
    /// There is no record.
    NotRecorded,
}

impl ModelRecord {
    /// Whether there is one.
    pub(crate) fn exists(&self) -> bool {
        self.delivery != 0
    }

    /// Whether something is still to become of its event.
    pub(crate) fn is_open(&self) -> bool {
        self.exists() && !self.done && !self.quarantined
    }

    /// The claim that has run out by now, if there is one that has.
    pub(crate) fn expired_claim(&self) -> u8 {
        if self.claim_expired { self.claim } else { 0 }
    }

    /// Whether nobody's claim was alive at the time at which this one had run out.
    fn is_free(&self, over: u8) -> bool {
        self.claim == 0 || (self.claim == over && self.claim_expired)
    }

    /// Applies a write, if its condition holds. Attempts at the same call have the same `id`.
    pub(crate) fn apply(&mut self, write: RecordWrite, id: u8, mutant: Option<RecordMutant>) -> WriteResult {
        let before = *self;
        let answer = self.apply_if(write, mutant);
        let is_update = match write {
            RecordWrite::Put { .. } | RecordWrite::Claim { .. } | RecordWrite::Reopen { .. } => false,
            RecordWrite::Mark { .. }
            | RecordWrite::Relay { .. }
            | RecordWrite::QuarantineByRelay { .. }
            | RecordWrite::Done { .. }
            | RecordWrite::Requeue { .. }
            | RecordWrite::QuarantineByWorker { .. } => true,
        };
        let is_own = before.write_id == id && mutant != Some(RecordMutant::FailedWithoutWriterCheck);
        if is_update && answer == WriteResult::Applied {
            self.write_id = id;
        } else if is_update && is_own {
            return WriteResult::Applied;
        }
        answer
    }

    fn apply_if(&mut self, write: RecordWrite, mutant: Option<RecordMutant>) -> WriteResult {
        let is = |it: RecordMutant| mutant == Some(it);
        match write {
            RecordWrite::Put { delivery } => self.put(delivery),
            RecordWrite::Mark { rev } => {
                let rev = if is(RecordMutant::MarkWithoutRev) { self.rev } else { rev };
                self.update(rev, true, mutant, |it| {
                    (it.sent, it.expires, it.due) = (true, true, DueState::No)
                })
            }
            RecordWrite::Relay { rev } => self.update(rev, true, mutant, |it| {
                it.rev += 1;
                // Only its time is moved: what is not in the index does not come into it.
                it.due = if it.due == DueState::No { DueState::No } else { DueState::Later };
            }),
            RecordWrite::QuarantineByRelay { rev, expired_claim: over } => {
                let is_free = is(RecordMutant::QuarantinedDespiteClaim) || self.is_free(over);
                let keeps_claim = is(RecordMutant::QuarantineKeepsClaim);
                self.update(rev, is_free, mutant, |it| {
                    it.quarantine();
                    if !keeps_claim {
                        (it.claim, it.claim_expired) = (0, false);
                    }
                })
            }
            RecordWrite::Claim { claim, expired_claim: over } => {
                self.claim(claim, over, is(RecordMutant::ClaimAfterEnd))
            }
            RecordWrite::Done { claim } => self.end(claim, mutant, |it| {
                (it.done, it.expires, it.due) = (true, true, DueState::No);
            }),
            RecordWrite::Requeue { claim } => self.end(claim, mutant, |it| {
                it.rev += 1;
                (it.due, it.sent, it.expires) = (DueState::Later, false, false);
            }),
            RecordWrite::QuarantineByWorker { claim } => self.end(claim, mutant, Self::quarantine),
            RecordWrite::Reopen { from, rev, expired_claim: over, trace } => {
                let is_free = is(RecordMutant::LostDespiteClaim) || self.is_free(over);
                self.reopen(from, rev, is_free, trace)
            }
        }
    }

    fn put(&mut self, delivery: u8) -> WriteResult {
        if self.exists() {
            return if self.delivery == delivery { WriteResult::Applied } else { WriteResult::Duplicate };
        }
        *self = Self { delivery, rev: 1, due: DueState::Later, ..Self::default() };
        WriteResult::Applied
    }

    fn quarantine(&mut self) {
        (self.quarantined, self.expires, self.due) = (true, true, DueState::No);
    }

    /// The writes that name the `rev` that they saw.
    fn update(
        &mut self,
        rev: u8,
        and: bool,
        mutant: Option<RecordMutant>,
        change: impl Fn(&mut Self),
    ) -> WriteResult {
        let is_due = self.due != DueState::No || mutant == Some(RecordMutant::UpdateWithoutDue);
        if !(self.exists() && self.rev == rev && is_due && and) {
            return WriteResult::ConditionFailed;
        }
        change(self);
        WriteResult::Applied
    }

    fn claim(&mut self, claim: u8, over: u8, after_end: bool) -> WriteResult {
        match () {
            () if !self.exists() => WriteResult::NotRecorded,
            () if self.done || self.quarantined => WriteResult::AlreadyDone,
            () if self.last_ended_claim == claim && !after_end => WriteResult::HeldByOther,
            () if self.claim == claim => WriteResult::Acquired { replay: self.replay },
            () if !self.is_free(over) => WriteResult::HeldByOther,
            () => {
                (self.claim, self.claim_expired) = (claim, false);
                WriteResult::Acquired { replay: self.replay }
            }
        }
    }

    /// The writes that end a worker's claim.
    fn end(&mut self, claim: u8, mutant: Option<RecordMutant>, change: fn(&mut Self)) -> WriteResult {
        let is_ours = self.claim == claim || mutant == Some(RecordMutant::EndWithoutClaim);
        if !(self.exists() && is_ours) {
            return WriteResult::ConditionFailed;
        }
        (self.claim, self.claim_expired, self.last_ended_claim) = (0, false, claim);
        change(self);
        WriteResult::Applied
    }

    fn reopen(&mut self, from: ReopenFrom, rev: u8, is_free: bool, trace: u8) -> WriteResult {
        if self.exists() && self.audit_entries & trace != 0 {
            return WriteResult::Applied;
        }
        let stands = match from {
            ReopenFrom::Done => self.done,
            ReopenFrom::Quarantined => self.quarantined,
            ReopenFrom::Sent => self.sent && !self.done && !self.quarantined && is_free,
        };
        if !(self.exists() && self.rev == rev && stands) {
            return WriteResult::ConditionFailed;
        }
        *self = Self {
            rev: rev + 1,
            due: DueState::Now,
            delivery: self.delivery,
            last_ended_claim: self.last_ended_claim,
            write_id: self.write_id,
            replay: self.replay + u8::from(from == ReopenFrom::Done),
            audit_entries: self.audit_entries | trace,
            ..Self::default()
        };
        WriteResult::Applied
    }
}
