//! A submission: callers with the same request and with another one under the same name, the poller, and Rightfoot.
//!
//! Rightfoot makes one batch for the same bytes, however often they come. It may refuse them once although it has taken
//! them, or will. A request to it may be lost, or arrive when its caller has given it up.

mod configurations;
mod item;

use super::explore::{Model, Step, Steps};

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A refusal frees the name however many attempts there were.
    FreedAfterAttempts,
    /// A refusal frees the name although an attempt at the same `POST` was not answered.
    FreedAfterRetry,
    /// What a submission made is written down without naming the call that began it.
    ConcludedWithoutCall,
    /// The name is freed without naming the call.
    FreedWithoutCall,
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Submission {
    /// By caller, which request it makes: 0 or 1.
    pub(crate) requests: [u8; 3],
    /// Invocations, of all callers together.
    pub(crate) calls: u8,
    /// Writes that are not answered, and callers that die.
    pub(crate) faults: u8,
    /// Of these, writes that are applied later.
    pub(crate) delays: u8,
    /// Requests to Rightfoot that are not answered.
    pub(crate) lost: u8,
    /// Refusals by Rightfoot.
    pub(crate) refusals: u8,
    /// Runs of the poller.
    pub(crate) polls: u8,
    /// Names that an operator frees, having seen that Rightfoot has made nothing.
    pub(crate) releases: u8,
    /// What is left out of the code.
    pub(crate) mutant: Option<Mutant>,
}

/// The item of the submission. Calls are numbered from 1; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) call: u8,
    pub(crate) request: u8,
    pub(crate) rev: u8,
    pub(crate) attempts: u8,
    pub(crate) due: bool,
    pub(crate) refused: bool,
    /// The batch that it made; 0 if that is not known.
    pub(crate) made: u8,
}

/// What a caller has heard last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Heard {
    #[default]
    Nothing,
    /// Repeat it.
    Unknown,
    /// It made nothing, and its name is free.
    Refused,
    /// The name is another request's.
    Taken,
    /// It made this batch.
    Made(u8),
}

/// A caller's place. `seen` is the item as it was read or written last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Doing {
    #[default]
    Nothing,
    Begin,
    SetOut,
    Post {
        is_retry: bool,
    },
    Free,
    Read {
        batch: u8,
    },
    Conclude {
        batch: u8,
    },
    Watch {
        batch: u8,
    },
}

/// A caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Caller {
    doing: Doing,
    call: u8,
    seen: Item,
    heard: Heard,
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Write {
    Begin { call: u8, request: u8, free: Item },
    SetOut { seen: Item },
    Free { seen: Item },
    Conclude { seen: Item, batch: u8 },
    Watch { batch: u8 },
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Left {
    calls: u8,
    faults: u8,
    delays: u8,
    lost: u8,
    refusals: u8,
    polls: u8,
    releases: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    item: Item,
    callers: [Caller; 3],
    /// By request, the batch that Rightfoot has made of it.
    made: [u8; 2],
    /// By request, whether one is on its way that nobody waits for.
    flying: [bool; 2],
    /// The batches that are watched, as bits.
    watched: u8,
    delayed: Option<Write>,
    left: Left,
    calls: u8,
    /// By request, whether an operator has said that it made nothing: he answers for it.
    released: [bool; 2],
    /// A caller heard that nothing was made, and something was.
    misled: bool,
}

impl Model for Submission {
    type State = State;

    fn start(&self) -> State {
        let Self { calls, faults, delays, lost, refusals, polls, releases, .. } = *self;
        State {
            item: Item::default(),
            callers: Default::default(),
            made: [0; 2],
            flying: [false; 2],
            watched: 0,
            delayed: None,
            left: Left { calls, faults, delays, lost, refusals, polls, releases },
            calls: 0,
            released: [false; 2],
            misled: false,
        }
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        for which in 0..state.callers.len() {
            self.caller(state, which, to);
        }
        self.world(state, to);
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        let item = &state.item;
        if state.misled {
            return Some("a caller is told that nothing was made, and its request has made a batch");
        }
        if item.call != 0 && !item.due && !item.refused && item.made == 0 {
            return Some("P9: a submission is neither due nor over");
        }
        for (caller, request) in state.callers.iter().zip(self.requests) {
            if let Heard::Made(batch) = caller.heard {
                if state.made[usize::from(request)] != batch {
                    return Some("a caller is told of a batch that its request has not made");
                }
                if !state.is_watched(batch) {
                    return Some("a caller is told of a batch that nobody watches");
                }
            }
        }
        let is_lost = |request: &u8| {
            let batch = state.made[usize::from(*request)];
            let is_busy = state
                .callers
                .iter()
                .zip(self.requests)
                .any(|(caller, its)| its == *request && caller.doing != Doing::Nothing);
            let alarms = item.due && item.request == *request;
            let is_said = state.released[usize::from(*request)];
            batch != 0 && !state.is_watched(batch) && !is_busy && !alarms && !is_said
        };
        [0, 1].iter().any(is_lost).then_some("P9: a batch is watched by nobody, and nobody will hear of it")
    }
}

impl State {
    fn is_watched(&self, batch: u8) -> bool {
        self.watched & (1 << batch) != 0
    }

    /// What the write comes to: whether it was applied.
    fn apply(&mut self, write: Write, mutant: Option<Mutant>) -> bool {
        match write {
            Write::Begin { call, request, free } => self.item.begin(call, request, free),
            Write::SetOut { seen } => self.item.set_out(seen),
            Write::Free { seen } => self.item.free(seen, mutant),
            Write::Conclude { seen, batch } => {
                let holds = self.item.conclude(seen, batch, mutant);
                if holds {
                    self.watched |= 1 << batch;
                }
                holds
            }
            Write::Watch { batch } => {
                self.watched |= 1 << batch;
                true
            }
        }
    }

    /// A request arrives at Rightfoot, which takes it.
    fn arrive(&mut self, request: u8) -> u8 {
        let made = &mut self.made[usize::from(request)];
        if *made == 0 {
            *made = request + 1;
        }
        *made
    }

    fn hear(&mut self, which: usize, request: u8, heard: Heard) {
        let at = usize::from(request);
        self.misled |= heard == Heard::Refused && self.made[at] != 0 && !self.released[at];
        self.callers[which] = Caller { heard, ..Caller::default() };
    }
}

impl Submission {
    fn caller(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let (caller, request) = (state.callers[which], self.requests[which]);
        match caller.doing {
            Doing::Nothing => {
                if state.left.calls > 0 && !matches!(caller.heard, Heard::Made(_)) {
                    let mut after = *state;
                    after.left.calls -= 1;
                    after.calls += 1;
                    let seen = Item::default();
                    after.callers[which] = Caller { doing: Doing::Begin, call: after.calls, seen, ..caller };
                    to.push((step(which, "sets out", ""), after));
                }
                return;
            }
            Doing::Begin => self.begin(state, which, to),
            Doing::SetOut => {
                let write = Write::SetOut { seen: caller.seen };
                self.write(state, which, write, to, |after, is_applied| {
                    let it = &mut after.callers[which];
                    it.doing = if is_applied { Doing::Post { is_retry: false } } else { Doing::Begin };
                    if is_applied {
                        it.seen.rev += 1;
                        it.seen.attempts += 1;
                    }
                });
            }
            Doing::Post { is_retry } => self.post(state, which, is_retry, to),
            Doing::Free => self.free(state, which, to),
            Doing::Read { batch } => {
                let mut after = *state;
                read_to_conclude(&mut after, which, request, batch, self.mutant);
                to.push((step(which, "reads the submission", ""), after));
            }
            Doing::Conclude { batch } => {
                let write = Write::Conclude { seen: caller.seen, batch };
                self.write(state, which, write, to, |after, is_applied| {
                    if is_applied {
                        after.hear(which, request, Heard::Made(batch));
                    } else {
                        after.callers[which].doing = Doing::Read { batch };
                    }
                });
            }
            Doing::Watch { batch } => self.write(state, which, Write::Watch { batch }, to, |after, _| {
                after.hear(which, request, Heard::Made(batch));
            }),
        }
        if state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            after.hear(which, request, Heard::Unknown);
            to.push((step(which, "dies", ""), after));
        }
    }

    /// The submission is written, or the one that stands is found.
    fn begin(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let (Caller { call, seen, .. }, request) = (state.callers[which], self.requests[which]);
        let write = Write::Begin { call, request, free: seen };
        self.write(state, which, write, to, |after, is_applied| {
            let stands = after.item;
            after.callers[which].seen = stands;
            match () {
                () if is_applied => after.callers[which].doing = Doing::Post { is_retry: false },
                // Free: it is put again where this one stands.
                () if stands.refused => {}
                () if stands.request != request => after.hear(which, request, Heard::Taken),
                () if stands.made != 0 => after.hear(which, request, Heard::Made(stands.made)),
                () => after.callers[which].doing = Doing::SetOut,
            }
        });
    }

    /// A request to Rightfoot, which is made again once if it is not answered.
    fn post(&self, state: &State, which: usize, is_retry: bool, to: &mut Steps<State>) {
        let (caller, request) = (state.callers[which], self.requests[which]);
        let mut after = *state;
        let batch = after.arrive(request);
        after.callers[which].doing = Doing::Read { batch };
        to.push((step(which, "posts", "a batch"), after));
        if state.left.refusals > 0 {
            let mut after = *state;
            after.left.refusals -= 1;
            let is_only = (caller.seen.attempts == 1 || self.mutant == Some(Mutant::FreedAfterAttempts))
                && (!is_retry || self.mutant == Some(Mutant::FreedAfterRetry));
            if is_only {
                after.callers[which].doing = Doing::Free;
            } else {
                after.hear(which, request, Heard::Unknown);
            }
            to.push((step(which, "posts", "refused"), after));
        }
        if state.left.lost > 0 {
            let mut go_on = |mut after: State, how| {
                after.left.lost -= 1;
                if is_retry {
                    after.hear(which, request, Heard::Unknown);
                } else {
                    after.callers[which].doing = Doing::Post { is_retry: true };
                }
                to.push((step(which, "posts", how), after));
            };
            let mut made = *state;
            made.arrive(request);
            go_on(made, "a batch, and the answer is lost");
            let mut flying = *state;
            flying.flying[usize::from(request)] = true;
            go_on(flying, "no answer, and it has not arrived yet");
        }
    }

    /// The name is freed, unless somebody else has set out meanwhile.
    fn free(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let (Caller { seen, .. }, request) = (state.callers[which], self.requests[which]);
        self.write(state, which, Write::Free { seen }, to, |after, is_applied| {
            let stands = after.item;
            let is_open_since = stands.call == seen.call && stands.attempts == seen.attempts && stands.due;
            if is_applied {
                after.hear(which, request, Heard::Refused);
            } else if is_open_since {
                after.callers[which].seen = stands;
            } else {
                after.hear(which, request, Heard::Unknown);
            }
        });
    }

    /// A write, in every way in which it can end.
    fn write(
        &self,
        state: &State,
        which: usize,
        write: Write,
        to: &mut Steps<State>,
        then: impl Fn(&mut State, bool),
    ) {
        let mut answered = *state;
        let is_applied = answered.apply(write, self.mutant);
        then(&mut answered, is_applied);
        to.push((step(which, named(write), if is_applied { "" } else { "refused" }), answered));
        if state.left.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: State, how| {
            after.left.faults -= 1;
            after.hear(which, self.requests[which], Heard::Unknown);
            to.push((step(which, named(write), how), after));
        };
        let mut applied = *state;
        applied.apply(write, self.mutant);
        unanswered(applied, "applied, and no answer");
        if state.left.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.left.delays -= 1;
            delayed.delayed = Some(write);
            unanswered(delayed, "delayed");
        }
    }

    /// The poller, the network, and requests that arrive late.
    fn world(&self, state: &State, to: &mut Steps<State>) {
        let mut world = |after, what| to.push((Step { who: "the world", which: 1, what, how: "" }, after));
        if state.item.due && state.left.polls > 0 {
            let mut after = *state;
            after.left.polls -= 1;
            after.item.put_off();
            world(after, "the poller says that the outcome is not known");
        }
        let request = usize::from(state.item.request);
        if state.item.due && state.left.releases > 0 && state.made[request] == 0 && !state.flying[request] {
            let mut after = *state;
            after.left.releases -= 1;
            after.released[request] = true;
            after.apply(Write::Free { seen: state.item }, self.mutant);
            world(after, "an operator frees the name");
        }
        for request in [0, 1] {
            if state.flying[usize::from(request)] {
                let mut after = *state;
                after.flying[usize::from(request)] = false;
                after.arrive(request);
                world(after, "a request arrives late at Rightfoot");
            }
        }
        if let Some(write) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(write, self.mutant);
            world(after, named(write));
        }
    }
}

/// What a caller does with what Rightfoot has made, by the submission as it stands.
fn read_to_conclude(after: &mut State, which: usize, request: u8, batch: u8, mutant: Option<Mutant>) {
    let (stands, caller) = (after.item, after.callers[which]);
    let is_ours = stands.call == caller.seen.call || mutant == Some(Mutant::ConcludedWithoutCall);
    if stands.made == batch || (stands.made != 0 && mutant == Some(Mutant::ConcludedWithoutCall)) {
        after.hear(which, request, Heard::Made(stands.made));
    } else if is_ours && stands.made == 0 {
        after.callers[which].seen = stands;
        after.callers[which].doing = Doing::Conclude { batch };
    } else {
        after.callers[which].doing = Doing::Watch { batch };
    }
}

fn step(which: usize, what: &'static str, how: &'static str) -> Step {
    Step { who: "caller", which: which + 1, what, how }
}

fn named(write: Write) -> &'static str {
    match write {
        Write::Begin { .. } => "writes the submission",
        Write::SetOut { .. } => "sets out again",
        Write::Free { .. } => "frees the name",
        Write::Conclude { .. } => "writes down what it made",
        Write::Watch { .. } => "watches what it made all the same",
    }
}
