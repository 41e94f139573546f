//! When the providers deliver again, and when they stop: arithmetic only.
//!
//! Chance is an input, `luck`, from 0 (the shortest pause) to 1,000 (the longest).

use std::time::Duration;

/// The upper end of `luck`.
pub const LUCK_MAX: u64 = 1_000;

/// Fynapse: HTTP requests within one execution.
pub const MICRO_ATTEMPTS: u32 = 2;
/// Fynapse: executions of one delivery. Its documents say "attempts"; whether each contains a micro-retry they
/// do not say, and this takes it that it does.
pub const EXECUTIONS_MAX: u32 = 20;
/// Fynapse: how long after its creation a delivery is tried.
pub const WINDOW: Duration = Duration::from_secs(72 * 3_600);
/// Fynapse: the answers that end a delivery at once, for good.
pub const KILL_CODES: [u16; 7] = [400, 401, 402, 405, 406, 410, 413];

const MICRO_PAUSE_MS: (u64, u64) = (200, 2_000);
const FIRST_PAUSE_MS: u64 = 30_000;
const MULTIPLIER: u64 = 3;
const PAUSE_MAX_MS: u64 = 4 * 3_600 * 1_000;
const JITTER_PER_MILLE: u64 = 200;
const RETRY_AFTER_JITTER_PER_MILLE: u64 = 100;

/// Rightfoot: how long after its first attempt a delivery is tried.
pub const RIGHTFOOT_WINDOW: Duration = Duration::from_secs(30 * 60);
const RIGHTFOOT_FIRST_PAUSE: Duration = Duration::from_secs(60);

/// What an answer means to Fynapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Any 2xx.
    Delivered,
    /// One of [`KILL_CODES`].
    Killed(u16),
    /// To be tried again by a later execution, and before that, if `micro`, within this one.
    Again {
        /// 408 skips the micro-retry.
        micro: bool,
    },
}

/// What this status means to Fynapse; `None` is a network error or a time-out.
pub fn fynapse_verdict(status: Option<u16>) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(status) if KILL_CODES.contains(&status) => Verdict::Killed(status),
        Some(408) => Verdict::Again { micro: false },
        Some(_) | None => Verdict::Again { micro: true },
    }
}

/// Fynapse's pause between the two requests of an execution.
pub fn fynapse_micro_pause(luck: u64) -> Duration {
    let (shortest, longest) = MICRO_PAUSE_MS;
    Duration::from_millis(shortest + (longest - shortest) * luck.min(LUCK_MAX) / LUCK_MAX)
}

/// Fynapse's pause after so many executions: 30 s, three times longer each time up to 4 h, give or take 20 %.
/// A `Retry-After` replaces it, plus up to 10 %.
pub fn fynapse_pause(executions: u32, retry_after_secs: Option<u64>, luck: u64) -> Duration {
    let luck = luck.min(LUCK_MAX);
    let (base_ms, per_mille) = match retry_after_secs {
        Some(secs) => (secs.saturating_mul(1_000), 1_000 + RETRY_AFTER_JITTER_PER_MILLE * luck / LUCK_MAX),
        None => {
            let factor = MULTIPLIER.saturating_pow(executions.saturating_sub(1));
            let base_ms = FIRST_PAUSE_MS.saturating_mul(factor).min(PAUSE_MAX_MS);
            (base_ms, 1_000 - JITTER_PER_MILLE + 2 * JITTER_PER_MILLE * luck / LUCK_MAX)
        }
    };
    Duration::from_millis(base_ms.saturating_mul(per_mille) / 1_000)
}

/// How Rightfoot's "immediately, then after 1, 2, 4 minutes, then doubling until 30 minutes total" is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeline {
    /// Each pause counts from the previous attempt: minutes 0, 1, 3, 7, 15.
    #[default]
    FromPreviousAttempt,
    /// Each time counts from the first attempt: minutes 0, 1, 2, 4, 8, 16.
    FromStart,
}

/// Rightfoot's pause after so many attempts, `since_first` after the first one; `None` if it gives up.
pub fn rightfoot_pause(timeline: Timeline, attempts: u32, since_first: Duration) -> Option<Duration> {
    let step = RIGHTFOOT_FIRST_PAUSE.checked_mul(2_u32.checked_pow(attempts.checked_sub(1)?)?)?;
    let (pause, at) = match timeline {
        Timeline::FromPreviousAttempt => (step, since_first.checked_add(step)?),
        Timeline::FromStart => (step.saturating_sub(since_first), step),
    };
    (at <= RIGHTFOOT_WINDOW).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u64 = LUCK_MAX / 2;

    fn secs(pause: Duration) -> u64 {
        assert_eq!(pause.subsec_millis(), 0);
        pause.as_secs()
    }

    #[test]
    fn fynapse_waits_thirty_seconds_and_then_three_times_longer_up_to_four_hours() {
        let pauses: Vec<_> =
            (1..20).map(|executions| secs(fynapse_pause(executions, None, MIDDLE))).collect();
        assert_eq!(pauses[..7], [30, 90, 270, 810, 2_430, 7_290, 14_400]);
        assert!(pauses[7..].iter().all(|pause| *pause == 14_400));
        // The documents' arithmetic (shared/providers/fynapse.md, "Retries"): attempt 20 at about 55 hours, attempt 8 at 7 h 02.
        assert_eq!(pauses.iter().sum::<u64>(), 198_120);
        assert_eq!(pauses[..7].iter().sum::<u64>(), 25_320);
        assert_eq!(secs(fynapse_pause(u32::MAX, None, MIDDLE)), 14_400);
    }

    #[test]
    fn fynapse_jitters_by_a_fifth_either_way() {
        let at = |luck| secs(fynapse_pause(1, None, luck));
        assert_eq!((at(0), at(250), at(500), at(750), at(1_000)), (24, 27, 30, 33, 36));
        assert_eq!((secs(fynapse_pause(9, None, 0)), secs(fynapse_pause(9, None, 9_999))), (11_520, 17_280));
    }

    #[test]
    fn retry_after_replaces_the_pause_and_is_never_cut_short() {
        let at = |luck| secs(fynapse_pause(7, Some(100), luck));
        assert_eq!((at(0), at(500), at(1_000)), (100, 105, 110));
        assert_eq!(fynapse_pause(1, Some(0), 1_000), Duration::ZERO);
        assert!(fynapse_pause(1, Some(u64::MAX), 1_000) > WINDOW);
    }

    #[test]
    fn the_micro_retry_comes_after_a_fifth_of_a_second_to_two_seconds() {
        let at = |luck| fynapse_micro_pause(luck).as_millis();
        assert_eq!((at(0), at(500), at(1_000), at(5_000)), (200, 1_100, 2_000, 2_000));
    }

    #[test]
    fn seven_answers_kill_and_408_skips_the_micro_retry() {
        for status in 100..600 {
            let expected = match status {
                200..=299 => Verdict::Delivered,
                400 | 401 | 402 | 405 | 406 | 410 | 413 => Verdict::Killed(status),
                408 => Verdict::Again { micro: false },
                _ => Verdict::Again { micro: true },
            };
            assert_eq!(fynapse_verdict(Some(status)), expected, "{status}");
        }
        assert_eq!(fynapse_verdict(None), Verdict::Again { micro: true });
    }

    /// The minutes of all attempts, if each fails after `each`.
    fn minutes(timeline: Timeline, each: Duration) -> Vec<u64> {
        let (mut at, mut all) = (Duration::ZERO, vec![]);
        loop {
            all.push(at.as_secs() / 60);
            let attempts = u32::try_from(all.len()).unwrap();
            match rightfoot_pause(timeline, attempts, at + each) {
                Some(pause) => at += each + pause,
                None => return all,
            }
        }
    }

    #[test]
    fn rightfoot_tries_for_half_an_hour_in_either_reading() {
        assert_eq!(minutes(Timeline::FromPreviousAttempt, Duration::ZERO), [0, 1, 3, 7, 15]);
        assert_eq!(minutes(Timeline::FromStart, Duration::ZERO), [0, 1, 2, 4, 8, 16]);
        let slow = Duration::from_secs(10);
        assert_eq!(minutes(Timeline::FromPreviousAttempt, slow), [0, 1, 3, 7, 15]);
        assert_eq!(minutes(Timeline::FromStart, slow), [0, 1, 2, 4, 8, 16]);
    }
}
