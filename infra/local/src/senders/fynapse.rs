//! Fynapse as a sender (shared/providers/fynapse.md, "Request" and "Retries").

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use inbox_core::keys::Keys;
use inbox_core::signature;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::http::Luck;
use super::schedule::{
    EXECUTIONS_MAX, MICRO_ATTEMPTS, Verdict, WINDOW, fynapse_micro_pause, fynapse_pause, fynapse_verdict,
};
use super::{Attempt, Delivered, End, Http, Outgoing, Patience};

/// One subscription: it delivers to one URL.
#[derive(Debug)]
pub struct Fynapse {
    http: Http,
    url: String,
    keys: RwLock<Keys>,
}

/// How a delivery is signed.
#[derive(Clone, Debug, Default)]
pub enum Signing {
    /// With the keys of the moment; `t` is the time of each attempt.
    #[default]
    Honest,
    /// With the keys of the moment; `t` is the time of the first attempt, also on later ones.
    StampedOnce,
    /// With the keys of the moment, and a `t` that lies this many seconds from now.
    Shifted(i64),
    /// With other keys.
    With(Keys),
    /// Another body is sent than the one that was signed.
    Altered,
    /// Not at all.
    Unsigned,
}

impl Fynapse {
    /// Delivers to this URL. It signs with every one of `keys`, the newest first.
    pub fn new(http: Http, url: impl Into<String>, keys: Keys) -> Self {
        Self { http, url: url.into(), keys: RwLock::new(keys) }
    }

    /// From now on it signs with these keys, also what it has tried before.
    pub fn sign_with(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Delivers by the rules, honestly signed.
    pub async fn deliver(&self, outgoing: &Outgoing) -> Delivered {
        self.deliver_as(outgoing, &Signing::Honest, Patience::ByTheRules).await
    }

    /// Delivers by the rules: up to 20 executions within 72 hours, each of up to two requests.
    pub async fn deliver_as(&self, outgoing: &Outgoing, signing: &Signing, patience: Patience) -> Delivered {
        let pace = self.http.pace();
        let mut luck = self.http.luck(&outgoing.id);
        let key = outgoing.idempotency_key.clone().unwrap_or_else(|| luck.key());
        let created = pace.now();
        let mut attempts = Vec::new();
        let mut end = End::Exhausted;
        for executions in 1..=EXECUTIONS_MAX {
            let execution = Execution { outgoing, key: &key, signing, patience, created };
            match self.execute(&execution, &mut luck, &mut attempts).await {
                Next::Ended(how) => {
                    end = how;
                    break;
                }
                Next::Again { retry_after_secs } => {
                    let pause = fynapse_pause(executions, retry_after_secs, luck.draw());
                    let too_late = pace.now().since(created).saturating_add(pause) > WINDOW;
                    if executions == EXECUTIONS_MAX || too_late {
                        break;
                    }
                    pace.sleep(pause).await;
                }
            }
        }
        Delivered { id: outgoing.id.clone(), attempts, end }
    }

    /// One HTTP request, without any retry.
    pub async fn attempt(&self, outgoing: &Outgoing, signing: &Signing) -> Attempt {
        let key = match &outgoing.idempotency_key {
            Some(key) => key.clone(),
            None => self.http.luck(&outgoing.id).key(),
        };
        self.post(outgoing, &key, signing, None).await
    }

    async fn execute(&self, execution: &Execution<'_>, luck: &mut Luck, attempts: &mut Vec<Attempt>) -> Next {
        let Execution { outgoing, key, signing, patience, created } = *execution;
        let mut retry_after_secs = None;
        for requests in 1..=MICRO_ATTEMPTS {
            let attempt = self.post(outgoing, key, signing, Some(created)).await;
            if attempts.is_empty() {
                self.http.note_first_attempt();
            }
            let answer = attempt.answer.clone();
            attempts.push(attempt);
            retry_after_secs = answer.retry_after_secs();
            match fynapse_verdict(answer.status()) {
                Verdict::Delivered => return Next::Ended(End::Delivered),
                Verdict::Killed(status) => return Next::Ended(End::Killed(status)),
                Verdict::Again { .. } if patience == Patience::UntilDecided && answer.is_decision() => {
                    return Next::Ended(End::GivenUp);
                }
                Verdict::Again { micro } if !micro || requests == MICRO_ATTEMPTS => break,
                Verdict::Again { .. } => self.http.pace().sleep(fynapse_micro_pause(luck.draw())).await,
            }
        }
        Next::Again { retry_after_secs }
    }

    async fn post(
        &self,
        outgoing: &Outgoing,
        key: &str,
        signing: &Signing,
        created: Option<UnixMillis>,
    ) -> Attempt {
        let make = |now: UnixMillis| {
            let mut headers = vec![("idempotency-key", key.to_owned())];
            let stamped_at = match signing {
                Signing::StampedOnce => created.unwrap_or(now),
                Signing::Honest
                | Signing::Shifted(_)
                | Signing::With(_)
                | Signing::Altered
                | Signing::Unsigned => now,
            };
            headers.extend(
                self.signature(&outgoing.body, signing, stamped_at.secs())
                    .map(|signature| (signature::HEADER, signature)),
            );
            let body = if matches!(signing, Signing::Altered) {
                altered(&outgoing.body)
            } else {
                outgoing.body.clone()
            };
            (headers, body)
        };
        self.http.post(&self.url, make).await
    }

    fn signature(&self, body: &[u8], signing: &Signing, at: UnixSecs) -> Option<String> {
        let current = || self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(match signing {
            Signing::Honest | Signing::StampedOnce | Signing::Altered => {
                signature::sign(at, body, &current())
            }
            Signing::Shifted(secs) => signature::sign(UnixSecs(at.0.saturating_add(*secs)), body, &current()),
            Signing::With(keys) => signature::sign(at, body, keys),
            Signing::Unsigned => return None,
        })
    }
}

#[derive(Clone, Copy)]
struct Execution<'a> {
    outgoing: &'a Outgoing,
    key: &'a str,
    signing: &'a Signing,
    patience: Patience,
    created: UnixMillis,
}

enum Next {
    Ended(End),
    Again { retry_after_secs: Option<u64> },
}

/// The same JSON with a blank more: only the signature can tell.
fn altered(body: &Bytes) -> Bytes {
    let (head, tail) = body.split_at(body.len().saturating_sub(1));
    [head, b" ", tail].concat().into()
}

#[cfg(test)]
mod tests {
    use super::super::payload::balance_extracted;
    use super::super::stub::Stub;
    use super::*;
    use inbox_core::keys::KeyCodec;

    fn keys(value: &str) -> Keys {
        Keys::parse(value, KeyCodec::Utf8).unwrap()
    }

    fn fynapse(stub: &Stub) -> Fynapse {
        Fynapse::new(stub.http(), format!("{}/webhooks/fynapse", stub.url), keys("s"))
    }

    fn statuses(delivered: &Delivered) -> Vec<u16> {
        delivered.attempts.iter().filter_map(|attempt| attempt.answer.status()).collect()
    }

    /// Seconds between the attempts.
    fn gaps(delivered: &Delivered) -> Vec<f64> {
        let at: Vec<_> = delivered.attempts.iter().map(|attempt| attempt.at).collect();
        at.windows(2).map(|two| two[1].since(two[0]).as_secs_f64()).collect()
    }

    #[tokio::test]
    async fn headers_are_those_of_the_documents_and_t_is_the_time_of_each_attempt() {
        let stub = Stub::answering(|n| (if n < 2 { 503 } else { 200 }, None)).await;
        let sender = fynapse(&stub);
        sender.sign_with(keys(r#"["new","old"]"#));
        let outgoing = balance_extracted("a3ef");
        let delivered = sender.deliver(&outgoing).await;
        assert_eq!((statuses(&delivered), delivered.end), (vec![503, 503, 200], End::Delivered));
        let seen = stub.seen();
        for (request, attempt) in seen.iter().zip(&delivered.attempts) {
            assert_eq!(request.path, "/webhooks/fynapse");
            assert_eq!(request.header("content-type"), "application/json");
            assert_eq!(request.body, outgoing.body);
            let form: Vec<_> = request
                .header("webhook-signature")
                .split(',')
                .map(|it| it.split_once('=').unwrap())
                .collect();
            let [("t", t), ("v1", new), ("v1", old)] = form[..] else { panic!("{form:?}") };
            assert_eq!(t, attempt.at.secs().0.to_string());
            assert!(new != old && new.len() == 64 && old.len() == 64);
        }
        assert_eq!(seen[0].header("idempotency-key").len(), 32);
        assert!(seen.iter().all(|it| it.header("idempotency-key") == seen[0].header("idempotency-key")));
        assert_ne!(seen[0].header("webhook-signature"), seen[2].header("webhook-signature"));
    }

    #[tokio::test]
    async fn t_can_be_left_as_it_was() {
        let stub = Stub::answering(|n| (if n < 2 { 503 } else { 200 }, None)).await;
        let outgoing = balance_extracted("a3ef").under_key("k");
        fynapse(&stub).deliver_as(&outgoing, &Signing::StampedOnce, Patience::ByTheRules).await;
        let seen = stub.seen();
        assert_eq!(seen[0].header("webhook-signature"), seen[2].header("webhook-signature"));
        assert_eq!(seen[2].header("idempotency-key"), "k");
    }

    #[tokio::test]
    async fn a_kill_code_ends_it_at_once() {
        for status in super::super::schedule::KILL_CODES {
            let stub = Stub::answering(move |_| (status, None)).await;
            let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
            assert_eq!((statuses(&delivered), delivered.end), (vec![status], End::Killed(status)));
        }
    }

    #[tokio::test]
    async fn an_execution_is_two_requests_at_most_and_a_delivery_twenty_executions() {
        let stub = Stub::answering(|_| (500, None)).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (40, End::Exhausted));
        for (n, gap) in gaps(&delivered).into_iter().enumerate() {
            if n % 2 == 0 {
                assert!((0.2..=2.0).contains(&gap), "micro-retry after {gap} s");
            } else {
                let nominal = [30.0, 90.0, 270.0, 810.0, 2_430.0, 7_290.0].get(n / 2).unwrap_or(&14_400.0);
                assert!((nominal * 0.8..=nominal * 1.2).contains(&gap), "{n}: {gap} s");
            }
        }
        let again = fynapse(&stub);
        let repeated = again.deliver(&balance_extracted("a3ef")).await;
        assert_eq!(gaps(&repeated), gaps(&delivered), "the same seed gives the same luck");
    }

    #[tokio::test]
    async fn http_408_skips_the_micro_retry() {
        let stub = Stub::answering(|_| (408, None)).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (20, End::Exhausted));
        assert!(gaps(&delivered).iter().all(|gap| *gap >= 24.0));
    }

    #[tokio::test]
    async fn retry_after_replaces_the_pause() {
        let stub = Stub::answering(|n| (if n < 2 { 429 } else { 200 }, Some(1_000))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        let gap = gaps(&delivered)[1];
        assert!((1_000.0..=1_100.0).contains(&gap), "{gap} s");
    }

    #[tokio::test]
    async fn nothing_is_tried_after_seventy_two_hours() {
        let stub = Stub::answering(|_| (408, Some(30 * 3_600))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (3, End::Exhausted));
        let stub = Stub::answering(|_| (503, Some(73 * 3_600))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!(delivered.attempts.len(), 2);
    }

    #[tokio::test]
    async fn no_connection_is_tried_again() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let http = Http::new(super::super::Pace::leaping(UnixMillis(0)), 7, 1).unwrap();
        let sender = Fynapse::new(http, format!("http://{nobody}/"), keys("s"));
        let delivered = sender.deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (40, End::Exhausted));
    }

    #[tokio::test]
    async fn a_forger_stops_when_it_is_refused_and_its_forgeries_are_of_their_kind() {
        let stub = Stub::answering(|n| (if n == 0 { 503 } else { 403 }, None)).await;
        let (sender, outgoing) = (fynapse(&stub), balance_extracted("a3ef"));
        for (signing, requests) in
            [(Signing::Altered, 2), (Signing::Unsigned, 1), (Signing::Shifted(-600), 1)]
        {
            let delivered = sender.deliver_as(&outgoing, &signing, Patience::UntilDecided).await;
            assert_eq!((delivered.attempts.len(), delivered.end), (requests, End::GivenUp));
        }
        let seen = stub.seen();
        assert_eq!(seen[1].body.len(), outgoing.body.len() + 1);
        assert!(serde_json::from_slice::<serde_json::Value>(&seen[1].body).is_ok());
        assert!(seen[2].headers.get("webhook-signature").is_none());
        let t = stub.pace.now().secs().0 - 600;
        assert!(seen[3].header("webhook-signature").starts_with(&format!("t={t},v1=")));
    }
}
