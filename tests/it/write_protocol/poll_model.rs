//! Model of a tracked batch of two authorizers above the threshold: pollers, the webhooks of its completion and of
//! its alerts, its deadline, and the worker's effect on the records.
//!
//! A poller reads the batch, defers it, asks Rightfoot, reads which authorizers events cover by then, records the
//! others, and ends or updates the batch. Rightfoot shows one result after the other, or does not answer.

mod configurations;
mod item_writes;
mod write_effects;

use super::explorer::{Model, Step, Steps};

/// Both authorizers, as bits.
const BOTH_AUTHORIZERS: u8 = 3;

/// Conditions of the code that a test drops, one at a time. The exploration must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollMutant {
    /// All alerts that the poller finds for a batch have the same key.
    OneKeyForAlerts,
    /// A quarantined record counts as covering its alerts.
    QuarantinedCoversAlerts,
    /// The poller does not requeue a quarantined record of the same finding.
    QuarantinedIsNotRequeued,
    /// The batch ends before the finding is recorded.
    UpdatesBatchFirst,
}

/// A configuration of the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PollModel {
    /// True if the batch is a run of a schedule; otherwise it has no alerts.
    pub(crate) is_run: bool,
    pub(crate) pollers: usize,
    /// Lost requests, lost answers and crashes.
    pub(crate) faults: u8,
    /// Requests among these faults that are applied later.
    pub(crate) delays: u8,
    /// Requests that Rightfoot does not answer.
    pub(crate) unanswered_polls: u8,
    /// Webhooks of alerts, of one authorizer each.
    pub(crate) webhooks: u8,
    /// Records that the worker quarantines.
    pub(crate) quarantines: u8,
    /// Condition that is dropped.
    pub(crate) mutant: Option<PollMutant>,
}

/// State of an event's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RecordState {
    #[default]
    None,
    /// On its way to its effect, or done.
    Active,
    /// Quarantined.
    Quarantined,
    /// Requeued after it was quarantined.
    Requeued,
    /// Quarantined again, which is left to an operator.
    QuarantinedAgain,
}

impl RecordState {
    fn is_quarantined(self) -> bool {
        matches!(self, Self::Quarantined | Self::QuarantinedAgain)
    }

    /// Returns `true` if its alerts are published, or left to an operator who was notified.
    fn covers_alerts(self) -> bool {
        matches!(self, Self::Active | Self::Requeued | Self::QuarantinedAgain)
    }
}

/// The item of the tracked batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchItem {
    pub(crate) rev: u8,
    pub(crate) due: bool,
    /// True if its time has come.
    pub(crate) is_due_now: bool,
    /// True if the API has shown the batch complete.
    pub(crate) shown_complete: bool,
    pub(crate) done: bool,
    pub(crate) overdue: bool,
}

/// The item right after it is tracked.
pub(crate) const NEWLY_TRACKED: BatchItem =
    BatchItem { rev: 1, due: true, is_due_now: false, shown_complete: false, done: false, overdue: false };

/// Update of the batch at the end of a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BatchUpdate {
    #[default]
    PollAsPlanned,
    PollAt,
    CheckAlertsAt,
    Done,
    Overdue,
}

/// Finding that is to be recorded. Alerts have their authorizers as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ModelFinding {
    #[default]
    Nothing,
    Completion,
    Alerts(u8),
}

/// A poller's next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum PollerPhase {
    #[default]
    Idle,
    Defer,
    QueryApi,
    /// Rightfoot's rows; `None` if it did not answer.
    Evaluate(Option<u8>),
    RecordEvent,
    RequeueQuarantined,
    UpdateBatch,
}

/// A poller. `rev` is the revision that its next write to the batch checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PollerState {
    phase: PollerPhase,
    rev: u8,
    /// True if it polls for alerts, false if for the completion.
    awaits_alerts: bool,
    found: ModelFinding,
    update: BatchUpdate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PollWrite {
    Defer { rev: u8 },
    RecordEvent { found: ModelFinding },
    RequeueQuarantined { found: ModelFinding },
    UpdateBatch { rev: u8, then: BatchUpdate },
}

/// Faults and events that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PollBudget {
    faults: u8,
    delays: u8,
    unanswered_polls: u8,
    webhooks: u8,
    quarantines: u8,
}

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PollModelState {
    tracked: BatchItem,
    completion: RecordState,
    /// By authorizer, the record of the webhook's alert.
    webhooks: [RecordState; 2],
    /// Records of the poller's alerts, by the bits of their authorizers less one.
    polled: [RecordState; 3],
    pollers: [PollerState; 2],
    delayed: Option<PollWrite>,
    /// Authorizers of whom Rightfoot shows a result.
    visible_rows: u8,
    is_past_deadline: bool,
    budget: PollBudget,
    /// A poller went on although an uncovered alert that it had found stays uncovered.
    missed_alert: bool,
}

impl Model for PollModel {
    type State = PollModelState;

    fn initial(&self) -> PollModelState {
        let Self { faults, delays, unanswered_polls, webhooks, quarantines, .. } = *self;
        PollModelState {
            tracked: NEWLY_TRACKED,
            completion: RecordState::None,
            webhooks: Default::default(),
            polled: Default::default(),
            pollers: Default::default(),
            delayed: None,
            visible_rows: 0,
            is_past_deadline: false,
            budget: PollBudget { faults, delays, unanswered_polls, webhooks, quarantines },
            missed_alert: false,
        }
    }

    fn next_steps(&self, state: &PollModelState, to: &mut Steps<PollModelState>) {
        let first = to.len();
        for which in 0..self.pollers {
            self.poller(state, which, to);
        }
        self.environment(state, to);
        for (_, after) in &mut to[first..] {
            after.normalize_revs();
            // The pollers are interchangeable, so states that differ only in their order are one state.
            after.pollers[..self.pollers].sort_unstable();
        }
    }

    fn violation(&self, state: &PollModelState) -> Option<&'static str> {
        let tracked = &state.tracked;
        let ends = tracked.done || tracked.overdue;
        if ends == tracked.due {
            return Some("P9: a batch is neither due nor over, or both");
        }
        if state.missed_alert {
            return Some("an uncovered alert was found, and stays uncovered");
        }
        if tracked.done && state.completion == RecordState::None && !tracked.shown_complete {
            return Some("P5: a batch is settled without its completion");
        }
        let alerted = state.covered_authorizers(None)
            | if state.budget.quarantines < self.quarantines { BOTH_AUTHORIZERS } else { 0 };
        if tracked.done && self.is_run && alerted != BOTH_AUTHORIZERS {
            return Some("a run is settled, and an alert is covered by no event");
        }
        let is_quiet =
            state.delayed.is_none() && state.pollers.iter().all(|it| it.phase == PollerPhase::Idle);
        (is_quiet && !ends && !self.terminates(*state)).then_some("P9: a batch never ends")
    }
}

impl PollModel {
    /// Returns `true` if the batch ends once Rightfoot shows everything and nothing fails any more.
    fn terminates(&self, mut state: PollModelState) -> bool {
        (state.visible_rows, state.budget) = (
            BOTH_AUTHORIZERS,
            PollBudget { faults: 0, delays: 0, unanswered_polls: 0, webhooks: 0, quarantines: 0 },
        );
        for _ in 0..24 {
            state.tracked.is_due_now = state.tracked.due;
            let mut to = Vec::new();
            self.poller(&state, 0, &mut to);
            match to.pop() {
                Some((_, after)) => state = after,
                None => return state.tracked.done || state.tracked.overdue,
            }
        }
        false
    }

    fn poller(&self, state: &PollModelState, which: usize, to: &mut Steps<PollModelState>) {
        let poller = state.pollers[which];
        let mut go = |mut after: PollModelState, it: PollerState, what, how| {
            after.pollers[which] = it;
            to.push((Step { actor: "poller", actor_index: which + 1, action: what, outcome: how }, after));
        };
        match poller.phase {
            PollerPhase::Idle if state.tracked.due && state.tracked.is_due_now => self.read(state, go),
            PollerPhase::Idle => return,
            PollerPhase::Defer => {
                let write = PollWrite::Defer { rev: poller.rev };
                self.write(state, which, write, to, |it, is_applied| {
                    let next = PollerState { phase: PollerPhase::QueryApi, rev: it.rev + 1, ..*it };
                    *it = if is_applied { next } else { PollerState::default() };
                });
            }
            PollerPhase::QueryApi => {
                let evaluate = |rows| PollerState { phase: PollerPhase::Evaluate(rows), ..poller };
                go(*state, evaluate(Some(state.visible_rows)), "asks Rightfoot", "an answer");
                if state.budget.unanswered_polls > 0 {
                    let mut after = *state;
                    after.budget.unanswered_polls -= 1;
                    go(after, evaluate(None), "asks Rightfoot", "no answer");
                }
            }
            PollerPhase::Evaluate(rows) => {
                let it = self.plan(state, poller, rows);
                let mut after = *state;
                if self.is_run && matches!(it.update, BatchUpdate::Done | BatchUpdate::Overdue) {
                    let found =
                        if let ModelFinding::Alerts(authorizers) = it.found { authorizers } else { 0 };
                    after.missed_alert |= rows.unwrap_or(0) & !state.covered_authorizers(None) & !found != 0;
                }
                go(after, it, "reads which authorizers events cover", "");
            }
            PollerPhase::RecordEvent => {
                let write = PollWrite::RecordEvent { found: poller.found };
                let stands = *state;
                self.write(state, which, write, to, |it, is_applied| {
                    *it = self.after_record(stands, *it, is_applied);
                });
            }
            PollerPhase::RequeueQuarantined => {
                let write = PollWrite::RequeueQuarantined { found: poller.found };
                self.write(state, which, write, to, |it, _| it.phase = PollerPhase::UpdateBatch);
            }
            PollerPhase::UpdateBatch => {
                let write = PollWrite::UpdateBatch { rev: poller.rev, then: poller.update };
                let first = self.mutant == Some(PollMutant::UpdatesBatchFirst)
                    && poller.found != ModelFinding::Nothing;
                self.write(state, which, write, to, |it, _| {
                    *it = if first {
                        PollerState { phase: PollerPhase::RecordEvent, ..*it }
                    } else {
                        PollerState::default()
                    };
                });
            }
        }
        if state.budget.faults > 0 {
            let mut after = *state;
            after.budget.faults -= 1;
            after.pollers[which] = PollerState::default();
            to.push((Step { actor: "poller", actor_index: which + 1, action: "dies", outcome: "" }, after));
        }
    }

    /// A poller's read of a due batch.
    fn read(
        &self,
        state: &PollModelState,
        mut go: impl FnMut(PollModelState, PollerState, &'static str, &'static str),
    ) {
        let it = PollerState { rev: state.tracked.rev, ..PollerState::default() };
        let end = |then| PollerState { phase: PollerPhase::UpdateBatch, update: then, ..it };
        let what = "reads the batch";
        match (state.is_complete(), self.is_run) {
            (false, _) => {
                go(*state, PollerState { phase: PollerPhase::Defer, ..it }, what, "not known to be complete")
            }
            (true, false) => go(*state, end(BatchUpdate::Done), what, "complete"),
            (true, true) => {
                if state.budget
                    != (PollBudget { faults: 0, delays: 0, unanswered_polls: 0, webhooks: 0, quarantines: 0 })
                {
                    go(*state, end(BatchUpdate::PollAt), what, "complete, and alerts may still come");
                }
                let asks = PollerState { phase: PollerPhase::Defer, awaits_alerts: true, ..it };
                go(*state, asks, what, "complete, and no alert is to be expected any more");
            }
        }
    }

    /// The poller's decision after the answer.
    fn plan(&self, state: &PollModelState, it: PollerState, rows: Option<u8>) -> PollerState {
        let is_whole = rows == Some(BOTH_AUTHORIZERS);
        let seen = if self.is_run { rows.unwrap_or(0) } else { 0 };
        let uncovered = seen & !state.covered_authorizers(self.mutant);
        let alerts = if uncovered == 0 { ModelFinding::Nothing } else { ModelFinding::Alerts(uncovered) };
        let (found, then) = match (is_whole, it.awaits_alerts) {
            (true, false) if self.is_run => (ModelFinding::Completion, BatchUpdate::CheckAlertsAt),
            (true, false) => (ModelFinding::Completion, BatchUpdate::Done),
            (true, true) => (alerts, BatchUpdate::Done),
            (false, _) if rows.is_some() && state.is_past_deadline => (alerts, BatchUpdate::Overdue),
            (false, _) => (ModelFinding::Nothing, BatchUpdate::PollAsPlanned),
        };
        let records = found != ModelFinding::Nothing && self.mutant != Some(PollMutant::UpdatesBatchFirst);
        PollerState {
            phase: if records { PollerPhase::RecordEvent } else { PollerPhase::UpdateBatch },
            found,
            update: then,
            ..it
        }
    }

    /// An existing record is as good as a new one, unless it was quarantined.
    fn after_record(&self, mut state: PollModelState, it: PollerState, is_applied: bool) -> PollerState {
        if self.mutant == Some(PollMutant::UpdatesBatchFirst) {
            return PollerState::default();
        }
        let stands = state.record(it.found, self.mutant).map_or(RecordState::None, |record| *record);
        let gives_back = !is_applied
            && stands == RecordState::Quarantined
            && self.mutant != Some(PollMutant::QuarantinedIsNotRequeued);
        PollerState {
            phase: if gives_back { PollerPhase::RequeueQuarantined } else { PollerPhase::UpdateBatch },
            ..it
        }
    }

    /// Adds a write, in every way in which it can end. The SDK's second attempt is left out: without an answer the
    /// run goes on to its next batch.
    fn write(
        &self,
        state: &PollModelState,
        which: usize,
        write: PollWrite,
        to: &mut Steps<PollModelState>,
        then: impl Fn(&mut PollerState, bool),
    ) {
        let step =
            |how| Step { actor: "poller", actor_index: which + 1, action: write_name(write), outcome: how };
        let mut answered = *state;
        let is_applied = answered.apply(write, self.mutant);
        then(&mut answered.pollers[which], is_applied);
        answered.check_missed_alerts(write);
        to.push((step(if is_applied { "" } else { "condition failed" }), answered));
        if state.budget.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: PollModelState, how| {
            after.budget.faults -= 1;
            after.pollers[which] = PollerState::default();
            to.push((step(how), after));
        };
        unanswered(*state, "lost");
        let mut applied = *state;
        applied.apply(write, self.mutant);
        unanswered(applied, "applied, and its answer lost");
        if state.budget.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.budget.delays -= 1;
            delayed.delayed = Some(write);
            unanswered(delayed, "delayed");
        }
    }

    /// Steps of time, Rightfoot, the network and the worker.
    fn environment(&self, state: &PollModelState, to: &mut Steps<PollModelState>) {
        let mut world = |after, what| {
            to.push((Step { actor: "environment", actor_index: 1, action: what, outcome: "" }, after))
        };
        if state.tracked.due && !state.tracked.is_due_now {
            let mut after = *state;
            after.tracked.is_due_now = true;
            world(after, "the batch is due");
        }
        if !state.is_past_deadline {
            let mut after = *state;
            after.is_past_deadline = true;
            world(after, "the deadline passes");
        }
        for authorizers in [1, 2] {
            if state.visible_rows & authorizers == 0 {
                let mut after = *state;
                after.visible_rows |= authorizers;
                world(after, "Rightfoot shows another result");
            }
            let webhook = usize::from(authorizers) - 1;
            if self.is_run && state.budget.webhooks > 0 && state.webhooks[webhook] == RecordState::None {
                let mut after = *state;
                after.budget.webhooks -= 1;
                after.webhooks[webhook] = RecordState::Active;
                world(after, "an alert comes by webhook");
            }
        }
        if state.visible_rows == BOTH_AUTHORIZERS && state.completion == RecordState::None {
            let mut after = *state;
            after.completion = RecordState::Active;
            world(after, "the completion comes by webhook");
        }
        if let Some(write) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(write, self.mutant);
            world(after, write_name(write));
        }
        self.quarantine(state, to);
    }

    /// The worker quarantines a record.
    fn quarantine(&self, state: &PollModelState, to: &mut Steps<PollModelState>) {
        if state.budget.quarantines == 0 {
            return;
        }
        for which in 0..6 {
            let mut after = *state;
            after.budget.quarantines -= 1;
            let records =
                [&mut after.completion].into_iter().chain(&mut after.webhooks).chain(&mut after.polled);
            let Some(record) = records.into_iter().nth(which) else { continue };
            if !record.quarantine() {
                continue;
            }
            to.push((
                Step { actor: "worker", actor_index: 1, action: "quarantines a record", outcome: "" },
                after,
            ));
        }
    }
}

fn write_name(write: PollWrite) -> &'static str {
    match write {
        PollWrite::Defer { .. } => "defers the batch",
        PollWrite::RecordEvent { found: ModelFinding::Completion } => "records the completion",
        PollWrite::RecordEvent { .. } => "records alerts",
        PollWrite::RequeueQuarantined { .. } => "requeues the quarantined record",
        PollWrite::UpdateBatch { then: BatchUpdate::Done, .. } => "settles the batch",
        PollWrite::UpdateBatch { then: BatchUpdate::Overdue, .. } => "ends the batch as overdue",
        PollWrite::UpdateBatch { .. } => "updates the batch",
    }
}
