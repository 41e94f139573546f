//! `inboxctl doctor`: read-only checks for stuck items, and for settings of the stack and its account on which the promises depend.

mod account;
mod backlog;
pub(crate) mod check_result;
mod deliveries;
mod function_code;
mod overdue;
mod parameters;
mod polls;
mod resource_settings;
mod secrets;
mod tracking;

use std::cmp::Reverse;

use clap::Args;
use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::{Render, colours, pluralize, render_rows, render_wrapped_rows};
use crate::target::Target;
use crate::terminal;
use check_result::{CheckResult, CheckStatus};

/// Exit code if a check could not be made and none is known to fail.
pub(crate) const EXIT_UNKNOWN: u8 = 2;

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Skip the checks of event-worker, its balances table and its bus: you read the queue yourself.
    #[arg(long)]
    no_worker: bool,
}

/// Results of all checks.
#[derive(Serialize)]
pub(crate) struct DoctorReport {
    checks: Vec<CheckResult>,
}

pub(crate) async fn run(target: &Target, args: DoctorArgs) -> anyhow::Result<DoctorReport> {
    let endpoint = target.account.describe_endpoint("dynamodb");
    let checks = run_checks(target, !args.no_worker, true);
    let checks = terminal::with_progress(&endpoint, target.is_json, Box::pin(checks)).await?;
    Ok(DoctorReport::worst_first(checks))
}

/// Runs the checks. Unless `is_thorough`, those that read the whole table are skipped, and those of the code and the account left out:
/// a page runs the checks again and again.
pub(crate) async fn run_checks(
    target: &Target,
    has_worker: bool,
    is_thorough: bool,
) -> anyhow::Result<Vec<CheckResult>> {
    // Otherwise every check would wait for AWS and report the same error.
    target.check_reachable().await?;
    let has_worker = has_worker && !target.is_worker_disabled();
    let mut checks = resource_settings::checks(target, has_worker).await?;
    if is_thorough {
        checks.extend(function_code::check(target).await);
        checks.extend(account::checks(target).await?);
    }
    checks.push(parameters::check(target));
    checks.extend(secrets::checks(target).await);
    checks.extend(backlog::checks(target, has_worker, is_thorough).await?);
    checks.push(deliveries::check(target).await?);
    checks.extend(poll_checks(target).await?);
    Ok(checks)
}

/// Checks of what the poller does; skipped if the stack is deployed without Rightfoot.
async fn poll_checks(target: &Target) -> anyhow::Result<[CheckResult; 3]> {
    if let Some(why) = target.disabled_text(Provider::Rightfoot) {
        let skipped = |check| CheckResult::skipped(check, why.clone());
        return Ok([polls::CHECK, overdue::CHECK, tracking::CHECK].map(skipped));
    }
    Ok([polls::check(target).await?, overdue::check(target).await?, tracking::check(target).await?])
}

impl DoctorReport {
    /// Sorts the problems to the front, the worst first. The others keep their order.
    fn worst_first(mut checks: Vec<CheckResult>) -> Self {
        checks.sort_by_key(|it| Reverse(it.status.max(CheckStatus::Skipped)));
        Self { checks }
    }
}

impl Render for DoctorReport {
    fn to_text(&self, _: UnixMillis) -> String {
        let mut rows = Vec::new();
        for CheckResult { check, status, finding, advice } in &self.checks {
            // All of one width: the other columns stay where they are, whichever checks fail.
            let label = match status {
                CheckStatus::Ok => "ok  ",
                CheckStatus::Skipped => "-   ",
                CheckStatus::Warn => "warn",
                CheckStatus::Unknown => "?   ",
                CheckStatus::Fail => "FAIL",
            };
            rows.push([label.to_owned(), (*check).to_owned(), finding.clone()]);
            rows.extend(advice.as_ref().map(|advice| [String::new(), String::new(), format!("→ {advice}")]));
        }
        let count = |status| {
            let count = self.checks.iter().filter(|it| it.status == status).count();
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let checks = match terminal::stdout_width() {
            Some(width) => render_wrapped_rows(rows, width),
            None => render_rows(rows),
        };
        checks
            + &format!(
                "\n{} ok, {}, {} unknown, {} failed\n",
                count(CheckStatus::Ok),
                pluralize(count(CheckStatus::Warn), "warning", "warnings"),
                count(CheckStatus::Unknown),
                count(CheckStatus::Fail)
            )
    }

    fn paint(&self, text: &str) -> String {
        let style_of = |label: &str| match label {
            "ok" => Some(colours::good()),
            "warn" | "?" => Some(colours::doubtful()),
            "FAIL" => Some(colours::bad()),
            _ => None,
        };
        text.split_inclusive('\n').map(|line| colours::paint_first_word(line, style_of)).collect()
    }

    fn exit_code(&self) -> u8 {
        match self.checks.iter().map(|it| it.status).max() {
            Some(CheckStatus::Fail) => 1,
            Some(CheckStatus::Unknown) => EXIT_UNKNOWN,
            Some(CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warn) | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_first_and_the_worst_of_them_at_the_top() {
        let report = DoctorReport::worst_first(vec![
            CheckResult::ok("a", ""),
            CheckResult::warn("b", "", ""),
            CheckResult::skipped("c", ""),
            CheckResult::fail("d", "", ""),
            CheckResult::unknown("e", ""),
            CheckResult::ok("f", ""),
            CheckResult::fail("g", "", ""),
        ]);
        let order: String = report.checks.iter().map(|it| it.check).collect();
        assert_eq!(order, "dgebacf");
    }

    #[test]
    fn only_the_label_of_a_check_is_painted() {
        let report = DoctorReport::worst_first(vec![CheckResult::fail("relay", "FAIL ok", "wait")]);
        let red = colours::bad();
        let text = report.paint("FAIL  relay  FAIL ok\n             → wait\n");
        assert_eq!(text, format!("{red}FAIL{red:#}  relay  FAIL ok\n             → wait\n"));
    }
}
