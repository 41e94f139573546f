//! Steps of the handlers, relays and workers, and of the environment.

use super::{
    AwsRequest, DueState, EventModel, EventModelState, HandlerStep, MAX_RECEIVES, ModelProcess, RecordMutant,
    RecordWrite, RelayStep, Steps, WorkerPhase, WorkerState, WriteResult, step,
};

/// The SDK's attempts at one call.
const ATTEMPTS: u8 = 2;

/// The process that makes a call.
#[derive(Clone, Copy)]
pub(super) enum Actor {
    Handler(usize),
    Relay(usize),
    Worker(usize),
    Operator,
}

impl Actor {
    fn actor_name(self) -> (&'static str, usize) {
        match self {
            Self::Handler(which) => ("handler", which),
            Self::Relay(which) => ("relay", which),
            Self::Worker(which) => ("worker", which),
            Self::Operator => ("operator", 0),
        }
    }

    fn end_call(self, state: &mut EventModelState) {
        let (attempt, id) = self.attempt(state);
        (*attempt, *id) = (0, 0);
    }

    /// The number of attempts made at its current call, and that call's id.
    fn attempt(self, state: &mut EventModelState) -> (&mut u8, &mut u8) {
        match self {
            Self::Handler(which) => state.handlers[which].attempt(),
            Self::Relay(which) => state.relays[which].attempt(),
            Self::Worker(which) => state.workers[which].attempt(),
            Self::Operator => state.operator.attempt(),
        }
    }
}

impl<P> ModelProcess<P> {
    fn attempt(&mut self) -> (&mut u8, &mut u8) {
        (&mut self.attempt, &mut self.id)
    }
}

impl EventModel {
    /// Adds one attempt at a call, in every way in which it can end. `then` gets the result, or `None` after an
    /// unanswered last attempt.
    pub(super) fn call(
        &self,
        state: &EventModelState,
        who: Actor,
        request: AwsRequest,
        to: &mut Steps<EventModelState>,
        then: impl Fn(&mut EventModelState, Option<WriteResult>),
    ) {
        let ((name, which), what) = (who.actor_name(), request_name(request));
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
        to.push((step(name, which, what, result_name(answer)), answered));
        if state.budget.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: EventModelState, how| {
            after.budget.faults -= 1;
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
        applied.allow_repeat(request);
        unanswered(applied, "applied, and its answer lost");
        if state.budget.delays > 0 && state.delayed.is_none() {
            let mut delayed = start;
            delayed.budget.delays -= 1;
            delayed.delayed = Some((request, id));
            delayed.allow_repeat(request);
            unanswered(delayed, "delayed");
        }
    }

    pub(super) fn handler(&self, state: &EventModelState, which: usize, to: &mut Steps<EventModelState>) {
        let who = Actor::Handler(which);
        let delivery = if which == 0 { 1 } else { 2 };
        let go = |state: &mut EventModelState, at| state.handlers[which].state = at;
        match state.handlers[which].state {
            HandlerStep::Idle => {
                let mut after = *state;
                go(&mut after, HandlerStep::Put);
                to.push((step("handler", which, "has a delivery", ""), after));
            }
            HandlerStep::Put => {
                let put = AwsRequest::Write(RecordWrite::Put { delivery });
                self.call(state, who, put, to, |state, answer| match answer {
                    Some(WriteResult::Applied) => go(state, HandlerStep::Send),
                    Some(_) => go(state, HandlerStep::CountDuplicate),
                    None => go(state, HandlerStep::Dead),
                });
            }
            HandlerStep::CountDuplicate => {
                let count = AwsRequest::Write(RecordWrite::CountDuplicate);
                self.call(state, who, count, to, |state, _| go(state, HandlerStep::Accepted));
            }
            HandlerStep::Send => self.call(state, who, AwsRequest::Send, to, |state, answer| {
                go(state, if answer.is_some() { HandlerStep::Mark } else { HandlerStep::Accepted });
            }),
            HandlerStep::Mark => {
                let mark = AwsRequest::Write(RecordWrite::Mark { rev: 1 });
                self.call(state, who, mark, to, |state, answer| {
                    if answer.is_none() {
                        state.allow_unmarked_repeat(1);
                    }
                    go(state, HandlerStep::Accepted);
                });
            }
            HandlerStep::Accepted | HandlerStep::Dead => {}
        }
        if state.handlers[which].is_running() && state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            if state.handlers[which].state == HandlerStep::Mark {
                after.allow_unmarked_repeat(1);
            }
            after.handlers[which] = ModelProcess { state: HandlerStep::Dead, ..ModelProcess::default() };
            to.push((step("handler", which, "dies", ""), after));
        }
    }

    pub(super) fn relay(&self, state: &EventModelState, which: usize, to: &mut Steps<EventModelState>) {
        let who = Actor::Relay(which);
        let go = |state: &mut EventModelState, at| state.relays[which].state = at;
        let on = |state: &mut EventModelState, answer: Option<WriteResult>, at| {
            state.relays[which].state =
                if answer == Some(WriteResult::Applied) { at } else { RelayStep::Idle };
        };
        match state.relays[which].state {
            RelayStep::Idle if state.record.due == DueState::Now => {
                let mut after = *state;
                go(&mut after, RelayStep::Claim { rev: state.record.rev });
                to.push((step("relay", which, "finds the record due", ""), after));
            }
            RelayStep::Idle => {}
            RelayStep::Claim { rev } => {
                let claim = AwsRequest::Write(RecordWrite::Relay { rev });
                self.call(state, who, claim, to, |state, answer| {
                    on(state, answer, RelayStep::Send { rev: rev + 1 })
                });
            }
            RelayStep::Send { rev } => {
                self.call(state, who, AwsRequest::Send, to, |state, answer| {
                    on(state, answer, RelayStep::Mark { rev })
                });
                if state.budget.queue_rejections > 0 {
                    let mut after = *state;
                    after.budget.queue_rejections -= 1;
                    after.relays[which] = ModelProcess {
                        state: RelayStep::StoreQuarantined { rev },
                        ..ModelProcess::default()
                    };
                    to.push((
                        step("relay", which, "sends", "SQS refuses the message, once too often"),
                        after,
                    ));
                }
            }
            RelayStep::Mark { rev } => {
                let mark = AwsRequest::Write(RecordWrite::Mark { rev });
                self.call(state, who, mark, to, |state, answer| {
                    if answer.is_none() {
                        state.allow_unmarked_repeat(rev);
                    }
                    go(state, RelayStep::Idle);
                });
            }
            RelayStep::StoreQuarantined { rev } => {
                self.call(state, who, AwsRequest::StoreQuarantined, to, |state, answer| {
                    let over = state.record.expired_claim();
                    on(state, answer, RelayStep::MarkQuarantined { rev, expired_claim: over });
                })
            }
            RelayStep::MarkQuarantined { rev, expired_claim: over } => {
                let give_up = AwsRequest::Write(RecordWrite::QuarantineByRelay { rev, expired_claim: over });
                self.call(state, who, give_up, to, |state, _| go(state, RelayStep::Idle));
            }
        }
        if state.relays[which].state != RelayStep::Idle && state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            if let RelayStep::Mark { rev } = state.relays[which].state {
                after.allow_unmarked_repeat(rev);
            }
            after.relays[which] = ModelProcess::default();
            to.push((step("relay", which, "dies", ""), after));
        }
    }

    pub(super) fn worker(&self, state: &EventModelState, which: usize, to: &mut Steps<EventModelState>) {
        let ModelProcess { state: worker @ WorkerState { phase: doing, claim, replay, .. }, .. } =
            state.workers[which];
        let who = Actor::Worker(which);
        let go = |state: &mut EventModelState, doing| state.workers[which].state.phase = doing;
        match doing {
            WorkerPhase::Idle => receive(state, which, to),
            WorkerPhase::Claim { expired_claim: over } => {
                let wanted = AwsRequest::Write(RecordWrite::Claim { claim, expired_claim: over });
                self.call(state, who, wanted, to, |state, answer| match answer {
                    Some(WriteResult::Acquired { replay }) => {
                        state.workers[which].state =
                            WorkerState { phase: WorkerPhase::Decide, replay, ..worker };
                    }
                    Some(WriteResult::AlreadyDone) => acknowledge(state, which),
                    Some(_) | None => return_message(state, which),
                });
            }
            WorkerPhase::Decide => self.decide(state, which, to),
            WorkerPhase::Publish => {
                self.call(state, who, AwsRequest::Publish { replay }, to, |state, answer| {
                    go(state, if answer.is_some() { WorkerPhase::Done } else { WorkerPhase::Requeue });
                })
            }
            WorkerPhase::StoreQuarantined => {
                self.call(state, who, AwsRequest::StoreQuarantined, to, |state, answer| match answer {
                    Some(_) if self.mutant == Some(RecordMutant::QuarantinedBeforeItem) => {
                        acknowledge(state, which)
                    }
                    Some(_) => go(state, WorkerPhase::MarkQuarantined),
                    None => return_message(state, which),
                })
            }
            WorkerPhase::Done => self.end(state, which, RecordWrite::Done { claim }, to),
            WorkerPhase::Requeue => self.end(state, which, RecordWrite::Requeue { claim }, to),
            WorkerPhase::MarkQuarantined => {
                self.end(state, which, RecordWrite::QuarantineByWorker { claim }, to)
            }
        }
        if doing != WorkerPhase::Idle && state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            after.effects_allowed[usize::from(replay)] += i8::from(doing == WorkerPhase::Done);
            return_message(&mut after, which);
            to.push((step("worker", which, "dies", ""), after));
        }
    }

    /// The effect is possible, not possible yet, or impossible.
    fn decide(&self, state: &EventModelState, which: usize, to: &mut Steps<EventModelState>) {
        let mut go = |mut after: EventModelState, doing, how| {
            after.workers[which].state.phase = doing;
            to.push((step("worker", which, "decides whether its effect is possible", how), after));
        };
        go(*state, WorkerPhase::Publish, "possible");
        if state.budget.not_ready > 0 {
            let mut after = *state;
            after.budget.not_ready -= 1;
            go(after, WorkerPhase::Requeue, "not yet");
        }
        if state.budget.impossible > 0 {
            let mut after = *state;
            after.budget.impossible -= 1;
            let first = if self.mutant == Some(RecordMutant::QuarantinedBeforeItem) {
                WorkerPhase::MarkQuarantined
            } else {
                WorkerPhase::StoreQuarantined
            };
            go(after, first, "impossible");
        }
    }

    /// A worker stores the event's outcome.
    fn end(
        &self,
        state: &EventModelState,
        which: usize,
        write: RecordWrite,
        to: &mut Steps<EventModelState>,
    ) {
        let WorkerState { replay, phase: doing, .. } = state.workers[which].state;
        let keeps_after =
            doing == WorkerPhase::MarkQuarantined && self.mutant == Some(RecordMutant::QuarantinedBeforeItem);
        self.call(state, Actor::Worker(which), AwsRequest::Write(write), to, |state, answer| match answer {
            Some(WriteResult::Applied) if keeps_after => {
                state.workers[which].state.phase = WorkerPhase::StoreQuarantined
            }
            Some(WriteResult::Applied) => acknowledge(state, which),
            Some(_) => return_message(state, which),
            None => {
                // The effect happened, and its record may not have been written.
                state.effects_allowed[usize::from(replay)] += i8::from(doing == WorkerPhase::Done);
                return_message(state, which);
            }
        });
    }

    /// Steps of time, the network, and the queue.
    pub(super) fn environment(&self, state: &EventModelState, to: &mut Steps<EventModelState>) {
        let mut world = |after, what| to.push((step("environment", 0, what, ""), after));
        let rev = state.record.rev;
        let is_in_hand = (rev == 1 && state.handlers.iter().any(ModelProcess::is_active))
            || state.relays.iter().any(|relay| relay.state.claimed() == Some(rev));
        if state.record.due == DueState::Later && (self.slow_processes || !is_in_hand) {
            let mut after = *state;
            after.record.due = DueState::Now;
            world(after, "the record is due");
        }
        let claim = state.record.claim;
        let is_held =
            state.workers.iter().any(|it| it.state.phase != WorkerPhase::Idle && it.state.claim == claim);
        if claim != 0 && !state.record.claim_expired && (self.clock_skew || !is_held) {
            let mut after = *state;
            after.record.claim_expired = true;
            world(after, "the worker's claim runs out");
        }
        if let Some((request, id)) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(request, id, self.mutant);
            // No process waits for this answer.
            after.false_failure = state.false_failure;
            world(after, request_name(request));
        }
        for receives in 0..MAX_RECEIVES {
            if state.budget.losses > 0 && state.queue[receives] > 0 {
                let mut after = *state;
                after.budget.losses -= 1;
                after.queue[receives] -= 1;
                after.was_message_lost = true;
                world(after, "the queue loses a message");
            }
        }
        if state.budget.losses > 0 && state.dead_letters > 0 {
            let mut after = *state;
            after.budget.losses -= 1;
            after.dead_letters -= 1;
            after.was_message_lost = true;
            world(after, "a dead letter ages out");
        }
    }
}

impl RelayStep {
    fn claimed(self) -> Option<u8> {
        match self {
            Self::Idle | Self::Claim { .. } => None,
            Self::Send { rev }
            | Self::Mark { rev }
            | Self::StoreQuarantined { rev }
            | Self::MarkQuarantined { rev, .. } => Some(rev),
        }
    }
}

impl EventModelState {
    /// An id that no call in progress has.
    fn fresh_id(&self) -> u8 {
        let used = self.ids();
        (1..u8::MAX).find(|id| !used.contains(id)).unwrap_or(u8::MAX)
    }

    /// A claim number that is not in use.
    fn fresh_claim(&self) -> u8 {
        let delayed = if let Some((
            AwsRequest::Write(
                RecordWrite::Claim { claim, .. }
                | RecordWrite::Done { claim }
                | RecordWrite::Requeue { claim }
                | RecordWrite::QuarantineByWorker { claim },
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
                || self
                    .workers
                    .iter()
                    .any(|it| it.state.phase != WorkerPhase::Idle && it.state.claim == claim)
        };
        (1..u8::MAX).find(|claim| !is_known(*claim)).unwrap_or(u8::MAX)
    }
}

/// A worker receives a message; with a duplicate, another worker can receive it as well.
fn receive(state: &EventModelState, which: usize, to: &mut Steps<EventModelState>) {
    for (received, receives) in (0..MAX_RECEIVES).zip(1..) {
        if state.queue[received] == 0 {
            continue;
        }
        let mut after = *state;
        let (claim, over) = (state.fresh_claim(), state.record.expired_claim());
        after.workers[which] = ModelProcess {
            state: WorkerState {
                phase: WorkerPhase::Claim { expired_claim: over },
                receives,
                claim,
                replay: 0,
            },
            ..ModelProcess::default()
        };
        if state.budget.duplicates > 0 {
            let mut twice = after;
            twice.budget.duplicates -= 1;
            to.push((
                step("worker", which, "is given a message", "which another one may be given, too"),
                twice,
            ));
        }
        after.queue[received] -= 1;
        to.push((step("worker", which, "is given a message", ""), after));
    }
}

/// Deletes the message.
fn acknowledge(state: &mut EventModelState, which: usize) {
    state.workers[which] = ModelProcess::default();
}

/// Returns the message to the queue, or makes it a dead letter after its last receive.
fn return_message(state: &mut EventModelState, which: usize) {
    let receives = usize::from(state.workers[which].state.receives);
    match state.queue.get_mut(receives) {
        Some(messages) => *messages += 1,
        None => state.dead_letters += 1,
    }
    acknowledge(state, which);
}

fn request_name(request: AwsRequest) -> &'static str {
    match request {
        AwsRequest::Write(RecordWrite::Put { .. }) => "records the event",
        AwsRequest::Write(RecordWrite::CountDuplicate) => "counts the duplicate",
        AwsRequest::Write(RecordWrite::Mark { .. }) => "marks the record",
        AwsRequest::Write(RecordWrite::Relay { .. }) => "claims the record",
        AwsRequest::Write(RecordWrite::QuarantineByRelay { .. } | RecordWrite::QuarantineByWorker { .. }) => {
            "quarantines the record"
        }
        AwsRequest::Write(RecordWrite::Claim { .. }) => "claims the event",
        AwsRequest::Write(RecordWrite::Done { .. }) => "marks it done",
        AwsRequest::Write(RecordWrite::Requeue { .. }) => "requeues the event",
        AwsRequest::Write(RecordWrite::Reopen { .. }) => "makes the record due again",
        AwsRequest::StoreQuarantined => "stores the item in quarantine",
        AwsRequest::Close { .. } => "closes the item",
        AwsRequest::Send => "sends",
        AwsRequest::Publish { .. } => "publishes",
        AwsRequest::Redrive => "sends the dead letter",
        AwsRequest::DeleteDeadLetter { .. } => "deletes the dead letter",
    }
}

fn result_name(answer: WriteResult) -> &'static str {
    match answer {
        WriteResult::Applied => "",
        WriteResult::ConditionFailed => "condition failed",
        WriteResult::Duplicate => "it is recorded",
        WriteResult::Acquired { .. } => "acquired",
        WriteResult::AlreadyDone => "already done",
        WriteResult::HeldByOther => "held by another",
        WriteResult::NotRecorded => "not recorded",
    }
}
