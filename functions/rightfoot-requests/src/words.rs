//! What is kept and answered of Rightfoot's own words about people: nobody promises that they quote nothing (P8).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use inbox_core::event::Id;
use inbox_core::requests::Authorizers;
use inbox_rightfoot::FailedAuthorizer;

const REDACTED: &str = "…";

/// What must not be in the words about one submission: what the request says, and the token of its URL.
pub(crate) struct Words<'a> {
    authorizers: &'a Authorizers,
    token: &'a str,
}

impl<'a> Words<'a> {
    /// About these people, who were submitted with this URL.
    pub(crate) fn about(authorizers: &'a Authorizers, webhook_url: &'a str) -> Self {
        Self { authorizers, token: webhook_url.rsplit('/').next().unwrap_or(webhook_url) }
    }

    /// How many results may come: somebody who was refused without being named is not waited for either.
    pub(crate) fn expected(&self, failed: &[FailedAuthorizer]) -> u64 {
        let nameless = failed.iter().filter(|one| self.own_id(one).is_none()).count();
        u64::try_from(self.authorizers.len().saturating_sub(nameless)).unwrap_or(u64::MAX)
    }

    /// Whom Rightfoot refused, of those who were submitted.
    pub(crate) fn refused(&self, failed: &[FailedAuthorizer]) -> BTreeSet<Id> {
        failed.iter().filter_map(|one| self.own_id(one)).cloned().collect()
    }

    /// What is answered about somebody who was refused.
    pub(crate) fn entry(&self, failed: &FailedAuthorizer) -> Value {
        let own = self.own_id(failed);
        json!({
            "authorizer_unique_id": own.map(Id::as_str),
            "error": self.reason(failed),
            "account_type": failed.account_type.as_ref().map(|words| self.less(own, words)),
            "row_number": failed.row_number,
        })
    }

    /// What is answered of a remark.
    pub(crate) fn remark(&self, words: &str) -> String {
        self.less(None, words)
    }

    /// The first few of whom a refusal is about.
    pub(crate) fn list(&self, failed: &[FailedAuthorizer]) -> String {
        const SHOWN: usize = 5;
        let mut list = String::new();
        for one in failed.iter().take(SHOWN) {
            let who = self.own_id(one).map_or("?", Id::as_str);
            list.push_str(&format!("; {who}: {}", self.reason(one)));
        }
        match failed.len().saturating_sub(SHOWN) {
            0 => list,
            more => format!("{list}; and {more} more"),
        }
    }

    /// The caller's own id of whom it is about. Another one is words like any other: it may hold anything.
    fn own_id<'b>(&self, failed: &'b FailedAuthorizer) -> Option<&'b Id> {
        failed.authorizer.as_ref().filter(|id| self.authorizers.contains(id))
    }

    fn reason(&self, failed: &FailedAuthorizer) -> String {
        let own = self.own_id(failed);
        match &failed.authorizer {
            Some(words) if own.is_none() && failed.error.is_empty() => self.less(None, words.as_str()),
            Some(_) | None => self.less(own, &failed.error),
        }
    }

    fn less(&self, about: Option<&Id>, words: &str) -> String {
        self.authorizers.redact(about, &words.replace(self.token, REDACTED))
    }
}
