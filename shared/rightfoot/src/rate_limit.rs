//! The rate-limit pause that Rightfoot has asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::limits::RATE_LIMIT_PAUSE_SECS;
use inbox_core::time::UnixMillis;

/// The end of the pause. A limit applies to our account, not to single requests, so clones share it.
#[derive(Clone, Debug)]
pub(crate) struct AccountRateLimit {
    until: Arc<AtomicI64>,
    clock: Clock,
}

impl AccountRateLimit {
    /// Creates it, without a pause.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { until: Arc::default(), clock }
    }

    /// The rest of the pause; `None` if there is none.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let remaining = UnixMillis(self.until.load(Ordering::Relaxed)).since(self.clock.now());
        (!remaining.is_zero()).then_some(remaining)
    }

    /// Starts a pause as long as Rightfoot asked for, or of [`RATE_LIMIT_PAUSE_SECS`]. It never shortens a
    /// pause that has begun.
    pub(crate) fn start(&self, retry_after: Option<Duration>) {
        let pause = retry_after.unwrap_or(Duration::from_secs(RATE_LIMIT_PAUSE_SECS));
        self.until.fetch_max(self.clock.now().plus(pause).0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_that_was_asked_for_holds_for_every_clone() {
        let time = Arc::new(AtomicI64::new(1_767_323_045_000));
        let clock_time = time.clone();
        let pause = AccountRateLimit::new(Clock::new(move || UnixMillis(clock_time.load(Ordering::SeqCst))));
        let other = pause.clone();
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(other.remaining(), None);
        pause.start(secs(0));
        assert_eq!(other.remaining(), None);
        pause.start(None);
        assert_eq!(other.remaining(), secs(30));
        pause.start(secs(60));
        pause.start(secs(5));
        assert_eq!(other.remaining(), secs(60));
        time.fetch_add(59_999, Ordering::SeqCst);
        assert_eq!(other.remaining(), Some(Duration::from_millis(1)));
        time.fetch_add(1, Ordering::SeqCst);
        assert_eq!(other.remaining(), None);
    }
}
