//! Model of one event from its delivery to its effect: handlers, relays, workers and an operator; the record, the
//! queue with its dead letters, and the quarantined item.
//!
//! The SDK makes at most two attempts at a call. Each is answered; or applied with a lost answer; or lost; or
//! delayed, and applied at any later time. A process may die between any two calls.

mod configurations;
mod operator_steps;
mod process_steps;
pub(crate) mod record_model;

use record_model::{DueState, ModelRecord, RecordMutant, RecordWrite, ReopenFrom, WriteResult};

use super::explorer::{Model, Step, Steps};

/// Receives after which a message is a dead letter.
const MAX_RECEIVES: usize = 3;
/// Most replays of one event.
const MAX_REPLAYS: u8 = 2;

/// Faults and events that may happen at most; in a state, those that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct EventBudget {
    /// Lost requests, lost answers and crashes.
    pub(crate) faults: u8,
    /// Requests among these faults that are applied later.
    pub(crate) delays: u8,
    /// Messages that are delivered to two workers.
    pub(crate) duplicates: u8,
    /// Decisions of a worker that it is too early.
    pub(crate) not_ready: u8,
    /// Decisions of a worker that the effect is impossible.
    pub(crate) impossible: u8,
    /// Messages that SQS rejects for their content.
    pub(crate) queue_rejections: u8,
    /// Actions of an operator.
    pub(crate) operator_actions: u8,
    /// Messages that the queue loses.
    pub(crate) losses: u8,
}

/// A configuration of the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventModel {
    /// Handlers; each has a delivery of the event.
    pub(crate) handlers: usize,
    pub(crate) relays: usize,
    pub(crate) workers: usize,
    /// Faults and events that may happen.
    pub(crate) budget: EventBudget,
    /// A record may become due while a slow handler or relay is still processing it.
    pub(crate) slow_processes: bool,
    /// The workers' clocks differ by more than the margin, so a claim may expire while its worker uses it.
    pub(crate) clock_skew: bool,
    /// Condition that is dropped.
    pub(crate) mutant: Option<RecordMutant>,
}

/// A handler's next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum HandlerStep {
    #[default]
    Idle,
    Put,
    CountDuplicate,
    Send,
    Mark,
    Accepted,
    Dead,
}

/// A relay's next step, with the `rev` that it claims or has claimed.
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

/// A worker's next step.
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

/// A worker with its step, its message's receive count, and its claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct WorkerState {
    phase: WorkerPhase,
    receives: u8,
    claim: u8,
    replay: u8,
}

/// An operator's next step. `item` is the delivery count of the quarantined item when it was read, or 0.
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

/// A process, the number of attempts made at its current call, and that call's id (0 before the first attempt).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ModelProcess<P> {
    state: P,
    attempt: u8,
    id: u8,
}

/// A request to AWS.
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

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EventModelState {
    record: ModelRecord,
    item: QuarantineItem,
    /// Messages on the queue, by receive count.
    queue: [u8; MAX_RECEIVES],
    dead_letters: u8,
    /// Receipt of the dead letter that an operator is moving back; 0 for none.
    redriving: u8,
    was_message_lost: bool,
    handlers: [ModelProcess<HandlerStep>; 2],
    relays: [ModelProcess<RelayStep>; 2],
    workers: [ModelProcess<WorkerState>; 2],
    operator: ModelProcess<OperatorStep>,
    /// A delayed request and its call's id.
    delayed: Option<(AwsRequest, u8)>,
    budget: EventBudget,
    /// Sends that are left (P3).
    sends_allowed: i8,
    /// Effects that are left, by replay (P10).
    effects_allowed: [i8; MAX_REPLAYS as usize + 1],
    /// A process was answered that its write failed although it was applied.
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
            // Processes of one kind are interchangeable.
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
            (record.is_open() && !on_its_way && !record.sent, "P2: lost, and no operator can replay it"),
            (
                record.quarantined && !record.done && !state.item.is_open,
                "P7: quarantined without an open item",
            ),
            (record.exists() && is_due == record.expires, "due and expiring, or neither"),
            (is_due && !record.is_open(), "due and over"),
            (state.false_failure, "applied, and answered that it was not"),
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
    /// Clears ids that nothing can refer to any more: the last write's, unless it may be repeated, and the last ended
    /// claim's, unless a request of it is delayed.
    fn normalize_ids(&mut self) {
        if !self.ids().contains(&self.record.write_id) {
            self.record.write_id = 0;
        }
        let may_arrive = |ended: u8| matches!(self.delayed, Some((AwsRequest::Write(RecordWrite::Claim { claim, .. }), _)) if claim == ended);
        if !may_arrive(self.record.last_ended_claim) {
            self.record.last_ended_claim = 0;
        }
    }

    /// Ids of all calls in progress.
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

    /// Applies a request that reaches AWS.
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

    /// Applies a write to the record, and updates the sends and effects that are left.
    fn write(&mut self, write: RecordWrite, id: u8, mutant: Option<RecordMutant>) -> WriteResult {
        let before = self.record;
        let answer = self.record.apply(write, id, mutant);
        self.false_failure |= answer == WriteResult::ConditionFailed && before.write_id == id;
        if self.record == before {
            return answer;
        }
        match write {
            // A holder of the earlier claim will find its mark's condition failed.
            RecordWrite::Relay { .. } if self.is_sending(before.rev) => self.sends_allowed += 1,
            RecordWrite::Requeue { .. } => self.sends_allowed += 1,
            RecordWrite::Reopen { from, .. } => {
                self.sends_allowed += 1;
                if from == ReopenFrom::Done {
                    self.effects_allowed[usize::from(self.record.replay)] += 1;
                }
            }
            RecordWrite::Put { .. }
            | RecordWrite::CountDuplicate
            | RecordWrite::Mark { .. }
            | RecordWrite::Relay { .. }
            | RecordWrite::QuarantineByRelay { .. }
            | RecordWrite::Claim { .. }
            | RecordWrite::Done { .. }
            | RecordWrite::QuarantineByWorker { .. } => {}
        }
        answer
    }

    /// Returns `true` if a handler or relay is about to send, or has sent, what it recorded or claimed under this
    /// `rev`.
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

    /// Allows a repeat, because the request was or will be applied and its sender does not know.
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

    /// Allows a repeat of the message under this `rev`, because its mark may not have been applied.
    fn allow_unmarked_repeat(&mut self, rev: u8) {
        self.sends_allowed += i8::from(self.record.rev == rev && self.record.due != DueState::No);
    }
}

impl ModelProcess<HandlerStep> {
    /// Returns `true` if it has recorded the event, or may do so, and has not finished.
    fn is_active(&self) -> bool {
        matches!(self.state, HandlerStep::Put | HandlerStep::Send | HandlerStep::Mark)
    }

    /// Returns `true` if it has not answered yet.
    fn is_running(&self) -> bool {
        self.is_active() || self.state == HandlerStep::CountDuplicate
    }
}

fn step(who: &'static str, which: usize, what: &'static str, how: &'static str) -> Step {
    Step { actor: who, actor_index: which + 1, action: what, outcome: how }
}
