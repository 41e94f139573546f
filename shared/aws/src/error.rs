//! Errors of AWS calls, in words that may be logged.

use std::fmt;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::ca_bundle::is_certificate_error;

/// A failed AWS call: its action and the kind of failure.
///
/// It never holds what was sent or answered (P8): service messages can quote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {kind}")]
pub struct AwsError {
    /// The IAM action of the call, for example `dynamodb:PutItem`.
    pub action: &'static str,
    /// The kind of failure.
    pub kind: AwsErrorKind,
}

/// The kinds of failure of an AWS call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// The request could not be built: nothing was sent.
    Construction,
    /// No response in time: the call may have been applied.
    Timeout,
    /// No connection, or it broke: the call may have been applied.
    Connection,
    /// The endpoint's certificate is not trusted: nothing was sent.
    Certificate,
    /// The response could not be read: the call may have been applied.
    UnreadableResponse,
    /// The service returned this error code.
    Service(String),
    /// An item that was read does not have the form that this version writes.
    UnreadableItem,
    /// The stored parts of a payload have expired.
    PayloadGone,
}

impl fmt::Display for AwsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Construction => f.write_str("request not built"),
            Self::Timeout => f.write_str("timed out"),
            Self::Connection => f.write_str("connection failed"),
            Self::Certificate => f.write_str("certificate not trusted"),
            Self::UnreadableResponse => f.write_str("unreadable response"),
            Self::Service(code) => f.write_str(code),
            Self::UnreadableItem => f.write_str("unreadable item"),
            Self::PayloadGone => f.write_str("stored payload is gone"),
        }
    }
}

/// The error type `AwsCallFailed` in Lambda's report of a failed invocation; alarms rely on the name.
impl From<AwsError> for lambda_runtime::Diagnostic {
    fn from(error: AwsError) -> Self {
        Self { error_type: "AwsCallFailed".to_owned(), error_message: error.to_string() }
    }
}

impl AwsError {
    /// Classifies an error of the SDK.
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
            // `SdkError` may get more variants. They count as a failure whose outcome is unknown.
            SdkError::DispatchFailure(_) | _ => AwsErrorKind::Connection,
        };
        Self { action, kind }
    }

    pub(crate) const fn timeout(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::Timeout }
    }

    /// The item was changed by another writer on every attempt.
    pub fn write_conflict(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::Service("WriteConflict".to_owned()) }
    }

    /// An item that was read does not have the form that this version writes.
    pub const fn unreadable_item(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::UnreadableItem }
    }

    pub(crate) const fn payload_gone(action: &'static str) -> Self {
        Self { action, kind: AwsErrorKind::PayloadGone }
    }
}
