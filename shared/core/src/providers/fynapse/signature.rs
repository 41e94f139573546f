//! Verification of Fynapse's `Webhook-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…]` (shared/providers/fynapse.md, "Signature").
//!
//! The signature is an HMAC-SHA256 over the characters of `t` as received, a full stop, and the raw body. During a
//! key rotation there are several `v1`, and one match is enough. The grammar is lenient (any order, blanks, unknown
//! keys), the content strict: exactly one `t` of digits, and at least one `v1` of 32 bytes in hexadecimal. A `v1` of
//! another form is ignored.

use hex::FromHex;
use hmac::Mac;
use subtle::{Choice, ConstantTimeEq};

use crate::delivery::{Delivery, Provider, RejectReason, StaleDelivery, Verification, Verified, VerifiedBy};
use crate::limits::{SIGNATURE_ELEMENTS_MAX, SIGNATURE_HEADER_MAX_BYTES};
use crate::secret_keys::Keys;
use crate::time::UnixSecs;

/// The header that carries the signature, in lower case.
pub const HEADER: &str = "webhook-signature";

/// Verifies a delivery by its signature. Every accepted key is tried against every `v1`, even after a match
/// and even if `t` is stale. Only a matching signature can be [`Verification::Stale`].
pub fn verify(delivery: Delivery, keys: &Keys, tolerance_secs: u64) -> Verification {
    let Some(signature) = delivery.header(HEADER).and_then(Signature::parse) else {
        return Verification::Rejected(delivery, RejectReason::Malformed);
    };
    if !signature.matches(keys, &delivery.body) {
        return Verification::Rejected(delivery, RejectReason::Mismatch);
    }
    // Compared only after the MAC: before that, `t` is the caller's claim.
    let signed_at = signature.signed_at;
    let is_fresh = delivery.received_at.secs().distance(signed_at) <= tolerance_secs;
    let verified = Verified::new(Provider::Fynapse, VerifiedBy::Signature { signed_at }, delivery);
    if is_fresh {
        Verification::Verified(verified)
    } else {
        Verification::Stale(StaleDelivery::new(verified))
    }
}

/// Makes the header for `body` at `t`, for simulated senders and test deliveries. Signs with every key of
/// `keys`, the first one first, as Fynapse does during a rotation.
pub fn sign(t: UnixSecs, body: &[u8], keys: &Keys) -> String {
    let t = t.0.to_string();
    keys.macs().fold(format!("t={t}"), |header, mac| {
        let tag = tag(mac, t.as_bytes(), body);
        format!("{header},v1={}", hex::encode(tag))
    })
}

struct Signature<'a> {
    t: &'a str,
    signed_at: UnixSecs,
    tags: Vec<[u8; 32]>,
}

impl<'a> Signature<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        if header.len() > SIGNATURE_HEADER_MAX_BYTES {
            return None;
        }
        let mut t = None;
        let mut tags = Vec::new();
        for (index, element) in header.split(',').enumerate() {
            if index >= SIGNATURE_ELEMENTS_MAX {
                return None;
            }
            match element.trim().split_once('=') {
                // With two times, it would not be clear which one is signed.
                Some(("t", _)) if t.is_some() => return None,
                Some(("t", value)) => t = Some(value),
                Some(("v1", value)) => tags.extend(<[u8; 32]>::from_hex(value)),
                Some(_) | None => {}
            }
        }
        // Checked here, because `parse` also accepts a sign.
        let t = t.filter(|t| t.bytes().all(|byte| byte.is_ascii_digit()))?;
        let signed_at = UnixSecs(t.parse().ok()?);
        (!tags.is_empty()).then_some(Self { t, signed_at, tags })
    }

    fn matches(&self, keys: &Keys, body: &[u8]) -> bool {
        // No early exit: the timing must not show which key or `v1` matched.
        let mut matched = Choice::from(0);
        for mac in keys.macs() {
            // `t` as received: printed again, it could differ from the signed text.
            let ours = tag(mac, self.t.as_bytes(), body);
            for theirs in &self.tags {
                matched |= ours.ct_eq(theirs);
            }
        }
        matched.into()
    }
}

fn tag(mut mac: impl Mac<OutputSize = sha2::digest::typenum::U32>, t: &[u8], body: &[u8]) -> [u8; 32] {
    mac.update(t);
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_keys::KeyCodec;
    use crate::time::UnixMillis;

    const BODY: &[u8] = br#"{"event_id":"a3efc743-ac6c-463b-aa19-4dd9c45b5b96","event_type":"balance.extracted","metadata":{},"event_timestamp":"2026-01-02T03:04:05Z","data":{"amount":"12.50"}}"#;

    // The digests of the table (shared/providers/fynapse.md, "Digests for tests"), not computed by this code.
    const CURRENT: &str = "ce0b5d80b7c522bc38e9b5bff428dbc9590de12016e9aa81593167f1405d4fb2";
    const DECODED: &str = "59fb7545eeb5f536d5123c4fea50f0c79abd7853267922476066fcdc2382b6a0";
    const BODY_ALONE: &str = "885a0b58363c48b1b4e13af189eb126c9ac18c6519fe969c2e639457e17a5895";

    fn verify_header(header: &str, secret: &str, codec: KeyCodec) -> Verification {
        let delivery = Delivery {
            body: BODY.to_vec(),
            headers: [(HEADER.to_owned(), header.to_owned())].into(),
            received_at: UnixMillis(1_767_323_045_000),
        };
        verify(delivery, &Keys::parse(secret, codec).unwrap(), 300)
    }

    #[test]
    fn p4_the_key_codec_decides_which_key_signs() {
        let secret = "bmV3LXNlY3JldC12YWx1ZS0wMDE=";
        let header = |tag: &str| format!("t=1767323045,v1={tag}");
        assert!(matches!(verify_header(&header(CURRENT), secret, KeyCodec::Utf8), Verification::Verified(_)));
        assert!(matches!(
            verify_header(&header(DECODED), secret, KeyCodec::Base64),
            Verification::Verified(_)
        ));
        assert!(matches!(
            verify_header(&header(DECODED), secret, KeyCodec::Utf8),
            Verification::Rejected(_, RejectReason::Mismatch)
        ));
        assert!(matches!(
            verify_header(&header(BODY_ALONE), secret, KeyCodec::Utf8),
            Verification::Rejected(_, RejectReason::Mismatch)
        ));
    }

    #[test]
    fn p4_bounds_of_the_header_are_kept() {
        let is_verified = |header: &str| {
            matches!(
                verify_header(header, "bmV3LXNlY3JldC12YWx1ZS0wMDE=", KeyCodec::Utf8),
                Verification::Verified(_)
            )
        };
        let with_elements = |n: usize| format!("t=1767323045,v1={CURRENT}{}", ",x=y".repeat(n - 2));
        assert!(is_verified(&with_elements(16)));
        assert!(!is_verified(&with_elements(17)));
        let with_bytes = |n: usize| {
            let start = format!("t=1767323045,v1={CURRENT},x=");
            format!("{start}{}", "y".repeat(n - start.len()))
        };
        assert!(is_verified(&with_bytes(4096)));
        assert!(!is_verified(&with_bytes(4097)));
    }

    #[test]
    fn p4_an_unreadable_v1_is_ignored_and_verifies_nothing() {
        let check = |header: &str| verify_header(header, "bmV3LXNlY3JldC12YWx1ZS0wMDE=", KeyCodec::Utf8);
        let cut_off = &CURRENT[..62];
        for odd in ["", "bad_signature", cut_off, "=", "\u{e9}", &format!("{CURRENT}00"), &"g".repeat(64)] {
            for header in [
                format!("t=1767323045,v1={CURRENT},v1={odd}"),
                format!("t=1767323045,v1={odd},v1={CURRENT}"),
                format!("v1={odd},v1={CURRENT},v1={odd},t=1767323045"),
                format!("v1={CURRENT},t=1767323045,v1={odd}"),
            ] {
                assert!(matches!(check(&header), Verification::Verified(_)), "{header}");
                let stale = header.replace("1767323045", "1767322744");
                assert!(
                    matches!(check(&stale), Verification::Rejected(_, RejectReason::Mismatch)),
                    "{stale}"
                );
            }
            let other = format!("t=1767323045,v1={odd},v1={BODY_ALONE}");
            assert!(matches!(check(&other), Verification::Rejected(_, RejectReason::Mismatch)), "{other}");
            let alone = format!("t=1767323045,v1={odd}");
            assert!(matches!(check(&alone), Verification::Rejected(_, RejectReason::Malformed)), "{alone}");
        }
        let with_elements = |n: usize| format!("t=1767323045,v1={CURRENT}{}", ",v1=".repeat(n - 2));
        assert!(matches!(check(&with_elements(16)), Verification::Verified(_)));
        assert!(matches!(check(&with_elements(17)), Verification::Rejected(_, RejectReason::Malformed)));
    }

    #[test]
    fn a_sender_signs_with_every_key_the_first_one_first() {
        let keys =
            Keys::parse(r#"["bmV3LXNlY3JldC12YWx1ZS0wMDE=","b2xkLXNlY3JldC12YWx1ZS0wMDE="]"#, KeyCodec::Utf8);
        assert_eq!(
            sign(UnixSecs(1_767_323_045), BODY, &keys.unwrap()),
            format!(
                "t=1767323045,v1={CURRENT},v1=c936e5972b5c821f59389204fdc6d056f40c491c2d854dfbe2223eaf030afe78"
            )
        );
    }
}
