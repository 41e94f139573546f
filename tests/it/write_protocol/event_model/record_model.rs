//! The record of an event and every write to it, as `shared/aws/src/stores/` does, without its payload.

/// Conditions of the code that a test drops, one at a time. The exploration must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordMutant {
    /// A mark does not check the `rev` that it saw.
    MarkWithoutRev,
    /// A write to an existing record does not check that it is due.
    UpdateWithoutDue,
    /// A worker's done, requeue and quarantine do not check its claim.
    EndWithoutClaim,
    /// A record is quarantined before its item is stored.
    QuarantinedBeforeItem,
    /// The relay quarantines a record that a worker has claimed.
    QuarantinedDespiteClaim,
    /// A message is declared lost while a worker has claimed its event.
    LostDespiteClaim,
    /// A record that the relay quarantines keeps the claim of a slow worker.
    QuarantineKeepsClaim,
    /// After a failed condition the writer does not check whether the last write was its own.
    FailedWithoutWriterCheck,
    /// A claim that arrives after it was ended becomes valid again.
    ClaimAfterEnd,
    /// The count of a duplicate changes `rev`.
    CountChangesRev,
}

/// State of a record in the index `due`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DueState {
    /// Not in the index.
    #[default]
    No,
    /// In the index, due at a later time.
    Later,
    /// Due now.
    Now,
}

/// A record. Claims and deliveries are numbered from 1; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ModelRecord {
    /// The delivery that was put; 0 if there is no record.
    pub(crate) delivery: u8,
    /// Revision.
    pub(crate) rev: u8,
    /// State in the index.
    pub(crate) due: DueState,
    /// True if it has a `sent_at`.
    pub(crate) sent: bool,
    /// True if it has an `expires_at`.
    pub(crate) expires: bool,
    /// The worker's claim.
    pub(crate) claim: u8,
    /// True if the claim has expired.
    pub(crate) claim_expired: bool,
    /// The claim that was ended last, while a request of it may arrive.
    pub(crate) last_ended_claim: u8,
    /// Id of the last applied update, while a caller may still check it.
    pub(crate) write_id: u8,
    /// True if its effect has happened.
    pub(crate) done: bool,
    /// True if it was quarantined.
    pub(crate) quarantined: bool,
    /// Number of replays.
    pub(crate) replay: u8,
    /// The operators' audit entries, one bit each.
    pub(crate) audit_entries: u8,
}

/// State from which an operator makes a record due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReopenFrom {
    /// Its effect happened and is to be repeated.
    Done,
    /// It was quarantined.
    Quarantined,
    /// It was sent, and its message is lost.
    Sent,
}

/// A write to the record. `expired_claim` is the claim that had expired when the request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecordWrite {
    /// Records the event.
    Put { delivery: u8 },
    /// Counts a duplicate.
    CountDuplicate,
    /// Marks it as sent.
    Mark { rev: u8 },
    /// The relay claims it.
    Relay { rev: u8 },
    /// The relay quarantines it.
    QuarantineByRelay { rev: u8, expired_claim: u8 },
    /// A worker claims it.
    Claim { claim: u8, expired_claim: u8 },
    /// Its effect has happened.
    Done { claim: u8 },
    /// Its effect cannot happen yet.
    Requeue { claim: u8 },
    /// Its effect cannot happen.
    QuarantineByWorker { claim: u8 },
    /// An operator makes it due again.
    Reopen { from: ReopenFrom, rev: u8, expired_claim: u8, trace: u8 },
}

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteResult {
    /// Applied, now or by an earlier attempt.
    Applied,
    /// Not applied: its condition failed.
    ConditionFailed,
    /// The record belongs to another delivery.
    Duplicate,
    /// A worker's claim was applied; the record was replayed so often.
    Acquired { replay: u8 },
    /// The event is done or quarantined already.
    AlreadyDone,
    /// Another worker holds the claim.
    HeldByOther,
    /// There is no record.
    NotRecorded,
}

impl ModelRecord {
    /// Returns `true` if there is a record.
    pub(crate) fn exists(&self) -> bool {
        self.delivery != 0
    }

    /// Returns `true` if the event is neither done nor quarantined.
    pub(crate) fn is_open(&self) -> bool {
        self.exists() && !self.done && !self.quarantined
    }

    /// The claim if it has expired, otherwise 0.
    pub(crate) fn expired_claim(&self) -> u8 {
        if self.claim_expired { self.claim } else { 0 }
    }

    /// Returns `true` if no claim was alive when the claim `over` had expired.
    fn is_free(&self, over: u8) -> bool {
        self.claim == 0 || (self.claim == over && self.claim_expired)
    }

    /// Applies a write if its condition holds. Attempts at one call have the same `id`.
    pub(crate) fn apply(&mut self, write: RecordWrite, id: u8, mutant: Option<RecordMutant>) -> WriteResult {
        let before = *self;
        let answer = self.apply_if(write, mutant);
        let is_update = match write {
            RecordWrite::Put { .. }
            | RecordWrite::CountDuplicate
            | RecordWrite::Claim { .. }
            | RecordWrite::Reopen { .. } => false,
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
            // The number of duplicates decides nothing, so the model does not hold it.
            RecordWrite::CountDuplicate if self.exists() => {
                self.rev += u8::from(is(RecordMutant::CountChangesRev));
                WriteResult::Applied
            }
            RecordWrite::CountDuplicate => WriteResult::ConditionFailed,
            RecordWrite::Mark { rev } => {
                let rev = if is(RecordMutant::MarkWithoutRev) { self.rev } else { rev };
                self.update(rev, true, mutant, |it| {
                    (it.sent, it.expires, it.due) = (true, true, DueState::No)
                })
            }
            RecordWrite::Relay { rev } => self.update(rev, true, mutant, |it| {
                it.rev += 1;
                // Only the time of an item in the index changes; a claim does not add it to the index.
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

    /// A write that checks the `rev` that it saw.
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

    /// A write that ends a worker's claim.
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
