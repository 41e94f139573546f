//! What came in, and the witness that it was proven.
//!
//! A [`Delivery`] is untrusted. [`crate::signature::prove`] and [`crate::url_token::prove`] turn it into a
//! [`Proven`]; what [`crate::poll`] makes of an authenticated answer of the provider's API is one, too. Only a
//! `Proven` can become an event (P4): its fields are private, and so is its constructor. What was proven and
//! quarantined comes back by [`crate::quarantine`].
//!
//! ```compile_fail,E0451
//! use inbox_core::delivery::{Proven, Provider};
//! let forged = Proven { provider: Provider::Fynapse, ..todo() };
//! # fn todo() -> Proven { loop {} }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::event::Origin;
use crate::limits::SUBJECT_MAX_BYTES;
use crate::time::{UnixMillis, UnixSecs};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Balance checks and threshold alerts; unsigned, proven by its URL.
    Rightfoot,
    /// Balance extracts; signed.
    Fynapse,
}

impl Provider {
    /// Every provider there is.
    pub const ALL: [Self; 2] = [Self::Rightfoot, Self::Fynapse];

    /// The name used in keys, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rightfoot => "rightfoot",
            Self::Fynapse => "fynapse",
        }
    }

    /// The provider of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }
}

/// One HTTP request with an event: untrusted, and it may come again.
#[derive(Clone)]
pub struct Delivery {
    /// The raw bytes of the body, base64 already undone.
    pub body: Vec<u8>,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// When it reached us.
    pub received_at: UnixMillis,
}

impl Delivery {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({} bytes at {:?})", self.body.len(), self.received_at)
    }
}

/// Why a delivery was refused. Told apart in logs and metrics, never to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// The signature or token is missing or not of its form, the body is not the base64 that it claims to be, or what the
    /// gateway handed over cannot be read.
    Malformed,
    /// It is of its form, and no accepted secret made it.
    Mismatch,
    /// The sender's address is not on the allow-list.
    AddressNotAllowed,
    /// The token is right, and its subject was revoked.
    Revoked,
}

impl RejectReason {
    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Mismatch => "mismatch",
            Self::AddressNotAllowed => "address",
            Self::Revoked => "revoked",
        }
    }
}

/// What proving came to.
#[derive(Debug)]
pub enum Verification {
    /// Token or signature, and age, are right.
    Verified(Verified),
    /// The signature is right and its time is not: for quarantine only.
    Stale(StaleDelivery),
    /// Not proven; the delivery comes back, to be tried again with fresher secrets.
    Rejected(Delivery, RejectReason),
}

/// Whom a URL was minted for: the caller's `submission_id`, or a name that the operator chose. Never made of
/// personal data. `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// A subject is 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to {SUBJECT_MAX_BYTES} characters of A-Z a-z 0-9 _ -")]
pub struct InvalidSubject;

impl Subject {
    /// The subject's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(name: &str) -> Result<Self, InvalidSubject> {
        let fits = (1..=SUBJECT_MAX_BYTES).contains(&name.len());
        let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits && legal { Ok(Self(name.to_owned())) } else { Err(InvalidSubject) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a delivery was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// By the provider's signature over these bytes, made at that time.
    Signature {
        /// The signature's `t`.
        signed_at: UnixSecs,
    },
    /// By the secret URL that was minted for this subject.
    UrlToken {
        /// Whom the URL was minted for.
        subject: Subject,
    },
    /// By an answer of the provider's API, which we asked with our own key.
    ApiResponse,
}

/// A delivery whose sender is known. The bytes inside are the bytes that were proven.
pub struct Verified {
    provider: Provider,
    verified_by: VerifiedBy,
    delivery: Delivery,
    /// Whether an operator had it read again, out of quarantine.
    is_replayed: bool,
}

/// A delivery with the right signature and a time outside the tolerance. It can be kept, not read.
#[derive(Debug)]
pub struct StaleDelivery(Verified);

impl Verified {
    /// What an answer of Rightfoot's API amounts to, written as its webhook would have told it.
    pub(crate) fn from_api_response(body: Vec<u8>, now: UnixMillis) -> Self {
        let delivery = Delivery { body, headers: BTreeMap::new(), received_at: now };
        Self::new(Provider::Rightfoot, VerifiedBy::ApiResponse, delivery)
    }

    pub(crate) fn new(provider: Provider, verified_by: VerifiedBy, delivery: Delivery) -> Self {
        Self { provider, verified_by, delivery, is_replayed: false }
    }

    /// What was proven so when it came, and has been in quarantine since.
    pub(crate) fn from_quarantine(provider: Provider, verified_by: VerifiedBy, delivery: Delivery) -> Self {
        Self { is_replayed: true, ..Self::new(provider, verified_by, delivery) }
    }

    /// Who sent it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// How that is known.
    pub fn verified_by(&self) -> &VerifiedBy {
        &self.verified_by
    }

    /// How it comes to be recorded, if it turns out to be an event.
    pub fn origin(&self) -> Origin {
        match self.verified_by {
            _ if self.is_replayed => Origin::Replay,
            VerifiedBy::Signature { .. } | VerifiedBy::UrlToken { .. } => Origin::Webhook,
            VerifiedBy::ApiResponse => Origin::Poll,
        }
    }

    /// The subject of the URL that it came by, if it came by one.
    pub fn subject(&self) -> Option<&Subject> {
        match &self.verified_by {
            VerifiedBy::UrlToken { subject } => Some(subject),
            VerifiedBy::Signature { .. } | VerifiedBy::ApiResponse => None,
        }
    }

    /// The proven bytes.
    pub fn body(&self) -> &[u8] {
        &self.delivery.body
    }

    /// When it reached us.
    pub fn received_at(&self) -> UnixMillis {
        self.delivery.received_at
    }

    /// A header by its lower-case name. Headers are not signed.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.delivery.header(name)
    }

    /// The headers that may be kept: what helps to understand a delivery and proves nothing.
    pub fn storable_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        const STORABLE: [&str; 5] =
            ["content-type", "date", "idempotency-key", "user-agent", "x-amzn-trace-id"];
        STORABLE.into_iter().filter_map(|name| self.header(name).map(|value| (name, value)))
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proven({}, {:?})", self.provider.as_str(), self.delivery)
    }
}

impl StaleDelivery {
    pub(crate) fn new(verified: Verified) -> Self {
        Self(verified)
    }

    /// For quarantine: what was signed, too long ago or too far ahead.
    pub fn for_quarantine(&self) -> &Verified {
        &self.0
    }
}
