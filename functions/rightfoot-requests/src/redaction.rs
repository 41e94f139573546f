//! Redaction of Rightfoot's error texts about authorizers: they might quote personal data of the request (P8).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use inbox_core::id::Id;
use inbox_core::requests::Authorizers;
use inbox_rightfoot::FailedAuthorizer;

const REDACTED: &str = "…";

/// Removes the values of one request, and the token of its webhook URL, from texts.
pub(crate) struct Redactor<'a> {
    authorizers: &'a Authorizers,
    token: &'a str,
}

impl<'a> Redactor<'a> {
    /// Builds a redactor for these authorizers, submitted with this URL.
    pub(crate) fn new(authorizers: &'a Authorizers, webhook_url: &'a str) -> Self {
        Self { authorizers, token: webhook_url.rsplit('/').next().unwrap_or(webhook_url) }
    }

    /// The number of submitted authorizers, less one for each error that identifies none of them.
    /// Identified ones are [`Self::excluded_authorizers`].
    pub(crate) fn expected_results(&self, failed: &[FailedAuthorizer]) -> u64 {
        // Each of these has excluded an authorizer, but it is unknown which one.
        let unidentified = failed.iter().filter(|failed| self.submitted_id(failed).is_none()).count();
        u64::try_from(self.authorizers.len().saturating_sub(unidentified)).unwrap_or(u64::MAX)
    }

    /// The submitted authorizers that Rightfoot excluded.
    pub(crate) fn excluded_authorizers(&self, failed: &[FailedAuthorizer]) -> BTreeSet<Id> {
        failed.iter().filter_map(|one| self.submitted_id(one)).cloned().collect()
    }

    /// The entry of the response for an excluded authorizer.
    pub(crate) fn redacted_entry(&self, failed: &FailedAuthorizer) -> Value {
        let id = self.submitted_id(failed);
        json!({
            "authorizer_unique_id": id.map(Id::as_str),
            "error": self.redacted_reason(failed),
            "account_type": failed.account_type.as_ref().map(|words| self.redact(id, words)),
            "row_number": failed.row_number,
        })
    }

    /// Redacts a warning of Rightfoot's response.
    pub(crate) fn redact_warning(&self, text: &str) -> String {
        self.redact(None, text)
    }

    /// A list of the first five errors for an error message, each with `; ` before it; empty if there are none.
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

    /// The authorizer's id, if the request contains it.
    fn submitted_id<'b>(&self, failed: &'b FailedAuthorizer) -> Option<&'b Id> {
        // Any other id may contain anything, so it is treated as text.
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
        // The token is the secret part of the URL, and a text may quote it alone.
        self.authorizers.redact(own_id, &text.replace(self.token, REDACTED))
    }
}
