//! One event, from its delivery to its effect: handlers, relays, workers and an operator; the record, the queue with
//! its dead letters, and the item in quarantine.
//!
//! Every call is two attempts of the SDK at the most. Each is answered; or applied, with its answer lost; or lost itself;
//! or delayed, and applied whenever it may be. A process may die between any two calls.

mod configurations;
mod operator_steps;
mod process_steps;
pub(crate) mod record_model;

use record_model::{DueState, ModelRecord, RecordMutant, RecordWrite, ReopenFrom, WriteResult};

use super::explorer::{Model, Step, Steps};

/// Receives of one message, after which it is a dead letter.
const MAX_RECEIVES: usize = 3;
/// Replays of one event at the most.
const MAX_REPLAYS: u8 = 2;

/// What may happen at the most. Of a state, what may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct EventBudget {
    /// Lost requests, lost answers, crashes.
    pub(crate) faults: u8,
    /// Of these, requests that are applied later.
    pub(crate) delays: u8,
    /// A message is given to one worker, and is there for another one.
    pub(crate) duplicates: u8,
    /// A worker finds that it is too early.
    pub(crate) not_ready: u8,
    /// A worker finds that it cannot be.
    pub(crate) impossible: u8,
    /// SQS refuses a message for what it is.
    pub(crate) queue_rejections: u8,
    /// An operator does something.
    pub(crate) operator_actions: u8,
    /// The queue loses a message.
    pub(crate) losses: u8,
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventModel {
    /// Handlers, which have a delivery of the event each.
    pub(crate) handlers: usize,
    /// Relays.
    pub(crate) relays: usize,
    /// Workers.
    pub(crate) workers: usize,
    /// What may happen.
    pub(crate) budget: EventBudget,
    /// A record may be due under the hands of who is at it: a handler is slow, or a relay.
    pub(crate) slow_processes: bool,
    /// The workers' clocks differ by more than the margin: a claim runs out under the hands of its worker.
    pub(crate) clock_skew: bool,
    /// What is left out of the code.
    pub(crate) mutant: Option<RecordMutant>,
}

/// A handler's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum HandlerStep {
    #[default]
    Idle,
    Put,
    Send,
    Mark,
    Accepted,
    Dead,
}

/// A relay's place, with the `rev` that it claims or has claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum RelayStep {
    #[default]
    Idle,
    Claim {
        rev: u8,
    },
    Send {
        rev: u8,
    },
    Mark {
        rev: u8,
    },
    StoreQuarantined {
        rev: u8,
    },
    MarkQuarantined {
        rev: u8,
        expired_claim: u8,
    },
}

/// A worker's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum WorkerPhase {
    #[default]
    Idle,
    Claim {
        expired_claim: u8,
    },
    Decide,
    Publish,
    Done,
    Requeue,
    StoreQuarantined,
    MarkQuarantined,
}

/// A worker: what it does, with a message that was received so often, under which claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct WorkerState {
    phase: WorkerPhase,
    receives: u8,
    claim: u8,
    replay: u8,
}

/// An operator's place. `item` is how many deliveries of the item that he replays he has seen, or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum OperatorStep {
    #[default]
    Idle,
    ReadRecord {
        from: ReopenFrom,
        trace: u8,
        item: u8,
    },
    Reopen {
        from: ReopenFrom,
        rev: u8,
        expired_claim: u8,
        trace: u8,
        item: u8,
    },
    Close {
        item: u8,
    },
    Redrive,
    DeleteDeadLetter,
}

/// A process, which attempt at its call is next, and that call's id once there was an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ModelProcess<P> {
    state: P,
    attempt: u8,
    id: u8,
}

/// One request to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AwsRequest {
    Write(RecordWrite),
    StoreQuarantined,
    Close { item: u8 },
    Send,
    Publish { replay: u8 },
    Redrive,
    DeleteDeadLetter { receipt: u8 },
}

/// The quarantined item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct QuarantineItem {
    deliveries: u8,
    is_open: bool,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EventModelState {
    record: ModelRecord,
    item: QuarantineItem,
    /// Messages on the queue, by how often they were received.
    queue: [u8; MAX_RECEIVES],
    dead_letters: u8,
    /// The receipt of the dead letter that an operator is moving back; 0 if there is none.
    redriving: u8,
    was_message_lost: bool,
    handlers: [ModelProcess<HandlerStep>; 2],
    relays: [ModelProcess<RelayStep>; 2],
    workers: [ModelProcess<WorkerState>; 2],
    operator: ModelProcess<OperatorStep>,
    /// A request on its way, and its call's id.
    delayed: Option<(AwsRequest, u8)>,
    budget: EventBudget,
    /// How often it may still be sent (P3).
    sends_allowed: i8,
    /// How often it may still have its effect, by its replays (P10).
    effects_allowed: [i8; MAX_REPLAYS as usize + 1],
    /// Somebody whose write stands heard that he was overtaken.
    false_failure: bool,
}

impl Model for EventModel {
    type State = EventModelState;

    fn initial(&self) -> EventModelState {
        EventModelState {
            record: ModelRecord::default(),
            item: QuarantineItem::default(),
            queue: [0; MAX_RECEIVES],
            dead_letters: 0,
            redriving: 0,
            was_message_lost: false,
            handlers: Default::default(),
            relays: Default::default(),
            workers: Default::default(),
            operator: ModelProcess::default(),
            delayed: None,
            budget: self.budget,
            sends_allowed: 1,
            effects_allowed: [1, 0, 0],
            false_failure: false,
        }
    }

    fn next_steps(&self, state: &EventModelState, to: &mut Steps<EventModelState>) {
        let first = to.len();
        for which in 0..self.handlers {
            self.handler(state, which, to);
        }
        for which in 0..self.relays {
            self.relay(state, which, to);
        }
        for which in 0..self.workers {
            self.worker(state, which, to);
        }
        self.operator(state, to);
        self.environment(state, to);
        for (_, after) in &mut to[first..] {
            after.normalize_ids();
            // Which of them it is does not matter.
            after.relays[..self.relays].sort_unstable();
            after.workers[..self.workers].sort_unstable();
        }
    }

    fn violation(&self, state: &EventModelState) -> Option<&'static str> {
        let record = &state.record;
        let is_due = record.due != DueState::No;
        let on_its_way = is_due || state.is_message_somewhere();
        let accepted = state.handlers.iter().any(|handler| handler.state == HandlerStep::Accepted);
        let rules = [
            (accepted && !record.exists(), "P1: accepted without a record"),
            (
                record.is_open() && !on_its_way && !state.was_message_lost,
                "P2: neither due nor on the queue nor over",
            ),
            (record.is_open() && !on_its_way && !record.sent, "P2: lost, and no operator can say so"),
            (record.quarantined && !record.done && !state.item.is_open, "P7: given up without an open item"),
            (record.exists() && is_due == record.expires, "due and expiring, or neither"),
            (is_due && !record.is_open(), "due and over"),
            (state.false_failure, "applied, and told that it was not"),
            (state.sends_allowed < 0, "P3: sent again, and every outcome was known"),
            (
                !self.clock_skew && state.effects_allowed.iter().any(|left| *left < 0),
                "P10: had its effect again, and every outcome was known",
            ),
        ];
        rules.into_iter().find(|(is_broken, _)| *is_broken).map(|(_, promise)| promise)
    }
}

impl EventModelState {
    /// The id of the last write matters to whoever may repeat that write; a claim that was ended, to a request of its that is late.
    fn normalize_ids(&mut self) {
        if !self.ids().contains(&self.record.write_id) {
            self.record.write_id = 0;
        }
        let may_arrive = |ended: u8| matches!(self.delayed, Some((AwsRequest::Write(RecordWrite::Claim { claim, .. }), _)) if claim == ended);
        if !may_arrive(self.record.last_ended_claim) {
            self.record.last_ended_claim = 0;
        }
    }

    /// The ids of the calls that are not over.
    fn ids(&self) -> [u8; 8] {
        let [one, two] = &self.handlers;
        let [three, four] = &self.relays;
        let [five, six] = &self.workers;
        let delayed = self.delayed.map_or(0, |(_, id)| id);
        [one.id, two.id, three.id, four.id, five.id, six.id, self.operator.id, delayed]
    }

    fn is_message_somewhere(&self) -> bool {
        self.queue.iter().any(|messages| *messages > 0)
            || self.dead_letters > 0
            || self.redriving != 0
            || self.workers.iter().any(|worker| worker.state.phase != WorkerPhase::Idle)
            || matches!(self.delayed, Some((AwsRequest::Send | AwsRequest::Redrive, _)))
    }

    /// What follows from a request that reaches AWS.
    fn apply(&mut self, request: AwsRequest, id: u8, mutant: Option<RecordMutant>) -> WriteResult {
        match request {
            AwsRequest::Write(write) => return self.write(write, id, mutant),
            AwsRequest::StoreQuarantined => {
                self.item =
                    QuarantineItem { deliveries: self.item.deliveries.saturating_add(1), is_open: true };
            }
            AwsRequest::Close { item } => {
                if !(self.item.is_open && self.item.deliveries == item) {
                    return WriteResult::ConditionFailed;
                }
                self.item.is_open = false;
            }
            AwsRequest::Send => {
                self.queue[0] += 1;
                self.sends_allowed -= 1;
            }
            AwsRequest::Redrive => self.queue[0] += 1,
            AwsRequest::Publish { replay } => self.effects_allowed[usize::from(replay)] -= 1,
            AwsRequest::DeleteDeadLetter { receipt } if self.redriving == receipt => self.redriving = 0,
            AwsRequest::DeleteDeadLetter { .. } => return WriteResult::ConditionFailed,
        }
        WriteResult::Applied
    }

    /// A write to the record, and what it allows.
    fn write(&mut self, write: RecordWrite, id: u8, mutant: Option<RecordMutant>) -> WriteResult {
        let before = self.record;
        let answer = self.record.apply(write, id, mutant);
        self.false_failure |= answer == WriteResult::ConditionFailed && before.write_id == id;
        if self.record == before {
            return answer;
        }
        match write {
            // Whoever has claimed it before comes too late with his mark: a refused mark.
            RecordWrite::Relay { .. } if self.is_sending(before.rev) => self.sends_allowed += 1,
            RecordWrite::Requeue { .. } => self.sends_allowed += 1,
            RecordWrite::Reopen { from, .. } => {
                self.sends_allowed += 1;
                if from == ReopenFrom::Done {
                    self.effects_allowed[usize::from(self.record.replay)] += 1;
                }
            }
            RecordWrite::Put { .. }
            | RecordWrite::Mark { .. }
            | RecordWrite::Relay { .. }
            | RecordWrite::QuarantineByRelay { .. }
            | RecordWrite::Claim { .. }
            | RecordWrite::Done { .. }
            | RecordWrite::QuarantineByWorker { .. } => {}
        }
        answer
    }

    /// Whether a handler or a relay is about to send, or has sent, what it recorded or claimed under this `rev`.
    fn is_sending(&self, rev: u8) -> bool {
        let handler = |it: &ModelProcess<HandlerStep>| rev == 1 && it.is_active();
        let relay = |it: &ModelProcess<RelayStep>| match it.state {
            RelayStep::Send { rev: its } | RelayStep::Mark { rev: its } => its == rev,
            RelayStep::Idle
            | RelayStep::Claim { .. }
            | RelayStep::StoreQuarantined { .. }
            | RelayStep::MarkQuarantined { .. } => false,
        };
        self.handlers.iter().any(handler) || self.relays.iter().any(relay)
    }

    /// What was sent, or published, and will not be known to have been.
    fn allow_repeat(&mut self, request: AwsRequest) {
        match request {
            AwsRequest::Send => self.sends_allowed += 1,
            AwsRequest::Publish { replay } => self.effects_allowed[usize::from(replay)] += 1,
            AwsRequest::Write(_)
            | AwsRequest::StoreQuarantined
            | AwsRequest::Close { .. }
            | AwsRequest::Redrive
            | AwsRequest::DeleteDeadLetter { .. } => {}
        }
    }

    /// What is on the queue under this `rev` was not written down.
    fn allow_unmarked_repeat(&mut self, rev: u8) {
        self.sends_allowed += i8::from(self.record.rev == rev && self.record.due != DueState::No);
    }
}

impl ModelProcess<HandlerStep> {
    fn is_active(&self) -> bool {
        !matches!(self.state, HandlerStep::Idle | HandlerStep::Accepted | HandlerStep::Dead)
    }
}

/// A step of a process.
fn step(who: &'static str, which: usize, what: &'static str, how: &'static str) -> Step {
    Step { actor: who, actor_index: which + 1, action: what, outcome: how }
}
