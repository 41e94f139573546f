//! Check of the polls: Rightfoot answers for every tracked batch and schedule, and schedules run.

use std::time::Duration;

use inbox_aws::inbox::TrackedWithProblem;
use inbox_core::time::UnixMillis;

use super::CheckResult;
use crate::batches::BatchOutput;
use crate::output::pluralize;
use crate::poll_problem::Severity;
use crate::target::Target;
use crate::timeline::ScheduleOutput;

const CHECK: &str = "polls";
/// Number of problems that are read.
const SAMPLE_SIZE: usize = 50;
/// Duration after which failing polls fail the check. The alarm `poll-failed` waits as long.
const FAILING_AFTER: Duration = Duration::from_secs(60 * 60);

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let (inbox, table, now) = (target.inbox()?, target.inbox_table()?, target.now());
    let page = match inbox.list_poll_problems(SAMPLE_SIZE).await {
        Ok(page) => page,
        Err(fault) => return Ok(CheckResult::from_error(target, CHECK, &fault, &table)),
    };
    let is_part = page.next.is_some();
    let scope_note = if is_part { " (only a part of the table was checked)" } else { "" };
    let mut found: Vec<_> = page.items.iter().filter_map(|it| describe(it, now)).collect();
    found.sort_by(|one, other| (other.is_failing, one.since).cmp(&(one.is_failing, other.since)));
    let Some(worst) = found.first() else {
        let found = format!("the last poll of every tracked batch and schedule was answered{scope_note}");
        // A problem may be in the part that was not read.
        return Ok(if is_part { CheckResult::unknown(CHECK, found) } else { CheckResult::ok(CHECK, found) });
    };
    let others = match found.len() - 1 {
        0 => String::new(),
        others => format!("; and {} more{scope_note}", pluralize(others as u64, "problem", "problems")),
    };
    let (text, advice) = (format!("{}{others}", worst.text), worst.advice.clone());
    Ok(if worst.is_failing {
        CheckResult::fail(CHECK, text, advice)
    } else {
        CheckResult::warn(CHECK, text, advice)
    })
}

struct PollFinding {
    is_failing: bool,
    since: UnixMillis,
    text: String,
    advice: String,
}

fn describe(tracked: &TrackedWithProblem, now: UnixMillis) -> Option<PollFinding> {
    let (name, id, is_overdue, text, problem) = match tracked {
        TrackedWithProblem::Batch(view) => {
            let batch = BatchOutput::from(view);
            let (is_overdue, text) = (batch.missed_deadline(now).is_some(), batch.problem_text(now)?);
            ("batch", batch.batch_id, is_overdue, text, batch.problem?)
        }
        TrackedWithProblem::Schedule(view) => {
            let schedule = ScheduleOutput::from(view);
            let problem = schedule.problem?;
            ("schedule", schedule.schedule_id, false, problem.text(now), problem)
        }
    };
    let since = problem.since.0;
    Some(PollFinding {
        is_failing: is_overdue
            || problem.severity() == Severity::NeedsAction
            || now.since(since) >= FAILING_AFTER,
        since,
        text: format!("{name} {id}: {text}"),
        advice: format!("{}; `inboxctl timeline {id}`", problem.advice()),
    })
}
