//! The runs of a schedule: no endpoint lists them, so they are found in the history of a few authorizers, the
//! probes (shared/providers/rightfoot.md, "Find a run without its webhook").
//!
//! What their histories show and what is not a batch that we know already is a run. The history may lag behind
//! the run, and behind other runs: so it is read back beyond the last run seen, and while the schedule says that
//! it ran and nobody's history shows it, the schedule is asked for again soon.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{PollResult, PollTiming};
use crate::delivery::Subject;
use crate::event::Id;
use crate::limits::{RETENTION_MIN_DAYS, RUNS_PER_POLL};
use crate::rightfoot_api::{HistoryEntry, ScheduleState};
use crate::time::UnixMillis;

/// How far a run's time in a history may lie before the time that its schedule tells, at most: whether the two
/// are the same is not documented.
const RUN_TIME_SLACK_MAX: Duration = Duration::from_secs(6 * 3_600);
/// A batch that is over is known for so long at the least, by a day less than its item is kept. What is older in a
/// history cannot be told from a new run.
const FINISHED_BATCH_KNOWN_FOR: Duration = Duration::from_secs((RETENTION_MIN_DAYS - 1) * 86_400);
/// A schedule that is at rest is looked at so often.
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// A schedule that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedSchedule {
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
pub struct ScheduleSnapshot {
    /// The schedule itself.
    pub state: ScheduleState,
    /// The entries of all probes' histories from [`Watched::floor`] on.
    pub history: Vec<HistoryEntry>,
}

/// As what a batch is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOwner {
    /// A run of this schedule.
    Schedule(Id),
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
pub enum ScheduleAlarm {
    /// It should have run, and did not.
    Stopped,
    /// It ran, and for as long as a batch may take no probe's history shows it.
    RunNotFound,
    /// It was asked for as long as a batch may take, and now Rightfoot does not answer.
    Unanswered,
}

/// What becomes of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulePlan {
    /// The runs to track from now on, oldest first.
    pub new_runs: Vec<NewRun>,
    /// The latest run found, with these.
    pub last_run_seen: Option<UnixMillis>,
    /// When it expires, as far as is known now: where its next run is later, that was moved at Rightfoot.
    pub expires_at: UnixMillis,
    /// When to ask again; `None` if it has ended.
    pub next_poll_at: Option<UnixMillis>,
    /// Whether the polls are counted anew: nothing is missing, and the next look is not the next poll.
    pub resets_poll_count: bool,
    /// What alarms.
    pub alarm: Option<ScheduleAlarm>,
}

impl TrackedSchedule {
    /// From when on a history is read.
    pub fn history_start(&self, timing: &PollTiming, now: UnixMillis) -> UnixMillis {
        let unseen = self.last_run_seen.map_or(self.since, |latest| latest.minus(timing.deadline));
        unseen.max(self.since).max(now.minus(FINISHED_BATCH_KNOWN_FOR))
    }

    /// When it is over, whatever else: one interval after its last run.
    pub fn ends_at(&self) -> UnixMillis {
        self.expires_at.plus(self.interval)
    }

    /// Between two runs, as the schedule itself tells if it does: it may have been changed at Rightfoot.
    fn effective_interval(&self, state: &ScheduleState) -> Duration {
        let reported = state.last_run_at.zip(state.next_run_at).map(|(last, next)| next.since(last));
        reported
            .filter(|reported| !reported.is_zero())
            .map_or(self.interval, |reported| reported.min(self.interval))
    }
}

/// What an answer about a schedule means. `known` holds those of the history's batches that are tracked, and
/// `planned` is when the schedule is due again if nothing comes of it.
pub fn plan_after_poll(
    tracked: &TrackedSchedule,
    result: &PollResult<ScheduleSnapshot>,
    known: &BTreeMap<Id, BatchOwner>,
    planned_at: UnixMillis,
    timing: &PollTiming,
    now: UnixMillis,
) -> SchedulePlan {
    let PollResult::Answered(snapshot) = result else {
        return plan_without_answer(tracked, result, planned_at, timing, now);
    };
    let mut runs = new_runs(tracked.history_start(timing, now), snapshot, known);
    let has_more = runs.len() > RUNS_PER_POLL;
    runs.truncate(RUNS_PER_POLL);
    let last_run_seen =
        runs.iter().map(|run| run.run_at).chain(latest_known_run(tracked, snapshot, known)).max();
    let missing = missing_run(tracked, &snapshot.state, last_run_seen, timing, now);
    let search_expired = missing.is_some_and(|ran_at| now >= ran_at.plus(timing.deadline));
    let is_settled = !has_more && (missing.is_none() || search_expired);
    let (next, stopped) = match (has_more, is_settled) {
        (true, _) => (Some(now), false),
        (false, true) => {
            let (next, stopped) = next_check(tracked, &snapshot.state, planned_at, timing, now);
            // It is not over before what was found is tracked.
            (next.or((!runs.is_empty()).then_some(planned_at)), stopped)
        }
        (false, false) => (Some(planned_at), false),
    };
    SchedulePlan {
        new_runs: runs,
        last_run_seen,
        expires_at: snapshot
            .state
            .next_run_at
            .map_or(tracked.expires_at, |next| next.max(tracked.expires_at)),
        next_poll_at: next,
        resets_poll_count: is_settled && next.is_none_or(|next| next > planned_at),
        alarm: match (search_expired, stopped) {
            (true, _) => Some(ScheduleAlarm::RunNotFound),
            (false, true) => Some(ScheduleAlarm::Stopped),
            (false, false) => None,
        },
    }
}

fn plan_without_answer(
    tracked: &TrackedSchedule,
    result: &PollResult<ScheduleSnapshot>,
    planned_at: UnixMillis,
    timing: &PollTiming,
    now: UnixMillis,
) -> SchedulePlan {
    let is_answer = result.is_answer();
    let is_over = is_answer && now >= tracked.ends_at();
    let waited = timing.max_interval().saturating_mul(u32::try_from(tracked.polls).unwrap_or(u32::MAX));
    SchedulePlan {
        new_runs: Vec::new(),
        last_run_seen: tracked.last_run_seen,
        expires_at: tracked.expires_at,
        next_poll_at: (!is_over).then_some(result.retry_at(now, planned_at).unwrap_or(planned_at)),
        resets_poll_count: false,
        alarm: match is_answer {
            // Rightfoot knows it no longer, or does not let us see it: as good as stopped.
            true => (!is_over).then_some(ScheduleAlarm::Stopped),
            false => (waited >= timing.deadline).then_some(ScheduleAlarm::Unanswered),
        },
    }
}

/// The batches of the history that nobody knows, oldest first.
fn new_runs(
    history_start: UnixMillis,
    snapshot: &ScheduleSnapshot,
    known: &BTreeMap<Id, BatchOwner>,
) -> Vec<NewRun> {
    // Each probe tells its own time of the same run: the earliest counts.
    let mut found = BTreeMap::<&Id, UnixMillis>::new();
    for entry in snapshot.history.iter().filter(|entry| entry.run_at >= history_start) {
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
            expected: snapshot.state.total_authorizers,
        })
        .collect();
    runs.sort_by(|one, other| (one.run_at, &one.batch_id).cmp(&(other.run_at, &other.batch_id)));
    runs
}

fn latest_known_run(
    tracked: &TrackedSchedule,
    snapshot: &ScheduleSnapshot,
    known: &BTreeMap<Id, BatchOwner>,
) -> Option<UnixMillis> {
    let is_own_run = |entry: &&HistoryEntry| match known.get(&entry.batch_id) {
        Some(BatchOwner::Schedule(schedule_id)) => *schedule_id == tracked.schedule_id,
        Some(BatchOwner::OnDemand) | None => false,
    };
    snapshot.history.iter().filter(is_own_run).map(|entry| entry.run_at).chain(tracked.last_run_seen).max()
}

/// When it ran, if it says that it ran and no history shows it.
fn missing_run(
    tracked: &TrackedSchedule,
    state: &ScheduleState,
    last_run_seen: Option<UnixMillis>,
    timing: &PollTiming,
    now: UnixMillis,
) -> Option<UnixMillis> {
    // Whether `last_run_at` is told from a run's beginning on or from its completion is not documented. The next run
    // tells of the one before it, too; not for long, because the interval may have been changed at Rightfoot.
    let before_next = state.next_run_at.map(|next| next.minus(tracked.interval));
    let before_next = before_next.filter(|ran_at| *ran_at <= now && now < ran_at.plus(timing.deadline));
    let slack = (tracked.effective_interval(state) / 4).min(RUN_TIME_SLACK_MAX);
    let is_found = |ran_at: UnixMillis| last_run_seen.is_some_and(|latest| latest >= ran_at.minus(slack));
    let mut reported = [state.last_run_at, before_next].into_iter().flatten();
    reported.find(|ran_at| *ran_at >= tracked.since && !is_found(*ran_at))
}

/// When to look for a run that is to come: once a day at the least, because it may be moved to an earlier time.
pub fn next_check_at(next_run_at: UnixMillis, timing: &PollTiming, now: UnixMillis) -> UnixMillis {
    next_run_at.max(now).plus(timing.first).min(now.plus(CHECK_INTERVAL_MAX))
}

/// When to look at it again, if it is not over; and whether it has stopped without being over. What it says of its
/// next run counts for more than its expiry: that may have been moved at Rightfoot.
fn next_check(
    tracked: &TrackedSchedule,
    state: &ScheduleState,
    planned_at: UnixMillis,
    timing: &PollTiming,
    now: UnixMillis,
) -> (Option<UnixMillis>, bool) {
    let is_past_end = now >= tracked.ends_at();
    let max_delay = timing.deadline.min(tracked.effective_interval(state));
    match state.next_run_at {
        Some(next) if next > now => (Some(next_check_at(next, timing, now).max(planned_at)), false),
        Some(late) if now < late.plus(max_delay) => (Some(planned_at), false),
        Some(_) => ((!is_past_end).then_some(planned_at), !is_past_end),
        // Completed: after the expiry that is as it should be.
        None if now >= tracked.expires_at => (
            (!is_past_end).then_some(tracked.ends_at().min(now.plus(CHECK_INTERVAL_MAX)).max(planned_at)),
            false,
        ),
        // Disabled.
        None => (Some(planned_at), true),
    }
}

#[cfg(test)]
mod tests;
