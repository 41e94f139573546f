//! A tracked batch of two authorizers, both over the threshold: pollers, the webhooks of its completion and of its alerts,
//! its deadline, and what the worker does with the records.
//!
//! A poller reads, puts the batch off, asks Rightfoot, looks whom an event has told of by then, records what nobody has
//! told, and ends or moves the batch. Rightfoot shows one result after the other, or does not answer.

mod configurations;
mod items;
mod writes;

use super::explore::{Model, Step, Steps};

/// Both authorizers, as bits.
const BOTH: u8 = 3;

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// All that the poller finds of a batch's alerts has the same key.
    OneKeyForAlerts,
    /// A record that was given up tells its alerts, too.
    GivenUpTells,
    /// A record that was given up is left alone by the poller who finds the same.
    GivenUpStays,
    /// The batch ends before what was found is recorded.
    EndsFirst,
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Poll {
    /// Whether the batch is a run of a schedule; otherwise it has no alerts.
    pub(crate) is_run: bool,
    /// Pollers.
    pub(crate) pollers: usize,
    /// Lost requests, lost answers, crashes.
    pub(crate) faults: u8,
    /// Of these, requests that are applied later.
    pub(crate) delays: u8,
    /// Questions that Rightfoot does not answer.
    pub(crate) silences: u8,
    /// Webhooks of alerts, each of one authorizer.
    pub(crate) webhooks: u8,
    /// Records that the worker gives up.
    pub(crate) given_up: u8,
    /// What is left out of the code.
    pub(crate) mutant: Option<Mutant>,
}

/// A record of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    #[default]
    None,
    /// It is on its way to its effect, or has had it.
    Stands,
    /// It was given up.
    GivenUp,
    /// The same, after it was given back.
    GivenBack,
    /// It was given up once more: that is an operator's.
    GivenUpAgain,
}

impl Record {
    fn is_given_up(self) -> bool {
        matches!(self, Self::GivenUp | Self::GivenUpAgain)
    }

    /// Whether its alerts are told, or somebody was told that they are not.
    fn tells(self) -> bool {
        matches!(self, Self::Stands | Self::GivenBack | Self::GivenUpAgain)
    }
}

/// The item of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tracked {
    pub(crate) rev: u8,
    pub(crate) due: bool,
    /// Its time has come.
    pub(crate) is_now: bool,
    /// The API has shown it complete.
    pub(crate) shown: bool,
    pub(crate) done: bool,
    pub(crate) overdue: bool,
}

/// As it is written when it is tracked.
pub(crate) const NEW: Tracked =
    Tracked { rev: 1, due: true, is_now: false, shown: false, done: false, overdue: false };

/// What becomes of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Then {
    #[default]
    AsPlanned,
    Later,
    AlertsLater,
    Done,
    Overdue,
}

/// What is to be recorded. Alerts are of these authorizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Found {
    #[default]
    Nothing,
    Completion,
    Alerts(u8),
}

/// A poller's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    #[default]
    Nothing,
    PutOff,
    Ask,
    /// Rightfoot has shown these, or not answered.
    Look(Option<u8>),
    Record,
    GiveBack,
    End,
}

/// A poller. `rev` is what its next write to the batch names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Poller {
    doing: Doing,
    rev: u8,
    /// Whether it asks whom to alert, and not whether the batch is complete.
    asks_for_alerts: bool,
    found: Found,
    then: Then,
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Write {
    PutOff { rev: u8 },
    Record { found: Found },
    GiveBack { found: Found },
    End { rev: u8, then: Then },
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Left {
    faults: u8,
    delays: u8,
    silences: u8,
    webhooks: u8,
    given_up: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tracked: Tracked,
    completion: Record,
    /// By authorizer, the alert that a webhook tells.
    webhooks: [Record; 2],
    /// By the authorizers whom it tells, less one: what the poller found.
    polled: [Record; 3],
    pollers: [Poller; 2],
    delayed: Option<Write>,
    /// Of whom Rightfoot shows a result.
    rows: u8,
    is_past_deadline: bool,
    left: Left,
    /// A poller went on although an alert that it had found untold stays untold.
    left_untold: bool,
}

impl Model for Poll {
    type State = State;

    fn start(&self) -> State {
        let Self { faults, delays, silences, webhooks, given_up, .. } = *self;
        State {
            tracked: NEW,
            completion: Record::None,
            webhooks: Default::default(),
            polled: Default::default(),
            pollers: Default::default(),
            delayed: None,
            rows: 0,
            is_past_deadline: false,
            left: Left { faults, delays, silences, webhooks, given_up },
            left_untold: false,
        }
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        let first = to.len();
        for which in 0..self.pollers {
            self.poller(state, which, to);
        }
        self.world(state, to);
        for (_, after) in &mut to[first..] {
            after.forget_revs();
            after.pollers[..self.pollers].sort_unstable();
        }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        let tracked = &state.tracked;
        let ends = tracked.done || tracked.overdue;
        if ends == tracked.due {
            return Some("P9: a batch is neither due nor over, or both");
        }
        if state.left_untold {
            return Some("an alert was found untold, and stays so");
        }
        if tracked.done && state.completion == Record::None && !tracked.shown {
            return Some("P5: a batch is settled without its completion");
        }
        let told = state.alerted(None) | if state.left.given_up < self.given_up { BOTH } else { 0 };
        if tracked.done && self.is_run && told != BOTH {
            return Some("a run is settled, and an alert is told by nobody");
        }
        let is_quiet = state.delayed.is_none() && state.pollers.iter().all(|it| it.doing == Doing::Nothing);
        (is_quiet && !ends && !self.comes_to_its_end(*state)).then_some("P9: a batch never ends")
    }
}

impl Poll {
    /// Whether the batch ends once Rightfoot shows everything and nothing goes wrong any more.
    fn comes_to_its_end(&self, mut state: State) -> bool {
        (state.rows, state.left) =
            (BOTH, Left { faults: 0, delays: 0, silences: 0, webhooks: 0, given_up: 0 });
        for _ in 0..24 {
            state.tracked.is_now = state.tracked.due;
            let mut to = Vec::new();
            self.poller(&state, 0, &mut to);
            match to.pop() {
                Some((_, after)) => state = after,
                None => return state.tracked.done || state.tracked.overdue,
            }
        }
        false
    }

    fn poller(&self, state: &State, which: usize, to: &mut Steps<State>) {
        let poller = state.pollers[which];
        let mut go = |mut after: State, it: Poller, what, how| {
            after.pollers[which] = it;
            to.push((Step { who: "poller", which: which + 1, what, how }, after));
        };
        match poller.doing {
            Doing::Nothing if state.tracked.due && state.tracked.is_now => self.read(state, go),
            Doing::Nothing => return,
            Doing::PutOff => {
                let write = Write::PutOff { rev: poller.rev };
                self.write(state, which, write, to, |it, is_applied| {
                    let next = Poller { doing: Doing::Ask, rev: it.rev + 1, ..*it };
                    *it = if is_applied { next } else { Poller::default() };
                });
            }
            Doing::Ask => {
                let look = |rows| Poller { doing: Doing::Look(rows), ..poller };
                go(*state, look(Some(state.rows)), "asks Rightfoot", "an answer");
                if state.left.silences > 0 {
                    let mut after = *state;
                    after.left.silences -= 1;
                    go(after, look(None), "asks Rightfoot", "no answer");
                }
            }
            Doing::Look(rows) => {
                let it = self.planned(state, poller, rows);
                let mut after = *state;
                if self.is_run && matches!(it.then, Then::Done | Then::Overdue) {
                    let found = if let Found::Alerts(whom) = it.found { whom } else { 0 };
                    after.left_untold |= rows.unwrap_or(0) & !state.alerted(None) & !found != 0;
                }
                go(after, it, "looks whom an event has told of", "");
            }
            Doing::Record => {
                let write = Write::Record { found: poller.found };
                let stands = *state;
                self.write(state, which, write, to, |it, is_applied| {
                    *it = self.after_record(stands, *it, is_applied);
                });
            }
            Doing::GiveBack => {
                let write = Write::GiveBack { found: poller.found };
                self.write(state, which, write, to, |it, _| it.doing = Doing::End);
            }
            Doing::End => {
                let write = Write::End { rev: poller.rev, then: poller.then };
                let first = self.mutant == Some(Mutant::EndsFirst) && poller.found != Found::Nothing;
                self.write(state, which, write, to, |it, _| {
                    *it = if first { Poller { doing: Doing::Record, ..*it } } else { Poller::default() };
                });
            }
        }
        if state.left.faults > 0 {
            let mut after = *state;
            after.left.faults -= 1;
            after.pollers[which] = Poller::default();
            to.push((Step { who: "poller", which: which + 1, what: "dies", how: "" }, after));
        }
    }

    /// What a poller does first about a batch that is due.
    fn read(&self, state: &State, mut go: impl FnMut(State, Poller, &'static str, &'static str)) {
        let it = Poller { rev: state.tracked.rev, ..Poller::default() };
        let end = |then| Poller { doing: Doing::End, then, ..it };
        let what = "reads the batch";
        match (state.is_complete(), self.is_run) {
            (false, _) => go(*state, Poller { doing: Doing::PutOff, ..it }, what, "not known to be complete"),
            (true, false) => go(*state, end(Then::Done), what, "complete"),
            (true, true) => {
                if state.left != (Left { faults: 0, delays: 0, silences: 0, webhooks: 0, given_up: 0 }) {
                    go(*state, end(Then::Later), what, "complete, and alerts may still come");
                }
                let asks = Poller { doing: Doing::PutOff, asks_for_alerts: true, ..it };
                go(*state, asks, what, "complete, and no alert is to be expected any more");
            }
        }
    }

    /// What the answer means.
    fn planned(&self, state: &State, it: Poller, rows: Option<u8>) -> Poller {
        let is_whole = rows == Some(BOTH);
        let seen = if self.is_run { rows.unwrap_or(0) } else { 0 };
        let untold = seen & !state.alerted(self.mutant);
        let alerts = if untold == 0 { Found::Nothing } else { Found::Alerts(untold) };
        let (found, then) = match (is_whole, it.asks_for_alerts) {
            (true, false) if self.is_run => (Found::Completion, Then::AlertsLater),
            (true, false) => (Found::Completion, Then::Done),
            (true, true) => (alerts, Then::Done),
            (false, _) if rows.is_some() && state.is_past_deadline => (alerts, Then::Overdue),
            (false, _) => (Found::Nothing, Then::AsPlanned),
        };
        let records = found != Found::Nothing && self.mutant != Some(Mutant::EndsFirst);
        Poller { doing: if records { Doing::Record } else { Doing::End }, found, then, ..it }
    }

    /// A record that stands is as good as a new one, unless it was given up.
    fn after_record(&self, mut state: State, it: Poller, is_applied: bool) -> Poller {
        if self.mutant == Some(Mutant::EndsFirst) {
            return Poller::default();
        }
        let stands = state.record(it.found, self.mutant).map_or(Record::None, |record| *record);
        let gives_back =
            !is_applied && stands == Record::GivenUp && self.mutant != Some(Mutant::GivenUpStays);
        Poller { doing: if gives_back { Doing::GiveBack } else { Doing::End }, ..it }
    }

    /// A write, in every way in which it can end. The SDK's second attempt at it is left out: without an answer the run
    /// goes on to its next batch.
    fn write(
        &self,
        state: &State,
        which: usize,
        write: Write,
        to: &mut Steps<State>,
        then: impl Fn(&mut Poller, bool),
    ) {
        let step = |how| Step { who: "poller", which: which + 1, what: named(write), how };
        let mut answered = *state;
        let is_applied = answered.apply(write, self.mutant);
        then(&mut answered.pollers[which], is_applied);
        answered.note_untold(write);
        to.push((step(if is_applied { "" } else { "refused" }), answered));
        if state.left.faults == 0 {
            return;
        }
        let mut unanswered = |mut after: State, how| {
            after.left.faults -= 1;
            after.pollers[which] = Poller::default();
            to.push((step(how), after));
        };
        unanswered(*state, "lost");
        let mut applied = *state;
        applied.apply(write, self.mutant);
        unanswered(applied, "applied, and its answer lost");
        if state.left.delays > 0 && state.delayed.is_none() {
            let mut delayed = *state;
            delayed.left.delays -= 1;
            delayed.delayed = Some(write);
            unanswered(delayed, "delayed");
        }
    }

    /// Time, Rightfoot, the network and the worker.
    fn world(&self, state: &State, to: &mut Steps<State>) {
        let mut world = |after, what| to.push((Step { who: "the world", which: 1, what, how: "" }, after));
        if state.tracked.due && !state.tracked.is_now {
            let mut after = *state;
            after.tracked.is_now = true;
            world(after, "the batch is due");
        }
        if !state.is_past_deadline {
            let mut after = *state;
            after.is_past_deadline = true;
            world(after, "the deadline passes");
        }
        for whom in [1, 2] {
            if state.rows & whom == 0 {
                let mut after = *state;
                after.rows |= whom;
                world(after, "Rightfoot shows another result");
            }
            let webhook = usize::from(whom) - 1;
            if self.is_run && state.left.webhooks > 0 && state.webhooks[webhook] == Record::None {
                let mut after = *state;
                after.left.webhooks -= 1;
                after.webhooks[webhook] = Record::Stands;
                world(after, "an alert comes by webhook");
            }
        }
        if state.rows == BOTH && state.completion == Record::None {
            let mut after = *state;
            after.completion = Record::Stands;
            world(after, "the completion comes by webhook");
        }
        if let Some(write) = state.delayed {
            let mut after = *state;
            after.delayed = None;
            after.apply(write, self.mutant);
            world(after, named(write));
        }
        self.give_up(state, to);
    }

    /// The worker gives a record up.
    fn give_up(&self, state: &State, to: &mut Steps<State>) {
        if state.left.given_up == 0 {
            return;
        }
        for which in 0..6 {
            let mut after = *state;
            after.left.given_up -= 1;
            let records =
                [&mut after.completion].into_iter().chain(&mut after.webhooks).chain(&mut after.polled);
            let Some(record) = records.into_iter().nth(which) else { continue };
            if !record.give_up() {
                continue;
            }
            to.push((Step { who: "the worker", which: 1, what: "gives a record up", how: "" }, after));
        }
    }
}

fn named(write: Write) -> &'static str {
    match write {
        Write::PutOff { .. } => "puts the batch off",
        Write::Record { found: Found::Completion } => "records the completion",
        Write::Record { .. } => "records alerts",
        Write::GiveBack { .. } => "gives the record back",
        Write::End { then: Then::Done, .. } => "settles the batch",
        Write::End { then: Then::Overdue, .. } => "ends the batch as overdue",
        Write::End { .. } => "moves the batch",
    }
}
