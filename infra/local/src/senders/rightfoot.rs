//! Rightfoot as a sender (shared/providers/rightfoot.md, "Webhooks" and "Retries").

use super::schedule::{Timeline, rightfoot_pause};
use super::{Attempt, Delivered, End, Http, Outgoing, Patience};

/// It signs nothing: whoever knows the URL may deliver to it.
#[derive(Debug)]
pub struct Rightfoot {
    http: Http,
    timeline: Timeline,
}

impl Rightfoot {
    /// Delivers along this reading of the documented timeline.
    pub fn new(http: Http, timeline: Timeline) -> Self {
        Self { http, timeline }
    }

    /// Delivers by the rules: any answer but a 2xx is tried again, for half an hour.
    pub async fn deliver(&self, url: &str, outgoing: &Outgoing) -> Delivered {
        self.deliver_as(url, outgoing, Patience::ByTheRules).await
    }

    /// Delivers until it succeeds, or patience or the half hour ends.
    pub async fn deliver_as(&self, url: &str, outgoing: &Outgoing, patience: Patience) -> Delivered {
        let pace = self.http.pace();
        let first_at = pace.now();
        let mut attempts = Vec::new();
        let end = loop {
            let attempt = self.attempt(url, outgoing).await;
            if attempts.is_empty() {
                self.http.note_first_attempt();
            }
            let answer = attempt.answer.clone();
            attempts.push(attempt);
            if answer.is_success() {
                break End::Delivered;
            }
            if patience == Patience::UntilDecided && answer.is_decision() {
                break End::GivenUp;
            }
            let made = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
            match rightfoot_pause(self.timeline, made, pace.now().since(first_at)) {
                Some(pause) => pace.sleep(pause).await,
                None => break End::GivenUp,
            }
        };
        Delivered { id: outgoing.id.clone(), attempts, end }
    }

    /// One HTTP request, without any retry.
    pub async fn attempt(&self, url: &str, outgoing: &Outgoing) -> Attempt {
        self.http.post(url, |_| (Vec::new(), outgoing.body.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::batch_completed;
    use super::super::stub::Stub;
    use super::*;

    fn minutes(delivered: &Delivered) -> Vec<u64> {
        let first = delivered.attempts[0].at;
        delivered.attempts.iter().map(|attempt| attempt.at.since(first).as_secs() / 60).collect()
    }

    #[tokio::test]
    async fn it_gives_up_after_half_an_hour_in_either_reading() {
        let stub = Stub::answering(|_| (400, None)).await;
        let url = format!("{}/webhooks/rightfoot/demo.mac", stub.url);
        for (timeline, expected) in [
            (Timeline::FromPreviousAttempt, vec![0, 1, 3, 7, 15]),
            (Timeline::FromStart, vec![0, 1, 2, 4, 8, 16]),
        ] {
            let outgoing = batch_completed("5d3c", "f47a");
            let delivered = Rightfoot::new(stub.http(), timeline).deliver(&url, &outgoing).await;
            assert_eq!((minutes(&delivered), delivered.end), (expected, End::GivenUp));
        }
        let seen = stub.seen();
        assert!(seen.iter().all(|it| it.path == "/webhooks/rightfoot/demo.mac"));
        assert!(seen.iter().all(|it| it.header("content-type") == "application/json"));
        assert_eq!(seen[0].body, batch_completed("5d3c", "f47a").body);
    }

    #[tokio::test]
    async fn it_stops_at_any_2xx() {
        let stub = Stub::answering(|n| (if n < 2 { 500 } else { 202 }, None)).await;
        let sender = Rightfoot::new(stub.http(), Timeline::default());
        let delivered = sender.deliver(&stub.url, &batch_completed("5d3c", "f47a")).await;
        assert_eq!((minutes(&delivered), delivered.end), (vec![0, 1, 3], End::Delivered));
    }

    #[tokio::test]
    async fn a_forger_stops_when_it_is_refused() {
        let stub = Stub::answering(|n| (if n == 0 { 503 } else { 403 }, None)).await;
        let sender = Rightfoot::new(stub.http(), Timeline::default());
        let outgoing = batch_completed("5d3c", "f47a");
        let delivered = sender.deliver_as(&stub.url, &outgoing, Patience::UntilDecided).await;
        assert_eq!((delivered.attempts.len(), delivered.end), (2, End::GivenUp));
    }
}
