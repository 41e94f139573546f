//! Verification of Rightfoot's webhooks by a secret token in their URL: `…/<subject>.<mac>`.
//!
//! Rightfoot does not sign, so the URL is the credential. `mac` is base64url without padding of HMAC-SHA256(key,
//! `"rightfoot-webhook-url/v1:" + subject`). A webhook verified this way is only a hint: its claims are confirmed by
//! Rightfoot's API before anything is published.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use subtle::{Choice, ConstantTimeEq};

use crate::delivery::{Delivery, Provider, RejectReason, Verification, Verified, VerifiedBy};
use crate::secret_keys::Keys;
use crate::subject::Subject;

// Keeps this MAC apart from all others that are made with the same key.
const CONTEXT: &[u8] = b"rightfoot-webhook-url/v1:";

/// Mints the last path element of a URL to register with Rightfoot. It is a credential. `None` if there is no
/// key.
pub fn mint(subject: &Subject, keys: &Keys) -> Option<String> {
    let tag = tag(keys.signing_key()?, subject);
    Some(format!("{subject}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

/// Verifies a delivery by the token of its URL.
pub fn verify(delivery: Delivery, token: &str, keys: &Keys, revoked: &BTreeSet<Subject>) -> Verification {
    let Some((subject, given_tag)) = parse(token) else {
        return Verification::Rejected(delivery, RejectReason::Malformed);
    };
    // Every key is tried, without an early exit: the timing must not show which one matched.
    let matched =
        keys.macs().fold(Choice::from(0), |matched, mac| matched | tag(mac, &subject).ct_eq(&given_tag));
    if !bool::from(matched) {
        return Verification::Rejected(delivery, RejectReason::Mismatch);
    }
    // Checked after the MAC, so that `revoked` counts only callers who have the URL.
    if revoked.contains(&subject) {
        return Verification::Rejected(delivery, RejectReason::Revoked);
    }
    Verification::Verified(Verified::new(Provider::Rightfoot, VerifiedBy::UrlToken { subject }, delivery))
}

fn parse(token: &str) -> Option<(Subject, [u8; 32])> {
    // 32 bytes in base64url without padding.
    const MAC_CHARS: usize = 43;
    // A subject has no full stop, so the first one ends it.
    let (subject, mac) = token.split_once('.')?;
    if mac.len() != MAC_CHARS {
        return None;
    }
    let mac = URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?;
    Some((subject.parse().ok()?, mac))
}

fn tag(mut mac: impl Mac<OutputSize = sha2::digest::typenum::U32>, subject: &Subject) -> [u8; 32] {
    mac.update(CONTEXT);
    mac.update(subject.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_keys::KeyCodec;
    use crate::time::UnixMillis;

    // printf %s 'rightfoot-webhook-url/v1:demo' | openssl dgst -sha256 -hmac local-rightfoot-url-key -binary
    //   | base64 | tr '+/' '-_' | tr -d '='
    const DEMO: &str = "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0";

    fn keys(value: &str) -> Keys {
        Keys::parse(value, KeyCodec::Utf8).unwrap()
    }

    fn verify_token(token: &str, secret: &str, revoked: &[&str]) -> Verification {
        let delivery = Delivery { body: vec![], headers: [].into(), received_at: UnixMillis(0) };
        let revoked = revoked.iter().map(|name| name.parse().unwrap()).collect();
        verify(delivery, token, &keys(secret), &revoked)
    }

    #[test]
    fn a_minted_token_matches_openssl() {
        let subject = "demo".parse().unwrap();
        assert_eq!(mint(&subject, &keys("local-rightfoot-url-key")).as_deref(), Some(DEMO));
        assert_eq!(mint(&subject, &Keys::default()), None);
    }

    #[test]
    fn p4_a_token_verifies_its_subject_under_every_accepted_key() {
        for secret in ["local-rightfoot-url-key", r#"["newer","local-rightfoot-url-key"]"#] {
            let Verification::Verified(verified) = verify_token(DEMO, secret, &[]) else {
                panic!("rejected under {secret}")
            };
            assert_eq!(verified.subject().map(Subject::as_str), Some("demo"));
        }
    }

    #[test]
    fn p4_a_token_of_another_key_subject_or_form_is_rejected() {
        let reject_reason = |token: &str| {
            let verification = verify_token(token, "local-rightfoot-url-key", &[]);
            let Verification::Rejected(_, reason) = verification else { panic!("{token}: {verification:?}") };
            reason
        };
        let mac = DEMO.strip_prefix("demo.").unwrap();
        assert_eq!(reject_reason(&format!("other.{mac}")), RejectReason::Mismatch);
        assert_eq!(reject_reason(&format!("demo.{}", "A".repeat(43))), RejectReason::Mismatch);
        let too_long = "s".repeat(65);
        for malformed in [
            String::new(),
            "demo".to_owned(),
            mac.to_owned(),
            format!(".{mac}"),
            format!("de mo.{mac}"),
            format!("{too_long}.{mac}"),
            format!("{DEMO}="),
            format!("{DEMO}A"),
            DEMO.replace(mac, &mac[..42]),
        ] {
            assert_eq!(reject_reason(&malformed), RejectReason::Malformed, "{malformed}");
        }
    }

    #[test]
    fn a_revoked_subject_is_rejected() {
        assert!(matches!(
            verify_token(DEMO, "local-rightfoot-url-key", &["x", "demo"]),
            Verification::Rejected(_, RejectReason::Revoked)
        ));
    }
}
