//! What the last polls have shown: the problem of a batch's or schedule's polls, and the number of a batch's results. Each is
//! a map in its item.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::poll::batch::ResultsFound;
use inbox_core::poll::problem::PollProblem;

use super::audit::field;
use crate::table::value::{FromAttribute, ToAttribute};

impl ToAttribute for PollProblem {
    fn to_attribute(&self) -> AttributeValue {
        let fields = [
            ("reason", self.reason.to_attribute()),
            ("since", self.since.to_attribute()),
            ("first_poll", self.first_poll.to_attribute()),
        ];
        AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl FromAttribute for PollProblem {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let fields = value.as_m().ok()?;
        Some(Self {
            reason: field(fields, "reason")?,
            since: field(fields, "since")?,
            first_poll: field(fields, "first_poll")?,
        })
    }
}

impl ToAttribute for ResultsFound {
    fn to_attribute(&self) -> AttributeValue {
        let fields = [("count", self.count.to_attribute()), ("since", self.since.to_attribute())];
        AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl FromAttribute for ResultsFound {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let fields = value.as_m().ok()?;
        Some(Self { count: field(fields, "count")?, since: field(fields, "since")? })
    }
}
