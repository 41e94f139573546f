//! `doctor`: whether anything is stuck, or not set up as the promises need. It only reads.

mod backlog;
mod function_code;
mod parameters;
mod polls;
mod resource_settings;
mod secrets;
mod tracking;

use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::explain;
use crate::cli::DoctorArgs;
use crate::output::{Render, line};
use crate::target::{ResourceRef, Target};
use crate::terminal;

/// What the process exits with if something could not be looked at, and nothing is known to fail.
pub(crate) const EXIT_UNKNOWN: u8 = 2;

/// What was looked at.
#[derive(Serialize)]
pub(crate) struct DoctorReport {
    checks: Vec<CheckResult>,
}

/// One thing that was looked at.
#[derive(Serialize)]
pub(crate) struct CheckResult {
    check: &'static str,
    verdict: CheckStatus,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckStatus {
    /// As it should be.
    Ok,
    /// Not looked at: there is nothing to look for.
    Skipped,
    /// It may be meant so; somebody should look.
    Warn,
    /// It could not be looked at.
    Unknown,
    /// A promise is not kept, or cannot be.
    Fail,
}

impl CheckResult {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: CheckStatus::Ok, found: found.into(), advice: None }
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, verdict: CheckStatus::Skipped, found: why.into(), advice: None }
    }

    fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: CheckStatus::Unknown, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: CheckStatus::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: CheckStatus::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    /// It is not known what to look at.
    fn unresolved(check: &'static str, why: &anyhow::Error) -> Self {
        let found = format!("{why:#}");
        let verdict = if is_not_found(&found) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, verdict, found, advice: None }
    }

    /// What it comes to that the question itself failed: what is not there has failed, anything else could not be looked at.
    fn from_error(target: &Target, check: &'static str, fault: &AwsError, resource: &ResourceRef) -> Self {
        let is_unsupported = target.has_custom_endpoint()
            && matches!(&fault.kind, AwsErrorKind::Service(code) if code.contains("UnknownOperation"));
        if is_unsupported {
            return Self::skipped(check, "this endpoint does not tell");
        }
        let found = explain(fault, resource);
        let verdict = if is_not_found(&found) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, verdict, found, advice: None }
    }
}

/// Whether an error names the code by which AWS says that there is no such thing.
fn is_not_found(error: &str) -> bool {
    const CODES: [&str; 3] = ["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist"];
    CODES.iter().any(|code| error.contains(code))
}

pub(crate) async fn run(target: &Target, args: DoctorArgs) -> anyhow::Result<DoctorReport> {
    let endpoint = target.account.describe_endpoint("dynamodb");
    terminal::with_progress(&endpoint, target.is_json, Box::pin(run_checks(target, &args))).await
}

async fn run_checks(target: &Target, args: &DoctorArgs) -> anyhow::Result<DoctorReport> {
    target.check_reachable().await?;
    let has_worker = !args.no_worker && !target.is_worker_disabled();
    let mut checks = resource_settings::checks(target, has_worker).await?;
    checks.extend(function_code::check(target).await);
    checks.push(parameters::check(target));
    checks.extend(secrets::checks(target).await);
    checks.extend(backlog::checks(target, has_worker).await?);
    checks.push(polls::check(target).await?);
    checks.push(tracking::check(target).await?);
    Ok(DoctorReport { checks })
}

impl Render for DoctorReport {
    fn to_text(&self, _: UnixMillis) -> String {
        let width = self.checks.iter().map(|it| it.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for CheckResult { check, verdict, found, advice } in &self.checks {
            let verdict = match verdict {
                CheckStatus::Ok => "ok  ",
                CheckStatus::Skipped => "-   ",
                CheckStatus::Warn => "warn",
                CheckStatus::Unknown => "?   ",
                CheckStatus::Fail => "FAIL",
            };
            text += &format!("{verdict}  {check:width$}  {}\n", line(found));
            if let Some(advice) = advice {
                text += &format!("      {:width$}  → {}\n", "", line(advice));
            }
        }
        let count = |verdict| self.checks.iter().filter(|it| it.verdict == verdict).count();
        text + &format!(
            "\n{} ok, {} to look at, {} not known, {} failed\n",
            count(CheckStatus::Ok),
            count(CheckStatus::Warn),
            count(CheckStatus::Unknown),
            count(CheckStatus::Fail)
        )
    }

    fn exit_code(&self) -> u8 {
        match self.checks.iter().map(|it| it.verdict).max() {
            Some(CheckStatus::Fail) => 1,
            Some(CheckStatus::Unknown) => EXIT_UNKNOWN,
            Some(CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warn) | None => 0,
        }
    }
}
