//! Whether Rightfoot answers the polls of what is tracked, and whether schedules run.

use std::time::Duration;

use inbox_aws::inbox::TrackedWithProblem;
use inbox_core::time::UnixMillis;

use super::Check;
use crate::batches::Batch;
use crate::place::Place;
use crate::poll_problem::Severity;
use crate::trace::Schedule;
use crate::view::counted;

const CHECK: &str = "polls";
/// Problems that are looked at.
const SAMPLE: usize = 50;
/// Longer than a few answers in a row may fail: the alarm `poll-failed` waits as long.
const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) async fn check(at: &Place) -> anyhow::Result<Check> {
    let (inbox, table, now) = (at.inbox()?, at.table()?, at.now());
    let page = match inbox.list_poll_problems(SAMPLE).await {
        Ok(page) => page,
        Err(fault) => return Ok(Check::unanswered(at, CHECK, &fault, &table)),
    };
    let is_part = page.next.is_some();
    let far = if is_part { " (a part of the table was looked at)" } else { "" };
    let mut found: Vec<_> = page.items.iter().filter_map(|it| describe(it, now)).collect();
    found.sort_by(|one, other| (other.is_failing, one.since).cmp(&(one.is_failing, other.since)));
    let Some(worst) = found.first() else {
        let found = format!("the last polls of all that is tracked were answered{far}");
        return Ok(if is_part { Check::unknown(CHECK, found) } else { Check::ok(CHECK, found) });
    };
    let others = match found.len() - 1 {
        0 => String::new(),
        others => format!("; and {} more{far}", counted(others as u64, "problem", "problems")),
    };
    let (text, advice) = (format!("{}{others}", worst.text), worst.advice.clone());
    Ok(if worst.is_failing { Check::fail(CHECK, text, advice) } else { Check::warn(CHECK, text, advice) })
}

struct Described {
    is_failing: bool,
    since: UnixMillis,
    text: String,
    advice: String,
}

fn describe(troubled: &TrackedWithProblem, now: UnixMillis) -> Option<Described> {
    let (name, id, is_overdue, text, problem) = match troubled {
        TrackedWithProblem::Batch(told) => {
            let batch = Batch::from(told);
            let (is_overdue, text) = (batch.unanswered_since(now).is_some(), batch.trouble(now)?);
            ("batch", batch.batch_id, is_overdue, text, batch.problem?)
        }
        TrackedWithProblem::Schedule(told) => {
            let schedule = Schedule::from(told);
            let problem = schedule.problem?;
            ("schedule", schedule.schedule_id, false, problem.text(now), problem)
        }
    };
    let since = problem.since.0;
    Some(Described {
        is_failing: is_overdue || problem.severity() == Severity::Failing || now.since(since) >= LONG,
        since,
        text: format!("{name} {id}: {text}"),
        advice: format!("{}; `inboxctl trace {id}`", problem.advice()),
    })
}
