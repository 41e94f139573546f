//! What each process does next.

use super::{
    Answer, Doing, Due, Event, Handler, Mutant, Process, RECEIVES, Relay, Request, State, Steps, Worker,
    Write, step,
};

/// Attempts of the SDK at one call.
const ATTEMPTS: u8 = 2;

/// Whose call it is.
#[derive(Clone, Copy)]
pub(super) enum Who {
    Handler(usize),
    Relay(usize),
    Worker(usize),
    Operator,
}

impl Who {
    fn named(self) -> (&'static str, usize) {
        match self {
            Self::Handler(which) => ("handler", which),
            Self::Relay(which) => ("relay", which),
            Self::Worker(which) => ("worker", which),
            Self::Operator => ("operator", 0),
        }
    }

    fn end_call(self, state: &mut State) {
        let (attempt, id) = self.attempt(state);
        (*attempt, *id) = (0, 0);
    }

    /// Which attempt at its call is next, and that call's id.
    fn attempt(self, state: &mut State) -> (&mut u8, &mut u8) {
        match self {
            Self::Handler(which) => state.handlers[which].attempt(),
            Self::Relay(which) => state.relays[which].attempt(),
            Self::Worker(which) => state.workers[which].attempt(),
            Self::Operator => state.operator.attempt(),
        }
    }
}

impl<P> Process<P> {
    fn attempt(&mut self) -> (&mut u8, &mut u8) {
        (&mut self.attempt, &mut self.id)
    }
}

impl Event {
    /// One attempt at a call, in every way in which it can end. `then` hears the answer, or that there was none.
    pub(super) fn call(
        &self,
        state: &State,
        who: Who,
        request: Request,
        to: &mut Steps<State>,
        then: impl Fn(&mut State, Option<Answer>),
    ) {
        let ((name, which), what) = (who.named(), named(request));
        let mut start = *state;
        let (_, id) = who.attempt(&mut start);
        if *id == 0 {
            *id = state.fresh_id();
        }
        let id = *id;
        let mut answered = start;
        let answer = answered.apply(request, id, self.mutant);
        who.end_call(&mut answered);
        then(&mut answered, Some(answer));
        to.push((step(name, which, what, how(answer)), answered));
        if state.left.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: State, how| {
            after.left.faults -= 1;
            let (attempt, _) = who.attempt(&mut after);
            *attempt += 1;
            if *attempt == ATTEMPTS {
                who.end_call(&mut after);
                then(&mut after, None);
            }
            to.push((step(name, which, what, how), after));
        };
        unanswered(start, "lost");
        let mut applied = start;
        applied.apply(request, id, self.mutant);
        applied.excuse(request);
        unanswered(applied, "applied, and its answer lost");
        if state.left.delays > 0 && state.delayed.is_none() {
            let mut delayed = start;
            delayed.left.delays -= 1;
            delayed.delayed = Some((request, id));
            delayed.excuse(request);
            unanswered(delayed, "delayed");
        }
    }

    pub(super) fn handler(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let who = Who::Handler(which);
        let delivery = if which == 0 { 1 } else { 2 };
        let go = |state: &mut State, at| state.handlers[which].at = at;
        match state.handlers[which].at {
            Handler::Waits => {
                let mut after = *state;
                go(&mut after, Handler::Put);
                to.push((step("handler", which, "has a delivery", ""), after));
            }
            Handler::Put => {
                let put = Request::Write(Write::Put { delivery });
                self.call(state, who, put, to, |state, answer| match answer {
                    Some(Answer::Applied) => go(state, Handler::Send),
                    Some(_) => go(state, Handler::Accepted),
                    None => go(state, Handler::Gone),
                });
            }
            Handler::Send => self.call(state, who, Request::Send, to, |state, answer| {
                go(state, if answer.is_some() { Handler::Mark } else { Handler::Accepted });
            }),
            Handler::Mark => {
                let mark = Request::Write(Write::Mark { rev: 1 });
                self.call(state, who, mark, to, |state, answer| {
                    if answer.is_none() {
                        state.unmarked(1);
                    }
                    go(state, Handler::Accepted);
                });
            }
            Handler::Accepted | Handler::Gone => {}
        }
        if state.handlers[which].is_at_work() && state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            if state.handlers[which].at == Handler::Mark {
                after.unmarked(1);
            }
            after.handlers[which] = Process { at: Handler::Gone, ..Process::default() };
            to.push((step("handler", which, "dies", ""), after));
        }
    }

    pub(super) fn relay(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let who = Who::Relay(which);
        let go = |state: &mut State, at| state.relays[which].at = at;
        let on = |state: &mut State, answer: Option<Answer>, at| {
            state.relays[which].at = if answer == Some(Answer::Applied) { at } else { Relay::Idle };
        };
        match state.relays[which].at {
            Relay::Idle if state.record.due == Due::Now => {
                let mut after = *state;
                go(&mut after, Relay::Claim { rev: state.record.rev });
                to.push((step("relay", which, "finds the record due", ""), after));
            }
            Relay::Idle => {}
            Relay::Claim { rev } => {
                let claim = Request::Write(Write::Relay { rev });
                self.call(state, who, claim, to, |state, answer| {
                    on(state, answer, Relay::Send { rev: rev + 1 })
                });
            }
            Relay::Send { rev } => {
                self.call(state, who, Request::Send, to, |state, answer| {
                    on(state, answer, Relay::Mark { rev })
                });
                if state.left.refusals > 0 {
                    let mut after = *state;
                    after.left.refusals -= 1;
                    after.relays[which] = Process { at: Relay::Keep { rev }, ..Process::default() };
                    to.push((
                        step("relay", which, "sends", "SQS refuses the message, once too often"),
                        after,
                    ));
                }
            }
            Relay::Mark { rev } => {
                let mark = Request::Write(Write::Mark { rev });
                self.call(state, who, mark, to, |state, answer| {
                    if answer.is_none() {
                        state.unmarked(rev);
                    }
                    go(state, Relay::Idle);
                });
            }
            Relay::Keep { rev } => self.call(state, who, Request::Keep, to, |state, answer| {
                let over = state.record.over();
                on(state, answer, Relay::GiveUp { rev, over });
            }),
            Relay::GiveUp { rev, over } => {
                let give_up = Request::Write(Write::GiveUp { rev, over });
                self.call(state, who, give_up, to, |state, _| go(state, Relay::Idle));
            }
        }
        if state.relays[which].at != Relay::Idle && state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            if let Relay::Mark { rev } = state.relays[which].at {
                after.unmarked(rev);
            }
            after.relays[which] = Process::default();
            to.push((step("relay", which, "dies", ""), after));
        }
    }

    pub(super) fn worker(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let Process { at: worker @ Worker { doing, claim, replay, .. }, .. } = state.workers[which];
        let who = Who::Worker(which);
        let go = |state: &mut State, doing| state.workers[which].at.doing = doing;
        match doing {
            Doing::Nothing => receive(state, which, to),
            Doing::Claim { over } => {
                let wanted = Request::Write(Write::Claim { claim, over });
                self.call(state, who, wanted, to, |state, answer| match answer {
                    Some(Answer::Ours { replay }) => {
                        state.workers[which].at = Worker { doing: Doing::Decide, replay, ..worker };
                    }
                    Some(Answer::Over) => acknowledge(state, which),
                    Some(_) | None => give_back(state, which),
                });
            }
            Doing::Decide => self.decide(state, which, to),
            Doing::Publish => self.call(state, who, Request::Publish { replay }, to, |state, answer| {
                go(state, if answer.is_some() { Doing::Done } else { Doing::PutBack });
            }),
            Doing::Keep => self.call(state, who, Request::Keep, to, |state, answer| match answer {
                Some(_) if self.mutant == Some(Mutant::GivenUpBeforeItem) => acknowledge(state, which),
                Some(_) => go(state, Doing::Quarantine),
                None => give_back(state, which),
            }),
            Doing::Done => self.end(state, which, Write::Done { claim }, to),
            Doing::PutBack => self.end(state, which, Write::PutBack { claim }, to),
            Doing::Quarantine => self.end(state, which, Write::Quarantine { claim }, to),
        }
        if doing != Doing::Nothing && state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            after.effects[usize::from(replay)] += i8::from(doing == Doing::Done);
            give_back(&mut after, which);
            to.push((step("worker", which, "dies", ""), after));
        }
    }

    /// The effect is possible; or not yet; or never.
    fn decide(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let mut go = |mut after: State, doing, how| {
            after.workers[which].at.doing = doing;
            to.push((step("worker", which, "looks whether its effect can happen", how), after));
        };
        go(*state, Doing::Publish, "it can");
        if state.left.early > 0 {
            let mut after = *state;
            after.left.early -= 1;
            go(after, Doing::PutBack, "not yet");
        }
        if state.left.never > 0 {
            let mut after = *state;
            after.left.never -= 1;
            let first =
                if self.mutant == Some(Mutant::GivenUpBeforeItem) { Doing::Quarantine } else { Doing::Keep };
            go(after, first, "never");
        }
    }

    /// A worker writes down what became of the event.
    fn end(&self, state: &State, which: usize, write: Write, to: &mut Steps<State>) {
        let Worker { replay, doing, .. } = state.workers[which].at;
        let keeps_after = doing == Doing::Quarantine && self.mutant == Some(Mutant::GivenUpBeforeItem);
        self.call(state, Who::Worker(which), Request::Write(write), to, |state, answer| match answer {
            Some(Answer::Applied) if keeps_after => state.workers[which].at.doing = Doing::Keep,
            Some(Answer::Applied) => acknowledge(state, which),
            Some(_) => give_back(state, which),
            None => {
                // It had its effect, and perhaps that stands nowhere.
                state.effects[usize::from(replay)] += i8::from(doing == Doing::Done);
                give_back(state, which);
            }
        });
    }

    /// Time, the network, and the queue.
    pub(super) fn world(&self, state: &State, to: &mut Steps<State>) {
        let mut world = |after, what| to.push((step("the world", 0, what, ""), after));
        let rev = state.record.rev;
        let is_in_hand = (rev == 1 && state.handlers.iter().any(Process::is_at_work))
            || state.relays.iter().any(|relay| relay.at.claimed() == Some(rev));
        if state.record.due == Due::Later && (self.slow || !is_in_hand) {
            let mut after = *state;
            after.record.due = Due::Now;
            world(after, "the record is due");
        }
        let claim = state.record.claim;
        let is_held = state.workers.iter().any(|it| it.at.doing != Doing::Nothing && it.at.claim == claim);
        if claim != 0 && !state.record.claim_over && (self.skew || !is_held) {
            let mut after = *state;
            after.record.claim_over = true;
            world(after, "the worker's claim runs out");
        }
        if let Some((request, id)) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(request, id, self.mutant);
            // Nobody waits for this answer.
            after.unheard = state.unheard;
            world(after, named(request));
        }
        for receives in 0..RECEIVES {
            if state.left.losses > 0 && state.queue[receives] > 0 {
                let mut after = *state;
                after.left.losses -= 1;
                after.queue[receives] -= 1;
                after.was_lost = true;
                world(after, "the queue loses a message");
            }
        }
        if state.left.losses > 0 && state.dead > 0 {
            let mut after = *state;
            after.left.losses -= 1;
            after.dead -= 1;
            after.was_lost = true;
            world(after, "a dead letter ages out");
        }
    }
}

impl Relay {
    fn claimed(self) -> Option<u8> {
        match self {
            Self::Idle | Self::Claim { .. } => None,
            Self::Send { rev } | Self::Mark { rev } | Self::Keep { rev } | Self::GiveUp { rev, .. } => {
                Some(rev)
            }
        }
    }
}

impl State {
    /// An id that no call has, and no write.
    fn fresh_id(&self) -> u8 {
        let used = self.ids();
        (1..u8::MAX).find(|id| !used.contains(id)).unwrap_or(u8::MAX)
    }

    /// A claim's name that nobody knows any more.
    fn fresh_claim(&self) -> u8 {
        let delayed = if let Some((
            Request::Write(
                Write::Claim { claim, .. }
                | Write::Done { claim }
                | Write::PutBack { claim }
                | Write::Quarantine { claim },
            ),
            _,
        )) = self.delayed
        {
            claim
        } else {
            0
        };
        let known = [self.record.claim, delayed];
        let is_known = |claim| {
            known.contains(&claim)
                || self.workers.iter().any(|it| it.at.doing != Doing::Nothing && it.at.claim == claim)
        };
        (1..u8::MAX).find(|claim| !is_known(*claim)).unwrap_or(u8::MAX)
    }
}

/// A worker is given a message, by itself or beside another one.
fn receive(state: &State, which: usize, to: &mut Steps<State>) {
    for (received, receives) in (0..RECEIVES).zip(1..) {
        if state.queue[received] == 0 {
            continue;
        }
        let mut after = *state;
        let (claim, over) = (state.fresh_claim(), state.record.over());
        after.workers[which] = Process {
            at: Worker { doing: Doing::Claim { over }, receives, claim, replay: 0 },
            ..Process::default()
        };
        if state.left.twice > 0 {
            let mut twice = after;
            twice.left.twice -= 1;
            to.push((
                step("worker", which, "is given a message", "which another one may be given, too"),
                twice,
            ));
        }
        after.queue[received] -= 1;
        to.push((step("worker", which, "is given a message", ""), after));
    }
}

/// The message is taken off the queue.
fn acknowledge(state: &mut State, which: usize) {
    state.workers[which] = Process::default();
}

/// The message comes again, until it is a dead letter.
fn give_back(state: &mut State, which: usize) {
    let receives = usize::from(state.workers[which].at.receives);
    match state.queue.get_mut(receives) {
        Some(messages) => *messages += 1,
        None => state.dead += 1,
    }
    acknowledge(state, which);
}

fn named(request: Request) -> &'static str {
    match request {
        Request::Write(Write::Put { .. }) => "records the event",
        Request::Write(Write::Mark { .. }) => "marks the record",
        Request::Write(Write::Relay { .. }) => "claims the record",
        Request::Write(Write::GiveUp { .. } | Write::Quarantine { .. }) => "gives the record up",
        Request::Write(Write::Claim { .. }) => "claims the event",
        Request::Write(Write::Done { .. }) => "writes down that it is done",
        Request::Write(Write::PutBack { .. }) => "puts the event back",
        Request::Write(Write::Again { .. }) => "makes the record due again",
        Request::Keep => "keeps the item in quarantine",
        Request::Close { .. } => "closes the item",
        Request::Send => "sends",
        Request::Publish { .. } => "publishes",
        Request::Redrive => "sends the dead letter",
        Request::Forget { .. } => "deletes the dead letter",
    }
}

fn how(answer: Answer) -> &'static str {
    match answer {
        Answer::Applied => "",
        Answer::Refused => "refused",
        Answer::Duplicate => "it is recorded",
        Answer::Ours { .. } => "ours",
        Answer::Over => "over",
        Answer::Taken => "taken",
        Answer::NotRecorded => "not recorded",
    }
}
