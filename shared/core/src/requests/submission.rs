//! The bytes that are posted to Rightfoot, and the fingerprint by which a repeated submission is recognised.
//!
//! Rightfoot answers the same bytes with the same batch for 24 hours. Therefore a submission whose outcome is unknown
//! is sent again with the URL of the first attempt. A keyed fingerprint shows if a caller repeats the same submission.
//! Neither the request nor an unkeyed hash of it is stored, because a social security number has few enough values to
//! be guessed from a hash.

use hmac::Mac;
use subtle::{Choice, ConstantTimeEq};

use super::{CreateSchedule, SubmitBatch};
use strum::{EnumString, IntoStaticStr};

use crate::limits::SUBMISSION_REPEATABLE_SECS;
use crate::secret_keys::Keys;
use crate::time::UnixMillis;

// Two contexts keep the MACs of bodies and of key tags apart, although the same key makes them.
const CONTEXT: &[u8] = b"rightfoot-submission/v1:";
const KEY_CONTEXT: &[u8] = b"rightfoot-submission-key/v1";

/// The kind of object that a submission creates at Rightfoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SubmissionKind {
    /// A batch.
    Batch,
    /// A schedule.
    Schedule,
}

impl SubmissionKind {
    /// The name used in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// A keyed hash that identifies a submission. It reveals nothing without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// HMAC-SHA256 of the submission, in hexadecimal.
    pub mac: String,
    /// Identifies the key that made it.
    pub key_tag: String,
}

/// The result of comparing a submission with a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintMatch {
    /// The same submission.
    Yes,
    /// Another submission.
    No,
    /// The key that made the fingerprint is no longer accepted.
    UnknownKey,
}

impl SubmitBatch {
    /// The body to post.
    pub fn body(&self, webhook_url: &str) -> Vec<u8> {
        json_object([("authorizers", self.authorizers.to_json()), ("webhook_url", json_string(webhook_url))])
    }
}

impl CreateSchedule {
    /// The body to post.
    pub fn body(&self, webhook_url: &str) -> Vec<u8> {
        let settings = self.settings.iter().map(|(name, json)| (*name, json.clone()));
        let added = [("authorizers", self.authorizers.to_json()), ("webhook", json_string(webhook_url))];
        json_object(added.into_iter().chain(settings))
    }
}

/// Makes the fingerprint of a body with the signing key; `None` if there is no key.
pub fn fingerprint(body: &[u8], keys: &Keys) -> Option<Fingerprint> {
    let key = keys.signing_key()?;
    Some(Fingerprint { mac: hex::encode(tag(key.clone(), CONTEXT, body)), key_tag: key_tag(key) })
}

/// Compares `body` with a fingerprint, in constant time.
pub fn match_fingerprint(body: &[u8], fingerprint: &Fingerprint, keys: &Keys) -> FingerprintMatch {
    // The signing key may have changed since the fingerprint was made.
    let Some(key) = keys.macs().find(|key| key_tag(key.clone()) == fingerprint.key_tag) else {
        return FingerprintMatch::UnknownKey;
    };
    let expected = hex::decode(&fingerprint.mac).unwrap_or_default();
    let is_equal: Choice = tag(key, CONTEXT, body).as_slice().ct_eq(&expected);
    if is_equal.into() { FingerprintMatch::Yes } else { FingerprintMatch::No }
}

/// Returns `true` while the same bytes are sure to give the same batch. After that, a repetition could create
/// a second one.
pub fn is_repeatable(written_at: UnixMillis, now: UnixMillis) -> bool {
    now.since(written_at).as_secs() < SUBMISSION_REPEATABLE_SECS
}

fn tag(mut mac: hmac::Hmac<sha2::Sha256>, context: &[u8], message: &[u8]) -> [u8; 32] {
    mac.update(context);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn key_tag(key: hmac::Hmac<sha2::Sha256>) -> String {
    hex::encode(tag(key, KEY_CONTEXT, b"").get(..8).unwrap_or_default())
}

fn json_object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    // The order is part of the bytes, which must be the same for the same request.
    fields.sort_unstable();
    let fields: Vec<_> = fields.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}

fn json_string(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
