//! Finding a schedule's runs: no endpoint lists them, so they are found in the history of a few authorizers, the probes
//! (shared/providers/rightfoot.md, "Find a run without its webhook").
//!
//! A batch in a probe's history that is not tracked yet is a new run. A history may lag behind a run, and behind other
//! histories. Therefore it is read back beyond the last run seen; and as long as the schedule reports a run that no
//! history shows, the schedule is polled again soon.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{PollResult, PollTiming};
use crate::id::Id;
use crate::limits::{RETENTION_MIN_DAYS, RUNS_PER_POLL};
use crate::rightfoot_api::{HistoryEntry, ScheduleState};
use crate::subject::Subject;
use crate::time::UnixMillis;

/// How much earlier a run's time in a history may be than the time that its schedule reports. Their relation
/// is not documented.
const RUN_TIME_SLACK_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Least time for which a finished batch is known: a day less than the retention of its item. An older
/// history entry cannot be distinguished from a new run.
const FINISHED_BATCH_KNOWN_FOR: Duration = Duration::from_secs((RETENTION_MIN_DAYS - 1) * 86_400);
/// Longest delay between two polls of a schedule without a missing run.
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// A schedule whose runs are searched and tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedSchedule {
    /// The schedule.
    pub schedule_id: Id,
    /// The subject whose URL its webhooks come by, if known.
    pub subject: Option<Subject>,
    /// The authorizers whose histories are read.
    pub probes: Vec<Id>,
    /// The time from which runs are searched.
    pub since: UnixMillis,
    /// The latest run found so far.
    pub last_run_seen: Option<UnixMillis>,
    /// The time between two runs.
    pub interval: Duration,
    /// The schedule's expiry, as far as known: its last run is on that day.
    pub expires_at: UnixMillis,
    /// The number of polls since a run was found or none was missing.
    pub polls: u64,
}

/// Rightfoot's answers about a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSnapshot {
    /// The schedule itself.
    pub state: ScheduleState,
    /// The entries of all probes' histories from [`TrackedSchedule::history_start`] on.
    pub history: Vec<HistoryEntry>,
}

/// The owner under which a known batch is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOwner {
    /// It is a run of this schedule.
    Schedule(Id),
    /// It was submitted on its own.
    OnDemand,
}

/// A run that was not known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The run's batch.
    pub batch_id: Id,
    /// The time of the run.
    pub run_at: UnixMillis,
    /// The number of authorizers that it checks.
    pub expected: u64,
}

/// A problem of a schedule that an operator has to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleAlarm {
    /// A run was due, but did not happen.
    Stopped,
    /// The schedule reports a run that no probe's history has shown within the deadline.
    RunNotFound,
    /// It was polled for as long as the deadline without being settled, and now Rightfoot does not answer.
    Unanswered,
}

/// The plan after a poll of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulePlan {
    /// The runs to start tracking, oldest first.
    pub new_runs: Vec<NewRun>,
    /// The latest run found, including `new_runs`.
    pub last_run_seen: Option<UnixMillis>,
    /// The schedule's expiry as known now; later than before if its next run is, which means that the expiry
    /// was moved at Rightfoot.
    pub expires_at: UnixMillis,
    /// The time of the next poll; `None` if the schedule has ended.
    pub next_poll_at: Option<UnixMillis>,
    /// True if the poll counter starts anew: no run is missing, and the next check is later than the planned
    /// poll.
    pub resets_poll_count: bool,
    /// The alarm to raise.
    pub alarm: Option<ScheduleAlarm>,
}

impl TrackedSchedule {
    /// The time from which histories are read.
    pub fn history_start(&self, timing: &PollTiming, now: UnixMillis) -> UnixMillis {
        // A history may lag, so it is read back beyond the last run seen.
        let unseen = self.last_run_seen.map_or(self.since, |latest| latest.minus(timing.deadline));
        unseen.max(self.since).max(now.minus(FINISHED_BATCH_KNOWN_FOR))
    }

    /// The end of tracking: one interval after the last run.
    pub fn ends_at(&self) -> UnixMillis {
        self.expires_at.plus(self.interval)
    }

    /// The time between two runs, as the schedule reports it if it does: it may have been changed at
    /// Rightfoot.
    fn effective_interval(&self, state: &ScheduleState) -> Duration {
        let reported = state.last_run_at.zip(state.next_run_at).map(|(last, next)| next.since(last));
        reported
            .filter(|reported| !reported.is_zero())
            .map_or(self.interval, |reported| reported.min(self.interval))
    }
}

/// The plan for a poll's `result`. `known` holds those batches of the history that are tracked; `planned_at`
/// is the time at which the schedule is due again if the result changes nothing.
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
    // The oldest are kept, so the next poll still finds the others.
    runs.truncate(RUNS_PER_POLL);
    let last_run_seen =
        runs.iter().map(|run| run.run_at).chain(latest_known_run(tracked, snapshot, known)).max();
    let missing = missing_run(tracked, &snapshot.state, last_run_seen, timing, now);
    let search_expired = missing.is_some_and(|ran_at| now >= ran_at.plus(timing.deadline));
    // After the deadline, a missing run is no longer searched, and an alarm is raised.
    let is_settled = !has_more && (missing.is_none() || search_expired);
    let (next, stopped) = match (has_more, is_settled) {
        // More runs than one transaction takes: go on at once.
        (true, _) => (Some(now), false),
        (false, true) => {
            let (next, stopped) = next_check(tracked, &snapshot.state, planned_at, timing, now);
            // The schedule must not end before its new runs are tracked.
            (next.or((!runs.is_empty()).then_some(planned_at)), stopped)
        }
        // A run is missing, so the search for it goes on.
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
    // Without an answer the schedule may still run, so it must not end (P9).
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
            // Rightfoot has deleted the schedule or denies access to it: for us, it has stopped.
            true => (!is_over).then_some(ScheduleAlarm::Stopped),
            false => (waited >= timing.deadline).then_some(ScheduleAlarm::Unanswered),
        },
    }
}

/// The batches of the history that are not known, oldest first.
fn new_runs(
    history_start: UnixMillis,
    snapshot: &ScheduleSnapshot,
    known: &BTreeMap<Id, BatchOwner>,
) -> Vec<NewRun> {
    // Each probe has its own time for the same run; the earliest counts.
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
            // The number at the time of the run is not known, so the present one counts.
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

/// The time of a run that the schedule reports and no history shows.
fn missing_run(
    tracked: &TrackedSchedule,
    state: &ScheduleState,
    last_run_seen: Option<UnixMillis>,
    timing: &PollTiming,
    now: UnixMillis,
) -> Option<UnixMillis> {
    // It is not documented if `last_run_at` changes when a run begins or when it completes. The next run implies the one
    // before it, too; but not for long, because the interval may have been changed at Rightfoot.
    let before_next = state.next_run_at.map(|next| next.minus(tracked.interval));
    let before_next = before_next.filter(|ran_at| *ran_at <= now && now < ran_at.plus(timing.deadline));
    let slack = (tracked.effective_interval(state) / 4).min(RUN_TIME_SLACK_MAX);
    let is_found = |ran_at: UnixMillis| last_run_seen.is_some_and(|latest| latest >= ran_at.minus(slack));
    let mut reported = [state.last_run_at, before_next].into_iter().flatten();
    reported.find(|ran_at| *ran_at >= tracked.since && !is_found(*ran_at))
}

/// The time to search for a future run: after the run, but at least once a day, because it may be moved to an
/// earlier time.
pub fn next_check_at(next_run_at: UnixMillis, timing: &PollTiming, now: UnixMillis) -> UnixMillis {
    next_run_at.max(now).plus(timing.first).min(now.plus(CHECK_INTERVAL_MAX))
}

/// The time of the next check, if the schedule is not over, and true if it has stopped early. Its reported
/// next run overrides its expiry, which may have been moved at Rightfoot.
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
        // A run may be late, so an alarm is not raised at once.
        Some(late) if now < late.plus(max_delay) => (Some(planned_at), false),
        Some(_) => ((!is_past_end).then_some(planned_at), !is_past_end),
        // No next run after the expiry: completed as expected.
        None if now >= tracked.expires_at => (
            (!is_past_end).then_some(tracked.ends_at().min(now.plus(CHECK_INTERVAL_MAX)).max(planned_at)),
            false,
        ),
        // No next run before the expiry: somebody has disabled it.
        None => (Some(planned_at), true),
    }
}

#[cfg(test)]
mod tests;
