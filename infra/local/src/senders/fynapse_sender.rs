//! Fynapse's webhook deliveries (shared/providers/fynapse.md, "Request" and "Retries").

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::Keys;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::http_client::DeliveryRng;
use super::retry_policy::{
    ATTEMPTS_PER_EXECUTION, FYNAPSE_EXECUTIONS_MAX, FYNAPSE_RETRY_WINDOW, RetryDecision, fynapse_backoff,
    fynapse_micro_retry_delay, fynapse_retry_decision,
};
use super::{DeliveryAttempt, DeliveryEnd, DeliveryReport, OutgoingDelivery, RetryLimit, SenderClient};

/// Delivers as one Fynapse subscription does, to one URL.
#[derive(Debug)]
pub struct FynapseSender {
    http: SenderClient,
    url: String,
    keys: RwLock<Keys>,
}

/// The signature of a delivery: valid, or invalid in one way.
#[derive(Clone, Debug, Default)]
pub enum Signing {
    /// Signed with the current keys; `t` is the time of each attempt.
    #[default]
    Valid,
    /// Signed with the current keys; `t` is the time of the first attempt, also on later ones.
    ReusedTimestamp,
    /// Signed with the current keys; `t` is this many seconds from now.
    ShiftedTimestamp(i64),
    /// Signed with other keys.
    WithKeys(Keys),
    /// Validly signed, but another body is sent than the one that was signed.
    TamperedBody,
    /// Without a signature.
    Unsigned,
}

impl FynapseSender {
    /// Creates a sender to this URL that signs with each of `keys`, the newest first.
    pub fn new(http: SenderClient, url: impl Into<String>, keys: Keys) -> Self {
        Self { http, url: url.into(), keys: RwLock::new(keys) }
    }

    /// Signs with these keys from now on, also further attempts of deliveries under way.
    pub fn sign_with(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Delivers by Fynapse's rules, validly signed.
    pub async fn deliver(&self, outgoing: &OutgoingDelivery) -> DeliveryReport {
        self.deliver_with(outgoing, &Signing::Valid, RetryLimit::ProviderPolicy).await
    }

    /// Delivers by Fynapse's rules: up to 20 executions within 72 hours, each of up to two requests. `retry_limit` may end
    /// it earlier.
    pub async fn deliver_with(
        &self,
        outgoing: &OutgoingDelivery,
        signing: &Signing,
        retry_limit: RetryLimit,
    ) -> DeliveryReport {
        let clock = self.http.clock();
        let mut rng = self.http.delivery_rng(&outgoing.id);
        // Drawn once, because all attempts of a delivery carry the same key.
        let key = outgoing.idempotency_key.clone().unwrap_or_else(|| rng.draw_key());
        let created = clock.now();
        let mut attempts = Vec::new();
        let mut end = DeliveryEnd::Exhausted;
        for executions in 1..=FYNAPSE_EXECUTIONS_MAX {
            let execution = Execution { outgoing, key: &key, signing, retry_limit, created };
            match self.execute(&execution, &mut rng, &mut attempts).await {
                ExecutionOutcome::Ended(how) => {
                    end = how;
                    break;
                }
                ExecutionOutcome::Retry { retry_after_secs } => {
                    let pause = fynapse_backoff(executions, retry_after_secs, rng.draw_jitter());
                    // An execution that would start after the 72 hours is not started at all.
                    let too_late = clock.now().since(created).saturating_add(pause) > FYNAPSE_RETRY_WINDOW;
                    if executions == FYNAPSE_EXECUTIONS_MAX || too_late {
                        break;
                    }
                    clock.sleep(pause).await;
                }
            }
        }
        DeliveryReport { id: outgoing.id.clone(), attempts, end }
    }

    /// Makes one HTTP request, without any retry.
    pub async fn attempt_once(&self, outgoing: &OutgoingDelivery, signing: &Signing) -> DeliveryAttempt {
        let key = match &outgoing.idempotency_key {
            Some(key) => key.clone(),
            None => self.http.delivery_rng(&outgoing.id).draw_key(),
        };
        self.post(outgoing, &key, signing, None).await
    }

    async fn execute(
        &self,
        execution: &Execution<'_>,
        rng: &mut DeliveryRng,
        attempts: &mut Vec<DeliveryAttempt>,
    ) -> ExecutionOutcome {
        let Execution { outgoing, key, signing, retry_limit, created } = *execution;
        let mut retry_after_secs = None;
        for requests in 1..=ATTEMPTS_PER_EXECUTION {
            let attempt = self.post(outgoing, key, signing, Some(created)).await;
            if attempts.is_empty() {
                self.http.count_first_attempt();
            }
            let response = attempt.response.clone();
            attempts.push(attempt);
            retry_after_secs = response.retry_after_secs();
            match fynapse_retry_decision(response.status()) {
                RetryDecision::Delivered => return ExecutionOutcome::Ended(DeliveryEnd::Delivered),
                RetryDecision::PermanentFailure(status) => {
                    return ExecutionOutcome::Ended(DeliveryEnd::PermanentFailure(status));
                }
                RetryDecision::Retry { .. }
                    if retry_limit == RetryLimit::UntilConclusive && response.is_conclusive() =>
                {
                    return ExecutionOutcome::Ended(DeliveryEnd::GivenUp);
                }
                RetryDecision::Retry { allows_micro_retry }
                    if !allows_micro_retry || requests == ATTEMPTS_PER_EXECUTION =>
                {
                    break;
                }
                RetryDecision::Retry { .. } => {
                    self.http.clock().sleep(fynapse_micro_retry_delay(rng.draw_jitter())).await
                }
            }
        }
        ExecutionOutcome::Retry { retry_after_secs }
    }

    async fn post(
        &self,
        outgoing: &OutgoingDelivery,
        key: &str,
        signing: &Signing,
        created: Option<UnixMillis>,
    ) -> DeliveryAttempt {
        let build_request = |now: UnixMillis| {
            let mut headers = vec![("idempotency-key", key.to_owned())];
            // It is not documented whether each attempt has a `t` of its own; without one, no late retry
            // could be accepted (shared/providers/fynapse.md, "Signature").
            let signed_at = match signing {
                Signing::ReusedTimestamp => created.unwrap_or(now),
                Signing::Valid
                | Signing::ShiftedTimestamp(_)
                | Signing::WithKeys(_)
                | Signing::TamperedBody
                | Signing::Unsigned => now,
            };
            headers.extend(
                self.signature(&outgoing.body, signing, signed_at.secs())
                    .map(|signature| (signature::HEADER, signature)),
            );
            let body = if matches!(signing, Signing::TamperedBody) {
                tampered(&outgoing.body)
            } else {
                outgoing.body.clone()
            };
            (headers, body)
        };
        self.http.post(&self.url, build_request).await
    }

    fn signature(&self, body: &[u8], signing: &Signing, at: UnixSecs) -> Option<String> {
        let current = || self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(match signing {
            Signing::Valid | Signing::ReusedTimestamp | Signing::TamperedBody => {
                signature::sign(at, body, &current())
            }
            Signing::ShiftedTimestamp(secs) => {
                signature::sign(UnixSecs(at.0.saturating_add(*secs)), body, &current())
            }
            Signing::WithKeys(keys) => signature::sign(at, body, keys),
            Signing::Unsigned => return None,
        })
    }
}

#[derive(Clone, Copy)]
struct Execution<'a> {
    outgoing: &'a OutgoingDelivery,
    key: &'a str,
    signing: &'a Signing,
    retry_limit: RetryLimit,
    created: UnixMillis,
}

enum ExecutionOutcome {
    Ended(DeliveryEnd),
    Retry { retry_after_secs: Option<u64> },
}

/// The same JSON with one more space, so that only the signature reveals the change.
fn tampered(body: &Bytes) -> Bytes {
    // Before the closing brace, where a space changes nothing in the JSON.
    let (head, tail) = body.split_at(body.len().saturating_sub(1));
    [head, b" ", tail].concat().into()
}

#[cfg(test)]
mod tests {
    use super::super::payloads::balance_extracted;
    use super::super::stub_receiver::StubReceiver;
    use super::*;
    use inbox_core::secret_keys::KeyCodec;

    fn keys(value: &str) -> Keys {
        Keys::parse(value, KeyCodec::Utf8).unwrap()
    }

    fn fynapse(stub: &StubReceiver) -> FynapseSender {
        FynapseSender::new(stub.http(), format!("{}/webhooks/fynapse", stub.url), keys("s"))
    }

    fn statuses(delivered: &DeliveryReport) -> Vec<u16> {
        delivered.attempts.iter().filter_map(|attempt| attempt.response.status()).collect()
    }

    /// Seconds between the attempts.
    fn gaps(delivered: &DeliveryReport) -> Vec<f64> {
        let at: Vec<_> = delivered.attempts.iter().map(|attempt| attempt.at).collect();
        at.windows(2).map(|two| two[1].since(two[0]).as_secs_f64()).collect()
    }

    #[tokio::test]
    async fn headers_are_those_of_the_documents_and_t_is_the_time_of_each_attempt() {
        let stub = StubReceiver::responding(|n| (if n < 2 { 503 } else { 200 }, None)).await;
        let sender = fynapse(&stub);
        sender.sign_with(keys(r#"["new","old"]"#));
        let outgoing = balance_extracted("a3ef");
        let delivered = sender.deliver(&outgoing).await;
        assert_eq!((statuses(&delivered), delivered.end), (vec![503, 503, 200], DeliveryEnd::Delivered));
        let requests = stub.seen();
        for (request, attempt) in requests.iter().zip(&delivered.attempts) {
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
        assert_eq!(requests[0].header("idempotency-key").len(), 32);
        assert!(
            requests.iter().all(|it| it.header("idempotency-key") == requests[0].header("idempotency-key"))
        );
        assert_ne!(requests[0].header("webhook-signature"), requests[2].header("webhook-signature"));
    }

    #[tokio::test]
    async fn the_first_timestamp_can_be_reused() {
        let stub = StubReceiver::responding(|n| (if n < 2 { 503 } else { 200 }, None)).await;
        let outgoing = balance_extracted("a3ef").with_idempotency_key("k");
        fynapse(&stub).deliver_with(&outgoing, &Signing::ReusedTimestamp, RetryLimit::ProviderPolicy).await;
        let requests = stub.seen();
        assert_eq!(requests[0].header("webhook-signature"), requests[2].header("webhook-signature"));
        assert_eq!(requests[2].header("idempotency-key"), "k");
    }

    #[tokio::test]
    async fn a_permanent_failure_code_ends_the_delivery() {
        for status in super::super::retry_policy::FYNAPSE_PERMANENT_FAILURE_CODES {
            let stub = StubReceiver::responding(move |_| (status, None)).await;
            let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
            assert_eq!(
                (statuses(&delivered), delivered.end),
                (vec![status], DeliveryEnd::PermanentFailure(status))
            );
        }
    }

    #[tokio::test]
    async fn an_execution_is_two_requests_at_most_and_a_delivery_twenty_executions() {
        let stub = StubReceiver::responding(|_| (500, None)).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (40, DeliveryEnd::Exhausted));
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
        assert_eq!(gaps(&repeated), gaps(&delivered), "the same seed gives the same jitter");
    }

    #[tokio::test]
    async fn http_408_skips_the_micro_retry() {
        let stub = StubReceiver::responding(|_| (408, None)).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (20, DeliveryEnd::Exhausted));
        assert!(gaps(&delivered).iter().all(|gap| *gap >= 24.0));
    }

    #[tokio::test]
    async fn retry_after_replaces_the_pause() {
        let stub = StubReceiver::responding(|n| (if n < 2 { 429 } else { 200 }, Some(1_000))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        let gap = gaps(&delivered)[1];
        assert!((1_000.0..=1_100.0).contains(&gap), "{gap} s");
    }

    #[tokio::test]
    async fn nothing_is_tried_after_seventy_two_hours() {
        let stub = StubReceiver::responding(|_| (408, Some(30 * 3_600))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (3, DeliveryEnd::Exhausted));
        let stub = StubReceiver::responding(|_| (503, Some(73 * 3_600))).await;
        let delivered = fynapse(&stub).deliver(&balance_extracted("a3ef")).await;
        assert_eq!(delivered.attempts.len(), 2);
    }

    #[tokio::test]
    async fn no_connection_is_tried_again() {
        let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let http = SenderClient::new(super::super::SimClock::auto_advancing(UnixMillis(0)), 7, 1).unwrap();
        let sender = FynapseSender::new(http, format!("http://{closed_port}/"), keys("s"));
        let delivered = sender.deliver(&balance_extracted("a3ef")).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (40, DeliveryEnd::Exhausted));
    }

    #[tokio::test]
    async fn a_forged_delivery_stops_at_a_conclusive_response_and_is_altered_as_asked() {
        let stub = StubReceiver::responding(|n| (if n == 0 { 503 } else { 403 }, None)).await;
        let (sender, outgoing) = (fynapse(&stub), balance_extracted("a3ef"));
        for (signing, requests) in
            [(Signing::TamperedBody, 2), (Signing::Unsigned, 1), (Signing::ShiftedTimestamp(-600), 1)]
        {
            let delivered = sender.deliver_with(&outgoing, &signing, RetryLimit::UntilConclusive).await;
            assert_eq!((delivered.attempts.len(), delivered.end), (requests, DeliveryEnd::GivenUp));
        }
        let requests = stub.seen();
        assert_eq!(requests[1].body.len(), outgoing.body.len() + 1);
        assert!(serde_json::from_slice::<serde_json::Value>(&requests[1].body).is_ok());
        assert!(requests[2].headers.get("webhook-signature").is_none());
        let t = stub.clock.now().secs().0 - 600;
        assert!(requests[3].header("webhook-signature").starts_with(&format!("t={t},v1=")));
    }
}
