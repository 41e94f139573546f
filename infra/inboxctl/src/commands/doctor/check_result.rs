//! Result of a check.

use inbox_aws::{AwsError, AwsErrorKind};
use serde::Serialize;

use crate::aws_error::{ResourceRef, explain, is_access_denied};
use crate::target::Target;

/// Result of one check.
#[derive(Serialize)]
pub(crate) struct CheckResult {
    pub(crate) check: &'static str,
    pub(crate) status: CheckStatus,
    pub(crate) finding: String,
    /// What to do about the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
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
    pub(crate) fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Ok, finding: finding.into(), advice: None }
    }

    pub(crate) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Skipped, finding: why.into(), advice: None }
    }

    pub(crate) fn unknown(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Unknown, finding: finding.into(), advice: None }
    }

    pub(crate) fn warn(check: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Warn, finding: finding.into(), advice: Some(advice.into()) }
    }

    pub(crate) fn fail(check: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Fail, finding: finding.into(), advice: Some(advice.into()) }
    }

    /// The resource to check cannot be named: a failure if AWS says that it does not exist, unknown otherwise.
    pub(crate) fn unresolved(check: &'static str, why: &anyhow::Error) -> Self {
        let finding = format!("{why:#}");
        let status = if is_not_found(&finding) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, status, finding, advice: None }
    }

    /// The call of the check failed: a missing resource is a failure, any other error leaves the status unknown.
    pub(crate) fn from_error(
        target: &Target,
        check: &'static str,
        fault: &AwsError,
        resource: &ResourceRef,
    ) -> Self {
        let is_unsupported = target.has_custom_endpoint()
            && matches!(&fault.kind, AwsErrorKind::Service(code) if code.contains("UnknownOperation"));
        if is_unsupported {
            return Self::skipped(check, "this endpoint does not support the call");
        }
        let finding = explain(fault, resource);
        let status = if is_not_found(&finding) { CheckStatus::Fail } else { CheckStatus::Unknown };
        Self { check, status, finding, advice: None }
    }

    /// As [`CheckResult::from_error`], for a call that an operator need not have the permission for: without it, the check is skipped.
    pub(crate) fn from_optional_call(
        target: &Target,
        check: &'static str,
        fault: &AwsError,
        resource: &ResourceRef,
    ) -> Self {
        if is_access_denied(&fault.kind) {
            return Self::skipped(check, format!("not checked: {}", explain(fault, resource)));
        }
        Self::from_error(target, check, fault, resource)
    }
}

/// Returns `true` if an error text names an AWS error code for a missing resource.
fn is_not_found(error: &str) -> bool {
    const CODES: [&str; 3] = ["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist"];
    CODES.iter().any(|code| error.contains(code))
}
