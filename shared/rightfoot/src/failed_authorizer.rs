//! An authorizer that Rightfoot did not accept.

use std::fmt;

use inbox_core::id::Id;

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

/// Shows neither ids nor texts (P8).
impl fmt::Debug for FailedAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedAuthorizer").finish_non_exhaustive()
    }
}
