//! `local load`: delivers many events concurrently, then checks the promises about deliveries, queue and records.
//!
//! The worker does not run, so the messages stay on the queue until they are checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use inbox_aws::clock::Clock;
use inbox_core::delivery::Provider;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;

use crate::inspect;
use crate::invariants::{self, ExpectedOutcome, Invariant, Observed, SentDelivery, Violation};
use crate::progress::Progress;
use crate::run_every::wait_until;
use crate::senders::payloads::{balance_extracted, batch_completed, threshold_alert};
use crate::senders::retry_policy::RetrySpacing;
use crate::senders::{
    DeliveryEnd, DeliveryReport, FynapseSender, OutgoingDelivery, RightfootSender, SenderClient, Signing,
    SimClock,
};
use crate::stack::{self, Stack};

/// Attempts at one delivery while it gets 5xx or no response.
const ATTEMPTS_MAX: usize = 20;
/// Pause before a retry. Providers wait much longer; the test measures the receiver, not a sender's retry policy.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait until the relay has enqueued everything that is due.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(120);
/// Invariants of a run without a worker.
const CHECKED: [&[Invariant]; 3] = [invariants::DELIVERIES, invariants::QUEUE, invariants::RECORDS];
/// Pause between two runs of the relay.
const RELAY_PAUSE: Duration = Duration::from_millis(500);

/// Options of [`run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadTestOptions {
    /// Number of different events.
    pub events: usize,
    /// Number of concurrent deliveries.
    pub concurrency: usize,
    /// Share of the events that are delivered twice, in percent.
    pub duplicates_pct: u8,
    /// Random seed of the choice of events that are delivered twice.
    pub seed: u64,
}

impl Default for LoadTestOptions {
    fn default() -> Self {
        Self { events: 2_000, concurrency: 16, duplicates_pct: 10, seed: 1 }
    }
}

/// Result of a load test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadTestReport {
    /// Number of different events that were sent.
    pub events: usize,
    /// Number of HTTP requests that were made, retries included.
    pub deliveries: usize,
    /// Number of these that got 5xx or no response.
    pub failed_attempts: usize,
    /// Time from the first request to the last response.
    pub sending_time: Duration,
    /// Time from the last response until all messages were received from the queue.
    pub verifying_time: Duration,
    /// Median response time.
    pub p50: Duration,
    /// 99th percentile of the response times.
    pub p99: Duration,
    /// Number of different events on the queue.
    pub queued_events: usize,
    /// Number of messages beyond the first of their event.
    pub repeated_messages: usize,
    /// Violated promises.
    pub violations: Vec<Violation>,
}

impl LoadTestReport {
    /// Returns `true` if no promise was violated.
    pub fn is_success(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for LoadTestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_sec = |count: usize| {
            let millis = self.sending_time.as_millis().max(1);
            count as u128 * 1_000 / millis
        };
        writeln!(
            f,
            "{} events in {} deliveries, {:.1} s: {} events/s, {} deliveries/s",
            self.events,
            self.deliveries,
            self.sending_time.as_secs_f64(),
            per_sec(self.events),
            per_sec(self.deliveries)
        )?;
        writeln!(
            f,
            "answers: p50 {:.1} ms, p99 {:.1} ms; {} deliveries got 5xx or no response, and were retried",
            self.p50.as_secs_f64() * 1_000.0,
            self.p99.as_secs_f64() * 1_000.0,
            self.failed_attempts
        )?;
        writeln!(
            f,
            "on the queue: {} of {} events, {} repeated messages (every event looked up in {:.1} s)",
            self.queued_events,
            self.events,
            self.repeated_messages,
            self.verifying_time.as_secs_f64()
        )?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

/// Delivers the events to a stack in memory, and looks for each on the queue.
pub async fn run(options: LoadTestOptions) -> anyhow::Result<LoadTestReport> {
    let clock = Clock::system();
    let stack_options = stack::StackOptions::in_memory(clock.clone())?;
    let stack = Stack::start(stack_options).await?;
    let senders = Arc::new(LoadTestSenders::new(&stack, &options).await?);
    let deliveries = deliveries(&options);
    let progress = Progress::new();
    progress.add_steps(deliveries.len());

    progress.start_phase("delivering");
    let started = Instant::now();
    let reports: Vec<DeliveryReport> = stream::iter(deliveries)
        .map(|outgoing| {
            // A task for each delivery, because a stream alone would run them all on one thread.
            let senders = senders.clone();
            tokio::spawn(async move { senders.deliver_until_decided(&outgoing).await })
        })
        .buffer_unordered(options.concurrency.max(1))
        .inspect(|_| progress.finish_step())
        .try_collect()
        .await
        .context("a delivery panicked")?;
    let sending = started.elapsed();

    progress.start_phase("checking that every event is on the queue");
    // Events that the functions recorded and did not send are left to the relay.
    relay_all_due(&stack).await;
    let mut observed = Observed::read(&stack).await?;
    observed.deliveries = sent_deliveries(&options, reports);
    let violations = invariants::violations(&observed, &CHECKED);
    let queued_events = observed.message_counts().len();
    let attempts: Vec<_> = observed.deliveries.iter().flat_map(SentDelivery::attempts).collect();
    let mut latencies: Vec<Duration> = attempts.iter().map(|attempt| attempt.response_time).collect();
    latencies.sort_unstable();
    progress.finish_phase();
    Ok(LoadTestReport {
        events: options.events,
        deliveries: attempts.len(),
        failed_attempts: attempts.iter().filter(|attempt| !attempt.response.is_conclusive()).count(),
        sending_time: sending,
        verifying_time: started.elapsed().saturating_sub(sending),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        queued_events,
        repeated_messages: observed.messages.len() - queued_events,
        violations,
    })
}

struct LoadTestSenders {
    fynapse: FynapseSender,
    rightfoot: RightfootSender,
    rightfoot_url: String,
    server: tokio::task::JoinHandle<()>,
}

impl LoadTestSenders {
    async fn new(stack: &Stack, options: &LoadTestOptions) -> anyhow::Result<Self> {
        // As a function does during its init, so that no measured request has to load a secret.
        for webhook in stack.webhooks.values() {
            webhook.load_secret().await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let base_url = format!("http://{}/webhooks", listener.local_addr()?);
        // At real speed, because this measures time.
        let sim_clock = SimClock::compressed(stack.clock.now(), 1);
        let http = SenderClient::new(sim_clock, options.seed, options.concurrency)?;
        let token = stack.mint_url_token(&"load".parse()?)?;
        Ok(Self {
            fynapse: FynapseSender::new(
                http.clone(),
                format!("{base_url}/fynapse"),
                stack.webhook_keys(Provider::Fynapse)?,
            ),
            rightfoot: RightfootSender::new(http, RetrySpacing::default()),
            rightfoot_url: format!("{base_url}/rightfoot/{token}"),
            server: stack::spawn_server(listener, stack.webhook_routes()),
        })
    }

    /// Repeats a delivery until its response is conclusive, at most [`ATTEMPTS_MAX`] times.
    async fn deliver_until_decided(&self, outgoing: &OutgoingDelivery) -> DeliveryReport {
        let mut attempts = Vec::new();
        while attempts.len() < ATTEMPTS_MAX {
            let attempt = if is_of_fynapse(&outgoing.id) {
                self.fynapse.attempt_once(outgoing, &Signing::Valid).await
            } else {
                self.rightfoot.attempt_once(&self.rightfoot_url, outgoing).await
            };
            let is_decided = attempt.response.is_conclusive();
            attempts.push(attempt);
            if is_decided {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let is_delivered = attempts.last().is_some_and(|attempt| attempt.response.is_success());
        let end = if is_delivered { DeliveryEnd::Delivered } else { DeliveryEnd::GivenUp };
        DeliveryReport { id: outgoing.id.clone(), attempts, end }
    }
}

impl Drop for LoadTestSenders {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The first delivery of the nth event: half are Fynapse's, a quarter completions, a quarter alerts.
fn nth_event(n: usize) -> OutgoingDelivery {
    match n % 4 {
        0 => batch_completed(&format!("load-{n:08}"), &format!("uuid-{n}")),
        1 => threshold_alert(&format!("load-{n:08}"), &format!("uuid-{n}"), 3),
        _ => balance_extracted(&format!("load-{n:08}")),
    }
}

/// The deliveries, in order. A duplicate follows its original directly, so the two may be in flight together.
fn deliveries(options: &LoadTestOptions) -> Vec<OutgoingDelivery> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    (0..options.events)
        .flat_map(|n| {
            let twice = rng.random_range(0..100) < options.duplicates_pct;
            std::iter::repeat_n(nth_event(n), if twice { 2 } else { 1 })
        })
        .collect()
}

/// The events that were sent, each with its reports.
fn sent_deliveries(options: &LoadTestOptions, reports: Vec<DeliveryReport>) -> Vec<SentDelivery> {
    let mut reports_by_id: BTreeMap<String, Vec<DeliveryReport>> = BTreeMap::new();
    for report in reports {
        reports_by_id.entry(report.id.clone()).or_default().push(report);
    }
    let sent = |n| {
        let OutgoingDelivery { id, body, .. } = nth_event(n);
        let provider = if is_of_fynapse(&id) { Provider::Fynapse } else { Provider::Rightfoot };
        let reports = reports_by_id.remove(&id).unwrap_or_default();
        SentDelivery { reports, ..SentDelivery::expecting(provider, id, body, ExpectedOutcome::Enqueued) }
    };
    (0..options.events).map(sent).collect()
}

fn is_of_fynapse(id: &str) -> bool {
    id.starts_with("fynapse/")
}

/// Runs the relay until nothing is due, at most [`RELAY_WAIT_MAX`].
async fn relay_all_due(stack: &Stack) {
    wait_until(RELAY_WAIT_MAX, RELAY_PAUSE, async || {
        if inspect::count_due(stack).await.is_ok_and(|due| due == 0) {
            return true;
        }
        // The next run covers what a failed one left due.
        let _ = stack.relay.handle(Duration::from_secs(60)).await;
        false
    })
    .await;
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    // The nearest rank, so that the result is a time that was measured.
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latencies: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&latencies, 50), Duration::from_millis(100));
        assert_eq!(percentile(&latencies, 99), Duration::from_millis(198));
        assert_eq!(percentile(&latencies[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn the_same_seed_repeats_the_same_share() {
        let options = LoadTestOptions { events: 1_000, duplicates_pct: 10, ..LoadTestOptions::default() };
        let all = deliveries(&options);
        assert_eq!(all, deliveries(&options));
        assert!((1_050..1_150).contains(&all.len()), "{}", all.len());
        let count = |pct| deliveries(&LoadTestOptions { duplicates_pct: pct, ..options.clone() }).len();
        assert_eq!((count(0), count(100)), (1_000, 2_000));
    }

    #[tokio::test]
    async fn every_event_is_found_on_the_queue() {
        let options = LoadTestOptions { events: 60, concurrency: 8, duplicates_pct: 50, seed: 3 };
        let report = run(options).await.unwrap();
        assert!(report.is_success(), "{report}");
        assert!(report.deliveries > 60);
    }

    #[test]
    fn the_report_says_what_is_lost() {
        let report = LoadTestReport {
            events: 2_000,
            deliveries: 2_200,
            failed_attempts: 3,
            sending_time: Duration::from_millis(2_500),
            verifying_time: Duration::from_millis(640),
            p50: Duration::from_micros(7_210),
            p99: Duration::from_micros(23_480),
            queued_events: 1_999,
            repeated_messages: 1,
            violations: vec![Violation {
                promise: "P2",
                description: "LOST",
                ids: vec!["fynapse/event/load-00000002".to_owned()],
            }],
        };
        assert!(!report.is_success());
        assert_eq!(
            report.to_string(),
            "2000 events in 2200 deliveries, 2.5 s: 800 events/s, 880 deliveries/s\n\
             answers: p50 7.2 ms, p99 23.5 ms; 3 deliveries got 5xx or no response, and were retried\n\
             on the queue: 1999 of 2000 events, 1 repeated messages (every event looked up in 0.6 s)\n  \
             LOST: fynapse/event/load-00000002\n"
        );
    }
}
