//! The pauses between attempts.

use std::time::{Duration, UNIX_EPOCH};

use inbox_core::time::UnixMillis;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::ClientConfig;

/// Most attempts of a request.
const ATTEMPTS_MAX: u32 = 3;
/// Upper limit of `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The pause before the next attempt; `None` if there is none.
pub(crate) fn retry_pause(
    config: &ClientConfig,
    attempts: u32,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    if attempts >= ATTEMPTS_MAX {
        return None;
    }
    let max_backoff =
        config.backoff_base.saturating_mul(1 << attempts.saturating_sub(1)).min(config.pause_max);
    let backoff = max_backoff.mul_f64(fastrand::f64());
    match retry_after {
        // A longer pause is left to the caller.
        Some(requested) => (requested <= config.pause_max).then(|| requested.max(backoff)),
        None => Some(backoff),
    }
}

/// `Retry-After` in either of its forms (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit asks for the longest pause.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(0).plus(at).since(now)
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn parse_retry_after(value: &'static str) -> Option<Duration> {
        let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
        retry_after(&headers, UnixMillis(784_111_767_000))
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(parse_retry_after("120"), secs(120));
        assert_eq!(parse_retry_after("0"), secs(0));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), secs(10));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:17 GMT"), secs(0), "the past is now");
        for most in ["99999999999999999999999", "86401", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(parse_retry_after(most), secs(86_400));
        }
        for nothing in ["", "-1", "1.5", "soon", "1 s"] {
            assert_eq!(parse_retry_after(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), UnixMillis(0)), None);
    }

    #[test]
    fn pauses_are_spread_from_nothing_to_twice_as_much_each_time() {
        let config = ClientConfig::new("https://a.test", None).unwrap();
        let range = |attempts| {
            let pauses = (0..2_000).map(|_| retry_pause(&config, attempts, None).unwrap().as_millis());
            let pauses: Vec<_> = pauses.collect();
            (pauses.iter().min().copied().unwrap(), pauses.iter().max().copied().unwrap())
        };
        for (attempts, longest) in [(1, 200), (2, 400)] {
            let (least, most) = range(attempts);
            assert!(least < longest / 4 && (longest * 3 / 4..=longest).contains(&most), "{least} to {most}");
        }
        assert_eq!(retry_pause(&config, 3, None), None, "at most three attempts");

        let asked = |secs| retry_pause(&config, 1, Some(Duration::from_secs(secs)));
        assert_eq!(asked(2), Some(Duration::from_secs(2)));
        assert_eq!(asked(3), None);
        assert!(asked(0).unwrap() <= Duration::from_millis(200));
    }
}
