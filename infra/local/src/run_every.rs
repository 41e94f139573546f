//! Repeated work: at an interval until it is aborted, or until a condition holds.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// Runs `work` now and then at this interval (real time), until the handle is aborted.
pub(crate) fn run_every<F>(interval: Duration, mut work: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        // After a slow run, the full interval passes: no burst of runs catches up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            work().await;
        }
    })
}

/// Checks a condition, with this pause between two checks, until it holds or `timeout` is over. Returns no result:
/// whatever is missing then shows up as a violation of an invariant.
pub(crate) async fn wait_until(timeout: Duration, pause: Duration, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition().await && Instant::now() < deadline {
        tokio::time::sleep(pause).await;
    }
}
