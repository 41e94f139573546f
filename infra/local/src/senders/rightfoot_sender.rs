//! Rightfoot's webhook deliveries (shared/providers/rightfoot.md, "Webhooks" and "Retries").

use super::retry_policy::{RetrySpacing, rightfoot_backoff};
use super::{DeliveryAttempt, DeliveryEnd, DeliveryReport, OutgoingDelivery, RetryLimit, SenderClient};

/// Delivers as Rightfoot does. It signs nothing: the URL's token is the only authentication.
#[derive(Debug)]
pub struct RightfootSender {
    http: SenderClient,
    retry_spacing: RetrySpacing,
}

impl RightfootSender {
    /// Creates a sender with this interpretation of the documented retry steps.
    pub fn new(http: SenderClient, retry_spacing: RetrySpacing) -> Self {
        Self { http, retry_spacing }
    }

    /// Delivers by Rightfoot's rules: any response but a 2xx is retried, for half an hour.
    pub async fn deliver(&self, url: &str, outgoing: &OutgoingDelivery) -> DeliveryReport {
        self.deliver_with(url, outgoing, RetryLimit::ProviderPolicy).await
    }

    /// Delivers until success, `retry_limit`, or the end of the half hour.
    pub async fn deliver_with(
        &self,
        url: &str,
        outgoing: &OutgoingDelivery,
        retry_limit: RetryLimit,
    ) -> DeliveryReport {
        let clock = self.http.clock();
        let first_at = clock.now();
        let mut attempts = Vec::new();
        let end = loop {
            let attempt = self.attempt_once(url, outgoing).await;
            if attempts.is_empty() {
                self.http.count_first_attempt();
            }
            let response = attempt.response.clone();
            attempts.push(attempt);
            if response.is_success() {
                break DeliveryEnd::Delivered;
            }
            if retry_limit == RetryLimit::UntilConclusive && response.is_conclusive() {
                break DeliveryEnd::GivenUp;
            }
            let attempts_made = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
            match rightfoot_backoff(self.retry_spacing, attempts_made, clock.now().since(first_at)) {
                Some(pause) => clock.sleep(pause).await,
                None => break DeliveryEnd::GivenUp,
            }
        };
        DeliveryReport { id: outgoing.id.clone(), attempts, end }
    }

    /// Makes one HTTP request, without any retry.
    pub async fn attempt_once(&self, url: &str, outgoing: &OutgoingDelivery) -> DeliveryAttempt {
        self.http.post(url, |_| (Vec::new(), outgoing.body.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::payloads::batch_completed;
    use super::super::stub_receiver::StubReceiver;
    use super::*;

    fn minutes(delivered: &DeliveryReport) -> Vec<u64> {
        let first = delivered.attempts[0].at;
        delivered.attempts.iter().map(|attempt| attempt.at.since(first).as_secs() / 60).collect()
    }

    #[tokio::test]
    async fn it_gives_up_after_half_an_hour_in_either_interpretation() {
        let stub = StubReceiver::responding(|_| (400, None)).await;
        let url = format!("{}/webhooks/rightfoot/demo.mac", stub.url);
        for (retry_spacing, expected) in [
            (RetrySpacing::FromPreviousAttempt, vec![0, 1, 3, 7, 15]),
            (RetrySpacing::FromStart, vec![0, 1, 2, 4, 8, 16]),
        ] {
            let outgoing = batch_completed("5d3c", "f47a");
            let delivered = RightfootSender::new(stub.http(), retry_spacing).deliver(&url, &outgoing).await;
            assert_eq!((minutes(&delivered), delivered.end), (expected, DeliveryEnd::GivenUp));
        }
        let requests = stub.seen();
        assert!(requests.iter().all(|it| it.path == "/webhooks/rightfoot/demo.mac"));
        assert!(requests.iter().all(|it| it.header("content-type") == "application/json"));
        assert_eq!(requests[0].body, batch_completed("5d3c", "f47a").body);
    }

    #[tokio::test]
    async fn it_stops_at_any_2xx() {
        let stub = StubReceiver::responding(|n| (if n < 2 { 500 } else { 202 }, None)).await;
        let sender = RightfootSender::new(stub.http(), RetrySpacing::default());
        let delivered = sender.deliver(&stub.url, &batch_completed("5d3c", "f47a")).await;
        assert_eq!((minutes(&delivered), delivered.end), (vec![0, 1, 3], DeliveryEnd::Delivered));
    }

    #[tokio::test]
    async fn a_forged_delivery_stops_at_a_conclusive_response() {
        let stub = StubReceiver::responding(|n| (if n == 0 { 503 } else { 403 }, None)).await;
        let sender = RightfootSender::new(stub.http(), RetrySpacing::default());
        let outgoing = batch_completed("5d3c", "f47a");
        let delivered = sender.deliver_with(&stub.url, &outgoing, RetryLimit::UntilConclusive).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (2, DeliveryEnd::GivenUp));
    }
}
