//! The providers' retry policies: pauses and limits, as pure arithmetic.
//!
//! Randomness is an input: `jitter`, from 0 (the shortest pause) to [`JITTER_MAX`] (the longest).

use std::time::Duration;

/// Upper end of `jitter`.
pub const JITTER_MAX: u64 = 1_000;

/// Fynapse: maximum number of HTTP requests within one execution.
pub const ATTEMPTS_PER_EXECUTION: u32 = 2;
/// Fynapse: maximum number of executions of one delivery. Its documents say "attempts" and leave open if each contains a
/// micro-retry; this assumes that it does.
pub const FYNAPSE_EXECUTIONS_MAX: u32 = 20;
/// Fynapse: time after its creation in which a delivery is attempted.
pub const FYNAPSE_RETRY_WINDOW: Duration = Duration::from_secs(72 * 3_600);
/// Fynapse: statuses that end a delivery at once and for good (`DEAD_LETTER`).
pub const FYNAPSE_PERMANENT_FAILURE_CODES: [u16; 7] = [400, 401, 402, 405, 406, 410, 413];

// Fynapse calls these figures defaults (shared/providers/fynapse.md, "Retries").
const MICRO_RETRY_DELAY_MS: (u64, u64) = (200, 2_000);
const INITIAL_BACKOFF_MS: u64 = 30_000;
const BACKOFF_FACTOR: u64 = 3;
const BACKOFF_MAX_MS: u64 = 4 * 3_600 * 1_000;
const JITTER_PER_MILLE: u64 = 200;
const RETRY_AFTER_JITTER_PER_MILLE: u64 = 100;

/// Rightfoot: time after its first attempt in which a delivery is attempted.
pub const RIGHTFOOT_RETRY_WINDOW: Duration = Duration::from_secs(30 * 60);
const RIGHTFOOT_INITIAL_BACKOFF: Duration = Duration::from_secs(60);

/// Fynapse's reaction to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Any 2xx.
    Delivered,
    /// One of [`FYNAPSE_PERMANENT_FAILURE_CODES`]: the delivery is over.
    PermanentFailure(u16),
    /// Retried by a later execution, and first within this one if `allows_micro_retry`.
    Retry {
        /// False for 408, which skips the micro-retry.
        allows_micro_retry: bool,
    },
}

/// Fynapse's reaction to a status; `None` is a network error or a timeout.
pub fn fynapse_retry_decision(status: Option<u16>) -> RetryDecision {
    match status {
        Some(200..=299) => RetryDecision::Delivered,
        Some(status) if FYNAPSE_PERMANENT_FAILURE_CODES.contains(&status) => {
            RetryDecision::PermanentFailure(status)
        }
        Some(408) => RetryDecision::Retry { allows_micro_retry: false },
        // This includes 3xx, by inference (shared/providers/fynapse.md, "Effect of an answer").
        Some(_) | None => RetryDecision::Retry { allows_micro_retry: true },
    }
}

/// Fynapse's pause between the two requests of an execution: 0.2 to 2 s.
pub fn fynapse_micro_retry_delay(jitter: u64) -> Duration {
    let (shortest, longest) = MICRO_RETRY_DELAY_MS;
    Duration::from_millis(shortest + (longest - shortest) * jitter.min(JITTER_MAX) / JITTER_MAX)
}

/// Fynapse's pause after this many executions: 30 s, three times longer each time up to 4 h, ± 20 %.
/// A `Retry-After` replaces it, plus up to 10 %.
pub fn fynapse_backoff(executions: u32, retry_after_secs: Option<u64>, jitter: u64) -> Duration {
    let jitter = jitter.min(JITTER_MAX);
    let (base_ms, per_mille) = match retry_after_secs {
        // Jitter only lengthens it: the receiver asked for at least this pause.
        Some(secs) => {
            (secs.saturating_mul(1_000), 1_000 + RETRY_AFTER_JITTER_PER_MILLE * jitter / JITTER_MAX)
        }
        None => {
            let factor = BACKOFF_FACTOR.saturating_pow(executions.saturating_sub(1));
            let base_ms = INITIAL_BACKOFF_MS.saturating_mul(factor).min(BACKOFF_MAX_MS);
            // From -20 % for a jitter of 0 to +20 % for `JITTER_MAX`.
            (base_ms, 1_000 - JITTER_PER_MILLE + 2 * JITTER_PER_MILLE * jitter / JITTER_MAX)
        }
    };
    Duration::from_millis(base_ms.saturating_mul(per_mille) / 1_000)
}

/// Interpretation of Rightfoot's "immediately, then after 1, 2, 4 minutes, then doubling until 30 minutes total".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetrySpacing {
    /// Each pause counts from the previous attempt: minutes 0, 1, 3, 7, 15.
    #[default]
    FromPreviousAttempt,
    /// Each time counts from the first attempt: minutes 0, 1, 2, 4, 8, 16.
    FromStart,
}

/// Rightfoot's pause after this many attempts, `since_first` after the first one; `None` if it gives up.
pub fn rightfoot_backoff(
    retry_spacing: RetrySpacing,
    attempts: u32,
    since_first: Duration,
) -> Option<Duration> {
    // Doubles with each attempt: 1, 2, 4, 8 … minutes.
    let step = RIGHTFOOT_INITIAL_BACKOFF.checked_mul(2_u32.checked_pow(attempts.checked_sub(1)?)?)?;
    let (pause, at) = match retry_spacing {
        RetrySpacing::FromPreviousAttempt => (step, since_first.checked_add(step)?),
        // After a slow attempt, the next one may be due already.
        RetrySpacing::FromStart => (step.saturating_sub(since_first), step),
    };
    (at <= RIGHTFOOT_RETRY_WINDOW).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIAN_JITTER: u64 = JITTER_MAX / 2;

    fn secs(pause: Duration) -> u64 {
        assert_eq!(pause.subsec_millis(), 0);
        pause.as_secs()
    }

    #[test]
    fn fynapse_waits_thirty_seconds_and_then_three_times_longer_up_to_four_hours() {
        let pauses: Vec<_> =
            (1..20).map(|executions| secs(fynapse_backoff(executions, None, MEDIAN_JITTER))).collect();
        assert_eq!(pauses[..7], [30, 90, 270, 810, 2_430, 7_290, 14_400]);
        assert!(pauses[7..].iter().all(|pause| *pause == 14_400));
        // The documents' arithmetic (shared/providers/fynapse.md, "Retries"): attempt 20 at about 55 hours, attempt 8 at 7 h 02.
        assert_eq!(pauses.iter().sum::<u64>(), 198_120);
        assert_eq!(pauses[..7].iter().sum::<u64>(), 25_320);
        assert_eq!(secs(fynapse_backoff(u32::MAX, None, MEDIAN_JITTER)), 14_400);
    }

    #[test]
    fn fynapse_jitters_by_a_fifth_either_way() {
        let at = |jitter| secs(fynapse_backoff(1, None, jitter));
        assert_eq!((at(0), at(250), at(500), at(750), at(1_000)), (24, 27, 30, 33, 36));
        assert_eq!(
            (secs(fynapse_backoff(9, None, 0)), secs(fynapse_backoff(9, None, 9_999))),
            (11_520, 17_280)
        );
    }

    #[test]
    fn retry_after_replaces_the_pause_and_is_never_cut_short() {
        let at = |jitter| secs(fynapse_backoff(7, Some(100), jitter));
        assert_eq!((at(0), at(500), at(1_000)), (100, 105, 110));
        assert_eq!(fynapse_backoff(1, Some(0), 1_000), Duration::ZERO);
        assert!(fynapse_backoff(1, Some(u64::MAX), 1_000) > FYNAPSE_RETRY_WINDOW);
    }

    #[test]
    fn the_micro_retry_comes_after_a_fifth_of_a_second_to_two_seconds() {
        let at = |jitter| fynapse_micro_retry_delay(jitter).as_millis();
        assert_eq!((at(0), at(500), at(1_000), at(5_000)), (200, 1_100, 2_000, 2_000));
    }

    #[test]
    fn seven_statuses_fail_permanently_and_408_skips_the_micro_retry() {
        for status in 100..600 {
            let expected = match status {
                200..=299 => RetryDecision::Delivered,
                400 | 401 | 402 | 405 | 406 | 410 | 413 => RetryDecision::PermanentFailure(status),
                408 => RetryDecision::Retry { allows_micro_retry: false },
                _ => RetryDecision::Retry { allows_micro_retry: true },
            };
            assert_eq!(fynapse_retry_decision(Some(status)), expected, "{status}");
        }
        assert_eq!(fynapse_retry_decision(None), RetryDecision::Retry { allows_micro_retry: true });
    }

    /// The minutes of all attempts, if each fails after `each`.
    fn minutes(retry_spacing: RetrySpacing, each: Duration) -> Vec<u64> {
        let (mut at, mut all) = (Duration::ZERO, vec![]);
        loop {
            all.push(at.as_secs() / 60);
            let attempts = u32::try_from(all.len()).unwrap();
            match rightfoot_backoff(retry_spacing, attempts, at + each) {
                Some(pause) => at += each + pause,
                None => return all,
            }
        }
    }

    #[test]
    fn rightfoot_tries_for_half_an_hour_in_either_interpretation() {
        assert_eq!(minutes(RetrySpacing::FromPreviousAttempt, Duration::ZERO), [0, 1, 3, 7, 15]);
        assert_eq!(minutes(RetrySpacing::FromStart, Duration::ZERO), [0, 1, 2, 4, 8, 16]);
        let slow = Duration::from_secs(10);
        assert_eq!(minutes(RetrySpacing::FromPreviousAttempt, slow), [0, 1, 3, 7, 15]);
        assert_eq!(minutes(RetrySpacing::FromStart, slow), [0, 1, 2, 4, 8, 16]);
    }
}
