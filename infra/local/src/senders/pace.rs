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
    flow: Flow,
}

#[derive(Clone, Debug)]
enum Flow {
    Compressed { since: Instant, rate: u32 },
    Leaping { leapt_ms: Arc<AtomicI64> },
}

impl Pace {
    /// From `epoch` on, every real second is `rate` seconds.
    pub fn compressed(epoch: UnixMillis, rate: u32) -> Self {
        Self { epoch, flow: Flow::Compressed { since: Instant::now(), rate: rate.max(1) } }
    }

    /// Time stands still but for sleeping, which takes no real time at all: three days of retries in no time.
    /// For one delivery after the other; concurrent sleepers would push each other on.
    pub fn leaping(epoch: UnixMillis) -> Self {
        Self { epoch, flow: Flow::Leaping { leapt_ms: Arc::default() } }
    }

    /// What time it is.
    pub fn now(&self) -> UnixMillis {
        match &self.flow {
            Flow::Compressed { since, rate } => self.epoch.plus(since.elapsed().saturating_mul(*rate)),
            Flow::Leaping { leapt_ms } => {
                UnixMillis(self.epoch.0.saturating_add(leapt_ms.load(Ordering::SeqCst)))
            }
        }
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
            Flow::Leaping { .. } => Duration::ZERO,
        }
    }

    /// Sleeps for `span` of this time.
    pub async fn sleep(&self, span: Duration) {
        match &self.flow {
            Flow::Compressed { .. } => tokio::time::sleep(self.real(span)).await,
            Flow::Leaping { leapt_ms } => {
                let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                leapt_ms.fetch_add(span_ms, Ordering::SeqCst);
            }
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
}
