//! One event, from its delivery to its effect: handlers, relays, workers and an operator; the record, the queue with
//! its dead letters, and the item in quarantine.
//!
//! Every call is two attempts of the SDK at the most. Each is answered; or applied, with its answer lost; or lost itself;
//! or delayed, and applied whenever it may be. A process may die between any two calls.

mod configurations;
mod operator;
pub(crate) mod record;
mod steps;

use record::{Answer, Due, From, Mutant, Record, Write};

use super::explore::{Model, Step, Steps};

/// Receives of one message, after which it is a dead letter.
const RECEIVES: usize = 3;
/// Replays of one event at the most.
const REPLAYS: u8 = 2;

/// What may happen at the most. Of a state, what may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    /// Lost requests, lost answers, crashes.
    pub(crate) faults: u8,
    /// Of these, requests that are applied later.
    pub(crate) delays: u8,
    /// A message is given to one worker, and is there for another one.
    pub(crate) twice: u8,
    /// A worker finds that it is too early.
    pub(crate) early: u8,
    /// A worker finds that it cannot be.
    pub(crate) never: u8,
    /// SQS refuses a message for what it is.
    pub(crate) refusals: u8,
    /// An operator does something.
    pub(crate) operations: u8,
    /// The queue loses a message.
    pub(crate) losses: u8,
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Event {
    /// Handlers, which have a delivery of the event each.
    pub(crate) handlers: usize,
    /// Relays.
    pub(crate) relays: usize,
    /// Workers.
    pub(crate) workers: usize,
    /// What may happen.
    pub(crate) left: Left,
    /// A record may be due under the hands of who is at it: a handler is slow, or a relay.
    pub(crate) slow: bool,
    /// The workers' clocks differ by more than the margin: a claim runs out under the hands of its worker.
    pub(crate) skew: bool,
    /// What is left out of the code.
    pub(crate) mutant: Option<Mutant>,
}

/// A handler's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Handler {
    #[default]
    Waits,
    Put,
    Send,
    Mark,
    Accepted,
    Gone,
}

/// A relay's place, with the `rev` that it claims or has claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Relay {
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
    Keep {
        rev: u8,
    },
    GiveUp {
        rev: u8,
        over: u8,
    },
}

/// A worker's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    #[default]
    Nothing,
    Claim {
        over: u8,
    },
    Decide,
    Publish,
    Done,
    PutBack,
    Keep,
    Quarantine,
}

/// A worker: what it does, with a message that was received so often, under which claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    doing: Doing,
    receives: u8,
    claim: u8,
    replay: u8,
}

/// An operator's place. `item` is how many deliveries of the item that he replays he has seen, or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Operator {
    #[default]
    Idle,
    Read {
        from: From,
        trace: u8,
        item: u8,
    },
    Again {
        from: From,
        rev: u8,
        over: u8,
        trace: u8,
        item: u8,
    },
    Close {
        item: u8,
    },
    Redrive,
    Forget,
}

/// A process, which attempt at its call is next, and that call's id once there was an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Process<P> {
    at: P,
    attempt: u8,
    id: u8,
}

/// One request to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Write(Write),
    Keep,
    Close { item: u8 },
    Send,
    Publish { replay: u8 },
    Redrive,
    Forget { receipt: u8 },
}

/// The quarantined item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Item {
    deliveries: u8,
    is_open: bool,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    record: Record,
    item: Item,
    /// Messages on the queue, by how often they were received.
    queue: [u8; RECEIVES],
    dead: u8,
    /// The receipt of the dead letter that an operator is moving back; 0 if there is none.
    in_hand: u8,
    was_lost: bool,
    handlers: [Process<Handler>; 2],
    relays: [Process<Relay>; 2],
    workers: [Process<Worker>; 2],
    operator: Process<Operator>,
    /// A request on its way, and its call's id.
    delayed: Option<(Request, u8)>,
    left: Left,
    /// How often it may still be sent (P3).
    sends: i8,
    /// How often it may still have its effect, by its replays (P10).
    effects: [i8; REPLAYS as usize + 1],
    /// Somebody whose write stands heard that he was overtaken.
    unheard: bool,
}

impl Model for Event {
    type State = State;

    fn start(&self) -> State {
        State {
            record: Record::default(),
            item: Item::default(),
            queue: [0; RECEIVES],
            dead: 0,
            in_hand: 0,
            was_lost: false,
            handlers: Default::default(),
            relays: Default::default(),
            workers: Default::default(),
            operator: Process::default(),
            delayed: None,
            left: self.left,
            sends: 1,
            effects: [1, 0, 0],
            unheard: false,
        }
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
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
        self.world(state, to);
        for (_, after) in &mut to[first..] {
            after.forget_ids();
            // Which of them it is does not matter.
            after.relays[..self.relays].sort_unstable();
            after.workers[..self.workers].sort_unstable();
        }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        let record = &state.record;
        let is_due = record.due != Due::No;
        let on_its_way = is_due || state.is_message_somewhere();
        let accepted = state.handlers.iter().any(|handler| handler.at == Handler::Accepted);
        let rules = [
            (accepted && !record.exists(), "P1: accepted without a record"),
            (record.is_open() && !on_its_way && !state.was_lost, "P2: neither due nor on the queue nor over"),
            (record.is_open() && !on_its_way && !record.sent, "P2: lost, and no operator can say so"),
            (record.quarantined && !record.done && !state.item.is_open, "P7: given up without an open item"),
            (record.exists() && is_due == record.expires, "due and expiring, or neither"),
            (is_due && !record.is_open(), "due and over"),
            (state.unheard, "applied, and told that it was not"),
            (state.sends < 0, "P3: sent again, and every outcome was known"),
            (
                !self.skew && state.effects.iter().any(|left| *left < 0),
                "P10: had its effect again, and every outcome was known",
            ),
        ];
        rules.into_iter().find(|(is_broken, _)| *is_broken).map(|(_, promise)| promise)
    }
}

impl State {
    /// The id of the last write matters to whoever may repeat that write; a claim that was ended, to a request of its that is late.
    fn forget_ids(&mut self) {
        if !self.ids().contains(&self.record.write_id) {
            self.record.write_id = 0;
        }
        let may_arrive = |ended: u8| matches!(self.delayed, Some((Request::Write(Write::Claim { claim, .. }), _)) if claim == ended);
        if !may_arrive(self.record.ended_by) {
            self.record.ended_by = 0;
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
            || self.dead > 0
            || self.in_hand != 0
            || self.workers.iter().any(|worker| worker.at.doing != Doing::Nothing)
            || matches!(self.delayed, Some((Request::Send | Request::Redrive, _)))
    }

    /// What follows from a request that reaches AWS.
    fn apply(&mut self, request: Request, id: u8, mutant: Option<Mutant>) -> Answer {
        match request {
            Request::Write(write) => return self.write(write, id, mutant),
            Request::Keep => {
                self.item = Item { deliveries: self.item.deliveries.saturating_add(1), is_open: true };
            }
            Request::Close { item } => {
                if !(self.item.is_open && self.item.deliveries == item) {
                    return Answer::Refused;
                }
                self.item.is_open = false;
            }
            Request::Send => {
                self.queue[0] += 1;
                self.sends -= 1;
            }
            Request::Redrive => self.queue[0] += 1,
            Request::Publish { replay } => self.effects[usize::from(replay)] -= 1,
            Request::Forget { receipt } if self.in_hand == receipt => self.in_hand = 0,
            Request::Forget { .. } => return Answer::Refused,
        }
        Answer::Applied
    }

    /// A write to the record, and what it allows.
    fn write(&mut self, write: Write, id: u8, mutant: Option<Mutant>) -> Answer {
        let before = self.record;
        let answer = self.record.apply(write, id, mutant);
        self.unheard |= answer == Answer::Refused && before.write_id == id;
        if self.record == before {
            return answer;
        }
        match write {
            // Whoever has claimed it before comes too late with his mark: a refused mark.
            Write::Relay { .. } if self.is_sending(before.rev) => self.sends += 1,
            Write::PutBack { .. } => self.sends += 1,
            Write::Again { from, .. } => {
                self.sends += 1;
                if from == From::Done {
                    self.effects[usize::from(self.record.replay)] += 1;
                }
            }
            Write::Put { .. }
            | Write::Mark { .. }
            | Write::Relay { .. }
            | Write::GiveUp { .. }
            | Write::Claim { .. }
            | Write::Done { .. }
            | Write::Quarantine { .. } => {}
        }
        answer
    }

    /// Whether a handler or a relay is about to send, or has sent, what it recorded or claimed under this `rev`.
    fn is_sending(&self, rev: u8) -> bool {
        let handler = |it: &Process<Handler>| rev == 1 && it.is_at_work();
        let relay = |it: &Process<Relay>| match it.at {
            Relay::Send { rev: its } | Relay::Mark { rev: its } => its == rev,
            Relay::Idle | Relay::Claim { .. } | Relay::Keep { .. } | Relay::GiveUp { .. } => false,
        };
        self.handlers.iter().any(handler) || self.relays.iter().any(relay)
    }

    /// What was sent, or published, and will not be known to have been.
    fn excuse(&mut self, request: Request) {
        match request {
            Request::Send => self.sends += 1,
            Request::Publish { replay } => self.effects[usize::from(replay)] += 1,
            Request::Write(_)
            | Request::Keep
            | Request::Close { .. }
            | Request::Redrive
            | Request::Forget { .. } => {}
        }
    }

    /// What is on the queue under this `rev` was not written down.
    fn unmarked(&mut self, rev: u8) {
        self.sends += i8::from(self.record.rev == rev && self.record.due != Due::No);
    }
}

impl Process<Handler> {
    fn is_at_work(&self) -> bool {
        !matches!(self.at, Handler::Waits | Handler::Accepted | Handler::Gone)
    }
}

/// A step of a process.
fn step(who: &'static str, which: usize, what: &'static str, how: &'static str) -> Step {
    Step { who, which: which + 1, what, how }
}
