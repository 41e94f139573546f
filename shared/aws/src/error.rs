//! What an AWS call can come to besides success, in words that may be logged.

use std::fmt;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::ca_bundle::is_certificate_error;

/// A failed AWS call. Says which action and which kind of failure, never what was sent or answered (P8):
/// service messages can quote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {kind}")]
pub struct AwsError {
    /// The IAM action, for example `dynamodb:PutItem`.
    pub action: &'static str,
    /// What went wrong.
    pub kind: AwsErrorKind,
}

/// Why an AWS call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// The request could not be made.
    Construction,
    /// No answer in time: it may have been applied.
    Timeout,
    /// No connection, or it broke: it may have been applied.
    Connection,
    /// The endpoint's certificate is not trusted: nothing was sent.
    Certificate,
    /// The answer could not be read: it may have been applied.
    UnreadableResponse,
    /// The service refused, with this error code.
    Service(String),
    /// What stands in the table is not of the form that we write.
    UnreadableItem,
    /// The stored parts of a payload are no longer there.
    PayloadGone,
}

impl fmt::Display for AwsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Construction => f.write_str("request not made"),
            Self::Timeout => f.write_str("timed out"),
            Self::Connection => f.write_str("connection failed"),
            Self::Certificate => f.write_str("certificate not trusted"),
            Self::UnreadableResponse => f.write_str("unreadable answer"),
            Self::Service(code) => f.write_str(code),
            Self::UnreadableItem => f.write_str("unreadable item"),
            Self::PayloadGone => f.write_str("stored payload is gone"),
        }
    }
}

/// What a failed invocation is called in Lambda's own report: a name that alarms can rely on.
impl From<AwsError> for lambda_runtime::Diagnostic {
    fn from(error: AwsError) -> Self {
        Self { error_type: "AwsCallFailed".to_owned(), error_message: error.to_string() }
    }
}

impl AwsError {
    /// What this failed call came to.
    pub fn from_sdk_error<E: ProvideErrorMetadata, R>(action: &'static str, error: &SdkError<E, R>) -> Self {
        let kind = match error {
            SdkError::TimeoutError(_) => AwsErrorKind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => AwsErrorKind::Timeout,
            SdkError::DispatchFailure(failure)
                if failure.as_connector_error().is_some_and(|error| is_certificate_error(error)) =>
            {
                AwsErrorKind::Certificate
            }
            SdkError::ServiceError(answer) => match answer.err().code() {
                Some(code) => AwsErrorKind::Service(code.to_owned()),
                None => AwsErrorKind::UnreadableResponse,
            },
            SdkError::ResponseError(_) => AwsErrorKind::UnreadableResponse,
            SdkError::ConstructionFailure(_) => AwsErrorKind::Construction,
            SdkError::DispatchFailure(_) | _ => AwsErrorKind::Connection,
        };
        Self { action, kind }
    }

    pub(crate) const fn timeout(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::Timeout }
    }

    /// Somebody else has written in between, again and again.
    pub fn write_conflict(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::Service("Overtaken".to_owned()) }
    }

    /// What was read is not what is written there.
    pub const fn unreadable_item(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::UnreadableItem }
    }

    /// The stored parts of a payload are no longer there.
    pub(crate) const fn payload_gone(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::PayloadGone }
    }
}
