//! Simulated providers: Fynapse and Rightfoot as their documents describe them, over real HTTP.
//!
//! They deliver by their own rules (attempts, pauses, answers that end a delivery), in compressed time, and
//! report what they heard. They can also misbehave: deliver twice at once, forge, replay, send what nobody
//! can read. Chance comes from a seed, so that a run can be repeated.
//!
//! ```text
//!  payload ─▶ Outgoing ─▶ Fynapse | Rightfoot ──HTTP──▶ the receiver
//!                              │  schedule: when again?
//!                              ▼
//!                          Delivered (every attempt and how it ended)
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

/// What a provider is about to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingDelivery {
    /// What reports call it. For an event: the id that it will have on the queue.
    pub id: String,
    /// The body.
    pub body: Bytes,
    /// Fynapse's `Idempotency-Key`; `None` makes one up from the seed and the id.
    pub idempotency_key: Option<String>,
}

impl OutgoingDelivery {
    /// A body under a name.
    pub fn new(id: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { id: id.into(), body: body.into(), idempotency_key: None }
    }

    /// The same under another `Idempotency-Key`, as a second subscription to the same URL would send it.
    pub fn with_idempotency_key(&self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self.clone() }
    }
}

/// When a sender stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryLimit {
    /// When the provider's rules say so.
    #[default]
    ProviderPolicy,
    /// As soon as the receiver has decided: at any answer below 500. For forgeries, which no rule covers.
    UntilConclusive,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// What was delivered.
    pub id: String,
    /// Every HTTP request, in order.
    pub attempts: Vec<DeliveryAttempt>,
    /// How it ended.
    pub end: DeliveryEnd,
}

/// One HTTP request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it was sent, in the senders' time.
    pub at: UnixMillis,
    /// How long the answer took, in real time.
    pub response_time: Duration,
    /// The answer.
    pub response: AttemptResponse,
}

/// What a sender hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResponse {
    /// An HTTP answer.
    Http {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// `Retry-After`, if it came and is a number of seconds.
        retry_after_secs: Option<u64>,
    },
    /// No connection, a broken one, or no answer in time.
    TransportError(String),
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// A 2xx was heard.
    Delivered,
    /// Fynapse's `DEAD_LETTER`: this status ended it at once.
    PermanentFailure(u16),
    /// Fynapse's `DEAD_LETTER`: the attempts or the 72 hours are used up.
    Exhausted,
    /// Rightfoot's 30 minutes are over, or a forger has heard enough.
    GivenUp,
}

impl AttemptResponse {
    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            Self::TransportError(_) => None,
        }
    }

    /// Whether it is any 2xx.
    pub fn is_success(&self) -> bool {
        self.status().is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver has decided, one way or the other.
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
    /// The last answer.
    pub fn last_response(&self) -> Option<&AttemptResponse> {
        self.attempts.last().map(|attempt| &attempt.response)
    }
}

/// Does the same thing `copies` times at once.
pub async fn run_concurrently<F: Future>(copies: usize, deliver: impl Fn() -> F) -> Vec<F::Output> {
    join_all((0..copies).map(|_| deliver())).await
}
