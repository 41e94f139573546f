//! Errors of a request: a message for the caller, and an error type that a state machine can catch.

use lambda_runtime::Diagnostic;

use inbox_aws::AwsError;
use inbox_core::id::Id;
use inbox_core::requests::InvalidRequest;
use inbox_core::requests::submission::SubmissionKind;
use inbox_rightfoot::ApiError;

/// An error of a request. Its message contains nothing of the request but names of fields and, for authorizers that
/// Rightfoot rejected, the caller's own ids (P8).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is invalid; nothing was done.
    #[error("{0}")]
    Invalid(#[from] InvalidRequest),
    /// The submission id was used for another request.
    #[error(
        "submission_id: another {} was submitted with this id; nothing was done. Send a submission again with the same \
         request, or give a new one a new id",
        .0.as_str()
    )]
    SubmissionIdConflict(SubmissionKind),
    /// The URL key of the submission is not in the secret, so the request cannot be compared with the stored one.
    #[error(
        "submission_id: a submission with this id exists, but it was made with a URL key that is not in the secret; \
         nothing was done. If the key was rotated in the last minutes, send the request again in half a minute; if it was \
         removed, put it back into the secret as its last element, and send the request again"
    )]
    UrlKeyUnknown,
    /// The submission is too old to be sent again.
    #[error(
        "submission_id: the outcome of this submission is unknown, and it is too old to be sent again: after 24 hours \
         Rightfoot could create a duplicate. If Rightfoot knows it, call {} with its id and this \
         submission_id; if not, submit with a new id",
        track_action(*kind)
    )]
    TooLateToRepeat {
        /// The kind of the submission.
        kind: SubmissionKind,
    },
    /// The batch was sent, or may have been, and its outcome is unknown.
    #[error("outcome unknown ({0}); send the same request again: it is idempotent")]
    OutcomeUnknown(ApiError),
    /// A schedule was sent, and its outcome is unknown.
    #[error(
        "outcome unknown ({0}); send the same request again: if Rightfoot then reports the name as taken, the schedule \
         exists"
    )]
    ScheduleOutcomeUnknown(ApiError),
    /// Nothing was submitted; it can be sent again later.
    #[error("not submitted: {0}; send the same request again later")]
    NotSubmitted(ApiError),
    /// Rightfoot declined the submission.
    #[error(
        "Rightfoot declined it (HTTP {status}); nothing was submitted, and the submission_id is {}{authorizer_errors}",
        if *is_id_free { "free again" } else { "used for another submission by now" }
    )]
    Declined {
        /// The HTTP status.
        status: u16,
        /// The first few errors of authorizers, each with `; ` before it; empty if there are none.
        authorizer_errors: String,
        /// True if the id is free; false if it was released before, and another submission uses it.
        is_id_free: bool,
    },
    /// Rightfoot declined this attempt at the submission, but may have accepted another one.
    #[error(
        "Rightfoot declined it (HTTP {status}), and this was not the only attempt: another one may have created a {}. The \
         submission_id is not free, and the submission alarms until that is known. {}. If Rightfoot knows a {} of it, \
         call {} with its id and this submission_id; if it knows none, free the id: inboxctl submissions conclude \
         SUBMISSION_ID --none --why TEXT{authorizer_errors}",
        .kind.as_str(), repeat_advice(*kind), .kind.as_str(), track_action(*kind)
    )]
    DeclinedAfterAttempts {
        /// The kind of the submission.
        kind: SubmissionKind,
        /// The HTTP status.
        status: u16,
        /// The first few errors of authorizers, each with `; ` before it; empty if there are none.
        authorizer_errors: String,
    },
    /// Rightfoot already has a schedule of this name.
    #[error(
        "name: Rightfoot has a schedule of this name. If it is the one that this submission made, call track_schedule \
         with its id and this submission_id; if not, choose another name under a new submission_id"
    )]
    ScheduleNameTaken,
    /// Rightfoot created a schedule, but tracking it failed.
    #[error(
        "Rightfoot created the schedule {}, and it may not be tracked yet ({error}): call track_schedule with that id and this \
         submission_id",
        .schedule_id.as_str()
    )]
    ScheduleNotTracked {
        /// The schedule.
        schedule_id: Id,
        /// The call that failed.
        error: AwsError,
    },
    /// Rightfoot created it, but another submission, or another resource, has taken its id since.
    #[error("{}", overtaken_message(*kind, id, error.as_ref()))]
    SubmissionOvertaken {
        /// The kind of the submission.
        kind: SubmissionKind,
        /// Id of the batch or schedule that Rightfoot created.
        id: Id,
        /// The call that failed, if it may not be tracked yet.
        error: Option<AwsError>,
    },
    /// The id was freed while this submission was being completed, and may be used for another one.
    #[error(
        "submission_id: this id was freed meanwhile; nothing was done. Check what it names now before you try again"
    )]
    SubmissionReleased,
    /// There is no pending submission with this id.
    #[error("submission_id: there is no submission with this id")]
    NoSuchSubmission,
    /// The batch or schedule is tracked already, with another value of this field.
    #[error("{0}: already tracked with another value")]
    TrackingConflict(&'static str),
    /// No URL key was ever loaded.
    #[error("the secret rightfoot-url-key cannot be loaded; nothing was done")]
    UrlKeyUnavailable,
    /// An AWS call failed.
    #[error("{0}; send the same request again: it is idempotent")]
    Aws(#[from] AwsError),
}

impl RequestError {
    /// Returns the error type, a stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidRequest",
            Self::SubmissionIdConflict(_) => "SubmissionIdConflict",
            Self::UrlKeyUnknown => "UrlKeyUnknown",
            Self::TooLateToRepeat { .. } => "TooLateToRepeat",
            // One name, since the caller does the same for both: it sends the request again.
            Self::OutcomeUnknown(_) | Self::ScheduleOutcomeUnknown(_) => "OutcomeUnknown",
            Self::NotSubmitted(ApiError::Unauthorized | ApiError::KeyUnavailable) => "RightfootUnauthorized",
            Self::NotSubmitted(_) => "RightfootUnavailable",
            Self::Declined { .. } => "RightfootDeclined",
            Self::DeclinedAfterAttempts { .. } => "DeclinedAfterAttempts",
            Self::ScheduleNameTaken => "ScheduleNameTaken",
            Self::ScheduleNotTracked { .. } => "ScheduleNotTracked",
            Self::SubmissionOvertaken { .. } | Self::SubmissionReleased => "SubmissionOvertaken",
            Self::NoSuchSubmission => "NoSuchSubmission",
            Self::TrackingConflict(_) => "TrackingConflict",
            Self::UrlKeyUnavailable => "UrlKeyUnavailable",
            Self::Aws(_) => "AwsCallFailed",
        }
    }

    /// Returns details for the log line: never an authorizer.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Invalid(invalid) => Some(invalid.field.clone()),
            Self::OutcomeUnknown(error) | Self::ScheduleOutcomeUnknown(error) | Self::NotSubmitted(error) => {
                Some(error.name().to_owned())
            }
            // Not the errors of the authorizers: they name the caller's ids, and this is logged (P8).
            Self::Declined { status, .. } | Self::DeclinedAfterAttempts { status, .. } => {
                Some(status.to_string())
            }
            Self::SubmissionOvertaken { id, error: None, .. } => Some(id.as_str().to_owned()),
            Self::SubmissionOvertaken { id, error: Some(error), .. } => {
                Some(format!("{}: {error}", id.as_str()))
            }
            Self::TrackingConflict(what) => Some((*what).to_owned()),
            Self::ScheduleNotTracked { schedule_id, error } => {
                Some(format!("{}: {error}", schedule_id.as_str()))
            }
            Self::Aws(error) => Some(error.to_string()),
            Self::SubmissionIdConflict(_)
            | Self::UrlKeyUnknown
            | Self::TooLateToRepeat { .. }
            | Self::ScheduleNameTaken
            | Self::SubmissionReleased
            | Self::NoSuchSubmission
            | Self::UrlKeyUnavailable => None,
        }
    }
}

/// The action that completes a submission with the resource that it created.
const fn track_action(kind: SubmissionKind) -> &'static str {
    match kind {
        SubmissionKind::Batch => "track_batch",
        SubmissionKind::Schedule => "track_schedule",
    }
}

/// Advice on how sending the same request again can reveal the outcome.
const fn repeat_advice(kind: SubmissionKind) -> &'static str {
    match kind {
        SubmissionKind::Batch => {
            "Send the same request again: if there is a batch, Rightfoot may respond with it"
        }
        SubmissionKind::Schedule => {
            "Send the same request again: if there is a schedule, Rightfoot may report its name as taken"
        }
    }
}

fn overtaken_message(kind: SubmissionKind, id: &Id, error: Option<&AwsError>) -> String {
    let (resource, id) = (kind.as_str(), id.as_str());
    let tracking = match error {
        None => "it is tracked".to_owned(),
        Some(error) => format!(
            "it may not be tracked yet ({error}): call {} with that id, and this submission_id as subject",
            track_action(kind)
        ),
    };
    format!(
        "Rightfoot created the {resource} {id}, and {tracking}. But its submission_id was freed, or completed with something \
         else, meanwhile: it does not name this {resource}, and the next submission needs another id"
    )
}

impl From<RequestError> for Diagnostic {
    fn from(error: RequestError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}
