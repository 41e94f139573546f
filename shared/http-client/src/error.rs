//! Errors of any API. None holds anything that was sent or received (P8).

use std::fmt;

/// The client could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client cannot be built: no usable TLS roots?")]
pub struct ClientBuildError;

/// A failed exchange with an API. The status of a response is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// There is no response.
    #[error("unavailable: {0}")]
    Unavailable(UnavailableReason),
    /// The response is too large or cannot be decoded, or an id from one cannot be used.
    #[error("invalid response: {0}")]
    InvalidResponse(&'static str),
}

/// Reasons why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnavailableReason {
    /// No connection: nothing was sent.
    NotConnected,
    /// The connection ended before the response did.
    ConnectionLost,
    /// The response took too long.
    TimedOut,
    /// The API answered 5xx.
    ServerError,
}

impl HttpError {
    /// The response is larger than the limit.
    pub(crate) const TOO_LARGE: Self = Self::InvalidResponse("too large");
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
}

/// Classifies a failed exchange. The error itself is dropped: its text contains the URL.
impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unavailable(if error.is_connect() {
            // Checked first: such an error may be a time-out as well.
            UnavailableReason::NotConnected
        } else if error.is_timeout() {
            UnavailableReason::TimedOut
        } else {
            UnavailableReason::ConnectionLost
        })
    }
}

impl fmt::Display for UnavailableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
