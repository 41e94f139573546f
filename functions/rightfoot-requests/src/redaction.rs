//! What is kept and answered of Rightfoot's own words about people: nobody promises that they quote nothing (P8).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use inbox_core::event::Id;
use inbox_core::requests::Authorizers;
use inbox_rightfoot::FailedAuthorizer;

const REDACTED: &str = "…";

/// What must not be in the words about one submission: what the request says, and the token of its URL.
pub(crate) struct Redactor<'a> {
    authorizers: &'a Authorizers,
    token: &'a str,
}

impl<'a> Redactor<'a> {
    /// About these people, who were submitted with this URL.
    pub(crate) fn new(authorizers: &'a Authorizers, webhook_url: &'a str) -> Self {
        Self { authorizers, token: webhook_url.rsplit('/').next().unwrap_or(webhook_url) }
    }

    /// How many results may come: somebody who was refused without being named is not waited for either.
    pub(crate) fn expected_results(&self, failed: &[FailedAuthorizer]) -> u64 {
        let unidentified = failed.iter().filter(|failed| self.submitted_id(failed).is_none()).count();
        u64::try_from(self.authorizers.len().saturating_sub(unidentified)).unwrap_or(u64::MAX)
    }

    /// Whom Rightfoot refused, of those who were submitted.
    pub(crate) fn excluded_authorizers(&self, failed: &[FailedAuthorizer]) -> BTreeSet<Id> {
        failed.iter().filter_map(|one| self.submitted_id(one)).cloned().collect()
    }

    /// What is answered about somebody who was refused.
    pub(crate) fn redacted_entry(&self, failed: &FailedAuthorizer) -> Value {
        let id = self.submitted_id(failed);
        json!({
            "authorizer_unique_id": id.map(Id::as_str),
            "error": self.redacted_reason(failed),
            "account_type": failed.account_type.as_ref().map(|words| self.redact(id, words)),
            "row_number": failed.row_number,
        })
    }

    /// What is answered of a remark.
    pub(crate) fn redact_warning(&self, text: &str) -> String {
        self.redact(None, text)
    }

    /// The first few of whom a refusal is about.
    pub(crate) fn redacted_summary(&self, failed: &[FailedAuthorizer]) -> String {
        const LISTED_MAX: usize = 5;
        let mut list = String::new();
        for entry in failed.iter().take(LISTED_MAX) {
            let who = self.submitted_id(entry).map_or("?", Id::as_str);
            list.push_str(&format!("; {who}: {}", self.redacted_reason(entry)));
        }
        match failed.len().saturating_sub(LISTED_MAX) {
            0 => list,
            more => format!("{list}; and {more} more"),
        }
    }

    /// The caller's own id of whom it is about. Another one is words like any other: it may hold anything.
    fn submitted_id<'b>(&self, failed: &'b FailedAuthorizer) -> Option<&'b Id> {
        failed.authorizer.as_ref().filter(|id| self.authorizers.contains(id))
    }

    fn redacted_reason(&self, failed: &FailedAuthorizer) -> String {
        let id = self.submitted_id(failed);
        match &failed.authorizer {
            Some(words) if id.is_none() && failed.error.is_empty() => self.redact(None, words.as_str()),
            Some(_) | None => self.redact(id, &failed.error),
        }
    }

    fn redact(&self, own_id: Option<&Id>, text: &str) -> String {
        self.authorizers.redact(own_id, &text.replace(self.token, REDACTED))
    }
}
