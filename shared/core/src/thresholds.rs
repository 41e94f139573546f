//! The thresholds of a schedule's alerts.

use std::collections::BTreeMap;

use crate::id::Id;
use crate::rightfoot_api::Amount;

/// The alert thresholds of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The threshold for authorizers without their own.
    pub default: Option<Amount>,
    /// The authorizers' own thresholds, which override the default (shared/providers/rightfoot.md, "Create a schedule", the newer rule).
    pub authorizers: BTreeMap<Id, Amount>,
}

impl Thresholds {
    /// The threshold for an authorizer, if there is one.
    pub fn of(&self, authorizer: &Id) -> Option<Amount> {
        self.authorizers.get(authorizer).copied().or(self.default)
    }

    /// Returns `true` if there is no threshold at all, and so never an alert.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.authorizers.is_empty()
    }
}
