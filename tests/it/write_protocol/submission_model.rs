//! Model of a submission: callers with the same request and with another one under the same name, the poller, and
//! Rightfoot.
//!
//! Rightfoot creates one batch for the same bytes, however often they arrive. It may reject them once although it has
//! accepted them, or will. A request to it may be lost, or arrive after its caller has given up.

mod configurations;
mod submission_item;

use super::explorer::{Model, Step, Steps};

/// Conditions of the code that a test drops, one at a time. The exploration must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubmissionMutant {
    /// A rejection releases the name after any number of attempts.
    ReleasedAfterAttempts,
    /// A rejection releases the name although an attempt at the same `POST` was not answered.
    ReleasedAfterRetry,
    /// The outcome is stored without checking the call that began the submission.
    CompletedWithoutCall,
    /// The name is released without checking the call.
    ReleasedWithoutCall,
}

/// A configuration of the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SubmissionModel {
    /// By caller, its request: 0 or 1.
    pub(crate) requests: [u8; 3],
    /// Invocations of all callers together.
    pub(crate) calls: u8,
    /// Unanswered writes and dying callers.
    pub(crate) faults: u8,
    /// Writes among these faults that are applied later.
    pub(crate) delays: u8,
    /// Requests that Rightfoot does not answer.
    pub(crate) lost_responses: u8,
    /// Rejections by Rightfoot.
    pub(crate) rejections: u8,
    /// Runs of the poller.
    pub(crate) polls: u8,
    /// Names that an operator releases after checking that Rightfoot has created nothing.
    pub(crate) releases: u8,
    /// Condition that is dropped.
    pub(crate) mutant: Option<SubmissionMutant>,
}

/// The item of the submission. Calls are numbered from 1; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SubmissionItem {
    pub(crate) call: u8,
    pub(crate) request: u8,
    pub(crate) rev: u8,
    pub(crate) attempts: u8,
    pub(crate) due: bool,
    pub(crate) declined: bool,
    /// The batch that it created; 0 if unknown.
    pub(crate) batch: u8,
}

/// A caller's last result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum CallerResult {
    #[default]
    NotYet,
    /// Unknown; the caller repeats the request.
    Unknown,
    /// Nothing was created, and the name is released.
    Declined,
    /// The name belongs to another request.
    NameTaken,
    /// This batch was created.
    Created(u8),
}

/// A caller's next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum CallerPhase {
    #[default]
    Idle,
    Begin,
    BeginRetry,
    Post {
        is_retry: bool,
    },
    Release,
    Read {
        batch: u8,
    },
    Complete {
        batch: u8,
    },
    Track {
        batch: u8,
    },
}

/// A caller. `seen` is the item as it last read or wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct CallerState {
    phase: CallerPhase,
    call: u8,
    seen: SubmissionItem,
    result: CallerResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SubmissionWrite {
    Begin { call: u8, request: u8, free: SubmissionItem },
    BeginRetry { seen: SubmissionItem },
    Release { seen: SubmissionItem },
    Complete { seen: SubmissionItem, batch: u8 },
    Track { batch: u8 },
}

/// Faults and events that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SubmissionBudget {
    calls: u8,
    faults: u8,
    delays: u8,
    lost_responses: u8,
    rejections: u8,
    polls: u8,
    releases: u8,
}

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubmissionModelState {
    item: SubmissionItem,
    callers: [CallerState; 3],
    /// By request, the batch that Rightfoot has created for it.
    batches: [u8; 2],
    /// By request, true if one is under way whose caller has given up.
    in_flight: [bool; 2],
    /// The tracked batches, as bits.
    tracked: u8,
    delayed: Option<SubmissionWrite>,
    budget: SubmissionBudget,
    calls: u8,
    /// By request, true if an operator has declared that it created nothing, and answers for that.
    released: [bool; 2],
    /// A caller was answered that nothing was created although something was.
    false_decline: bool,
}

impl Model for SubmissionModel {
    type State = SubmissionModelState;

    fn initial(&self) -> SubmissionModelState {
        let Self { calls, faults, delays, lost_responses, rejections, polls, releases, .. } = *self;
        SubmissionModelState {
            item: SubmissionItem::default(),
            callers: Default::default(),
            batches: [0; 2],
            in_flight: [false; 2],
            tracked: 0,
            delayed: None,
            budget: SubmissionBudget { calls, faults, delays, lost_responses, rejections, polls, releases },
            calls: 0,
            released: [false; 2],
            false_decline: false,
        }
    }

    fn next_steps(&self, state: &SubmissionModelState, to: &mut Steps<SubmissionModelState>) {
        for which in 0..state.callers.len() {
            self.caller(state, which, to);
        }
        self.environment(state, to);
    }

    fn violation(&self, state: &SubmissionModelState) -> Option<&'static str> {
        let item = &state.item;
        if state.false_decline {
            return Some(
                "a caller is answered that nothing was created although its request has created a batch",
            );
        }
        if item.call != 0 && !item.due && !item.declined && item.batch == 0 {
            return Some("P9: a submission is neither due nor over");
        }
        for (caller, request) in state.callers.iter().zip(self.requests) {
            if let CallerResult::Created(batch) = caller.result {
                if state.batches[usize::from(request)] != batch {
                    return Some("a caller is answered a batch that its request has not created");
                }
                if !state.is_tracked(batch) {
                    return Some("a caller is answered a batch that is not tracked");
                }
            }
        }
        let is_lost = |request: &u8| {
            let batch = state.batches[usize::from(*request)];
            let is_busy = state
                .callers
                .iter()
                .zip(self.requests)
                .any(|(caller, its)| its == *request && caller.phase != CallerPhase::Idle);
            let alarms = item.due && item.request == *request;
            let is_declared = state.released[usize::from(*request)];
            batch != 0 && !state.is_tracked(batch) && !is_busy && !alarms && !is_declared
        };
        [0, 1].iter().any(is_lost).then_some("P9: a batch is not tracked, and no alarm reports it")
    }
}

impl SubmissionModelState {
    fn is_tracked(&self, batch: u8) -> bool {
        self.tracked & (1 << batch) != 0
    }

    /// Applies a write; returns `true` if its condition held.
    fn apply(&mut self, write: SubmissionWrite, mutant: Option<SubmissionMutant>) -> bool {
        match write {
            SubmissionWrite::Begin { call, request, free } => self.item.begin(call, request, free),
            SubmissionWrite::BeginRetry { seen } => self.item.begin_retry(seen),
            SubmissionWrite::Release { seen } => self.item.release(seen, mutant),
            SubmissionWrite::Complete { seen, batch } => {
                let holds = self.item.complete(seen, batch, mutant);
                if holds {
                    self.tracked |= 1 << batch;
                }
                holds
            }
            SubmissionWrite::Track { batch } => {
                self.tracked |= 1 << batch;
                true
            }
        }
    }

    /// A request arrives at Rightfoot and is accepted.
    fn arrive(&mut self, request: u8) -> u8 {
        let made = &mut self.batches[usize::from(request)];
        if *made == 0 {
            *made = request + 1;
        }
        *made
    }

    fn finish(&mut self, which: usize, request: u8, result: CallerResult) {
        let at = usize::from(request);
        self.false_decline |= result == CallerResult::Declined && self.batches[at] != 0 && !self.released[at];
        self.callers[which] = CallerState { result, ..CallerState::default() };
    }
}

impl SubmissionModel {
    fn caller(&self, state: &SubmissionModelState, which: usize, to: &mut Steps<SubmissionModelState>) {
        let (caller, request) = (state.callers[which], self.requests[which]);
        match caller.phase {
            CallerPhase::Idle => {
                if state.budget.calls > 0 && !matches!(caller.result, CallerResult::Created(_)) {
                    let mut after = *state;
                    after.budget.calls -= 1;
                    after.calls += 1;
                    let seen = SubmissionItem::default();
                    after.callers[which] =
                        CallerState { phase: CallerPhase::Begin, call: after.calls, seen, ..caller };
                    to.push((step(which, "begins", ""), after));
                }
                return;
            }
            CallerPhase::Begin => self.begin(state, which, to),
            CallerPhase::BeginRetry => {
                let write = SubmissionWrite::BeginRetry { seen: caller.seen };
                self.write(state, which, write, to, |after, is_applied| {
                    let it = &mut after.callers[which];
                    it.phase =
                        if is_applied { CallerPhase::Post { is_retry: false } } else { CallerPhase::Begin };
                    if is_applied {
                        it.seen.rev += 1;
                        it.seen.attempts += 1;
                    }
                });
            }
            CallerPhase::Post { is_retry } => self.post(state, which, is_retry, to),
            CallerPhase::Release => self.release(state, which, to),
            CallerPhase::Read { batch } => {
                let mut after = *state;
                decide_completion(&mut after, which, request, batch, self.mutant);
                to.push((step(which, "reads the submission", ""), after));
            }
            CallerPhase::Complete { batch } => {
                let write = SubmissionWrite::Complete { seen: caller.seen, batch };
                self.write(state, which, write, to, |after, is_applied| {
                    if is_applied {
                        after.finish(which, request, CallerResult::Created(batch));
                    } else {
                        after.callers[which].phase = CallerPhase::Read { batch };
                    }
                });
            }
            CallerPhase::Track { batch } => {
                self.write(state, which, SubmissionWrite::Track { batch }, to, |after, _| {
                    after.finish(which, request, CallerResult::Created(batch));
                })
            }
        }
        if state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            after.finish(which, request, CallerResult::Unknown);
            to.push((step(which, "dies", ""), after));
        }
    }

    /// Adds the put of a new submission, which may find an existing one.
    fn begin(&self, state: &SubmissionModelState, which: usize, to: &mut Steps<SubmissionModelState>) {
        let (CallerState { call, seen, .. }, request) = (state.callers[which], self.requests[which]);
        let write = SubmissionWrite::Begin { call, request, free: seen };
        self.write(state, which, write, to, |after, is_applied| {
            let stands = after.item;
            after.callers[which].seen = stands;
            match () {
                () if is_applied => after.callers[which].phase = CallerPhase::Post { is_retry: false },
                // Released: the put is repeated with this item as the expected one.
                () if stands.declined => {}
                () if stands.request != request => after.finish(which, request, CallerResult::NameTaken),
                () if stands.batch != 0 => after.finish(which, request, CallerResult::Created(stands.batch)),
                () => after.callers[which].phase = CallerPhase::BeginRetry,
            }
        });
    }

    /// Adds a request to Rightfoot, which is repeated once if it is not answered.
    fn post(
        &self,
        state: &SubmissionModelState,
        which: usize,
        is_retry: bool,
        to: &mut Steps<SubmissionModelState>,
    ) {
        let (caller, request) = (state.callers[which], self.requests[which]);
        let mut after = *state;
        let batch = after.arrive(request);
        after.callers[which].phase = CallerPhase::Read { batch };
        to.push((step(which, "posts", "a batch"), after));
        if state.budget.rejections > 0 {
            let mut after = *state;
            after.budget.rejections -= 1;
            let is_only = (caller.seen.attempts == 1
                || self.mutant == Some(SubmissionMutant::ReleasedAfterAttempts))
                && (!is_retry || self.mutant == Some(SubmissionMutant::ReleasedAfterRetry));
            if is_only {
                after.callers[which].phase = CallerPhase::Release;
            } else {
                after.finish(which, request, CallerResult::Unknown);
            }
            to.push((step(which, "posts", "condition failed"), after));
        }
        if state.budget.lost_responses > 0 {
            let mut go_on = |mut after: SubmissionModelState, how| {
                after.budget.lost_responses -= 1;
                if is_retry {
                    after.finish(which, request, CallerResult::Unknown);
                } else {
                    after.callers[which].phase = CallerPhase::Post { is_retry: true };
                }
                to.push((step(which, "posts", how), after));
            };
            let mut made = *state;
            made.arrive(request);
            go_on(made, "a batch, and the answer is lost");
            let mut flying = *state;
            flying.in_flight[usize::from(request)] = true;
            go_on(flying, "no answer, and it has not arrived yet");
        }
    }

    /// Releases the name, unless another caller has begun a retry meanwhile.
    fn release(&self, state: &SubmissionModelState, which: usize, to: &mut Steps<SubmissionModelState>) {
        let (CallerState { seen, .. }, request) = (state.callers[which], self.requests[which]);
        self.write(state, which, SubmissionWrite::Release { seen }, to, |after, is_applied| {
            let stands = after.item;
            let is_open_since = stands.call == seen.call && stands.attempts == seen.attempts && stands.due;
            if is_applied {
                after.finish(which, request, CallerResult::Declined);
            } else if is_open_since {
                after.callers[which].seen = stands;
            } else {
                after.finish(which, request, CallerResult::Unknown);
            }
        });
    }

    /// Adds a write, in every way in which it can end.
    fn write(
        &self,
        state: &SubmissionModelState,
        which: usize,
        write: SubmissionWrite,
        to: &mut Steps<SubmissionModelState>,
        then: impl Fn(&mut SubmissionModelState, bool),
    ) {
        let mut answered = *state;
        let is_applied = answered.apply(write, self.mutant);
        then(&mut answered, is_applied);
        to.push((step(which, write_name(write), if is_applied { "" } else { "condition failed" }), answered));
        if state.budget.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: SubmissionModelState, how| {
            after.budget.faults -= 1;
            after.finish(which, self.requests[which], CallerResult::Unknown);
            to.push((step(which, write_name(write), how), after));
        };
        let mut applied = *state;
        applied.apply(write, self.mutant);
        unanswered(applied, "applied, and no answer");
        if state.budget.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.budget.delays -= 1;
            delayed.delayed = Some(write);
            unanswered(delayed, "delayed");
        }
    }

    /// Steps of the poller, the network, and late requests.
    fn environment(&self, state: &SubmissionModelState, to: &mut Steps<SubmissionModelState>) {
        let mut world = |after, what| {
            to.push((Step { actor: "environment", actor_index: 1, action: what, outcome: "" }, after))
        };
        if state.item.due && state.budget.polls > 0 {
            let mut after = *state;
            after.budget.polls -= 1;
            after.item.defer();
            world(after, "the poller says that the outcome is not known");
        }
        let request = usize::from(state.item.request);
        if state.item.due
            && state.budget.releases > 0
            && state.batches[request] == 0
            && !state.in_flight[request]
        {
            let mut after = *state;
            after.budget.releases -= 1;
            after.released[request] = true;
            after.apply(SubmissionWrite::Release { seen: state.item }, self.mutant);
            world(after, "an operator frees the name");
        }
        for request in [0, 1] {
            if state.in_flight[usize::from(request)] {
                let mut after = *state;
                after.in_flight[usize::from(request)] = false;
                after.arrive(request);
                world(after, "a request arrives late at Rightfoot");
            }
        }
        if let Some(write) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(write, self.mutant);
            world(after, write_name(write));
        }
    }
}

/// A caller's step after Rightfoot has created its batch, by the current submission.
fn decide_completion(
    after: &mut SubmissionModelState,
    which: usize,
    request: u8,
    batch: u8,
    mutant: Option<SubmissionMutant>,
) {
    let (stands, caller) = (after.item, after.callers[which]);
    let is_ours = stands.call == caller.seen.call || mutant == Some(SubmissionMutant::CompletedWithoutCall);
    if stands.batch == batch || (stands.batch != 0 && mutant == Some(SubmissionMutant::CompletedWithoutCall))
    {
        after.finish(which, request, CallerResult::Created(stands.batch));
    } else if is_ours && stands.batch == 0 {
        after.callers[which].seen = stands;
        after.callers[which].phase = CallerPhase::Complete { batch };
    } else {
        after.callers[which].phase = CallerPhase::Track { batch };
    }
}

fn step(which: usize, what: &'static str, how: &'static str) -> Step {
    Step { actor: "caller", actor_index: which + 1, action: what, outcome: how }
}

fn write_name(write: SubmissionWrite) -> &'static str {
    match write {
        SubmissionWrite::Begin { .. } => "writes the submission",
        SubmissionWrite::BeginRetry { .. } => "begins the retry",
        SubmissionWrite::Release { .. } => "releases the name",
        SubmissionWrite::Complete { .. } => "writes down what it made",
        SubmissionWrite::Track { .. } => "tracks what it made anyway",
    }
}
