//! What can go wrong, without a word of what was sent or received (P8).

use std::fmt;
use std::time::Duration;

use inbox_core::poll::Observation;

use crate::FailedAuthorizer;

/// The client could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client cannot be built: no usable TLS roots?")]
pub struct ClientError;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The secret with the API key was never loaded: nothing was asked.
    #[error("the API key cannot be loaded")]
    NoKey,
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
    Unavailable(Why),
    /// 400, 413 or 422 of a `POST`: the body was refused, nothing was applied. Another 4xx of a `GET`: what is asked
    /// for is refused.
    #[error("Rightfoot refused the request with status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Whom the refusal is about, if it says so.
        failed: Vec<FailedAuthorizer>,
    },
    /// The same of a `POST` that was sent again, after a try of which nobody knows the outcome: that one may have been
    /// applied.
    #[error("Rightfoot refused the request, when it was sent again, with status {status}")]
    RefusedOnRetry {
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
    Broken(&'static str),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
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
    pub(crate) const TOO_LARGE: Self = Self::Broken("too large");

    /// A stable name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotReady => "not_ready",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Refused { .. } => "refused",
            Self::RefusedOnRetry { .. } => "refused_on_retry",
            Self::Conflict => "conflict",
            Self::Broken(_) => "broken",
        }
    }

    /// Of a `GET`: what it tells about what was asked for.
    pub const fn observed<T>(&self) -> Observation<T> {
        match self {
            Self::NotReady => Observation::NotReady,
            Self::Forbidden | Self::Refused { .. } => Observation::Refused,
            Self::Unauthorized | Self::NoKey => Observation::Unauthorized,
            Self::RateLimited { retry_after } => Observation::RateLimited { retry_after: *retry_after },
            Self::Unavailable(_) | Self::RefusedOnRetry { .. } | Self::Conflict | Self::Broken(_) => {
                Observation::Unanswered
            }
        }
    }

    /// Of a `POST`: whether it may have been applied all the same.
    pub const fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable(Why::NotConnected) => false,
            Self::Unavailable(Why::ConnectionLost | Why::TimedOut | Why::ServerError)
            | Self::RefusedOnRetry { .. }
            | Self::Conflict
            | Self::Broken(_) => true,
            Self::NoKey
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotReady
            | Self::RateLimited { .. }
            | Self::Refused { .. } => false,
        }
    }
}

impl Why {
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
    pub(crate) fn of(error: &reqwest::Error) -> Self {
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

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_been_applied_is_of_unknown_outcome() {
        let known = [
            (ApiError::Unauthorized, "unauthorized"),
            (ApiError::Forbidden, "forbidden"),
            (ApiError::NotReady, "not_ready"),
            (ApiError::RateLimited { retry_after: None }, "rate_limited"),
            (ApiError::Refused { status: 400, failed: vec![] }, "refused"),
            (ApiError::Unavailable(Why::NotConnected), "unavailable"),
        ];
        let unknown = [
            (ApiError::Conflict, "conflict"),
            (ApiError::RefusedOnRetry { status: 400, failed: vec![] }, "refused_on_retry"),
            (ApiError::Unavailable(Why::ConnectionLost), "unavailable"),
            (ApiError::Unavailable(Why::TimedOut), "unavailable"),
            (ApiError::Unavailable(Why::ServerError), "unavailable"),
            (ApiError::Broken("too large"), "broken"),
        ];
        for (error, name) in known {
            assert_eq!((error.name(), error.outcome_unknown()), (name, false));
        }
        for (error, name) in unknown {
            assert_eq!((error.name(), error.outcome_unknown()), (name, true));
        }
    }
}
