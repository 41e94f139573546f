//! The runs of a schedule: no endpoint lists them, so they are found in the history of a few authorizers, the
//! probes (shared/providers/rightfoot.md, "Find a run without its webhook").
//!
//! What their histories show and what is not a batch that we know already is a run. The history may lag behind
//! the run, and behind other runs: so it is read back beyond the last run seen, and while the schedule says that
//! it ran and nobody's history shows it, the schedule is asked for again soon.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Cadence, Observation};
use crate::delivery::Subject;
use crate::event::Id;
use crate::limits::{RETENTION_MIN_DAYS, RUNS_PER_POLL};
use crate::rightfoot::{HistoryEntry, ScheduleState};
use crate::time::UnixMillis;

/// How far a run's time in a history may lie before the time that its schedule tells, at most: whether the two
/// are the same is not documented.
const SLACK_MAX: Duration = Duration::from_secs(6 * 3_600);
/// A batch that is over is known for so long at the least, by a day less than its item is kept. What is older in a
/// history cannot be told from a new run.
const KNOWN_FOR: Duration = Duration::from_secs((RETENTION_MIN_DAYS - 1) * 86_400);
/// A schedule that is at rest is looked at so often.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(86_400);

/// A schedule that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The schedule.
    pub schedule_id: Id,
    /// Whose URL its webhooks come by, if that is known.
    pub subject: Option<Subject>,
    /// Whose histories are read.
    pub probes: Vec<Id>,
    /// From when on runs are looked for.
    pub since: UnixMillis,
    /// The latest run found so far.
    pub last_run_seen: Option<UnixMillis>,
    /// Between two runs.
    pub interval: Duration,
    /// When it expires, as far as is known: on that day it runs for the last time.
    pub expires_at: UnixMillis,
    /// How often it was asked for since a run was found or none was missing.
    pub polls: u64,
}

/// What Rightfoot answered about a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The schedule itself.
    pub state: ScheduleState,
    /// The entries of all probes' histories from [`Watched::floor`] on.
    pub history: Vec<HistoryEntry>,
}

/// As what a batch is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownAs {
    /// A run of this schedule.
    Run(Id),
    /// A batch that was submitted by itself.
    OnDemand,
}

/// A run that nobody knew of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its batch.
    pub batch_id: Id,
    /// When it ran.
    pub run_at: UnixMillis,
    /// How many authorizers it checks.
    pub expected: u64,
}

/// Something that an operator has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// It should have run, and did not.
    Stopped,
    /// It ran, and for as long as a batch may take no probe's history shows it.
    RunNotFound,
    /// It was asked for as long as a batch may take, and now Rightfoot does not answer.
    Unanswered,
}

/// What becomes of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The runs to track from now on, oldest first.
    pub runs: Vec<NewRun>,
    /// The latest run found, with these.
    pub last_run_seen: Option<UnixMillis>,
    /// When it expires, as far as is known now: where its next run is later, that was moved at Rightfoot.
    pub expires_at: UnixMillis,
    /// When to ask again; `None` if it has ended.
    pub next: Option<UnixMillis>,
    /// Whether the polls are counted anew: nothing is missing, and the next look is not the next poll.
    pub starts_anew: bool,
    /// What alarms.
    pub alarm: Option<Alarm>,
}

impl Watched {
    /// From when on a history is read.
    pub fn floor(&self, cadence: &Cadence, now: UnixMillis) -> UnixMillis {
        let unseen = self.last_run_seen.map_or(self.since, |seen| seen.minus(cadence.deadline));
        unseen.max(self.since).max(now.minus(KNOWN_FOR))
    }

    /// When it is over, whatever else: one interval after its last run.
    pub fn end(&self) -> UnixMillis {
        self.expires_at.plus(self.interval)
    }

    /// Between two runs, as the schedule itself tells if it does: it may have been changed at Rightfoot.
    fn interval_of(&self, state: &ScheduleState) -> Duration {
        let told = state.last_run_at.zip(state.next_run_at).map(|(last, next)| next.since(last));
        told.filter(|told| !told.is_zero()).map_or(self.interval, |told| told.min(self.interval))
    }
}

/// What an answer about a schedule means. `known` holds those of the history's batches that are tracked, and
/// `planned` is when the schedule is due again if nothing comes of it.
pub fn after_asking(
    watched: &Watched,
    observed: &Observation<Seen>,
    known: &BTreeMap<Id, KnownAs>,
    planned: UnixMillis,
    cadence: &Cadence,
    now: UnixMillis,
) -> Plan {
    let Observation::Answered(seen) = observed else {
        return without_answer(watched, observed, planned, cadence, now);
    };
    let mut runs = new_runs(watched.floor(cadence, now), seen, known);
    let more = runs.len() > RUNS_PER_POLL;
    runs.truncate(RUNS_PER_POLL);
    let last_run_seen = runs.iter().map(|run| run.run_at).chain(latest_known(watched, seen, known)).max();
    let missing = missing_run(watched, &seen.state, last_run_seen, cadence, now);
    let given_up = missing.is_some_and(|ran_at| now >= ran_at.plus(cadence.deadline));
    let is_settled = !more && (missing.is_none() || given_up);
    let (next, stopped) = match (more, is_settled) {
        (true, _) => (Some(now), false),
        (false, true) => {
            let (next, stopped) = next_look(watched, &seen.state, planned, cadence, now);
            // It is not over before what was found is tracked.
            (next.or((!runs.is_empty()).then_some(planned)), stopped)
        }
        (false, false) => (Some(planned), false),
    };
    Plan {
        runs,
        last_run_seen,
        expires_at: seen.state.next_run_at.map_or(watched.expires_at, |next| next.max(watched.expires_at)),
        next,
        starts_anew: is_settled && next.is_none_or(|next| next > planned),
        alarm: match (given_up, stopped) {
            (true, _) => Some(Alarm::RunNotFound),
            (false, true) => Some(Alarm::Stopped),
            (false, false) => None,
        },
    }
}

fn without_answer(
    watched: &Watched,
    observed: &Observation<Seen>,
    planned: UnixMillis,
    cadence: &Cadence,
    now: UnixMillis,
) -> Plan {
    let is_answer = observed.is_answer();
    let is_over = is_answer && now >= watched.end();
    let waited = cadence.slowest().saturating_mul(u32::try_from(watched.polls).unwrap_or(u32::MAX));
    Plan {
        runs: Vec::new(),
        last_run_seen: watched.last_run_seen,
        expires_at: watched.expires_at,
        next: (!is_over).then_some(observed.postponed(now, planned).unwrap_or(planned)),
        starts_anew: false,
        alarm: match is_answer {
            // Rightfoot knows it no longer, or does not let us see it: as good as stopped.
            true => (!is_over).then_some(Alarm::Stopped),
            false => (waited >= cadence.deadline).then_some(Alarm::Unanswered),
        },
    }
}

/// The batches of the history that nobody knows, oldest first.
fn new_runs(floor: UnixMillis, seen: &Seen, known: &BTreeMap<Id, KnownAs>) -> Vec<NewRun> {
    // Each probe tells its own time of the same run: the earliest counts.
    let mut found = BTreeMap::<&Id, UnixMillis>::new();
    for entry in seen.history.iter().filter(|entry| entry.run_at >= floor) {
        if !known.contains_key(&entry.batch_id) {
            let run_at = found.entry(&entry.batch_id).or_insert(entry.run_at);
            *run_at = entry.run_at.min(*run_at);
        }
    }
    let mut runs: Vec<_> = found
        .into_iter()
        .map(|(batch_id, run_at)| NewRun {
            batch_id: batch_id.clone(),
            run_at,
            expected: seen.state.total_authorizers,
        })
        .collect();
    runs.sort_by(|one, other| (one.run_at, &one.batch_id).cmp(&(other.run_at, &other.batch_id)));
    runs
}

fn latest_known(watched: &Watched, seen: &Seen, known: &BTreeMap<Id, KnownAs>) -> Option<UnixMillis> {
    let is_ours = |entry: &&HistoryEntry| match known.get(&entry.batch_id) {
        Some(KnownAs::Run(schedule_id)) => *schedule_id == watched.schedule_id,
        Some(KnownAs::OnDemand) | None => false,
    };
    seen.history.iter().filter(is_ours).map(|entry| entry.run_at).chain(watched.last_run_seen).max()
}

/// When it ran, if it says that it ran and no history shows it.
fn missing_run(
    watched: &Watched,
    state: &ScheduleState,
    last_run_seen: Option<UnixMillis>,
    cadence: &Cadence,
    now: UnixMillis,
) -> Option<UnixMillis> {
    // Whether `last_run_at` is told from a run's beginning on or from its completion is not documented. The next run
    // tells of the one before it, too; not for long, because the interval may have been changed at Rightfoot.
    let before_next = state.next_run_at.map(|next| next.minus(watched.interval));
    let before_next = before_next.filter(|ran_at| *ran_at <= now && now < ran_at.plus(cadence.deadline));
    let slack = (watched.interval_of(state) / 4).min(SLACK_MAX);
    let is_found = |ran_at: UnixMillis| last_run_seen.is_some_and(|seen| seen >= ran_at.minus(slack));
    let mut told = [state.last_run_at, before_next].into_iter().flatten();
    told.find(|ran_at| *ran_at >= watched.since && !is_found(*ran_at))
}

/// When to look for a run that is to come: once a day at the least, because it may be moved to an earlier time.
pub fn look_after(next_run_at: UnixMillis, cadence: &Cadence, now: UnixMillis) -> UnixMillis {
    next_run_at.max(now).plus(cadence.first).min(now.plus(LOOK_AT_LEAST_EVERY))
}

/// When to look at it again, if it is not over; and whether it has stopped without being over. What it says of its
/// next run counts for more than its expiry: that may have been moved at Rightfoot.
fn next_look(
    watched: &Watched,
    state: &ScheduleState,
    planned: UnixMillis,
    cadence: &Cadence,
    now: UnixMillis,
) -> (Option<UnixMillis>, bool) {
    let is_past_end = now >= watched.end();
    let patience = cadence.deadline.min(watched.interval_of(state));
    match state.next_run_at {
        Some(next) if next > now => (Some(look_after(next, cadence, now).max(planned)), false),
        Some(late) if now < late.plus(patience) => (Some(planned), false),
        Some(_) => ((!is_past_end).then_some(planned), !is_past_end),
        // Completed: after the expiry that is as it should be.
        None if now >= watched.expires_at => {
            ((!is_past_end).then_some(watched.end().min(now.plus(LOOK_AT_LEAST_EVERY)).max(planned)), false)
        }
        // Disabled.
        None => (Some(planned), true),
    }
}

#[cfg(test)]
mod tests;
