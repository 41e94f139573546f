//! A client of Fynapse's API (shared/providers/fynapse.md, "Management API").
//!
//! | call | endpoint |
//! |---|---|
//! | [`FynapseSession::deliveries`] | `GET /api/v1/event-deliveries/subscriptions/{id}/deliveries` |
//! | [`FynapseSession::secrets`], [`FynapseSession::secret_value`] | `GET /api/v1/event-deliveries/secrets`, and one of them |
//! | [`FynapseSession::create_secret`], [`FynapseSession::rotate_secret`] | `POST` there |
//! | [`FynapseSession::subscriptions`], [`FynapseSession::create_subscription`] | `GET` and `POST /api/v1/event-deliveries/subscriptions` |
//!
//! A session gets its token at `POST /auth/token`. Fynapse ends a session after five minutes without use, so a token that is no longer
//! accepted is replaced once in a call.
//!
//! Every request has a time-out and every answer a largest size. A request that changes nothing is sent three times at most, the others
//! once.
//!
//! Nothing is logged here, and neither an error nor a `Debug` shows credentials, a token, an id, a URL or a body (P8).

mod error;
mod management;
mod session;
mod transport;

pub use error::ApiError;
pub use inbox_http_client::{ClientBuildError, ClientConfig, InvalidApiUrl, UnavailableReason};
pub use management::NewSubscription;
pub use session::{FynapseClient, FynapseSession};

#[cfg(test)]
mod tests;
