//! A run of 100,000 Fynapse events at full speed: all of them are sent in the same second.
//!
//! - The gateway's rate limit is a token bucket (AWS's `http-api-throttling`), with the template's rate and burst.
//! - Fynapse sends a throttled delivery again as [`retry_policy`] says (shared/providers/fynapse.md, "Retries").
//! - The worker processes [`PROCESSED_PER_SEC`] events, and the oldest message waits for those before it.

use std::collections::BTreeMap;

use local::senders::retry_policy::{JITTER_MAX, fynapse_backoff};

use crate::tidy::template;

/// Events of the run.
pub(super) const EVENTS: u64 = 100_000;
/// `EventWorkerMaxConcurrency` (5) × ten messages / 60 ms (infra/OPERATIONS.md, "Cost").
const PROCESSED_PER_SEC: u64 = 833;
/// Seconds between the two requests of one execution: Fynapse says 0.2 to 2.
const MICRO_RETRY_SECS: u64 = 1;

/// Deliveries of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunMinute {
    /// Deliveries that reached the function.
    pub(super) passed: u64,
    /// Requests that were answered 429.
    pub(super) throttled: u64,
    /// Age of the oldest message at the end, in seconds.
    pub(super) oldest_message_secs: u64,
}

/// Requests of the same second and the same attempt.
#[derive(Clone, Copy)]
struct Requests {
    count: u64,
    execution: u32,
    is_micro_retry: bool,
}

/// A token bucket.
struct Bucket {
    rate: u64,
    burst: u64,
    tokens: u64,
    filled_at: u64,
}

impl Bucket {
    /// Takes as many tokens as there are, at most `count`.
    fn take(&mut self, at: u64, count: u64) -> u64 {
        self.tokens = self.burst.min(self.tokens + self.rate * (at - self.filled_at));
        self.filled_at = at;
        let taken = count.min(self.tokens);
        self.tokens -= taken;
        taken
    }
}

/// The default of a numeric parameter.
fn parameter(name: &str) -> u64 {
    template()["Parameters"][name]["Default"].as_u64().unwrap()
}

/// The minutes of the run, until all of its events are recorded.
pub(super) fn run_minutes() -> Vec<RunMinute> {
    let (rate, burst) = (parameter("FynapseRateLimit"), parameter("FynapseBurstLimit"));
    let mut bucket = Bucket { rate, burst, tokens: burst, filled_at: 0 };
    let mut to_send =
        BTreeMap::from([(0, vec![Requests { count: EVENTS, execution: 1, is_micro_retry: false }])]);
    let mut minutes = Vec::new();
    while let Some((second, requests)) = to_send.pop_first() {
        let minute = usize::try_from(second / 60).unwrap();
        minutes.resize((minute + 1).max(minutes.len()), RunMinute::default());
        for requests in requests {
            let passed = bucket.take(second, requests.count);
            minutes[minute].passed += passed;
            let rejected = requests.count - passed;
            minutes[minute].throttled += rejected;
            for (at, again) in retries(second, Requests { count: rejected, ..requests }) {
                to_send.entry(at).or_default().push(again);
            }
        }
    }
    age_messages(&mut minutes);
    minutes
}

/// When rejected requests are sent again.
fn retries(second: u64, rejected: Requests) -> Vec<(u64, Requests)> {
    const JITTERS: u64 = 100;
    if rejected.count == 0 {
        return Vec::new();
    }
    if !rejected.is_micro_retry {
        return vec![(second + MICRO_RETRY_SECS, Requests { is_micro_retry: true, ..rejected })];
    }
    // Jitter spreads them evenly.
    let share = |n: u64| rejected.count * (n + 1) / JITTERS - rejected.count * n / JITTERS;
    let at = |n: u64| {
        let pause = fynapse_backoff(rejected.execution, None, JITTER_MAX * n / JITTERS);
        second + pause.as_secs()
    };
    let again = |count| Requests { count, execution: rejected.execution + 1, is_micro_retry: false };
    (0..JITTERS).map(|n| (at(n), again(share(n)))).filter(|(_, again)| again.count > 0).collect()
}

fn age_messages(minutes: &mut [RunMinute]) {
    let mut backlog = 0_u64;
    for minute in minutes {
        backlog = (backlog + minute.passed).saturating_sub(60 * PROCESSED_PER_SEC);
        minute.oldest_message_secs = backlog / PROCESSED_PER_SEC;
    }
}

#[test]
fn every_event_of_the_run_is_recorded_after_retries_of_a_few_minutes() {
    let minutes = run_minutes();
    assert_eq!(minutes.iter().map(|minute| minute.passed).sum::<u64>(), EVENTS);
    // The burst, and a second's rate for the second requests of the first executions.
    let throttled = minutes[0].throttled;
    assert!(throttled >= 98_000 + 97_000, "{throttled}");
    assert!(minutes.iter().all(|minute| minute.passed <= 62_000), "{minutes:?}");
    // After the pauses of 30 s, 90 s and 270 s, ± 20 %.
    assert!(minutes.len() <= 8, "{minutes:?}");
}

#[test]
fn the_oldest_message_waits_for_those_before_it() {
    let mut minutes = [60_000, 49_980, 0].map(|passed| RunMinute { passed, ..RunMinute::default() });
    age_messages(&mut minutes);
    assert_eq!(minutes.map(|minute| minute.oldest_message_secs), [12, 12, 0]);
}
