//! Model of the alerts of two authorizers that two events name: the items `effect#alert`, with their claims and sets
//! of publishers, and replays of either event.
//!
//! A worker claims both alerts, publishes those that it acquired, marks them, and then ends its event: done if
//! nothing is left, otherwise requeued. The queue is left out: an open event may be claimed at any time.

pub(crate) mod alert_item;
mod configurations;

use alert_item::{AlertMutant, ClaimOutcome, MAX_REPLAYS, ModelAlert, Publisher};

use super::explorer::{Model, Step, Steps};

/// The SDK's attempts at one call.
const ATTEMPTS: u8 = 2;

/// A configuration of the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AlertsModel {
    /// Lost requests, lost answers and crashes.
    pub(crate) faults: u8,
    /// Requests among these faults that are applied later.
    pub(crate) delays: u8,
    /// Entries that EventBridge fails or rejects, and does not publish.
    pub(crate) failures: u8,
    /// Replays by an operator.
    pub(crate) replays: u8,
    /// Condition that is dropped.
    pub(crate) mutant: Option<AlertMutant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum EventStatus {
    #[default]
    Open,
    Done,
    Quarantined,
}

/// The attributes of an event's record that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct AlertingEvent {
    end: EventStatus,
    claim: u8,
    claim_expired: bool,
    replay: u8,
}

/// A worker's next step; the number is the alert's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum AlertPhase {
    #[default]
    Idle,
    Claim(u8),
    Publish(u8),
    Mark(u8),
    AddPublisher(u8),
    End,
}

/// A worker. `acquired` and `published` have one bit per alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct AlertWorker {
    phase: AlertPhase,
    attempt: u8,
    by: Publisher,
    /// By alert, the claim that had expired when this worker made its own.
    expired_claims: [u8; 2],
    acquired: u8,
    published: u8,
    /// Part of its event is left for later.
    incomplete: bool,
    /// EventBridge rejected part of its event.
    rejected: bool,
    /// A call failed, so nothing more is published.
    failed: bool,
}

/// A request to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AlertRequest {
    Claim { alert: u8, by: Publisher, expired_claim: u8 },
    Publish { alert: u8, by: Publisher },
    Mark { alert: u8, by: Publisher },
    AddPublisher { alert: u8, by: Publisher },
    End { by: Publisher, end: EventStatus },
}

impl AlertRequest {
    fn by(self) -> Publisher {
        match self {
            Self::Claim { by, .. }
            | Self::Publish { by, .. }
            | Self::Mark { by, .. }
            | Self::AddPublisher { by, .. }
            | Self::End { by, .. } => by,
        }
    }
}

/// Result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallResult {
    Applied,
    ConditionFailed,
    Claimed(ClaimOutcome),
}

/// Faults and actions that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AlertBudget {
    faults: u8,
    delays: u8,
    failures: u8,
    replays: u8,
}

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AlertsModelState {
    events: [AlertingEvent; 2],
    alerts: [ModelAlert; 2],
    workers: [AlertWorker; 2],
    delayed: Option<AlertRequest>,
    budget: AlertBudget,
    /// By alert, its publishers: bits as in the items.
    bus: [u8; 2],
    /// By alert, first publications that are left.
    first_publishes_allowed: [i8; 2],
    /// By alert, event and replay, repeated publications that are left.
    replay_publishes_allowed: [[[i8; MAX_REPLAYS as usize]; 2]; 2],
}

impl Model for AlertsModel {
    type State = AlertsModelState;

    fn initial(&self) -> AlertsModelState {
        let Self { faults, delays, failures, replays, .. } = *self;
        AlertsModelState {
            events: Default::default(),
            alerts: Default::default(),
            workers: Default::default(),
            delayed: None,
            budget: AlertBudget { faults, delays, failures, replays },
            bus: [0; 2],
            first_publishes_allowed: [1; 2],
            replay_publishes_allowed: Default::default(),
        }
    }

    fn next_steps(&self, state: &AlertsModelState, to: &mut Steps<AlertsModelState>) {
        let first = to.len();
        for which in 0..state.workers.len() {
            if state.workers[which].phase == AlertPhase::Idle {
                begin(state, which, to);
            } else {
                self.step_worker(state, which, to);
                crash_worker(state, which, to);
            }
        }
        self.environment(state, to);
        for (_, after) in &mut to[first..] {
            // The workers are interchangeable, so states that differ only in their order are one state.
            after.workers.sort_unstable();
        }
    }

    fn violation(&self, state: &AlertsModelState) -> Option<&'static str> {
        if state.first_publishes_allowed.iter().any(|left| *left < 0) {
            return Some("P5: an alert is published by two events, and every outcome was known");
        }
        if state.replay_publishes_allowed.iter().flatten().flatten().any(|left| *left < 0) {
            return Some("P10: one replay publishes an alert twice, and every outcome was known");
        }
        for (event, which) in state.events.iter().zip(0..).filter(|(event, _)| event.end == EventStatus::Done)
        {
            let tag = Publisher { event: which, replay: event.replay, claim: 0 }.tag();
            let is_published = |bus: &u8| if event.replay == 0 { *bus != 0 } else { *bus & tag != 0 };
            if !state.bus.iter().all(is_published) {
                return Some("P10: an event is done, and not all its alerts are published");
            }
        }
        let is_quiet = state.delayed.is_none() && state.workers.iter().all(|it| it.phase == AlertPhase::Idle);
        (is_quiet && !self.terminates(*state)).then_some("P2: an event is requeued for ever")
    }
}

impl AlertsModelState {
    fn apply(&mut self, request: AlertRequest, mutant: Option<AlertMutant>) -> CallResult {
        match request {
            AlertRequest::Claim { alert, by, expired_claim: over } => {
                // The event's current holder claims alerts later than any earlier holder.
                let is_younger = self.events[usize::from(by.event)].claim == by.claim;
                CallResult::Claimed(self.alerts[usize::from(alert)].claim(by, over, is_younger, mutant))
            }
            AlertRequest::Publish { alert, by } => {
                *self.allowed(alert, by) -= 1;
                self.bus[usize::from(alert)] |= by.tag();
                CallResult::Applied
            }
            AlertRequest::Mark { alert, by } => {
                if self.alerts[usize::from(alert)].mark(by, mutant) {
                    CallResult::Applied
                } else {
                    CallResult::ConditionFailed
                }
            }
            AlertRequest::AddPublisher { alert, by } => {
                self.alerts[usize::from(alert)].add_publisher(by, mutant);
                CallResult::Applied
            }
            AlertRequest::End { by, end } => {
                let event = &mut self.events[usize::from(by.event)];
                if event.claim != by.claim {
                    return CallResult::ConditionFailed;
                }
                *event = AlertingEvent { end, claim: 0, claim_expired: false, ..*event };
                CallResult::Applied
            }
        }
    }

    /// Publications of an alert that a publisher has left.
    fn allowed(&mut self, alert: u8, by: Publisher) -> &mut i8 {
        match by.replay {
            0 => &mut self.first_publishes_allowed[usize::from(alert)],
            replay => {
                &mut self.replay_publishes_allowed[usize::from(alert)][usize::from(by.event)]
                    [usize::from(replay - 1)]
            }
        }
    }

    /// Allows a repeat, because the alert was or will be published and its publisher does not know.
    fn allow_repeat(&mut self, request: AlertRequest) {
        if let AlertRequest::Publish { alert, by } = request {
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

impl AlertWorker {
    fn has_bit(bits: u8, alert: u8) -> bool {
        bits & (1 << alert) != 0
    }

    /// Moves to the next step.
    fn advance(&mut self) {
        self.attempt = 0;
        self.phase = match self.phase {
            AlertPhase::Claim(0) => AlertPhase::Claim(1),
            AlertPhase::Claim(_) => self.publish_from(0),
            AlertPhase::Publish(alert) => self.publish_from(alert + 1),
            AlertPhase::Mark(alert) | AlertPhase::AddPublisher(alert) => self.mark_from(alert + 1),
            AlertPhase::End | AlertPhase::Idle => AlertPhase::Idle,
        };
        if self.phase == AlertPhase::Idle {
            *self = Self::default();
        }
    }

    fn publish_from(&self, first: u8) -> AlertPhase {
        let next = (first..2).find(|alert| Self::has_bit(self.acquired, *alert) && !self.failed);
        next.map_or_else(|| self.mark_from(0), AlertPhase::Publish)
    }

    fn mark_from(&self, first: u8) -> AlertPhase {
        (first..2)
            .find(|alert| Self::has_bit(self.published, *alert))
            .map_or(AlertPhase::End, AlertPhase::Mark)
    }

    /// The request of the next step.
    fn request(&self) -> Option<AlertRequest> {
        let by = self.by;
        Some(match self.phase {
            AlertPhase::Idle => return None,
            AlertPhase::Claim(alert) => {
                AlertRequest::Claim { alert, by, expired_claim: self.expired_claims[usize::from(alert)] }
            }
            AlertPhase::Publish(alert) => AlertRequest::Publish { alert, by },
            AlertPhase::Mark(alert) => AlertRequest::Mark { alert, by },
            AlertPhase::AddPublisher(alert) => AlertRequest::AddPublisher { alert, by },
            AlertPhase::End if self.incomplete || self.failed => {
                AlertRequest::End { by, end: EventStatus::Open }
            }
            AlertPhase::End if self.rejected => AlertRequest::End { by, end: EventStatus::Quarantined },
            AlertPhase::End => AlertRequest::End { by, end: EventStatus::Done },
        })
    }

    /// Handles the result of the request; `None` if both attempts were not answered.
    fn handle_result(&mut self, answer: Option<CallResult>) {
        match (self.phase, answer) {
            (AlertPhase::Claim(alert), Some(CallResult::Claimed(ClaimOutcome::Acquired))) => {
                self.acquired |= 1 << alert
            }
            (AlertPhase::Claim(_), Some(CallResult::Claimed(ClaimOutcome::HeldByOther))) => {
                self.incomplete = true
            }
            (AlertPhase::Publish(alert), Some(_)) => self.published |= 1 << alert,
            (AlertPhase::Publish(_), None) => self.incomplete = true,
            (AlertPhase::Mark(alert), Some(CallResult::ConditionFailed)) => {
                (self.phase, self.attempt) = (AlertPhase::AddPublisher(alert), 0);
                return;
            }
            (_, None) => self.failed = true,
            (_, Some(_)) => {}
        }
        self.advance();
    }
}

impl AlertsModel {
    /// Returns `true` if every event ends once nothing fails any more.
    fn terminates(&self, mut state: AlertsModelState) -> bool {
        for _ in 0..2 {
            state.events.iter_mut().for_each(|event| event.claim_expired = event.claim != 0);
            state.alerts.iter_mut().for_each(|alert| alert.claim_expired = alert.claim != 0);
            let mut begun = Vec::new();
            begin(&state, 0, &mut begun);
            let Some((_, first)) = begun.pop() else { return true };
            state = first;
            while let Some(request) = state.workers[0].request() {
                let answer = state.apply(request, self.mutant);
                state.workers[0].handle_result(Some(answer));
            }
        }
        state.events.iter().all(|event| event.end != EventStatus::Open)
    }

    fn step_worker(&self, state: &AlertsModelState, which: usize, to: &mut Steps<AlertsModelState>) {
        let worker = state.workers[which];
        let Some(request) = worker.request() else { return };
        let mut answered = *state;
        let answer = answered.apply(request, self.mutant);
        answered.workers[which].handle_result(Some(answer));
        to.push((step(which, worker.phase, result_name(answer)), answered));
        if matches!(worker.phase, AlertPhase::Publish(_)) && state.budget.failures > 0 {
            let mut after = *state;
            after.budget.failures -= 1;
            after.workers[which].handle_result(None);
            to.push((step(which, worker.phase, "failed"), after));
            let mut after = *state;
            after.budget.failures -= 1;
            after.workers[which].rejected = true;
            after.workers[which].advance();
            to.push((step(which, worker.phase, "rejected by EventBridge"), after));
        }
        if state.budget.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: AlertsModelState, is_applied: bool, how| {
            after.budget.faults -= 1;
            let it = &mut after.workers[which];
            it.attempt += 1;
            if it.attempt == ATTEMPTS {
                it.handle_result(None);
                after.allow_unmarked_repeat(worker, is_applied);
            }
            to.push((step(which, worker.phase, how), after));
        };
        unanswered(*state, false, "lost");
        let mut applied = *state;
        let is_applied = applied.apply(request, self.mutant) == CallResult::Applied;
        applied.allow_repeat(request);
        unanswered(applied, is_applied, "applied, and its answer lost");
        if state.budget.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.budget.delays -= 1;
            delayed.delayed = Some(request);
            delayed.allow_repeat(request);
            unanswered(delayed, false, "delayed");
        }
    }

    /// Steps of time, the network, and an operator.
    fn environment(&self, state: &AlertsModelState, to: &mut Steps<AlertsModelState>) {
        let mut world = |after, what| {
            to.push((Step { actor: "environment", actor_index: 1, action: what, outcome: "" }, after))
        };
        let is_held = |claim| state.workers.iter().any(|worker| worker.by.claim == claim);
        for which in 0..2 {
            let AlertingEvent { claim, claim_expired: claim_over, end, replay } = state.events[which];
            if claim != 0 && !claim_over && !is_held(claim) {
                let mut after = *state;
                after.events[which].claim_expired = true;
                world(after, ["the claim of event A runs out", "the claim of event B runs out"][which]);
            }
            if end == EventStatus::Done && replay < MAX_REPLAYS && state.budget.replays > 0 {
                let mut after = *state;
                after.budget.replays -= 1;
                after.events[which] = AlertingEvent { replay: replay + 1, ..AlertingEvent::default() };
                for alert in 0..2 {
                    after.replay_publishes_allowed[alert][which][usize::from(replay)] += 1;
                }
                world(after, ["event A is replayed", "event B is replayed"][which]);
            }
            let ModelAlert { claim, claim_expired: claim_over, .. } = state.alerts[which];
            if claim != 0 && !claim_over && !is_held(claim) {
                let mut after = *state;
                after.alerts[which].claim_expired = true;
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

impl AlertsModelState {
    /// Allows a repeat after a mark that may not have been applied.
    fn allow_unmarked_repeat(&mut self, worker: AlertWorker, is_applied: bool) {
        if let (AlertPhase::Mark(alert) | AlertPhase::AddPublisher(alert), false) = (worker.phase, is_applied)
        {
            *self.allowed(alert, worker.by) += 1;
        }
    }
}

/// A worker claims an open event.
fn begin(state: &AlertsModelState, which: usize, to: &mut Steps<AlertsModelState>) {
    for event in 0..2_u8 {
        let AlertingEvent { end, claim, claim_expired: claim_over, replay } =
            state.events[usize::from(event)];
        if end != EventStatus::Open || (claim != 0 && !claim_over) {
            continue;
        }
        let mut after = *state;
        let by = Publisher { event, replay, claim: state.fresh_claim() };
        let its = &mut after.events[usize::from(event)];
        (its.claim, its.claim_expired) = (by.claim, false);
        let over = state.alerts.map(|alert| if alert.claim_expired { alert.claim } else { 0 });
        after.workers[which] =
            AlertWorker { phase: AlertPhase::Claim(0), by, expired_claims: over, ..AlertWorker::default() };
        let what = ["claims event A", "claims event B"][usize::from(event)];
        to.push((Step { actor: "worker", actor_index: which + 1, action: what, outcome: "" }, after));
    }
}

fn crash_worker(state: &AlertsModelState, which: usize, to: &mut Steps<AlertsModelState>) {
    if state.budget.faults == 0 {
        return;
    }
    let mut after = *state;
    after.budget.faults -= 1;
    let worker = state.workers[which];
    // Published and not yet marked.
    let first = match worker.phase {
        AlertPhase::Publish(_) => 0,
        AlertPhase::Mark(alert) | AlertPhase::AddPublisher(alert) => alert,
        AlertPhase::Idle | AlertPhase::Claim(_) | AlertPhase::End => 2,
    };
    for alert in (first..2).filter(|alert| AlertWorker::has_bit(worker.published, *alert)) {
        *after.allowed(alert, worker.by) += 1;
    }
    after.workers[which] = AlertWorker::default();
    to.push((Step { actor: "worker", actor_index: which + 1, action: "dies", outcome: "" }, after));
}

fn step(which: usize, doing: AlertPhase, how: &'static str) -> Step {
    let named = |names: [&'static str; 2], alert: u8| names[usize::from(alert)];
    let what = match doing {
        AlertPhase::Idle => "nothing",
        AlertPhase::Claim(alert) => named(["claims alert X", "claims alert Y"], alert),
        AlertPhase::Publish(alert) => named(["publishes alert X", "publishes alert Y"], alert),
        AlertPhase::Mark(alert) => named(["marks alert X", "marks alert Y"], alert),
        AlertPhase::AddPublisher(alert) => {
            named(["is remembered at alert X", "is remembered at alert Y"], alert)
        }
        AlertPhase::End => "stores its event's outcome",
    };
    Step { actor: "worker", actor_index: which + 1, action: what, outcome: how }
}

fn result_name(answer: CallResult) -> &'static str {
    match answer {
        CallResult::Applied => "",
        CallResult::ConditionFailed => "condition failed",
        CallResult::Claimed(ClaimOutcome::Acquired) => "acquired",
        CallResult::Claimed(ClaimOutcome::Published) => "published",
        CallResult::Claimed(ClaimOutcome::HeldByOther) => "held by another",
    }
}
