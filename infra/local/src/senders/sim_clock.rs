//! Simulated time: runs faster than real time, and is shared by the senders and the system under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use tokio::time::Instant;

/// A clock of simulated time. Clones share it.
#[derive(Clone, Debug)]
pub struct SimClock {
    epoch: UnixMillis,
    advanced_ms: Arc<AtomicI64>,
    mode: TimeMode,
}

#[derive(Clone, Debug)]
enum TimeMode {
    Compressed { since: Instant, rate: u32 },
    AutoAdvancing,
}

impl SimClock {
    /// Creates a clock that starts at `epoch` and runs `rate` (at least 1) simulated seconds per real second.
    pub fn compressed(epoch: UnixMillis, rate: u32) -> Self {
        let mode = TimeMode::Compressed { since: Instant::now(), rate: rate.max(1) };
        Self { epoch, advanced_ms: Arc::default(), mode }
    }

    /// Creates a clock that stands still except for [`Self::sleep`], which advances it without taking real time: three
    /// days of retries are instant. For sequential use only, since concurrent sleepers would advance each other's time.
    pub fn auto_advancing(epoch: UnixMillis) -> Self {
        Self { epoch, advanced_ms: Arc::default(), mode: TimeMode::AutoAdvancing }
    }

    /// The current simulated time.
    pub fn now(&self) -> UnixMillis {
        let advanced = UnixMillis(self.epoch.0.saturating_add(self.advanced_ms.load(Ordering::SeqCst)));
        match &self.mode {
            TimeMode::Compressed { since, rate } => advanced.plus(since.elapsed().saturating_mul(*rate)),
            TimeMode::AutoAdvancing => advanced,
        }
    }

    /// Moves the clock forward by `span` at once. Sleeping tasks do not wake earlier.
    pub fn advance(&self, span: Duration) {
        self.advanced_ms.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// A [`Clock`] that shows this time.
    pub fn to_clock(&self) -> Clock {
        let clock = self.clone();
        Clock::new(move || clock.now())
    }

    /// Real time in which `span` of simulated time passes; zero for an auto-advancing clock.
    pub fn real_duration(&self, span: Duration) -> Duration {
        match &self.mode {
            TimeMode::Compressed { rate, .. } => span / *rate,
            TimeMode::AutoAdvancing => Duration::ZERO,
        }
    }

    /// Sleeps for `span` of simulated time.
    pub async fn sleep(&self, span: Duration) {
        match &self.mode {
            TimeMode::Compressed { .. } => tokio::time::sleep(self.real_duration(span)).await,
            TimeMode::AutoAdvancing => self.advance(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn auto_advancing_time_moves_only_by_sleeping() {
        let sim_clock = SimClock::auto_advancing(UnixMillis(1_000));
        let clock = sim_clock.to_clock();
        assert_eq!(clock.now(), UnixMillis(1_000));
        sim_clock.sleep(Duration::from_secs(72 * 3_600)).await;
        assert_eq!(clock.now(), UnixMillis(1_000 + 259_200_000));
    }

    #[tokio::test]
    async fn compressed_time_runs_at_its_rate() {
        let sim_clock = SimClock::compressed(UnixMillis(0), 1_000);
        assert_eq!(sim_clock.real_duration(Duration::from_secs(30)), Duration::from_millis(30));
        sim_clock.sleep(Duration::from_secs(10)).await;
        assert!(sim_clock.now() >= UnixMillis(10_000));
    }

    #[test]
    fn every_clock_shows_an_advance() {
        let sim_clock = SimClock::compressed(UnixMillis(0), 1);
        let clock = sim_clock.to_clock();
        sim_clock.clone().advance(Duration::from_secs(3_600));
        assert!((3_600_000..3_610_000).contains(&clock.now().0), "{:?}", clock.now());
    }
}
