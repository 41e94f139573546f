//! `doctor`: whether anything is stuck, or not set up as the promises need. It only reads.

mod backlog;
mod code;
mod parameters;
mod polls;
mod secrets;
mod settings;
mod tracking;

use inbox_aws::{AwsErrorKind, AwsError};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::Doctor;
use crate::place::{Place, Thing};
use crate::terminal;
use crate::trouble::explain;
use crate::view::{Found, line};

/// What the process exits with if something could not be looked at, and nothing is known to fail.
pub(crate) const COULD_NOT_LOOK: u8 = 2;

/// What was looked at.
#[derive(Serialize)]
pub(crate) struct Diagnosis {
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Serialize)]
pub(crate) struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
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

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skipped, found: why.into(), advice: None }
    }

    fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Unknown, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    /// It is not known what to look at.
    fn unnamed(check: &'static str, why: &anyhow::Error) -> Self {
        let found = format!("{why:#}");
        let verdict = if is_missing(&found) { Verdict::Fail } else { Verdict::Unknown };
        Self { check, verdict, found, advice: None }
    }

    /// What it comes to that the question itself failed: what is not there has failed, anything else could not be looked at.
    fn unanswered(at: &Place, check: &'static str, fault: &AwsError, thing: &Thing) -> Self {
        let is_unknown_here = at.is_own_endpoint()
            && matches!(&fault.kind, AwsErrorKind::Service(code) if code.contains("UnknownOperation"));
        if is_unknown_here {
            return Self::skipped(check, "this endpoint does not tell");
        }
        let found = explain(fault, thing);
        let verdict = if is_missing(&found) { Verdict::Fail } else { Verdict::Unknown };
        Self { check, verdict, found, advice: None }
    }
}

/// Whether an error names the code by which AWS says that there is no such thing.
fn is_missing(error: &str) -> bool {
    const CODES: [&str; 3] = ["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist"];
    CODES.iter().any(|code| error.contains(code))
}

pub(crate) async fn doctor(at: &Place, args: Doctor) -> anyhow::Result<Diagnosis> {
    let on = at.account.asked("dynamodb");
    terminal::waiting(&on, at.is_json, Box::pin(look(at, &args))).await
}

async fn look(at: &Place, args: &Doctor) -> anyhow::Result<Diagnosis> {
    at.check_reachable().await?;
    let has_worker = !args.no_worker && !at.has_no_worker();
    let mut checks = settings::checks(at, has_worker).await?;
    checks.extend(code::check(at).await);
    checks.push(parameters::check(at));
    checks.extend(secrets::checks(at).await);
    checks.extend(backlog::checks(at, has_worker).await?);
    checks.push(polls::check(at).await?);
    checks.push(tracking::check(at).await?);
    Ok(Diagnosis { checks })
}

impl Found for Diagnosis {
    fn text(&self, _: UnixMillis) -> String {
        let wide = self.checks.iter().map(|it| it.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Check { check, verdict, found, advice } in &self.checks {
            let verdict = match verdict {
                Verdict::Ok => "ok  ",
                Verdict::Skipped => "-   ",
                Verdict::Warn => "warn",
                Verdict::Unknown => "?   ",
                Verdict::Fail => "FAIL",
            };
            text += &format!("{verdict}  {check:wide$}  {}\n", line(found));
            if let Some(advice) = advice {
                text += &format!("      {:wide$}  → {}\n", "", line(advice));
            }
        }
        let count = |verdict| self.checks.iter().filter(|it| it.verdict == verdict).count();
        text + &format!(
            "\n{} ok, {} to look at, {} not known, {} failed\n",
            count(Verdict::Ok),
            count(Verdict::Warn),
            count(Verdict::Unknown),
            count(Verdict::Fail)
        )
    }

    fn exit_code(&self) -> u8 {
        match self.checks.iter().map(|it| it.verdict).max() {
            Some(Verdict::Fail) => 1,
            Some(Verdict::Unknown) => COULD_NOT_LOOK,
            Some(Verdict::Ok | Verdict::Skipped | Verdict::Warn) | None => 0,
        }
    }
}
