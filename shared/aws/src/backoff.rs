//! Pauses between the attempts of a call.
//!
//! For calls that AWS answers with success although work is left: some entries of a batch failed, or a
//! transaction conflicted with another one. The SDK retries only calls that failed as a whole.

use std::time::Duration;

/// The pauses that are left before further attempts. Each is twice as long as the one before.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next_pause: Duration,
    retries_left: u32,
}

impl Backoff {
    /// Allows this many retries, the first one after `first_pause`.
    pub(crate) const fn new(first_pause: Duration, retries: u32) -> Self {
        Self { next_pause: first_pause, retries_left: retries }
    }

    /// Waits before the next retry. Returns `false`, without waiting, if none is left.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.retries_left == 0 {
            return false;
        }
        tokio::time::sleep(self.next_pause).await;
        self.retries_left -= 1;
        self.next_pause *= 2;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn pauses_double_until_no_retry_is_left() {
        let started = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(2), 3);
        for expected_ms in [2, 6, 14] {
            assert!(backoff.pause().await);
            assert!(started.elapsed() >= Duration::from_millis(expected_ms));
        }
        assert!(!backoff.pause().await);
    }
}
