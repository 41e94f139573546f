//! What can go wrong, without a word of what was sent or received (P8).

use std::fmt;
use std::time::Duration;

use inbox_core::poll::PollResult;

use crate::FailedAuthorizer;

/// The client could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client cannot be built: no usable TLS roots?")]
pub struct ClientBuildError;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The secret with the API key was never loaded: nothing was asked.
    #[error("the API key cannot be loaded")]
    KeyUnavailable,
    /// 401: the key is missing or wrong.
    #[error("Rightfoot does not accept the API key")]
    Unauthorized,
    /// 403: this is not ours to see or do.
    #[error("Rightfoot forbids it")]
    Forbidden,
    /// A `GET` was answered 202, 204, 404 or 425: what is asked for is not there, or not yet.
    #[error("not ready")]
    NotReady,
    /// 429 of any request; 503 with `Retry-After` of a `GET`.
    #[error("Rightfoot asks for a pause")]
    RateLimited {
        /// How long the pause should be, if it was said; a day at most.
        retry_after: Option<Duration>,
    },
    /// There is no answer, or one that only says that Rightfoot has trouble.
    #[error("Rightfoot is unavailable: {0}")]
    Unavailable(UnavailableReason),
    /// 400, 413 or 422 of a `POST`: the body was refused, nothing was applied. Another 4xx of a `GET`: what is asked
    /// for is refused.
    #[error("Rightfoot refused the request with status {status}")]
    Declined {
        /// The HTTP status.
        status: u16,
        /// Whom the refusal is about, if it says so.
        failed: Vec<FailedAuthorizer>,
    },
    /// The same of a `POST` that was sent again, after a try of which nobody knows the outcome: that one may have been
    /// applied.
    #[error("Rightfoot refused the request, when it was sent again, with status {status}")]
    DeclinedOnRetry {
        /// The HTTP status.
        status: u16,
        /// Whom the refusal is about, if it says so.
        failed: Vec<FailedAuthorizer>,
    },
    /// 409 of a `POST`: a schedule of this name is there. Of a batch it is not documented.
    #[error("Rightfoot answers that it is there already")]
    Conflict,
    /// An answer that is not of the documented form, or too large.
    #[error("Rightfoot's answer is broken: {0}")]
    InvalidResponse(&'static str),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnavailableReason {
    /// There was no connection: nothing was sent.
    NotConnected,
    /// The connection ended before the answer did.
    ConnectionLost,
    /// The answer took too long.
    TimedOut,
    /// 5xx.
    ServerError,
}

impl ApiError {
    /// An answer of more bytes than are read.
    pub(crate) const TOO_LARGE: Self = Self::InvalidResponse("too large");

    /// A stable name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyUnavailable => "no_key",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotReady => "not_ready",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Declined { .. } => "refused",
            Self::DeclinedOnRetry { .. } => "refused_on_retry",
            Self::Conflict => "conflict",
            Self::InvalidResponse(_) => "broken",
        }
    }

    /// Of a `GET`: what it tells about what was asked for.
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

    /// Of a `POST`: whether it may have been applied all the same.
    pub const fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable(UnavailableReason::NotConnected) => false,
            Self::Unavailable(
                UnavailableReason::ConnectionLost
                | UnavailableReason::TimedOut
                | UnavailableReason::ServerError,
            )
            | Self::DeclinedOnRetry { .. }
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

impl UnavailableReason {
    /// A stable name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::ConnectionLost => "connection_lost",
            Self::TimedOut => "timed_out",
            Self::ServerError => "server_error",
        }
    }

    /// Of a failed exchange. The error itself is not kept: its text holds the URL.
    pub(crate) fn from_reqwest(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            // First, because it may have timed out as well.
            Self::NotConnected
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::ConnectionLost
        }
    }
}

impl fmt::Display for UnavailableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
            (ApiError::Declined { status: 400, failed: vec![] }, "refused"),
            (ApiError::Unavailable(UnavailableReason::NotConnected), "unavailable"),
        ];
        let unknown = [
            (ApiError::Conflict, "conflict"),
            (ApiError::DeclinedOnRetry { status: 400, failed: vec![] }, "refused_on_retry"),
            (ApiError::Unavailable(UnavailableReason::ConnectionLost), "unavailable"),
            (ApiError::Unavailable(UnavailableReason::TimedOut), "unavailable"),
            (ApiError::Unavailable(UnavailableReason::ServerError), "unavailable"),
            (ApiError::InvalidResponse("too large"), "broken"),
        ];
        for (error, name) in known {
            assert_eq!((error.name(), error.is_outcome_unknown()), (name, false));
        }
        for (error, name) in unknown {
            assert_eq!((error.name(), error.is_outcome_unknown()), (name, true));
        }
    }
}
