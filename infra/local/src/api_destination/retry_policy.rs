//! What follows an answer: the statuses that are retried, the pauses, and the limits.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;

/// Times and limits of the retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Time until a request is given up: EventBridge's.
    pub response_timeout: Duration,
    /// Pause before the first retry. It doubles from retry to retry.
    pub first_pause: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Most retries of an event. EventBridge's default is 185.
    pub retries_max: u32,
    /// Age at which an event is not retried any more. EventBridge's default is 24 hours.
    pub event_age_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(5),
            first_pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            retries_max: 10,
            event_age_max: Duration::from_secs(600),
        }
    }
}

impl RetryPolicy {
    /// The pause after the failed attempt with this number, counted from 1, without jitter.
    fn pause_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        self.first_pause.saturating_mul(1 << doublings).min(self.pause_max)
    }

    /// What follows an attempt. `jitter` is in 0.0..1.0, `age` that of the event.
    pub(super) fn next_step(&self, attempt: u32, answer: &Answer, age: Duration, jitter: f64) -> NextStep {
        let retry_after = match answer {
            Answer::Http { status, .. } if (200..300).contains(status) => return NextStep::Delivered,
            Answer::Http { status, .. } if !is_retried(*status) => {
                return NextStep::GiveUp("not retried");
            }
            Answer::Http { retry_after: Some(RetryAfter::Never), .. } => {
                return NextStep::GiveUp("negative Retry-After");
            }
            Answer::Http { retry_after: Some(RetryAfter::In(pause)), .. } => *pause,
            Answer::Http { retry_after: None, .. } | Answer::None(_) => Duration::ZERO,
        };
        if attempt > self.retries_max {
            return NextStep::GiveUp("last attempt");
        }
        // Half of the pause is random. The handler's own wish is the least.
        let pause = self.pause_after(attempt).mul_f64(0.5 + jitter / 2.0).max(retry_after);
        if age.saturating_add(pause) > self.event_age_max {
            return NextStep::GiveUp("too old");
        }
        NextStep::RetryIn(pause)
    }
}

/// Returns `true` for the statuses that EventBridge retries.
fn is_retried(status: u16) -> bool {
    matches!(status, 401 | 407 | 409 | 429 | 500..)
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Http {
        status: u16,
        retry_after: Option<RetryAfter>,
    },
    /// No response, for this reason.
    None(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAfter {
    In(Duration),
    /// A negative value.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Delivered,
    RetryIn(Duration),
    GiveUp(&'static str),
}

impl RetryAfter {
    /// Parses the header: seconds, or a time. `None` if it is neither.
    pub(super) fn parse(value: Option<&HeaderValue>, now: SystemTime) -> Option<Self> {
        let text = value?.to_str().ok()?.trim();
        if let Ok(secs) = text.parse::<i64>() {
            return Some(u64::try_from(secs).map_or(Self::Never, |secs| Self::In(Duration::from_secs(secs))));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        Some(Self::In(at.duration_since(now).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, retry_after: Option<RetryAfter>) -> Answer {
        Answer::Http { status, retry_after }
    }

    #[test]
    fn only_the_documented_statuses_are_retried() {
        let policy = RetryPolicy::default();
        let step = |status| policy.next_step(1, &http(status, None), Duration::ZERO, 1.0);
        for status in [200, 202, 299] {
            assert_eq!(step(status), NextStep::Delivered, "{status}");
        }
        for status in [401, 407, 409, 429, 500, 503, 599] {
            assert_eq!(step(status), NextStep::RetryIn(Duration::from_secs(1)), "{status}");
        }
        for status in [301, 400, 403, 404, 410, 422] {
            assert_eq!(step(status), NextStep::GiveUp("not retried"), "{status}");
        }
        let step = policy.next_step(1, &Answer::None("timeout"), Duration::ZERO, 0.0);
        assert_eq!(step, NextStep::RetryIn(Duration::from_millis(500)), "at least half of the pause");
    }

    #[test]
    fn pauses_double_until_no_retry_is_left_or_the_event_is_too_old() {
        let policy = RetryPolicy::default();
        let step = |attempt, age| policy.next_step(attempt, &http(503, None), Duration::from_secs(age), 1.0);
        let pauses: Vec<_> = (1..=11).map(|attempt| step(attempt, 0)).collect();
        let secs =
            [1, 2, 4, 8, 16, 30, 30, 30, 30, 30].map(|secs| NextStep::RetryIn(Duration::from_secs(secs)));
        assert_eq!(pauses[..10], secs);
        assert_eq!(pauses[10], NextStep::GiveUp("last attempt"));
        assert_eq!(step(1, 599), NextStep::RetryIn(Duration::from_secs(1)));
        assert_eq!(step(1, 600), NextStep::GiveUp("too old"));
    }

    #[test]
    fn the_longer_of_back_off_and_retry_after_decides() {
        let policy = RetryPolicy::default();
        let step = |attempt, wish| policy.next_step(attempt, &http(503, Some(wish)), Duration::ZERO, 1.0);
        let wish = |secs| RetryAfter::In(Duration::from_secs(secs));
        assert_eq!(step(1, wish(7)), NextStep::RetryIn(Duration::from_secs(7)));
        assert_eq!(step(4, wish(7)), NextStep::RetryIn(Duration::from_secs(8)));
        assert_eq!(step(1, wish(601)), NextStep::GiveUp("too old"));
        assert_eq!(step(1, RetryAfter::Never), NextStep::GiveUp("negative Retry-After"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |text| RetryAfter::parse(Some(&HeaderValue::from_static(text)), now);
        assert_eq!(parse("120"), Some(RetryAfter::In(Duration::from_secs(120))));
        assert_eq!(parse("-1"), Some(RetryAfter::Never));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:37 GMT"), Some(RetryAfter::In(Duration::from_secs(60))));
        assert_eq!(parse("Sun, 06 Nov 1994 08:48:37 GMT"), Some(RetryAfter::In(Duration::ZERO)));
        assert_eq!(parse("soon"), None);
        assert_eq!(RetryAfter::parse(None, now), None);
    }
}
