//! Errors of the client. None holds anything that was sent or received (P8).

use std::time::Duration;

use inbox_core::poll::PollResult;
use inbox_http_client::{HttpError, UnavailableReason};

use crate::failed_authorizers::FailedAuthorizer;

/// A failed call of Rightfoot's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The secret with the API key was never loaded: nothing was sent.
    #[error("the API key cannot be loaded")]
    KeyUnavailable,
    /// 401: the key is missing or wrong.
    #[error("Rightfoot does not accept the API key")]
    Unauthorized,
    /// 403: this account may not see or do it.
    #[error("Rightfoot denies access")]
    Forbidden,
    /// 202, 204, 404 or 425 of a `GET`: the resource does not exist, or not yet.
    #[error("not ready")]
    NotReady,
    /// 429 of any request; 503 with `Retry-After` of a `GET`.
    #[error("rate limited by Rightfoot")]
    RateLimited {
        /// The requested pause, if there is one; a day at most.
        retry_after: Option<Duration>,
    },
    /// There is no response, or only a 5xx.
    #[error("Rightfoot is unavailable: {0}")]
    Unavailable(UnavailableReason),
    /// 400, 413 or 422 of a `POST`: Rightfoot declined the body, nothing was applied. Another 4xx of a `GET`:
    /// Rightfoot declined the request.
    #[error("Rightfoot declined the request with status {status}")]
    Declined {
        /// The HTTP status.
        status: u16,
        /// The authorizers that it names, if any.
        failed: Vec<FailedAuthorizer>,
    },
    /// [`ApiError::Declined`] of a `POST` that was retried after an attempt with unknown outcome: that attempt
    /// may have been applied.
    #[error("Rightfoot declined the retried request with status {status}")]
    DeclinedOnRetry {
        /// The HTTP status.
        status: u16,
        /// The authorizers that it names, if any.
        failed: Vec<FailedAuthorizer>,
    },
    /// 409 of a `POST`: a schedule of this name exists. It is not documented for a batch.
    #[error("already exists at Rightfoot")]
    Conflict,
    /// The response does not have the documented form, or is too large.
    #[error("invalid response from Rightfoot: {0}")]
    InvalidResponse(&'static str),
}

/// A failed exchange means the same at every API.
impl From<HttpError> for ApiError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unavailable(reason) => Self::Unavailable(reason),
            HttpError::InvalidResponse(why) => Self::InvalidResponse(why),
        }
    }
}

impl ApiError {
    /// A stable name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyUnavailable => "key_unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotReady => "not_ready",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Declined { .. } => "declined",
            Self::DeclinedOnRetry { .. } => "declined_on_retry",
            Self::Conflict => "conflict",
            Self::InvalidResponse(_) => "invalid_response",
        }
    }

    /// The result of a poll whose `GET` failed with this error.
    pub const fn to_poll_result<T>(&self) -> PollResult<T> {
        match self {
            Self::NotReady => PollResult::NotReady,
            Self::Forbidden | Self::Declined { .. } => PollResult::Denied,
            Self::Unauthorized | Self::KeyUnavailable => PollResult::Unauthorized,
            Self::RateLimited { retry_after } => PollResult::RateLimited { retry_after: *retry_after },
            Self::Unavailable(_)
            | Self::DeclinedOnRetry { .. }
            | Self::Conflict
            | Self::InvalidResponse(_) => PollResult::Unanswered,
        }
    }

    /// Returns `true` if a `POST` that failed with this error may have been applied.
    pub const fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable(UnavailableReason::NotConnected) => false,
            Self::Unavailable(
                UnavailableReason::ConnectionLost
                | UnavailableReason::TimedOut
                // A 5xx does not say that nothing was applied.
                | UnavailableReason::ServerError,
            )
            | Self::DeclinedOnRetry { .. }
            // The name may be taken by an earlier attempt of the same submission.
            | Self::Conflict
            | Self::InvalidResponse(_) => true,
            Self::KeyUnavailable
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotReady
            | Self::RateLimited { .. }
            | Self::Declined { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_possibly_applied_request_has_an_unknown_outcome() {
        let known = [
            (ApiError::Unauthorized, "unauthorized"),
            (ApiError::Forbidden, "forbidden"),
            (ApiError::NotReady, "not_ready"),
            (ApiError::RateLimited { retry_after: None }, "rate_limited"),
            (ApiError::Declined { status: 400, failed: vec![] }, "declined"),
            (ApiError::Unavailable(UnavailableReason::NotConnected), "unavailable"),
        ];
        let unknown = [
            (ApiError::Conflict, "conflict"),
            (ApiError::DeclinedOnRetry { status: 400, failed: vec![] }, "declined_on_retry"),
            (ApiError::Unavailable(UnavailableReason::ConnectionLost), "unavailable"),
            (ApiError::Unavailable(UnavailableReason::TimedOut), "unavailable"),
            (ApiError::Unavailable(UnavailableReason::ServerError), "unavailable"),
            (ApiError::InvalidResponse("too large"), "invalid_response"),
        ];
        for (error, name) in known {
            assert_eq!((error.name(), error.is_outcome_unknown()), (name, false));
        }
        for (error, name) in unknown {
            assert_eq!((error.name(), error.is_outcome_unknown()), (name, true));
        }
    }
}
