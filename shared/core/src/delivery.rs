//! A webhook delivery, and the witness type for a verified one.
//!
//! A [`Delivery`] is untrusted. [`signature::verify`](crate::providers::fynapse::signature::verify) and
//! [`url_token::verify`](crate::url_token::verify) turn it into a [`Verified`]; [`crate::poll`] makes one from an
//! authenticated answer of the provider's API, and [`crate::quarantine`] restores one that was verified before. Only a
//! `Verified` can become an event (P4): its fields and its constructor are private.
//!
//! ```compile_fail,E0451
//! use inbox_core::delivery::{Provider, Verified};
//! let forged = Verified { provider: Provider::Fynapse, ..todo() };
//! # fn todo() -> Verified { loop {} }
//! ```

use std::collections::BTreeMap;
use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::origin::Origin;
use crate::subject::Subject;
use crate::time::{UnixMillis, UnixSecs};

/// A sender of webhooks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Provider {
    /// Balance checks and threshold alerts. Its webhooks are unsigned; their secret URL verifies them.
    Rightfoot,
    /// Balance extracts. Its webhooks are signed.
    Fynapse,
}

impl Provider {
    /// Every provider.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in keys, metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The provider with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// One HTTP request that carries an event. It is untrusted, and may be a repetition.
#[derive(Clone)]
pub struct Delivery {
    /// The raw bytes of the body, decoded if the gateway sent them as base64.
    pub body: Vec<u8>,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The time at which the receiver got it.
    pub received_at: UnixMillis,
}

impl Delivery {
    /// Returns a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({} bytes at {:?})", self.body.len(), self.received_at)
    }
}

/// The reason why a delivery was rejected. Logs and metrics show it; the caller never learns it (every
/// rejection is the same 403).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RejectReason {
    /// The signature or token is missing or malformed, the body is not valid base64 although it is marked as
    /// base64, or the gateway's event cannot be parsed.
    Malformed,
    /// The signature or token is well formed, but no accepted secret made it.
    Mismatch,
    /// The sender's address is not on the allow-list.
    #[strum(serialize = "address")]
    AddressNotAllowed,
    /// The token is valid, but its subject is revoked.
    Revoked,
}

impl RejectReason {
    /// The name used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The result of verifying a delivery.
#[derive(Debug)]
pub enum Verification {
    /// Token or signature are valid, and the signature's age is within the tolerance.
    Verified(Verified),
    /// The signature is valid, but its time is outside the tolerance. To be quarantined, never processed.
    Stale(StaleDelivery),
    /// Not verified. The delivery is returned, so that the caller can try again with reloaded secrets.
    Rejected(Delivery, RejectReason),
}

/// The evidence that verified a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// The provider's signature over the body.
    Signature {
        /// The signature's `t`.
        signed_at: UnixSecs,
    },
    /// The token in the secret URL that was minted for this subject.
    UrlToken {
        /// The subject in the token.
        subject: Subject,
    },
    /// An answer of the provider's API to a request made with our API key.
    ApiResponse,
}

/// A delivery whose sender is verified. Its body is exactly the bytes that were verified.
pub struct Verified {
    provider: Provider,
    verified_by: VerifiedBy,
    delivery: Delivery,
    /// True if an operator had it parsed again out of quarantine.
    is_replayed: bool,
}

/// A delivery with a valid signature whose time is outside the tolerance. It can be quarantined, but not
/// parsed.
#[derive(Debug)]
pub struct StaleDelivery(Verified);

impl Verified {
    /// Wraps an answer of a provider's API: for Rightfoot, in the form of the webhook that would have announced it; for Fynapse, the
    /// webhook's body as the answer holds it, with the headers that the answer names.
    pub(crate) fn from_api_response(
        provider: Provider,
        body: Vec<u8>,
        headers: BTreeMap<String, String>,
        now: UnixMillis,
    ) -> Self {
        Self::new(provider, VerifiedBy::ApiResponse, Delivery { body, headers, received_at: now })
    }

    pub(crate) fn new(provider: Provider, verified_by: VerifiedBy, delivery: Delivery) -> Self {
        Self { provider, verified_by, delivery, is_replayed: false }
    }

    /// Restores a delivery that was verified when it arrived and has been quarantined since.
    pub(crate) fn from_quarantine(provider: Provider, verified_by: VerifiedBy, delivery: Delivery) -> Self {
        Self { is_replayed: true, ..Self::new(provider, verified_by, delivery) }
    }

    /// The sender.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The evidence that verified it.
    pub fn verified_by(&self) -> &VerifiedBy {
        &self.verified_by
    }

    /// The origin to record if it parses to an event.
    pub fn origin(&self) -> Origin {
        match self.verified_by {
            _ if self.is_replayed => Origin::Replay,
            VerifiedBy::Signature { .. } | VerifiedBy::UrlToken { .. } => Origin::Webhook,
            VerifiedBy::ApiResponse => Origin::Poll,
        }
    }

    /// The subject of its webhook URL; `None` if no URL token verified it.
    pub fn subject(&self) -> Option<&Subject> {
        match &self.verified_by {
            VerifiedBy::UrlToken { subject } => Some(subject),
            VerifiedBy::Signature { .. } | VerifiedBy::ApiResponse => None,
        }
    }

    /// The verified bytes.
    pub fn body(&self) -> &[u8] {
        &self.delivery.body
    }

    /// The time at which the receiver got it.
    pub fn received_at(&self) -> UnixMillis {
        self.delivery.received_at
    }

    /// Returns a header by its lower-case name. Headers are not signed.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.delivery.header(name)
    }

    /// Iterates over the headers that may be stored: useful for diagnosis, and no credential among them.
    pub fn storable_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        // A list of what may be stored, because any other header could be a credential.
        const STORABLE: [&str; 5] =
            ["content-type", "date", "idempotency-key", "user-agent", "x-amzn-trace-id"];
        STORABLE.into_iter().filter_map(|name| self.header(name).map(|value| (name, value)))
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({}, {:?})", self.provider.as_str(), self.delivery)
    }
}

impl StaleDelivery {
    pub(crate) fn new(verified: Verified) -> Self {
        Self(verified)
    }

    /// Returns the signed delivery, for the quarantine only.
    pub fn for_quarantine(&self) -> &Verified {
        &self.0
    }
}
