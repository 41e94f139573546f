//! The record of an event, and every write to it: what `shared/aws/src/inbox/*.rs` does, without its payload.

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A mark does not name the `rev` that it saw.
    MarkWithoutRev,
    /// A write to a standing record does not ask whether it is due.
    UpdateWithoutDue,
    /// Done, put back and given up by a worker do not name its claim.
    EndWithoutClaim,
    /// A record is given up before its item stands in quarantine.
    GivenUpBeforeItem,
    /// The relay gives a record up that a worker has claimed.
    GiveUpDespiteClaim,
    /// A message is declared lost while a worker has its event.
    LostDespiteClaim,
    /// What the relay gives up keeps the claim of a worker who was too slow.
    GiveUpKeepsClaim,
    /// Who is refused does not look whether it was he who wrote last.
    RefusedWithoutLook,
    /// A claim that arrives after it was ended is good once more.
    ClaimAfterEnd,
}

/// Whether a record is in the index `due`, and whether its time has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Due {
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
pub(crate) struct Record {
    /// Whose put it is; 0 as long as there is no record.
    pub(crate) delivery: u8,
    /// The revision.
    pub(crate) rev: u8,
    /// Whether something has still to be done with it.
    pub(crate) due: Due,
    /// Whether it has a `sent_at`.
    pub(crate) sent: bool,
    /// Whether it has an `expires_at`.
    pub(crate) expires: bool,
    /// The worker's claim.
    pub(crate) claim: u8,
    /// Whether that claim has run out.
    pub(crate) claim_over: bool,
    /// The worker's claim that was ended last, as long as a request of its may arrive.
    pub(crate) ended_by: u8,
    /// The id of the update that was applied last, as long as somebody may ask for it.
    pub(crate) write_id: u8,
    /// Whether its effect has happened.
    pub(crate) done: bool,
    /// Whether it was given up.
    pub(crate) quarantined: bool,
    /// How often it was replayed.
    pub(crate) replay: u8,
    /// The operators' traces, one bit each.
    pub(crate) traces: u8,
}

/// From where an operator puts a record on its way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum From {
    /// Its effect has happened and shall happen again.
    Done,
    /// It was given up.
    Quarantined,
    /// Its message is lost.
    Sent,
}

/// A write to the record. `over` is the claim that had run out when the request was made: its time is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    /// The event is recorded.
    Put { delivery: u8 },
    /// It was put on the queue.
    Mark { rev: u8 },
    /// The relay claims it.
    Relay { rev: u8 },
    /// The relay gives it up.
    GiveUp { rev: u8, over: u8 },
    /// A worker claims it.
    Claim { claim: u8, over: u8 },
    /// Its effect has happened.
    Done { claim: u8 },
    /// Its effect cannot happen yet.
    PutBack { claim: u8 },
    /// Its effect cannot happen.
    Quarantine { claim: u8 },
    /// An operator has it due again.
    Again { from: From, rev: u8, over: u8, trace: u8 },
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was applied, now or by an attempt before.
    Applied,
    /// It was not: something else stands.
    Refused,
    /// The record is another delivery's.
    Duplicate,
    /// A worker's claim was applied, to a record that was replayed so often.
    Ours { replay: u8 },
    /// There is nothing to do any more.
    Over,
    /// Another worker has it.
    Taken,
    /// There is no record.
    NotRecorded,
}

impl Record {
    /// Whether there is one.
    pub(crate) fn exists(&self) -> bool {
        self.delivery != 0
    }

    /// Whether something is still to become of its event.
    pub(crate) fn is_open(&self) -> bool {
        self.exists() && !self.done && !self.quarantined
    }

    /// The claim that has run out by now, if there is one that has.
    pub(crate) fn over(&self) -> u8 {
        if self.claim_over { self.claim } else { 0 }
    }

    /// Whether nobody's claim was alive at the time at which this one had run out.
    fn is_free(&self, over: u8) -> bool {
        self.claim == 0 || (self.claim == over && self.claim_over)
    }

    /// Applies a write, if its condition holds. Attempts at the same call have the same `id`.
    pub(crate) fn apply(&mut self, write: Write, id: u8, mutant: Option<Mutant>) -> Answer {
        let before = *self;
        let answer = self.apply_if(write, mutant);
        let is_update = match write {
            Write::Put { .. } | Write::Claim { .. } | Write::Again { .. } => false,
            Write::Mark { .. }
            | Write::Relay { .. }
            | Write::GiveUp { .. }
            | Write::Done { .. }
            | Write::PutBack { .. }
            | Write::Quarantine { .. } => true,
        };
        let is_own = before.write_id == id && mutant != Some(Mutant::RefusedWithoutLook);
        if is_update && answer == Answer::Applied {
            self.write_id = id;
        } else if is_update && is_own {
            return Answer::Applied;
        }
        answer
    }

    fn apply_if(&mut self, write: Write, mutant: Option<Mutant>) -> Answer {
        let is = |it: Mutant| mutant == Some(it);
        match write {
            Write::Put { delivery } => self.put(delivery),
            Write::Mark { rev } => {
                let rev = if is(Mutant::MarkWithoutRev) { self.rev } else { rev };
                self.update(rev, true, mutant, |it| (it.sent, it.expires, it.due) = (true, true, Due::No))
            }
            Write::Relay { rev } => self.update(rev, true, mutant, |it| {
                it.rev += 1;
                // Only its time is moved: what is not in the index does not come into it.
                it.due = if it.due == Due::No { Due::No } else { Due::Later };
            }),
            Write::GiveUp { rev, over } => {
                let is_free = is(Mutant::GiveUpDespiteClaim) || self.is_free(over);
                let keeps_claim = is(Mutant::GiveUpKeepsClaim);
                self.update(rev, is_free, mutant, |it| {
                    it.give_up();
                    if !keeps_claim {
                        (it.claim, it.claim_over) = (0, false);
                    }
                })
            }
            Write::Claim { claim, over } => self.claim(claim, over, is(Mutant::ClaimAfterEnd)),
            Write::Done { claim } => self.end(claim, mutant, |it| {
                (it.done, it.expires, it.due) = (true, true, Due::No);
            }),
            Write::PutBack { claim } => self.end(claim, mutant, |it| {
                it.rev += 1;
                (it.due, it.sent, it.expires) = (Due::Later, false, false);
            }),
            Write::Quarantine { claim } => self.end(claim, mutant, Self::give_up),
            Write::Again { from, rev, over, trace } => {
                let is_free = is(Mutant::LostDespiteClaim) || self.is_free(over);
                self.again(from, rev, is_free, trace)
            }
        }
    }

    fn put(&mut self, delivery: u8) -> Answer {
        if self.exists() {
            return if self.delivery == delivery { Answer::Applied } else { Answer::Duplicate };
        }
        *self = Self { delivery, rev: 1, due: Due::Later, ..Self::default() };
        Answer::Applied
    }

    fn give_up(&mut self) {
        (self.quarantined, self.expires, self.due) = (true, true, Due::No);
    }

    /// The writes that name the `rev` that they saw.
    fn update(&mut self, rev: u8, and: bool, mutant: Option<Mutant>, change: impl Fn(&mut Self)) -> Answer {
        let is_due = self.due != Due::No || mutant == Some(Mutant::UpdateWithoutDue);
        if !(self.exists() && self.rev == rev && is_due && and) {
            return Answer::Refused;
        }
        change(self);
        Answer::Applied
    }

    fn claim(&mut self, claim: u8, over: u8, after_end: bool) -> Answer {
        match () {
            () if !self.exists() => Answer::NotRecorded,
            () if self.done || self.quarantined => Answer::Over,
            () if self.ended_by == claim && !after_end => Answer::Taken,
            () if self.claim == claim => Answer::Ours { replay: self.replay },
            () if !self.is_free(over) => Answer::Taken,
            () => {
                (self.claim, self.claim_over) = (claim, false);
                Answer::Ours { replay: self.replay }
            }
        }
    }

    /// The writes that end a worker's claim.
    fn end(&mut self, claim: u8, mutant: Option<Mutant>, change: fn(&mut Self)) -> Answer {
        let is_ours = self.claim == claim || mutant == Some(Mutant::EndWithoutClaim);
        if !(self.exists() && is_ours) {
            return Answer::Refused;
        }
        (self.claim, self.claim_over, self.ended_by) = (0, false, claim);
        change(self);
        Answer::Applied
    }

    fn again(&mut self, from: From, rev: u8, is_free: bool, trace: u8) -> Answer {
        if self.exists() && self.traces & trace != 0 {
            return Answer::Applied;
        }
        let stands = match from {
            From::Done => self.done,
            From::Quarantined => self.quarantined,
            From::Sent => self.sent && !self.done && !self.quarantined && is_free,
        };
        if !(self.exists() && self.rev == rev && stands) {
            return Answer::Refused;
        }
        *self = Self {
            rev: rev + 1,
            due: Due::Now,
            delivery: self.delivery,
            ended_by: self.ended_by,
            write_id: self.write_id,
            replay: self.replay + u8::from(from == From::Done),
            traces: self.traces | trace,
            ..Self::default()
        };
        Answer::Applied
    }
}
