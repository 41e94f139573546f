//! Errors of the client. None holds anything that was sent or received (P8).

use inbox_http_client::{HttpError, UnavailableReason};

/// A failed call of Fynapse's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 400, 401 or 403 of the token endpoint; or 401 with a token that is new.
    #[error("Fynapse does not accept the client's credentials")]
    CredentialsRefused,
    /// 401: the token is not accepted any more.
    #[error("Fynapse does not accept the token")]
    TokenExpired,
    /// 403: a permission is missing.
    #[error("Fynapse denies access: the client's user lacks a permission")]
    Forbidden,
    /// 404: there is no such subscription, or no such path.
    #[error("Fynapse has no such subscription, or there is no Fynapse at this address")]
    NotFound,
    /// 429.
    #[error("rate limited by Fynapse")]
    RateLimited,
    /// There is no answer, or only a 5xx.
    #[error("Fynapse is unavailable: {0}")]
    Unavailable(UnavailableReason),
    /// Another 4xx: Fynapse declined the request.
    #[error("Fynapse declined the request with status {0}")]
    Declined(u16),
    /// The answer does not have the documented form, or is too large.
    #[error("invalid response from Fynapse: {0}")]
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
            Self::CredentialsRefused | Self::TokenExpired => "credentials_refused",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Declined(_) => "declined",
            Self::InvalidResponse(_) => "invalid_response",
        }
    }

    /// Returns `true` if the same request may succeed a moment later.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited | Self::Unavailable(_) => true,
            Self::CredentialsRefused
            | Self::TokenExpired
            | Self::Forbidden
            | Self::NotFound
            | Self::Declined(_)
            | Self::InvalidResponse(_) => false,
        }
    }
}
