//! The authorizers that a response or an error of Rightfoot names as failed.

use std::fmt;

use inbox_core::id::Id;
use serde_json::value::RawValue;

use crate::lenient_values::{display_text, fields, id, integer, items};

/// An authorizer that is not part of the batch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FailedAuthorizer {
    /// The authorizer, if it can be parsed.
    pub authorizer: Option<Id>,
    /// Rightfoot's error text, empty if there is none. May hold personal data.
    pub error: String,
    /// The account type that was submitted.
    pub account_type: Option<String>,
    /// The row of the request that it was in.
    pub row_number: Option<u64>,
}

/// Parses such a list; none if there is no list.
pub(crate) fn parse_failed_authorizers(list: Option<&RawValue>) -> Vec<FailedAuthorizer> {
    list.map(items).unwrap_or_default().into_iter().map(parse_failed_authorizer).collect()
}

/// Parses one entry as far as possible: the number of entries matters more than their contents.
fn parse_failed_authorizer(item: &RawValue) -> FailedAuthorizer {
    if let Some(fields) = fields(item.get()) {
        let field = |name| fields.get(name).copied();
        return FailedAuthorizer {
            authorizer: field("authorizer_unique_id").and_then(id),
            error: field("error").and_then(display_text).unwrap_or_default(),
            account_type: field("account_type").and_then(display_text),
            row_number: field("row_number").and_then(integer).and_then(|number| u64::try_from(number).ok()),
        };
    }
    match id(item) {
        Some(authorizer) => FailedAuthorizer { authorizer: Some(authorizer), ..Default::default() },
        None => FailedAuthorizer { error: display_text(item).unwrap_or_default(), ..Default::default() },
    }
}

/// Shows neither ids nor texts (P8).
impl fmt::Debug for FailedAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedAuthorizer").finish_non_exhaustive()
    }
}
