//! The pause that Rightfoot has asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::limits::RATE_LIMIT_PAUSE_SECS;
use inbox_core::time::UnixMillis;

/// Until when nothing may be asked. It is about our account, not about what was asked, so its clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RateLimitPause {
    until: Arc<AtomicI64>,
    clock: Clock,
}

impl RateLimitPause {
    /// No pause yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { until: Arc::default(), clock }
    }

    /// The rest of it; `None` if it is over.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = UnixMillis(self.until.load(Ordering::Relaxed)).since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// Begins it, for as long as Rightfoot has said, or else for [`RATE_LIMIT_PAUSE_SECS`]. It never ends earlier than
    /// one that was begun before.
    pub(crate) fn begin(&self, retry_after: Option<Duration>) {
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
        let tells = time.clone();
        let pause = RateLimitPause::new(Clock::new(move || UnixMillis(tells.load(Ordering::SeqCst))));
        let other = pause.clone();
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(other.left(), None);
        pause.begin(secs(0));
        assert_eq!(other.left(), None);
        pause.begin(None);
        assert_eq!(other.left(), secs(30));
        pause.begin(secs(60));
        pause.begin(secs(5));
        assert_eq!(other.left(), secs(60));
        time.fetch_add(59_999, Ordering::SeqCst);
        assert_eq!(other.left(), Some(Duration::from_millis(1)));
        time.fetch_add(1, Ordering::SeqCst);
        assert_eq!(other.left(), None);
    }
}
