//! Check of the polls: Rightfoot answers for every tracked batch and schedule, and schedules run.

use inbox_aws::stores::TrackedWithProblem;
use inbox_console::poll_problem_text::{batch_problem_text, problem_text};
use inbox_core::time::UnixMillis;

use super::check_result::CheckResult;
use crate::output::pluralize;
use crate::output::poll_problem::advice;
use crate::target::Target;

pub(super) const CHECK: &str = "polls";
/// Said if there are more tracked items than are read: the others are not checked.
const PARTIAL: &str = "partial check: only the batches and schedules that are due first were read";

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    Ok(match stores.operator.list_poll_problems().await {
        Ok((problems, is_partial)) => check_problems(&problems, is_partial, now),
        Err(fault) => CheckResult::from_error(target, CHECK, &fault, &table),
    })
}

/// Judges the problems that were found. `is_partial` is true if there may be more.
fn check_problems(problems: &[TrackedWithProblem], is_partial: bool, now: UnixMillis) -> CheckResult {
    let mut found: Vec<_> = problems.iter().filter_map(|it| describe(it, now)).collect();
    found.sort_by(|one, other| (other.needs_operator, one.since).cmp(&(one.needs_operator, other.since)));
    let Some(worst) = found.first() else {
        const ALL_WELL: &str = "the last poll of every tracked batch and schedule was answered";
        // A problem may be in the part that was not read.
        return if is_partial {
            CheckResult::unknown(CHECK, format!("{PARTIAL}; in that part, {ALL_WELL}"))
        } else {
            CheckResult::ok(CHECK, ALL_WELL)
        };
    };
    let mut text = worst.text.clone();
    if found.len() > 1 {
        text += &format!("; and {} more", pluralize(found.len() as u64 - 1, "problem", "problems"));
    }
    if is_partial {
        text += &format!("; {PARTIAL}");
    }
    if worst.needs_operator {
        CheckResult::fail(CHECK, text, worst.advice.clone())
    } else {
        CheckResult::warn(CHECK, text, worst.advice.clone())
    }
}

struct PollFinding {
    needs_operator: bool,
    since: UnixMillis,
    text: String,
    advice: String,
}

fn describe(tracked: &TrackedWithProblem, now: UnixMillis) -> Option<PollFinding> {
    let (kind, id, deadline_at, problem, text) = match tracked {
        TrackedWithProblem::Batch(batch) => {
            let problem = batch.tracking.problem.as_ref()?;
            (
                "batch",
                batch.tracked.batch_id.as_str(),
                Some(batch.tracked.deadline),
                problem,
                batch_problem_text(batch, problem, now),
            )
        }
        TrackedWithProblem::Schedule(schedule) => {
            let problem = schedule.tracking.problem.as_ref()?;
            (
                "schedule",
                schedule.schedule.schedule_id.as_str(),
                None,
                problem,
                problem_text(problem, schedule.schedule.polls, now),
            )
        }
    };
    Some(PollFinding {
        needs_operator: problem.needs_operator(deadline_at, now),
        since: problem.since,
        text: format!("{kind} {id}: {text}"),
        advice: format!("{}; `inboxctl timeline {id}`", advice(&problem.reason)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check_result::CheckStatus;

    #[test]
    fn a_partial_check_without_a_problem_says_so_and_proves_nothing() {
        let (whole, part) =
            (check_problems(&[], false, UnixMillis(0)), check_problems(&[], true, UnixMillis(0)));
        assert_eq!((whole.status, part.status), (CheckStatus::Ok, CheckStatus::Unknown));
        assert_eq!(part.finding, format!("{PARTIAL}; in that part, {}", whole.finding));
    }
}
