//! The one place that asks what time it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inbox_core::time::UnixMillis;

/// Tells the time. The local system compresses it; the tests set it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixMillis + Send + Sync>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// A clock that asks `tell`.
    pub fn new(tell: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// What time it is.
    pub fn now(&self) -> UnixMillis {
        (self.0)()
    }
}

/// Longest time that Lambda gives an invocation.
const INVOCATION_MAX: Duration = Duration::from_secs(15 * 60);

/// How much of an invocation is left that ends at `deadline`.
pub fn time_left(deadline: SystemTime) -> Duration {
    left(deadline, SystemTime::now())
}

/// `cargo lambda watch` gives, instead of when the invocation ends, how long it may take.
fn left(deadline: SystemTime, now: SystemTime) -> Duration {
    match deadline.duration_since(UNIX_EPOCH) {
        Ok(span) if span <= INVOCATION_MAX => span,
        _ => deadline.duration_since(now).unwrap_or_default(),
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_ends_at_the_deadline_or_is_the_span_that_stands_in_its_place() {
        let now = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        let minute = Duration::from_secs(60);
        assert_eq!(left(now + minute, now), minute);
        assert_eq!(left(now, now), Duration::ZERO);
        assert_eq!(left(now - minute, now), Duration::ZERO);
        assert_eq!(left(UNIX_EPOCH + 10 * minute, now), 10 * minute);
        assert_eq!(left(UNIX_EPOCH + INVOCATION_MAX, now), INVOCATION_MAX);
        assert_eq!(left(UNIX_EPOCH + INVOCATION_MAX + minute, now), Duration::ZERO);
    }
}
