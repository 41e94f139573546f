//! An operator's steps.

use super::process_steps::Actor;
use super::{
    AwsRequest, DueState, EventModel, EventModelState, MAX_REPLAYS, ModelProcess, OperatorStep, RecordWrite,
    ReopenFrom, Steps, WriteResult, step,
};

impl EventModel {
    pub(super) fn operator(&self, state: &EventModelState, to: &mut Steps<EventModelState>) {
        let go = |state: &mut EventModelState, at| {
            state.operator = ModelProcess { state: at, ..ModelProcess::default() };
            if at == OperatorStep::Idle && std::mem::take(&mut state.redriving) != 0 {
                state.dead_letters += 1;
            }
        };
        let close_or_end =
            |item: u8| if item > 0 { OperatorStep::Close { item } } else { OperatorStep::Idle };
        match state.operator.state {
            OperatorStep::Idle if state.budget.operator_actions > 0 => begin_action(state, to),
            OperatorStep::Idle => {}
            OperatorStep::ReadRecord { from, trace, item } => {
                let mut after = *state;
                go(&mut after, state.operator_decision(from, trace, item));
                to.push((step("operator", 0, "reads the record", ""), after));
            }
            OperatorStep::Reopen { from, rev, expired_claim: over, trace, item } => {
                let again = AwsRequest::Write(RecordWrite::Reopen { from, rev, expired_claim: over, trace });
                self.call(state, Actor::Operator, again, to, |state, answer| {
                    let is_ours = answer == Some(WriteResult::Applied);
                    go(state, if is_ours { close_or_end(item) } else { OperatorStep::Idle });
                });
            }
            OperatorStep::Close { item } => {
                let close = AwsRequest::Close { item };
                self.call(state, Actor::Operator, close, to, |state, _| go(state, OperatorStep::Idle));
            }
            OperatorStep::Redrive => {
                self.call(state, Actor::Operator, AwsRequest::Redrive, to, |state, answer| {
                    go(
                        state,
                        if answer.is_some() { OperatorStep::DeleteDeadLetter } else { OperatorStep::Idle },
                    );
                })
            }
            OperatorStep::DeleteDeadLetter => {
                let forget = AwsRequest::DeleteDeadLetter { receipt: state.redriving };
                self.call(state, Actor::Operator, forget, to, |state, _| go(state, OperatorStep::Idle));
            }
        }
        if state.operator.state != OperatorStep::Idle && state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            go(&mut after, OperatorStep::Idle);
            to.push((step("operator", 0, "gives up", ""), after));
        }
    }
}

impl EventModelState {
    /// The operator's next step after reading the record.
    fn operator_decision(&self, from: ReopenFrom, trace: u8, item: u8) -> OperatorStep {
        let record = &self.record;
        let close = if item > 0 { OperatorStep::Close { item } } else { OperatorStep::Idle };
        if record.audit_entries & trace != 0 {
            return close;
        }
        let is_claimed = record.claim != 0 && !record.claim_expired;
        let stands = match from {
            ReopenFrom::Done => record.done && record.replay < MAX_REPLAYS,
            ReopenFrom::Quarantined => record.quarantined && !record.done,
            ReopenFrom::Sent => record.sent && record.is_open() && record.due == DueState::No && !is_claimed,
        };
        if stands {
            OperatorStep::Reopen { from, rev: record.rev, expired_claim: record.expired_claim(), trace, item }
        } else if from == ReopenFrom::Quarantined && record.done {
            close
        } else {
            OperatorStep::Idle
        }
    }
}

/// Actions that an operator can begin.
fn begin_action(state: &EventModelState, to: &mut Steps<EventModelState>) {
    let trace = 1 << (state.budget.operator_actions - 1);
    let mut go = |at, what| {
        let mut after = *state;
        after.budget.operator_actions -= 1;
        after.operator = ModelProcess { state: at, ..ModelProcess::default() };
        if at == OperatorStep::Redrive {
            after.dead_letters -= 1;
            after.redriving = state.budget.operator_actions;
        }
        to.push((step("operator", 0, what, ""), after));
    };
    let record = &state.record;
    if record.done && record.replay < MAX_REPLAYS {
        go(OperatorStep::ReadRecord { from: ReopenFrom::Done, trace, item: 0 }, "will replay the event");
    }
    if state.item.is_open {
        let item = state.item.deliveries;
        go(OperatorStep::ReadRecord { from: ReopenFrom::Quarantined, trace, item }, "will replay the item");
    }
    if record.sent && record.is_open() {
        go(
            OperatorStep::ReadRecord { from: ReopenFrom::Sent, trace, item: 0 },
            "will say that the message is lost",
        );
    }
    if state.dead_letters > 0 {
        go(OperatorStep::Redrive, "will move the dead letter back");
    }
}
