//! The senders' time: it runs faster than the machine's, and the system under them can share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use tokio::time::Instant;

/// How time passes. Clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    epoch: UnixMillis,
    leapt_ms: Arc<AtomicI64>,
    flow: Flow,
}

#[derive(Clone, Debug)]
enum Flow {
    Compressed { since: Instant, rate: u32 },
    Leaping,
}

impl Pace {
    /// From `epoch` on, every real second is `rate` seconds.
    pub fn compressed(epoch: UnixMillis, rate: u32) -> Self {
        let flow = Flow::Compressed { since: Instant::now(), rate: rate.max(1) };
        Self { epoch, leapt_ms: Arc::default(), flow }
    }

    /// Time stands still but for sleeping, which takes no real time at all: three days of retries in no time.
    /// For one delivery after the other; concurrent sleepers would push each other on.
    pub fn leaping(epoch: UnixMillis) -> Self {
        Self { epoch, leapt_ms: Arc::default(), flow: Flow::Leaping }
    }

    /// What time it is.
    pub fn now(&self) -> UnixMillis {
        let leapt = UnixMillis(self.epoch.0.saturating_add(self.leapt_ms.load(Ordering::SeqCst)));
        match &self.flow {
            Flow::Compressed { since, rate } => leapt.plus(since.elapsed().saturating_mul(*rate)),
            Flow::Leaping => leapt,
        }
    }

    /// Lets `span` pass in no time. Who sleeps is not woken earlier.
    pub fn leap(&self, span: Duration) {
        self.leapt_ms.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// A clock that shows this time.
    pub fn clock(&self) -> Clock {
        let pace = self.clone();
        Clock::new(move || pace.now())
    }

    /// How long `span` takes in real time.
    pub fn real(&self, span: Duration) -> Duration {
        match &self.flow {
            Flow::Compressed { rate, .. } => span / *rate,
            Flow::Leaping => Duration::ZERO,
        }
    }

    /// Sleeps for `span` of this time.
    pub async fn sleep(&self, span: Duration) {
        match &self.flow {
            Flow::Compressed { .. } => tokio::time::sleep(self.real(span)).await,
            Flow::Leaping => self.leap(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leaping_time_moves_by_sleeping_alone() {
        let pace = Pace::leaping(UnixMillis(1_000));
        let clock = pace.clock();
        assert_eq!(clock.now(), UnixMillis(1_000));
        pace.sleep(Duration::from_secs(72 * 3_600)).await;
        assert_eq!(clock.now(), UnixMillis(1_000 + 259_200_000));
    }

    #[tokio::test]
    async fn compressed_time_runs_at_its_rate() {
        let pace = Pace::compressed(UnixMillis(0), 1_000);
        assert_eq!(pace.real(Duration::from_secs(30)), Duration::from_millis(30));
        pace.sleep(Duration::from_secs(10)).await;
        assert!(pace.now() >= UnixMillis(10_000));
    }

    #[test]
    fn a_leap_is_seen_by_every_clock() {
        let pace = Pace::compressed(UnixMillis(0), 1);
        let clock = pace.clock();
        pace.clone().leap(Duration::from_secs(3_600));
        assert!((3_600_000..3_610_000).contains(&clock.now().0), "{:?}", clock.now());
    }
}
