//! The alerts of two authorizers, which two events name: the items `effect#alert`, with their claims and the set of who
//! has published, and replays of either event.
//!
//! A worker claims both alerts, publishes those that are its own to publish, marks them, and then ends its event: done if
//! nothing of it is left, else put back. What leads an event to a worker is left out: it may be claimed whenever it is open.

pub(crate) mod alert;
mod configurations;

use alert::{Alert, Claimed, Mutant, Publisher, REPLAYS};

use super::explore::{Model, Step, Steps};

/// Attempts of the SDK at one call.
const ATTEMPTS: u8 = 2;

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alerts {
    /// Lost requests, lost answers, crashes.
    pub(crate) faults: u8,
    /// Of these, requests that are applied later.
    pub(crate) delays: u8,
    /// Entries that EventBridge answers as failed, or refuses, and has not published.
    pub(crate) failures: u8,
    /// Replays by an operator.
    pub(crate) replays: u8,
    /// What is left out of the code.
    pub(crate) mutant: Option<Mutant>,
}

/// How an event ended, or that it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum End {
    #[default]
    Open,
    Done,
    GivenUp,
}

/// An event's record, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Event {
    end: End,
    claim: u8,
    claim_over: bool,
    replay: u8,
}

/// A worker's place; the number is the alert's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    #[default]
    Nothing,
    Claim(u8),
    Publish(u8),
    Mark(u8),
    Remember(u8),
    End,
}

/// A worker. What it has claimed and published are bits by alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    doing: Doing,
    attempt: u8,
    by: Publisher,
    /// Which claims had run out when it made its own.
    over: [u8; 2],
    ours: u8,
    on_bus: u8,
    /// Something of its event is left.
    left: bool,
    /// EventBridge refused something of its event.
    refused: bool,
    /// A call failed: no more is published.
    failed: bool,
}

/// One request to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Claim { alert: u8, by: Publisher, over: u8 },
    Publish { alert: u8, by: Publisher },
    Mark { alert: u8, by: Publisher },
    Remember { alert: u8, by: Publisher },
    End { by: Publisher, end: End },
}

impl Request {
    fn by(self) -> Publisher {
        match self {
            Self::Claim { by, .. }
            | Self::Publish { by, .. }
            | Self::Mark { by, .. }
            | Self::Remember { by, .. }
            | Self::End { by, .. } => by,
        }
    }
}

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Applied,
    Refused,
    Claimed(Claimed),
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Left {
    faults: u8,
    delays: u8,
    failures: u8,
    replays: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    events: [Event; 2],
    alerts: [Alert; 2],
    workers: [Worker; 2],
    delayed: Option<Request>,
    left: Left,
    /// By alert, who has published it: bits as in the items.
    bus: [u8; 2],
    /// By alert, how often it may still be published first.
    first: [i8; 2],
    /// By alert, event and replay, how often it may still be published again.
    again: [[[i8; REPLAYS as usize]; 2]; 2],
}

impl Model for Alerts {
    type State = State;

    fn start(&self) -> State {
        let Self { faults, delays, failures, replays, .. } = *self;
        State {
            events: Default::default(),
            alerts: Default::default(),
            workers: Default::default(),
            delayed: None,
            left: Left { faults, delays, failures, replays },
            bus: [0; 2],
            first: [1; 2],
            again: Default::default(),
        }
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        let first = to.len();
        for which in 0..state.workers.len() {
            if state.workers[which].doing == Doing::Nothing {
                begin(state, which, to);
            } else {
                self.work(state, which, to);
                die(state, which, to);
            }
        }
        self.world(state, to);
        for (_, after) in &mut to[first..] {
            after.workers.sort_unstable();
        }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        if state.first.iter().any(|left| *left < 0) {
            return Some("P5: an alert is published by two events, and every outcome was known");
        }
        if state.again.iter().flatten().flatten().any(|left| *left < 0) {
            return Some("P10: one replay publishes an alert twice, and every outcome was known");
        }
        for (event, which) in state.events.iter().zip(0..).filter(|(event, _)| event.end == End::Done) {
            let tag = Publisher { event: which, replay: event.replay, claim: 0 }.tag();
            let is_told = |bus: &u8| if event.replay == 0 { *bus != 0 } else { *bus & tag != 0 };
            if !state.bus.iter().all(is_told) {
                return Some("P10: an event is done, and not all that it tells is published");
            }
        }
        let is_quiet = state.delayed.is_none() && state.workers.iter().all(|it| it.doing == Doing::Nothing);
        (is_quiet && !self.comes_to_its_end(*state)).then_some("P2: an event is put back for ever")
    }
}

impl State {
    fn apply(&mut self, request: Request, mutant: Option<Mutant>) -> Answer {
        match request {
            Request::Claim { alert, by, over } => {
                // Who has the event now claims its alerts later than whoever had it before.
                let is_younger = self.events[usize::from(by.event)].claim == by.claim;
                Answer::Claimed(self.alerts[usize::from(alert)].claim(by, over, is_younger, mutant))
            }
            Request::Publish { alert, by } => {
                *self.allowed(alert, by) -= 1;
                self.bus[usize::from(alert)] |= by.tag();
                Answer::Applied
            }
            Request::Mark { alert, by } => {
                if self.alerts[usize::from(alert)].mark(by, mutant) {
                    Answer::Applied
                } else {
                    Answer::Refused
                }
            }
            Request::Remember { alert, by } => {
                self.alerts[usize::from(alert)].remember(by, mutant);
                Answer::Applied
            }
            Request::End { by, end } => {
                let event = &mut self.events[usize::from(by.event)];
                if event.claim != by.claim {
                    return Answer::Refused;
                }
                *event = Event { end, claim: 0, claim_over: false, ..*event };
                Answer::Applied
            }
        }
    }

    /// How often a publisher may still publish an alert.
    fn allowed(&mut self, alert: u8, by: Publisher) -> &mut i8 {
        match by.replay {
            0 => &mut self.first[usize::from(alert)],
            replay => &mut self.again[usize::from(alert)][usize::from(by.event)][usize::from(replay - 1)],
        }
    }

    /// It was, or will be, published, and its publisher does not know.
    fn excuse(&mut self, request: Request) {
        if let Request::Publish { alert, by } = request {
            *self.allowed(alert, by) += 1;
        }
    }

    fn fresh_claim(&self) -> u8 {
        let delayed = self.delayed.map_or(0, |request| request.by().claim);
        let is_known = |claim| {
            delayed == claim
                || self.events.iter().any(|event| event.claim == claim)
                || self.alerts.iter().any(|alert| alert.claim == claim)
                || self.workers.iter().any(|worker| worker.by.claim == claim)
        };
        (1..u8::MAX).find(|claim| !is_known(*claim)).unwrap_or(u8::MAX)
    }
}

impl Worker {
    fn has(bits: u8, alert: u8) -> bool {
        bits & (1 << alert) != 0
    }

    /// On to the next thing that there is to do.
    fn go_on(&mut self) {
        self.attempt = 0;
        self.doing = match self.doing {
            Doing::Claim(0) => Doing::Claim(1),
            Doing::Claim(_) => self.publish_from(0),
            Doing::Publish(alert) => self.publish_from(alert + 1),
            Doing::Mark(alert) | Doing::Remember(alert) => self.mark_from(alert + 1),
            Doing::End | Doing::Nothing => Doing::Nothing,
        };
        if self.doing == Doing::Nothing {
            *self = Self::default();
        }
    }

    fn publish_from(&self, first: u8) -> Doing {
        let next = (first..2).find(|alert| Self::has(self.ours, *alert) && !self.failed);
        next.map_or_else(|| self.mark_from(0), Doing::Publish)
    }

    fn mark_from(&self, first: u8) -> Doing {
        (first..2).find(|alert| Self::has(self.on_bus, *alert)).map_or(Doing::End, Doing::Mark)
    }

    /// The call that it makes next.
    fn request(&self) -> Option<Request> {
        let by = self.by;
        Some(match self.doing {
            Doing::Nothing => return None,
            Doing::Claim(alert) => Request::Claim { alert, by, over: self.over[usize::from(alert)] },
            Doing::Publish(alert) => Request::Publish { alert, by },
            Doing::Mark(alert) => Request::Mark { alert, by },
            Doing::Remember(alert) => Request::Remember { alert, by },
            Doing::End if self.left || self.failed => Request::End { by, end: End::Open },
            Doing::End if self.refused => Request::End { by, end: End::GivenUp },
            Doing::End => Request::End { by, end: End::Done },
        })
    }

    /// Hears what became of the call.
    fn hear(&mut self, answer: Option<Answer>) {
        match (self.doing, answer) {
            (Doing::Claim(alert), Some(Answer::Claimed(Claimed::Ours))) => self.ours |= 1 << alert,
            (Doing::Claim(_), Some(Answer::Claimed(Claimed::Taken))) => self.left = true,
            (Doing::Publish(alert), Some(_)) => self.on_bus |= 1 << alert,
            (Doing::Publish(_), None) => self.left = true,
            (Doing::Mark(alert), Some(Answer::Refused)) => {
                (self.doing, self.attempt) = (Doing::Remember(alert), 0);
                return;
            }
            (_, None) => self.failed = true,
            (_, Some(_)) => {}
        }
        self.go_on();
    }
}

impl Alerts {
    /// Whether every event ends if nothing goes wrong from now on.
    fn comes_to_its_end(&self, mut state: State) -> bool {
        for _ in 0..2 {
            state.events.iter_mut().for_each(|event| event.claim_over = event.claim != 0);
            state.alerts.iter_mut().for_each(|alert| alert.claim_over = alert.claim != 0);
            let mut begun = Vec::new();
            begin(&state, 0, &mut begun);
            let Some((_, first)) = begun.pop() else { return true };
            state = first;
            while let Some(request) = state.workers[0].request() {
                let answer = state.apply(request, self.mutant);
                state.workers[0].hear(Some(answer));
            }
        }
        state.events.iter().all(|event| event.end != End::Open)
    }

    fn work(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let worker = state.workers[which];
        let Some(request) = worker.request() else { return };
        let mut answered = *state;
        let answer = answered.apply(request, self.mutant);
        answered.workers[which].hear(Some(answer));
        to.push((step(which, worker.doing, how(answer)), answered));
        if matches!(worker.doing, Doing::Publish(_)) && state.left.failures > 0 {
            let mut after = *state;
            after.left.failures -= 1;
            after.workers[which].hear(None);
            to.push((step(which, worker.doing, "failed"), after));
            let mut after = *state;
            after.left.failures -= 1;
            after.workers[which].refused = true;
            after.workers[which].go_on();
            to.push((step(which, worker.doing, "refused by EventBridge"), after));
        }
        if state.left.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: State, is_applied: bool, how| {
            after.left.faults -= 1;
            let it = &mut after.workers[which];
            it.attempt += 1;
            if it.attempt == ATTEMPTS {
                it.hear(None);
                after.unmarked(worker, is_applied);
            }
            to.push((step(which, worker.doing, how), after));
        };
        unanswered(*state, false, "lost");
        let mut applied = *state;
        let is_applied = applied.apply(request, self.mutant) == Answer::Applied;
        applied.excuse(request);
        unanswered(applied, is_applied, "applied, and its answer lost");
        if state.left.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.left.delays -= 1;
            delayed.delayed = Some(request);
            delayed.excuse(request);
            unanswered(delayed, false, "delayed");
        }
    }

    /// Time, the network, and an operator.
    fn world(&self, state: &State, to: &mut Steps<State>) {
        let mut world = |after, what| to.push((Step { who: "the world", which: 1, what, how: "" }, after));
        let is_held = |claim| state.workers.iter().any(|worker| worker.by.claim == claim);
        for which in 0..2 {
            let Event { claim, claim_over, end, replay } = state.events[which];
            if claim != 0 && !claim_over && !is_held(claim) {
                let mut after = *state;
                after.events[which].claim_over = true;
                world(after, ["the claim of event A runs out", "the claim of event B runs out"][which]);
            }
            if end == End::Done && replay < REPLAYS && state.left.replays > 0 {
                let mut after = *state;
                after.left.replays -= 1;
                after.events[which] = Event { replay: replay + 1, ..Event::default() };
                for alert in 0..2 {
                    after.again[alert][which][usize::from(replay)] += 1;
                }
                world(after, ["event A is replayed", "event B is replayed"][which]);
            }
            let Alert { claim, claim_over, .. } = state.alerts[which];
            if claim != 0 && !claim_over && !is_held(claim) {
                let mut after = *state;
                after.alerts[which].claim_over = true;
                world(after, ["the claim of alert X runs out", "the claim of alert Y runs out"][which]);
            }
        }
        if let Some(request) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(request, self.mutant);
            world(after, "a delayed request arrives");
        }
    }
}

impl State {
    /// A worker gives a mark up: what it published may not be known.
    fn unmarked(&mut self, worker: Worker, is_applied: bool) {
        if let (Doing::Mark(alert) | Doing::Remember(alert), false) = (worker.doing, is_applied) {
            *self.allowed(alert, worker.by) += 1;
        }
    }
}

/// A worker claims an event that is open.
fn begin(state: &State, which: usize, to: &mut Steps<State>) {
    for event in 0..2_u8 {
        let Event { end, claim, claim_over, replay } = state.events[usize::from(event)];
        if end != End::Open || (claim != 0 && !claim_over) {
            continue;
        }
        let mut after = *state;
        let by = Publisher { event, replay, claim: state.fresh_claim() };
        let its = &mut after.events[usize::from(event)];
        (its.claim, its.claim_over) = (by.claim, false);
        let over = state.alerts.map(|alert| if alert.claim_over { alert.claim } else { 0 });
        after.workers[which] = Worker { doing: Doing::Claim(0), by, over, ..Worker::default() };
        let what = ["claims event A", "claims event B"][usize::from(event)];
        to.push((Step { who: "worker", which: which + 1, what, how: "" }, after));
    }
}

fn die(state: &State, which: usize, to: &mut Steps<State>) {
    if state.left.faults == 0 {
        return;
    }
    let mut after = *state;
    after.left.faults -= 1;
    let worker = state.workers[which];
    // What is on the bus and not marked yet.
    let first = match worker.doing {
        Doing::Publish(_) => 0,
        Doing::Mark(alert) | Doing::Remember(alert) => alert,
        Doing::Nothing | Doing::Claim(_) | Doing::End => 2,
    };
    for alert in (first..2).filter(|alert| Worker::has(worker.on_bus, *alert)) {
        *after.allowed(alert, worker.by) += 1;
    }
    after.workers[which] = Worker::default();
    to.push((Step { who: "worker", which: which + 1, what: "dies", how: "" }, after));
}

fn step(which: usize, doing: Doing, how: &'static str) -> Step {
    let named = |names: [&'static str; 2], alert: u8| names[usize::from(alert)];
    let what = match doing {
        Doing::Nothing => "nothing",
        Doing::Claim(alert) => named(["claims alert X", "claims alert Y"], alert),
        Doing::Publish(alert) => named(["publishes alert X", "publishes alert Y"], alert),
        Doing::Mark(alert) => named(["marks alert X", "marks alert Y"], alert),
        Doing::Remember(alert) => named(["is remembered at alert X", "is remembered at alert Y"], alert),
        Doing::End => "writes down what became of its event",
    };
    Step { who: "worker", which: which + 1, what, how }
}

fn how(answer: Answer) -> &'static str {
    match answer {
        Answer::Applied => "",
        Answer::Refused => "refused",
        Answer::Claimed(Claimed::Ours) => "ours",
        Answer::Claimed(Claimed::Published) => "published",
        Answer::Claimed(Claimed::Taken) => "taken",
    }
}
