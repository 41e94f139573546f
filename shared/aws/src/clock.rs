//! The only module that reads the system time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use inbox_core::time::UnixMillis;

/// A clock. The local system runs it faster; tests set it. Clones share it.
#[derive(Clone)]
pub struct Clock {
    wall_clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    /// The monotonic time of a manual clock; `None` for the machine's.
    manual_instant: Option<Arc<Mutex<Instant>>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        let read_clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        };
        Self { wall_clock: Arc::new(read_clock), manual_instant: None }
    }

    /// Creates a manual clock, whose wall time comes from `wall_clock`. Its monotonic time stands still until
    /// it is advanced.
    pub fn new(wall_clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self { wall_clock: Arc::new(wall_clock), manual_instant: Some(Arc::new(Mutex::new(Instant::now()))) }
    }

    /// The wall-clock time.
    pub fn now(&self) -> UnixMillis {
        (self.wall_clock)()
    }

    /// The monotonic time, for measuring durations: setting the machine's clock does not change it.
    pub fn instant(&self) -> Instant {
        let stands_at = self.manual_instant.as_ref();
        // An `Instant` is never half-written, so a poisoned lock does no harm.
        stands_at.map_or_else(Instant::now, |at| *at.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Advances the monotonic time of a clock made by [`Clock::new`]; does nothing to the system clock.
    pub fn advance(&self, span: Duration) {
        if let Some(at) = &self.manual_instant {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += span;
        }
    }
}

/// The longest duration of a Lambda invocation.
const INVOCATION_MAX: Duration = Duration::from_secs(15 * 60);

/// The rest of an invocation that ends at `deadline`; zero if it is over.
pub fn time_left(deadline: SystemTime) -> Duration {
    remaining(deadline, SystemTime::now())
}

/// The time until `deadline`.
fn remaining(deadline: SystemTime, now: SystemTime) -> Duration {
    match deadline.duration_since(UNIX_EPOCH) {
        // `cargo lambda watch` passes the duration of the invocation instead of its end.
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
    fn a_manual_clock_stands_still_until_advanced_for_all_clones() {
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
    fn a_deadline_that_is_a_span_is_the_time_left() {
        let now = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        let minute = Duration::from_secs(60);
        assert_eq!(remaining(now + minute, now), minute);
        assert_eq!(remaining(now, now), Duration::ZERO);
        assert_eq!(remaining(now - minute, now), Duration::ZERO);
        assert_eq!(remaining(UNIX_EPOCH + 10 * minute, now), 10 * minute);
        assert_eq!(remaining(UNIX_EPOCH + INVOCATION_MAX, now), INVOCATION_MAX);
        assert_eq!(remaining(UNIX_EPOCH + INVOCATION_MAX + minute, now), Duration::ZERO);
    }
}
