//! Why a request was not done, in words for its caller, and under names that a state machine can catch.

use lambda_runtime::Diagnostic;

use inbox_aws::AwsError;
use inbox_core::event::Id;
use inbox_core::requests::InvalidRequest;
use inbox_core::requests::submission::SubmissionKind;
use inbox_rightfoot::ApiError;

/// Why a request was not done. Says nothing of what was in it but the names of its fields and, where Rightfoot
/// refused somebody, the caller's own ids (P8).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Something is wrong with the request; nothing was done.
    #[error("{0}")]
    Invalid(#[from] InvalidRequest),
    /// The name of this submission was used for another one.
    #[error(
        "submission_id: another {} was submitted under this name; nothing was done. Repeat a submission with the very \
         request that it was made with, or give a new one a new name",
        .0.as_str()
    )]
    SubmissionIdConflict(SubmissionKind),
    /// It cannot be told whether it is the same submission.
    #[error(
        "submission_id: a submission of this name stands, and the URL key that it was made with is not known here; \
         nothing was done. If the key was rotated in the last minutes, repeat the request in half a minute; if it is no \
         longer accepted, put it back into the secret as its last element, and repeat the request"
    )]
    UrlKeyUnknown,
    /// It is too late to repeat the submission.
    #[error(
        "submission_id: what became of this submission is not known, and it is too old to be repeated: after 24 hours \
         Rightfoot could make a second one of it. If Rightfoot knows it, call {} with its id and this \
         submission_id; if not, submit under a new name",
        track_action(*kind)
    )]
    TooLateToRepeat {
        /// What was asked for.
        kind: SubmissionKind,
    },
    /// It was sent, or may have been, and what became of it is not known.
    #[error("what became of it is not known ({0}); repeat the very same request: it will not be done twice")]
    OutcomeUnknown(ApiError),
    /// A schedule was sent, and what became of it is not known.
    #[error(
        "what became of it is not known ({0}); repeat the very same request: if Rightfoot then knows the name, the \
         schedule stands"
    )]
    ScheduleOutcomeUnknown(ApiError),
    /// It was not done, and can be later.
    #[error("not done: {0}; repeat the very same request later")]
    NotSubmitted(ApiError),
    /// Rightfoot refused it.
    #[error(
        "Rightfoot refused it (HTTP {status}); nothing was submitted, and the submission_id is {}{about}",
        if *is_free { "free again" } else { "used for another submission by now" }
    )]
    Declined {
        /// The HTTP status.
        status: u16,
        /// Whom it is about.
        about: String,
        /// Whether the name is free: it may have been before, and be used again.
        is_free: bool,
    },
    /// Rightfoot refused it, and another attempt at it may have been accepted.
    #[error(
        "Rightfoot refused it (HTTP {status}), and this was not the only attempt: another one may have made a {}. The \
         submission_id is not free, and the submission alarms until that is known. {}. If Rightfoot knows a {} of it, \
         call {} with its id and this submission_id; if it knows none, free the name: inboxctl submissions conclude \
         SUBMISSION_ID --none --why TEXT{about}",
        .kind.as_str(), repeat_advice(*kind), .kind.as_str(), track_action(*kind)
    )]
    DeclinedAfterAttempts {
        /// What was asked for.
        kind: SubmissionKind,
        /// The HTTP status.
        status: u16,
        /// Whom it is about.
        about: String,
    },
    /// Rightfoot knows a schedule of this name.
    #[error(
        "name: Rightfoot has a schedule of this name. If it is the one that this submission made, call track_schedule \
         with its id and this submission_id; if not, choose another name under a new submission_id"
    )]
    ScheduleNameTaken,
    /// Rightfoot made a schedule, and it could not be written down.
    #[error(
        "Rightfoot made the schedule {}, and it may not be watched yet ({fault}): call track_schedule with that id and this \
         submission_id",
        .schedule_id.as_str()
    )]
    ScheduleNotTracked {
        /// The schedule.
        schedule_id: Id,
        /// The call that failed.
        fault: AwsError,
    },
    /// Rightfoot made it, and its submission stands for something else by now.
    #[error("{}", overtaken_message(*kind, id, fault.as_ref()))]
    SubmissionOvertaken {
        /// What was asked for.
        kind: SubmissionKind,
        /// What Rightfoot made.
        id: Id,
        /// The call that failed, if it may not be watched yet.
        fault: Option<AwsError>,
    },
    /// The name was freed, and may be used for another submission, while this one was to be ended.
    #[error(
        "submission_id: this name was freed meanwhile; nothing was done. Look what stands under it before you try again"
    )]
    SubmissionReleased,
    /// There is no pending submission of this name.
    #[error("submission_id: there is no submission of this name")]
    NoSuchSubmission,
    /// It is tracked already, with another value.
    #[error("{0}: it is tracked already, with another value")]
    TrackingConflict(&'static str),
    /// No URL key was ever loaded.
    #[error("the secret rightfoot-url-key cannot be loaded; nothing was done")]
    UrlKeyUnavailable,
    /// An AWS call failed.
    #[error("{0}; repeat the very same request: it will not be done twice")]
    Aws(#[from] AwsError),
}

impl RequestError {
    /// A stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidRequest",
            Self::SubmissionIdConflict(_) => "OtherSubmission",
            Self::UrlKeyUnknown => "UrlKeyGone",
            Self::TooLateToRepeat { .. } => "TooLateToRepeat",
            Self::OutcomeUnknown(_) | Self::ScheduleOutcomeUnknown(_) => "OutcomeUnknown",
            Self::NotSubmitted(ApiError::Unauthorized | ApiError::KeyUnavailable) => "RightfootUnauthorized",
            Self::NotSubmitted(_) => "RightfootUnavailable",
            Self::Declined { .. } => "RightfootRefused",
            Self::DeclinedAfterAttempts { .. } => "RefusedAfterAttempts",
            Self::ScheduleNameTaken => "ScheduleNameTaken",
            Self::ScheduleNotTracked { .. } => "ScheduleNotWatched",
            Self::SubmissionOvertaken { .. } | Self::SubmissionReleased => "SubmissionOvertaken",
            Self::NoSuchSubmission => "NoSuchSubmission",
            Self::TrackingConflict(_) => "TrackedOtherwise",
            Self::UrlKeyUnavailable => "UrlKeyUnavailable",
            Self::Aws(_) => "AwsCallFailed",
        }
    }

    /// What a log line says besides: never whom it is about.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Invalid(invalid) => Some(invalid.field.clone()),
            Self::OutcomeUnknown(error) | Self::ScheduleOutcomeUnknown(error) | Self::NotSubmitted(error) => {
                Some(error.name().to_owned())
            }
            Self::Declined { status, .. } | Self::DeclinedAfterAttempts { status, .. } => {
                Some(status.to_string())
            }
            Self::SubmissionOvertaken { id, fault: None, .. } => Some(id.as_str().to_owned()),
            Self::SubmissionOvertaken { id, fault: Some(fault), .. } => {
                Some(format!("{}: {fault}", id.as_str()))
            }
            Self::TrackingConflict(what) => Some((*what).to_owned()),
            Self::ScheduleNotTracked { schedule_id, fault } => {
                Some(format!("{}: {fault}", schedule_id.as_str()))
            }
            Self::Aws(fault) => Some(fault.to_string()),
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

/// The action that ends a submission by what it made.
const fn track_action(kind: SubmissionKind) -> &'static str {
    match kind {
        SubmissionKind::Batch => "track_batch",
        SubmissionKind::Schedule => "track_schedule",
    }
}

/// How a repetition of the very same request can tell what became of it.
const fn repeat_advice(kind: SubmissionKind) -> &'static str {
    match kind {
        SubmissionKind::Batch => {
            "Repeat the very same request: if there is a batch, Rightfoot may answer with it"
        }
        SubmissionKind::Schedule => {
            "Repeat the very same request: if there is a schedule, Rightfoot may know its name"
        }
    }
}

fn overtaken_message(kind: SubmissionKind, id: &Id, fault: Option<&AwsError>) -> String {
    let (resource, id) = (kind.as_str(), id.as_str());
    let tracking = match fault {
        None => "it is watched".to_owned(),
        Some(fault) => format!(
            "it may not be watched yet ({fault}): call {} with that id, and this submission_id as subject",
            track_action(kind)
        ),
    };
    format!(
        "Rightfoot made the {resource} {id}, and {tracking}. But somebody else has freed its submission_id, or ended it with \
         something else: it does not lead to this {resource}, and what is submitted next needs another name"
    )
}

impl From<RequestError> for Diagnostic {
    fn from(error: RequestError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}
