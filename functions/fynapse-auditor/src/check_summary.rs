//! What a run has counted, and the problem that ended it.

use std::collections::BTreeMap;

use lambda_runtime::Diagnostic;
use serde_json::{Value, json};

use inbox_aws::AwsError;
use inbox_aws::telemetry::metrics;
use inbox_core::fynapse_api::delivery_page::{DeliveryPage, UnusableAnswer};
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::time::UnixMillis;
use inbox_fynapse::ApiError;

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckSummary {
    /// Pages that were read.
    pub pages: usize,
    /// Deliveries that were read, by status.
    pub listed: BTreeMap<DeliveryStatus, u64>,
    /// Deliveries with a status that is not documented.
    pub unknown_statuses: usize,
    /// Deliveries that Fynapse gave up or cancelled, and that were not known before.
    pub missed: usize,
    /// Deliveries that Fynapse has made, whose event is not here, and that were not known before.
    pub lost: usize,
    /// Events that were recorded from the list.
    pub recovered: usize,
    /// Deliveries that could not be compared.
    pub not_comparable: usize,
    /// True if the check is complete: the next run begins another one.
    pub is_complete: bool,
    /// The first problem of the run, by its stable name.
    pub problem: Option<&'static str>,
    /// The first error that an operator has to fix, if any.
    pub error: Option<RunError>,
    /// The time of the first write that failed: what it should store may be stored.
    pub(crate) write_failed_at: Option<UnixMillis>,
}

/// An error that fails the run, so that its operator is alarmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The secret holds no credentials, or Fynapse refuses them.
    #[error("{0}")]
    Credentials(String),
}

/// A problem of a run. Only a failed write of a missed delivery does not end it.
pub(crate) enum Problem {
    Credentials(&'static str, String),
    Api(ApiError),
    Answer(UnusableAnswer),
    /// The answers say that there is more, and not how to ask for it.
    MorePages,
    /// No delivery of the list has a documented status.
    UnknownStatuses,
    TimedOut,
    Aws(AwsError),
}

impl From<AwsError> for Problem {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

impl Problem {
    /// A stable name for logs, metrics and the table.
    fn name(&self) -> &'static str {
        match self {
            Self::Credentials(name, _) => name,
            Self::Api(error) => error.name(),
            Self::Answer(UnusableAnswer::NotJson) => "not_json",
            Self::Answer(UnusableAnswer::NoDeliveries { .. }) => "no_deliveries",
            Self::MorePages => "more_pages",
            Self::UnknownStatuses => "unknown_statuses",
            Self::TimedOut => "timed_out",
            Self::Aws(_) => "aws_error",
        }
    }

    /// The number of runs in a row after which a page is not asked for any more if it fails in this way; `None` if another page would
    /// fail as well.
    pub(crate) const fn attempts_of_page(&self) -> Option<u64> {
        match self {
            Self::Answer(_)
            | Self::Api(ApiError::Declined(_) | ApiError::NotFound | ApiError::InvalidResponse(_)) => Some(2),
            // Fynapse may be down for some time.
            Self::Api(ApiError::Unavailable(_)) | Self::TimedOut => Some(8),
            Self::Api(
                ApiError::CredentialsRefused
                | ApiError::TokenExpired
                | ApiError::Forbidden
                | ApiError::RateLimited,
            )
            | Self::Credentials(..)
            | Self::MorePages
            | Self::UnknownStatuses
            | Self::Aws(_) => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Credentials(_, why) => why.clone(),
            Self::Api(error) => error.to_string(),
            Self::Answer(error) => error.to_string(),
            Self::MorePages => {
                "the answer says that the list has more deliveries, and not how to ask for them".to_owned()
            }
            Self::UnknownStatuses => {
                "no delivery of the list has a documented status: PENDING, DELIVERED, DEAD_LETTER or CANCELLED".to_owned()
            }
            Self::TimedOut => "Fynapse's answer took longer than the run".to_owned(),
            Self::Aws(error) => error.to_string(),
        }
    }
}

impl CheckSummary {
    pub(crate) fn count_page(&mut self, page: &DeliveryPage) {
        self.pages += 1;
        self.unknown_statuses += page.unknown_statuses.len();
        for delivery in &page.deliveries {
            *self.listed.entry(delivery.status).or_default() += 1;
        }
    }

    /// Counts and logs a problem. A later one does not replace it.
    pub(crate) fn note_problem(&mut self, problem: &Problem) {
        let (reason, why) = (problem.name(), problem.message());
        metrics::DELIVERY_CHECK_FAILED.add(reason, 1);
        tracing::warn!(target: "auditor", reason, why, "check failed");
        self.problem.get_or_insert(reason);
        let error = match problem {
            Problem::Credentials(..) | Problem::Api(ApiError::CredentialsRefused) => {
                metrics::CREDENTIALS_REFUSED.add(1);
                RunError::Credentials(why)
            }
            Problem::Aws(error) => RunError::Aws(error.clone()),
            // These are counted, and may pass.
            Problem::Api(_)
            | Problem::Answer(_)
            | Problem::MorePages
            | Problem::UnknownStatuses
            | Problem::TimedOut => return,
        };
        self.error.get_or_insert(error);
    }

    fn count_of(&self, status: DeliveryStatus) -> u64 {
        self.listed.get(&status).copied().unwrap_or_default()
    }

    pub(crate) fn report(&self) {
        for (status, count) in &self.listed {
            metrics::DELIVERY_LISTED.add(*status, *count);
        }
        // One whose status is not documented may have ended in any way.
        metrics::DELIVERY_NOT_COMPARABLE.add((self.not_comparable + self.unknown_statuses) as u64);
        let Self { pages, unknown_statuses, missed, lost, recovered, not_comparable, is_complete, .. } =
            *self;
        let [pending, delivered, dead_letter, cancelled] = [
            DeliveryStatus::Pending,
            DeliveryStatus::Delivered,
            DeliveryStatus::DeadLetter,
            DeliveryStatus::Cancelled,
        ]
        .map(|status| self.count_of(status));
        // Most runs find nothing: their line is for debugging, and the metrics are the heartbeat.
        if missed + lost + recovered + unknown_statuses == 0 && self.problem.is_none() {
            tracing::debug!(
                target: "auditor", pages, pending, delivered, dead_letter, cancelled, unknown_statuses, not_comparable, is_complete
            );
        } else {
            tracing::info!(
                target: "auditor", pages, pending, delivered, dead_letter, cancelled, unknown_statuses, missed, lost, recovered,
                not_comparable, is_complete, reason = self.problem
            );
        }
    }

    /// Converts the counts into the JSON response of the function, or its first error into a failed invocation.
    pub fn into_response(self) -> Result<Value, Diagnostic> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        let listed = DeliveryStatus::ALL
            .iter()
            .map(|status| (status.as_str().to_owned(), self.count_of(*status).into()));
        Ok(json!({
            "pages": self.pages,
            "listed": Value::Object(listed.collect()),
            "unknown_statuses": self.unknown_statuses,
            "missed": self.missed,
            "lost": self.lost,
            "recovered": self.recovered,
            "not_comparable": self.not_comparable,
            "is_complete": self.is_complete,
            "problem": self.problem,
        }))
    }
}

/// The `errorType` of a failed run in Lambda's report: stable names, which alarm descriptions quote.
impl From<RunError> for Diagnostic {
    fn from(error: RunError) -> Self {
        let error_type = match &error {
            RunError::Aws(_) => "AwsCallFailed",
            RunError::Credentials(_) => "FynapseUnauthorized",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
