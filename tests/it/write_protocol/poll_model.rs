//! A tracked batch of two authorizers, both over the threshold: pollers, the webhooks of its completion and of its alerts,
//! its deadline, and what the worker does with the records.
//!
//! A poller reads, puts the batch off, asks Rightfoot, looks whom an event has told of by then, records what nobody has
//! told, and ends or moves the batch. Rightfoot shows one result after the other, or does not answer.

mod configurations;
mod item_writes;
mod write_effects;

use super::explorer::{Model, Step, Steps};

/// Both authorizers, as bits.
const BOTH_AUTHORIZERS: u8 = 3;

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollMutant {
    /// All that the poller finds of a batch's alerts has the same key.
    OneKeyForAlerts,
    /// A record that was given up tells its alerts, too.
    QuarantinedCoversAlerts,
    /// A record that was given up is left alone by the poller who finds the same.
    QuarantinedIsNotRequeued,
    /// The batch ends before what was found is recorded.
    UpdatesBatchFirst,
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PollModel {
    /// Whether the batch is a run of a schedule; otherwise it has no alerts.
    pub(crate) is_run: bool,
    /// Pollers.
    pub(crate) pollers: usize,
    /// Lost requests, lost answers, crashes.
    pub(crate) faults: u8,
    /// Of these, requests that are applied later.
    pub(crate) delays: u8,
    /// Questions that Rightfoot does not answer.
    pub(crate) unanswered_polls: u8,
    /// Webhooks of alerts, each of one authorizer.
    pub(crate) webhooks: u8,
    /// Records that the worker gives up.
    pub(crate) quarantines: u8,
    /// What is left out of the code.
    pub(crate) mutant: Option<PollMutant>,
}

/// A record of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RecordState {
    #[default]
    None,
    /// It is on its way to its effect, or has had it.
    Active,
    /// It was given up.
    Quarantined,
    /// The same, after it was given back.
    Requeued,
    /// It was given up once more: that is an operator's.
    QuarantinedAgain,
}

impl RecordState {
    fn is_quarantined(self) -> bool {
        matches!(self, Self::Quarantined | Self::QuarantinedAgain)
    }

    /// Whether its alerts are told, or somebody was told that they are not.
    fn covers_alerts(self) -> bool {
        matches!(self, Self::Active | Self::Requeued | Self::QuarantinedAgain)
    }
}

/// The item of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchItem {
    pub(crate) rev: u8,
    pub(crate) due: bool,
    /// Its time has come.
    pub(crate) is_due_now: bool,
    /// The API has shown it complete.
    pub(crate) shown_complete: bool,
    pub(crate) done: bool,
    pub(crate) overdue: bool,
}

/// As it is written when it is tracked.
pub(crate) const NEWLY_TRACKED: BatchItem =
    BatchItem { rev: 1, due: true, is_due_now: false, shown_complete: false, done: false, overdue: false };

/// What becomes of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BatchUpdate {
    #[default]
    PollAsPlanned,
    PollAt,
    CheckAlertsAt,
    Done,
    Overdue,
}

/// What is to be recorded. Alerts are of these authorizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ModelFinding {
    #[default]
    Nothing,
    Completion,
    Alerts(u8),
}

/// A poller's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum PollerPhase {
    #[default]
    Idle,
    Defer,
    QueryApi,
    /// Rightfoot has shown these, or not answered.
    Evaluate(Option<u8>),
    RecordEvent,
    RequeueQuarantined,
    UpdateBatch,
}

/// A poller. `rev` is what its next write to the batch names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PollerState {
    phase: PollerPhase,
    rev: u8,
    /// Whether it asks whom to alert, and not whether the batch is complete.
    awaits_alerts: bool,
    found: ModelFinding,
    update: BatchUpdate,
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PollWrite {
    Defer { rev: u8 },
    RecordEvent { found: ModelFinding },
    RequeueQuarantined { found: ModelFinding },
    UpdateBatch { rev: u8, then: BatchUpdate },
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PollBudget {
    faults: u8,
    delays: u8,
    unanswered_polls: u8,
    webhooks: u8,
    quarantines: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PollModelState {
    tracked: BatchItem,
    completion: RecordState,
    /// By authorizer, the alert that a webhook tells.
    webhooks: [RecordState; 2],
    /// By the authorizers whom it tells, less one: what the poller found.
    polled: [RecordState; 3],
    pollers: [PollerState; 2],
    delayed: Option<PollWrite>,
    /// Of whom Rightfoot shows a result.
    visible_rows: u8,
    is_past_deadline: bool,
    budget: PollBudget,
    /// A poller went on although an alert that it had found untold stays untold.
    missed_alert: bool,
}

impl Model for PollModel {
    type State = PollModelState;

    fn initial(&self) -> PollModelState {
        let Self { faults, delays, unanswered_polls: silences, webhooks, quarantines: given_up, .. } = *self;
        PollModelState {
            tracked: NEWLY_TRACKED,
            completion: RecordState::None,
            webhooks: Default::default(),
            polled: Default::default(),
            pollers: Default::default(),
            delayed: None,
            visible_rows: 0,
            is_past_deadline: false,
            budget: PollBudget {
                faults,
                delays,
                unanswered_polls: silences,
                webhooks,
                quarantines: given_up,
            },
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
            return Some("an alert was found untold, and stays so");
        }
        if tracked.done && state.completion == RecordState::None && !tracked.shown_complete {
            return Some("P5: a batch is settled without its completion");
        }
        let alerted = state.covered_authorizers(None)
            | if state.budget.quarantines < self.quarantines { BOTH_AUTHORIZERS } else { 0 };
        if tracked.done && self.is_run && alerted != BOTH_AUTHORIZERS {
            return Some("a run is settled, and an alert is told by nobody");
        }
        let is_quiet =
            state.delayed.is_none() && state.pollers.iter().all(|it| it.phase == PollerPhase::Idle);
        (is_quiet && !ends && !self.terminates(*state)).then_some("P9: a batch never ends")
    }
}

impl PollModel {
    /// Whether the batch ends once Rightfoot shows everything and nothing goes wrong any more.
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
                let look = |rows| PollerState { phase: PollerPhase::Evaluate(rows), ..poller };
                go(*state, look(Some(state.visible_rows)), "asks Rightfoot", "an answer");
                if state.budget.unanswered_polls > 0 {
                    let mut after = *state;
                    after.budget.unanswered_polls -= 1;
                    go(after, look(None), "asks Rightfoot", "no answer");
                }
            }
            PollerPhase::Evaluate(rows) => {
                let it = self.plan(state, poller, rows);
                let mut after = *state;
                if self.is_run && matches!(it.update, BatchUpdate::Done | BatchUpdate::Overdue) {
                    let found = if let ModelFinding::Alerts(whom) = it.found { whom } else { 0 };
                    after.missed_alert |= rows.unwrap_or(0) & !state.covered_authorizers(None) & !found != 0;
                }
                go(after, it, "looks whom an event has told of", "");
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

    /// What a poller does first about a batch that is due.
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

    /// What the answer means.
    fn plan(&self, state: &PollModelState, it: PollerState, rows: Option<u8>) -> PollerState {
        let is_whole = rows == Some(BOTH_AUTHORIZERS);
        let seen = if self.is_run { rows.unwrap_or(0) } else { 0 };
        let untold = seen & !state.covered_authorizers(self.mutant);
        let alerts = if untold == 0 { ModelFinding::Nothing } else { ModelFinding::Alerts(untold) };
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

    /// A record that stands is as good as a new one, unless it was given up.
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

    /// A write, in every way in which it can end. The SDK's second attempt at it is left out: without an answer the run
    /// goes on to its next batch.
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
        to.push((step(if is_applied { "" } else { "refused" }), answered));
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

    /// Time, Rightfoot, the network and the worker.
    fn environment(&self, state: &PollModelState, to: &mut Steps<PollModelState>) {
        let mut world = |after, what| {
            to.push((Step { actor: "the world", actor_index: 1, action: what, outcome: "" }, after))
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
        for whom in [1, 2] {
            if state.visible_rows & whom == 0 {
                let mut after = *state;
                after.visible_rows |= whom;
                world(after, "Rightfoot shows another result");
            }
            let webhook = usize::from(whom) - 1;
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

    /// The worker gives a record up.
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
                Step { actor: "the worker", actor_index: 1, action: "gives a record up", outcome: "" },
                after,
            ));
        }
    }
}

fn write_name(write: PollWrite) -> &'static str {
    match write {
        PollWrite::Defer { .. } => "puts the batch off",
        PollWrite::RecordEvent { found: ModelFinding::Completion } => "records the completion",
        PollWrite::RecordEvent { .. } => "records alerts",
        PollWrite::RequeueQuarantined { .. } => "gives the record back",
        PollWrite::UpdateBatch { then: BatchUpdate::Done, .. } => "settles the batch",
        PollWrite::UpdateBatch { then: BatchUpdate::Overdue, .. } => "ends the batch as overdue",
        PollWrite::UpdateBatch { .. } => "moves the batch",
    }
}
