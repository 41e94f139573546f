//! `inboxctl doctor`: read-only checks for stuck items and for settings on which the promises depend.

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

/// Exit code if a check could not be made and none is known to fail.
pub(crate) const EXIT_UNKNOWN: u8 = 2;

/// Results of all checks.
#[derive(Serialize)]
pub(crate) struct DoctorReport {
    checks: Vec<CheckResult>,
}

/// Result of one check.
#[derive(Serialize)]
pub(crate) struct CheckResult {
    check: &'static str,
    status: CheckStatus,
    finding: String,
    /// What to do about the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// Status of a check, from good to bad; the worst one decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckStatus {
    /// As the promises need it.
    Ok,
    /// Not made: it does not apply here.
    Skipped,
    /// Possibly intended; an operator should check.
    Warn,
    /// The check could not be made.
    Unknown,
    /// A promise is broken, or cannot be kept.
    Fail,
}

impl CheckResult {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Ok, finding: finding.into(), advice: None }
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Skipped, finding: why.into(), advice: None }
    }

    fn unknown(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Unknown, finding: finding.into(), advice: None }
    }

    fn warn(check: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Warn, finding: finding.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Fail, finding: finding.into(), advice: Some(advice.into()) }
    }

    /// The resource to check cannot be named: a failure if AWS says that it does not exist, unknown otherwise.
    fn unresolved(check: &'static str, why: &anyhow::Error) -> Self {
        let finding = format!("{why:#}");
        let status = if is_not_found(&finding) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, status, finding, advice: None }
    }

    /// The call of the check failed: a missing resource is a failure, any other error leaves the status unknown.
    fn from_error(target: &Target, check: &'static str, fault: &AwsError, resource: &ResourceRef) -> Self {
        let is_unsupported = target.has_custom_endpoint()
            && matches!(&fault.kind, AwsErrorKind::Service(code) if code.contains("UnknownOperation"));
        if is_unsupported {
            return Self::skipped(check, "this endpoint does not support the call");
        }
        let finding = explain(fault, resource);
        let status = if is_not_found(&finding) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, status, finding, advice: None }
    }
}

/// Returns `true` if an error text names an AWS error code for a missing resource.
fn is_not_found(error: &str) -> bool {
    const CODES: [&str; 3] = ["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist"];
    CODES.iter().any(|code| error.contains(code))
}

pub(crate) async fn run(target: &Target, args: DoctorArgs) -> anyhow::Result<DoctorReport> {
    let endpoint = target.account.describe_endpoint("dynamodb");
    terminal::with_progress(&endpoint, target.is_json, Box::pin(run_checks(target, &args))).await
}

async fn run_checks(target: &Target, args: &DoctorArgs) -> anyhow::Result<DoctorReport> {
    // Otherwise every check would wait for AWS and report the same error.
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
        for CheckResult { check, status, finding, advice } in &self.checks {
            let label = match status {
                CheckStatus::Ok => "ok  ",
                CheckStatus::Skipped => "-   ",
                CheckStatus::Warn => "warn",
                CheckStatus::Unknown => "?   ",
                CheckStatus::Fail => "FAIL",
            };
            text += &format!("{label}  {check:width$}  {}\n", line(finding));
            if let Some(advice) = advice {
                text += &format!("      {:width$}  → {}\n", "", line(advice));
            }
        }
        let count = |status| self.checks.iter().filter(|it| it.status == status).count();
        text + &format!(
            "\n{} ok, {} warnings, {} unknown, {} failed\n",
            count(CheckStatus::Ok),
            count(CheckStatus::Warn),
            count(CheckStatus::Unknown),
            count(CheckStatus::Fail)
        )
    }

    fn exit_code(&self) -> u8 {
        match self.checks.iter().map(|it| it.status).max() {
            Some(CheckStatus::Fail) => 1,
            Some(CheckStatus::Unknown) => EXIT_UNKNOWN,
            Some(CheckStatus::Ok | CheckStatus::Skipped | CheckStatus::Warn) | None => 0,
        }
    }
}
