//! Rightfoot signs nothing, so the URL that we give it is the credential: `…/<subject>.<mac>`.
//!
//! `mac` is base64url without padding of HMAC-SHA256(key, `"rightfoot-webhook-url/v1:" + subject`). A webhook
//! that came by it is a hint only: what it claims is asked of Rightfoot's API before anything is published.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq};

use crate::delivery::{Delivery, Proof, Proven, Provider, Refusal, Verdict};
use crate::keys::Keys;
use crate::limits::SUBJECT_MAX_BYTES;

const CONTEXT: &[u8] = b"rightfoot-webhook-url/v1:";

/// Whom a URL was minted for: the caller's `submission_id`, or a name that the operator chose. Never made of
/// personal data. `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

/// A subject is 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to {SUBJECT_MAX_BYTES} characters of A-Z a-z 0-9 _ -")]
pub struct NotASubject;

impl Subject {
    /// The subject's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(name: &str) -> Result<Self, NotASubject> {
        let fits = (1..=SUBJECT_MAX_BYTES).contains(&name.len());
        let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits && legal { Ok(Self(name.to_owned())) } else { Err(NotASubject) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last path element of the URL to register with Rightfoot: a credential.
/// `None` if `keys` accepts nothing.
pub fn mint(subject: &Subject, keys: &Keys) -> Option<String> {
    let tag = tag(keys.signing()?, subject);
    Some(format!("{subject}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

/// Proves a delivery by the token of the URL that it came to.
pub fn prove(delivery: Delivery, token: &str, keys: &Keys, revoked: &BTreeSet<Subject>) -> Verdict {
    let Some((subject, theirs)) = parse(token) else {
        return Verdict::NotProven(delivery, Refusal::Malformed);
    };
    let matched =
        keys.macs().fold(Choice::from(0), |matched, mac| matched | tag(mac, &subject).ct_eq(&theirs));
    if !bool::from(matched) {
        return Verdict::NotProven(delivery, Refusal::Mismatch);
    }
    if revoked.contains(&subject) {
        return Verdict::NotProven(delivery, Refusal::Revoked);
    }
    Verdict::Proven(Proven::new(Provider::Rightfoot, Proof::UrlToken { subject }, delivery))
}

/// The addresses that may call. An empty list lets everyone call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<IpNet>);

/// Not an address or a CIDR block; names the element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a CIDR block")]
pub struct NotANetwork(String);

impl FromStr for AllowList {
    type Err = NotANetwork;

    /// Reads `203.0.113.0/24, 198.51.100.7`.
    fn from_str(list: &str) -> Result<Self, NotANetwork> {
        list.split(',')
            .map(str::trim)
            .filter(|element| !element.is_empty())
            .map(|element| {
                element
                    .parse::<IpNet>()
                    .or_else(|_| element.parse::<IpAddr>().map(IpNet::from))
                    .map_err(|_| NotANetwork(element.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl AllowList {
    /// Whether a call from this address (the gateway's `sourceIp`, never a header) may pass.
    pub fn permits(&self, source_ip: Option<&str>) -> bool {
        self.0.is_empty()
            || source_ip
                .and_then(|ip| ip.parse::<IpAddr>().ok())
                .is_some_and(|ip| self.0.iter().any(|net| net.contains(&ip.to_canonical())))
    }
}

fn parse(token: &str) -> Option<(Subject, [u8; 32])> {
    const MAC_CHARS: usize = 43;
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
    use crate::keys::KeyCodec;
    use crate::time::UnixMillis;

    // printf %s 'rightfoot-webhook-url/v1:demo' | openssl dgst -sha256 -hmac local-rightfoot-url-key -binary
    //   | base64 | tr '+/' '-_' | tr -d '='
    const DEMO: &str = "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0";

    fn keys(value: &str) -> Keys {
        Keys::parse(value, KeyCodec::Utf8).unwrap()
    }

    fn verdict(token: &str, secret: &str, revoked: &[&str]) -> Verdict {
        let delivery = Delivery { body: vec![], headers: [].into(), received_at: UnixMillis(0) };
        let revoked = revoked.iter().map(|name| name.parse().unwrap()).collect();
        prove(delivery, token, &keys(secret), &revoked)
    }

    #[test]
    fn a_minted_url_is_what_openssl_makes_of_it() {
        let subject = "demo".parse().unwrap();
        assert_eq!(mint(&subject, &keys("local-rightfoot-url-key")).as_deref(), Some(DEMO));
        assert_eq!(mint(&subject, &Keys::default()), None);
    }

    #[test]
    fn p4_a_token_proves_its_subject_under_every_accepted_key() {
        for secret in ["local-rightfoot-url-key", r#"["newer","local-rightfoot-url-key"]"#] {
            let Verdict::Proven(proven) = verdict(DEMO, secret, &[]) else {
                panic!("refused under {secret}")
            };
            assert_eq!(proven.subject().map(Subject::as_str), Some("demo"));
        }
    }

    #[test]
    fn p4_a_token_of_another_key_subject_or_form_proves_nothing() {
        let refusal = |token: &str| {
            let verdict = verdict(token, "local-rightfoot-url-key", &[]);
            let Verdict::NotProven(_, refusal) = verdict else { panic!("{token}: {verdict:?}") };
            refusal
        };
        let mac = DEMO.strip_prefix("demo.").unwrap();
        assert_eq!(refusal(&format!("other.{mac}")), Refusal::Mismatch);
        assert_eq!(refusal(&format!("demo.{}", "A".repeat(43))), Refusal::Mismatch);
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
            assert_eq!(refusal(&malformed), Refusal::Malformed, "{malformed}");
        }
    }

    #[test]
    fn a_revoked_subject_is_refused() {
        assert!(matches!(
            verdict(DEMO, "local-rightfoot-url-key", &["x", "demo"]),
            Verdict::NotProven(_, Refusal::Revoked)
        ));
    }

    #[test]
    fn the_allow_list_is_off_when_empty_and_names_what_it_cannot_read() {
        let list: AllowList = " 203.0.113.0/24, 198.51.100.7 ,2001:db8::/32,".parse().unwrap();
        for (ip, permitted) in [
            (Some("203.0.113.9"), true),
            (Some("198.51.100.7"), true),
            (Some("::ffff:198.51.100.7"), true),
            (Some("2001:db8::1"), true),
            (Some("198.51.100.8"), false),
            (Some("nonsense"), false),
            (None, false),
        ] {
            assert_eq!(list.permits(ip), permitted, "{ip:?}");
        }
        assert!(AllowList::default().permits(None));
        let wrong = "10.0.0.0/33".parse::<AllowList>().unwrap_err();
        assert_eq!(wrong.to_string(), r#""10.0.0.0/33" is neither an IP address nor a CIDR block"#);
    }
}
