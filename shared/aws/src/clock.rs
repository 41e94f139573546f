//! The one place that asks what time it is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use inbox_core::time::UnixMillis;

/// Tells the time. The local system compresses it; the tests set it. Clones share it.
#[derive(Clone)]
pub struct Clock {
    tell: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    /// Where the monotonic time stands; `None` for the machine's.
    stands_at: Option<Arc<Mutex<Instant>>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        let tell = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        };
        Self { tell: Arc::new(tell), stands_at: None }
    }

    /// A clock that asks `tell`. Its monotonic time stands still until it is advanced.
    pub fn new(tell: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), stands_at: Some(Arc::new(Mutex::new(Instant::now()))) }
    }

    /// What time it is.
    pub fn now(&self) -> UnixMillis {
        (self.tell)()
    }

    /// The monotonic time: for how long something lasts, also when the machine's clock is set.
    pub fn instant(&self) -> Instant {
        let stands_at = self.stands_at.as_ref();
        stands_at.map_or_else(Instant::now, |at| *at.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves the monotonic time of a clock made by [`Clock::new`]. The machine's moves by itself.
    pub fn advance(&self, span: Duration) {
        if let Some(at) = &self.stands_at {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += span;
        }
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
    fn monotonic_time_runs_with_the_machine_or_stands_until_all_clones_are_advanced() {
        let machine = Clock::system();
        let (before, began) = (Instant::now(), machine.instant());
        assert!(before <= began && began <= Instant::now());
        let clock = Clock::new(|| UnixMillis(0));
        let began = clock.instant();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clock.instant(), began);
        clock.clone().advance(Duration::from_secs(30));
        assert_eq!((clock.instant() - began, clock.now()), (Duration::from_secs(30), UnixMillis(0)));
    }

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
