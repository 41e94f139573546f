//! Audit trail: an operator's name and reason on the command line, and the entries as they are printed.

use clap::Args;
use inbox_core::audit::{AuditEntry, Operator};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::Timestamp;

/// Name and reason for the audit trail.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by)]
    by: String,
    /// Reason, for the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = parse_why)]
    why: String,
}

impl AuditArgs {
    pub(crate) fn operator(&self) -> Operator {
        Operator { name: self.by.clone(), reason: self.why.clone() }
    }
}

/// Parses the operator's name. It stays in the audit trail, so it must not be blank.
pub(crate) fn parse_by(name: &str) -> Result<String, String> {
    non_blank(name)
        .ok_or_else(|| "give your name with --by or INBOXCTL_BY: it goes into the audit trail".to_owned())
}

/// Parses the operator's reason, which must not be blank either.
pub(crate) fn parse_why(text: &str) -> Result<String, String> {
    non_blank(text).ok_or_else(|| "give a reason: it goes into the audit trail".to_owned())
}

fn non_blank(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// An entry of the audit trail, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuditLine {
    at: Timestamp,
    by: String,
    action: &'static str,
    why: String,
}

impl From<&AuditEntry> for AuditLine {
    fn from(it: &AuditEntry) -> Self {
        Self {
            at: Timestamp(it.at),
            by: it.operator.clone(),
            action: it.action.as_str(),
            why: it.reason.clone(),
        }
    }
}

impl AuditLine {
    pub(crate) fn from_entries(all: &[AuditEntry]) -> Vec<Self> {
        all.iter().map(Self::from).collect()
    }

    pub(crate) fn to_text(&self, now: UnixMillis) -> String {
        format!("{} {}: {} ({})", self.at.with_age(now), self.by, self.action, self.why)
    }
}
