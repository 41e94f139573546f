//! What an operator does next.

use super::steps::Who;
use super::{Answer, Due, Event, From, Operator, Process, REPLAYS, Request, State, Steps, Write, step};

impl Event {
    pub(super) fn operator(&self, state: &State, to: &mut Steps<State>) {
        let go = |state: &mut State, at| {
            state.operator = Process { at, ..Process::default() };
            if at == Operator::Idle && std::mem::take(&mut state.in_hand) != 0 {
                state.dead += 1;
            }
        };
        let close_or_end = |item: u8| if item > 0 { Operator::Close { item } } else { Operator::Idle };
        match state.operator.at {
            Operator::Idle if state.left.operations > 0 => sets_out(state, to),
            Operator::Idle => {}
            Operator::Read { from, trace, item } => {
                let mut after = *state;
                go(&mut after, state.read_by_operator(from, trace, item));
                to.push((step("operator", 0, "reads the record", ""), after));
            }
            Operator::Again { from, rev, over, trace, item } => {
                let again = Request::Write(Write::Again { from, rev, over, trace });
                self.call(state, Who::Operator, again, to, |state, answer| {
                    let is_ours = answer == Some(Answer::Applied);
                    go(state, if is_ours { close_or_end(item) } else { Operator::Idle });
                });
            }
            Operator::Close { item } => {
                let close = Request::Close { item };
                self.call(state, Who::Operator, close, to, |state, _| go(state, Operator::Idle));
            }
            Operator::Redrive => self.call(state, Who::Operator, Request::Redrive, to, |state, answer| {
                go(state, if answer.is_some() { Operator::Forget } else { Operator::Idle });
            }),
            Operator::Forget => {
                let forget = Request::Forget { receipt: state.in_hand };
                self.call(state, Who::Operator, forget, to, |state, _| go(state, Operator::Idle));
            }
        }
        if state.operator.at != Operator::Idle && state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            go(&mut after, Operator::Idle);
            to.push((step("operator", 0, "gives up", ""), after));
        }
    }
}

impl State {
    /// What an operator does about the record as he finds it.
    fn read_by_operator(&self, from: From, trace: u8, item: u8) -> Operator {
        let record = &self.record;
        let close = if item > 0 { Operator::Close { item } } else { Operator::Idle };
        if record.traces & trace != 0 {
            return close;
        }
        let is_claimed = record.claim != 0 && !record.claim_over;
        let stands = match from {
            From::Done => record.done && record.replay < REPLAYS,
            From::Quarantined => record.quarantined && !record.done,
            From::Sent => record.sent && record.is_open() && record.due == Due::No && !is_claimed,
        };
        if stands {
            Operator::Again { from, rev: record.rev, over: record.over(), trace, item }
        } else if from == From::Quarantined && record.done {
            close
        } else {
            Operator::Idle
        }
    }
}

/// What an operator can set out to do.
fn sets_out(state: &State, to: &mut Steps<State>) {
    let trace = 1 << (state.left.operations - 1);
    let mut go = |at, what| {
        let mut after = *state;
        after.left.operations -= 1;
        after.operator = Process { at, ..Process::default() };
        if at == Operator::Redrive {
            after.dead -= 1;
            after.in_hand = state.left.operations;
        }
        to.push((step("operator", 0, what, ""), after));
    };
    let record = &state.record;
    if record.done && record.replay < REPLAYS {
        go(Operator::Read { from: From::Done, trace, item: 0 }, "will replay the event");
    }
    if state.item.is_open {
        let item = state.item.deliveries;
        go(Operator::Read { from: From::Quarantined, trace, item }, "will replay the item");
    }
    if record.sent && record.is_open() {
        go(Operator::Read { from: From::Sent, trace, item: 0 }, "will say that the message is lost");
    }
    if state.dead > 0 {
        go(Operator::Redrive, "will move the dead letter back");
    }
}
