//! Simulated providers: Fynapse and Rightfoot as their documents describe them, over real HTTP.
//!
//! They deliver by the documented rules (attempts, pauses, responses that end a delivery), in compressed time, and
//! report every response. They can also misbehave: deliver concurrently, forge, replay, send malformed bodies.
//! Randomness comes from a seed, so that a run can be repeated.
//!
//! ```text
//!  payloads ─▶ OutgoingDelivery ─▶ FynapseSender | RightfootSender ──HTTP──▶ the receiver
//!                                        │  retry_policy: next attempt
//!                                        ▼
//!                                  DeliveryReport (every attempt, and the end)
//! ```

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use inbox_core::time::UnixMillis;

mod fynapse_sender;
mod http_client;
pub mod payloads;
pub mod retry_policy;
mod rightfoot_sender;
mod sim_clock;
#[cfg(test)]
pub(crate) mod stub_receiver;

pub use fynapse_sender::{FynapseSender, Signing};
pub use http_client::SenderClient;
pub use rightfoot_sender::RightfootSender;
pub use sim_clock::SimClock;

/// A delivery that a provider is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingDelivery {
    /// Name in reports. For an event: the event id that it will have on the queue.
    pub id: String,
    /// The request body.
    pub body: Bytes,
    /// Fynapse's `Idempotency-Key`; if `None`, one is derived from the seed and the id.
    pub idempotency_key: Option<String>,
}

impl OutgoingDelivery {
    /// Creates a delivery without an `Idempotency-Key` of its own.
    pub fn new(id: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { id: id.into(), body: body.into(), idempotency_key: None }
    }

    /// Returns the same delivery under another `Idempotency-Key`, as a second subscription to the same URL would send it.
    pub fn with_idempotency_key(&self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self.clone() }
    }
}

/// Condition that ends the attempts of a failing delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryLimit {
    /// The provider's documented retry rules.
    #[default]
    ProviderPolicy,
    /// The first response below 500. For forgeries, which no documented rule covers.
    UntilConclusive,
}

/// All attempts of a delivery and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// [`OutgoingDelivery::id`] of the delivery.
    pub id: String,
    /// Every HTTP request, in order.
    pub attempts: Vec<DeliveryAttempt>,
    /// The end of the delivery.
    pub end: DeliveryEnd,
}

/// One HTTP request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// Time of sending, in simulated time.
    pub at: UnixMillis,
    /// Time until the response, in real time.
    pub response_time: Duration,
    /// The response, or the transport error.
    pub response: AttemptResponse,
}

/// The response to an attempt, as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResponse {
    /// An HTTP response.
    Http {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// `Retry-After`, if present and a number of seconds.
        retry_after_secs: Option<u64>,
    },
    /// No connection, a broken one, or a timeout.
    TransportError(String),
}

/// The end of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// A 2xx response.
    Delivered,
    /// Fynapse's `DEAD_LETTER`: this status ended the delivery at once.
    PermanentFailure(u16),
    /// Fynapse's `DEAD_LETTER`: the attempts or the 72 hours are used up.
    Exhausted,
    /// Rightfoot's 30 minutes are over, or [`RetryLimit::UntilConclusive`] applied.
    GivenUp,
}

impl AttemptResponse {
    /// The HTTP status; `None` for a transport error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            Self::TransportError(_) => None,
        }
    }

    /// Returns `true` for any 2xx.
    pub fn is_success(&self) -> bool {
        self.status().is_some_and(|status| (200..300).contains(&status))
    }

    /// Returns `true` for any status below 500: the receiver has decided.
    pub fn is_conclusive(&self) -> bool {
        self.status().is_some_and(|status| status < 500)
    }

    /// `Retry-After` in seconds.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Http { retry_after_secs, .. } => *retry_after_secs,
            Self::TransportError(_) => None,
        }
    }
}

impl DeliveryReport {
    /// The response to the last attempt; `None` if there was no attempt.
    pub fn last_response(&self) -> Option<&AttemptResponse> {
        self.attempts.last().map(|attempt| &attempt.response)
    }
}

/// Runs `copies` instances of the same future concurrently.
pub async fn run_concurrently<F: Future>(copies: usize, deliver: impl Fn() -> F) -> Vec<F::Output> {
    join_all((0..copies).map(|_| deliver())).await
}
