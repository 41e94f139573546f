//! Finding what no webhook told: what to ask Rightfoot, and what its answers mean.
//!
//! Everything is a function of a story (what the table knows), an observation (what the API answered) and the
//! time. `rightfoot-poller` carries out what is decided here: [`batch`] for batches and the runs of schedules,
//! [`completion`] for what a recorded completion is worth, [`schedule`] for finding those runs, [`paging`] for reading lists to their end.

pub mod batch;
pub mod completion;
pub mod pagination;
mod polled_events;
pub mod problem;
pub mod schedule;

use std::time::Duration;

use crate::limits::{
    POLL_DEADLINE_SECS, POLL_FIRST_DELAY_SECS, POLL_GRACE_SECS, POLL_INTERVAL_MAX_FACTOR, POLL_INTERVAL_SECS,
};
use crate::time::UnixMillis;

/// When to ask, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTiming {
    /// From tracking a batch to its first poll, and from a schedule's run to the search for it.
    pub first: Duration,
    /// Between two polls at first; it grows to three times that.
    pub interval: Duration,
    /// From a run's completion until no webhook is to be expected any more.
    pub grace: Duration,
    /// From tracking a batch until it is overdue.
    pub deadline: Duration,
}

impl Default for PollTiming {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(POLL_FIRST_DELAY_SECS),
            interval: Duration::from_secs(POLL_INTERVAL_SECS),
            grace: Duration::from_secs(POLL_GRACE_SECS),
            deadline: Duration::from_secs(POLL_DEADLINE_SECS),
        }
    }
}

impl PollTiming {
    /// When to ask again after so many polls: later and later, up to three times [`Cadence::every`].
    pub fn next_poll_at(&self, now: UnixMillis, polls: u64) -> UnixMillis {
        let factor = u32::try_from(polls.saturating_add(1)).unwrap_or(u32::MAX).min(POLL_INTERVAL_MAX_FACTOR);
        now.plus(self.interval.saturating_mul(factor))
    }

    /// The longest pause between two polls.
    pub const fn max_interval(&self) -> Duration {
        self.interval.saturating_mul(POLL_INTERVAL_MAX_FACTOR)
    }
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollResult<T> {
    /// This.
    Answered(T),
    /// Rightfoot says that it is not ready, or knows nothing of it yet.
    NotReady,
    /// Rightfoot does not let us see this one, or does not take it for anything.
    Denied,
    /// Rightfoot does not let us see anything: ours to fix.
    Unauthorized,
    /// Not so fast.
    RateLimited {
        /// When we may ask again.
        retry_after: Option<Duration>,
    },
    /// No answer, a failure, or one that cannot be read: nothing is known.
    Unanswered,
}

impl<T> PollResult<T> {
    /// Whether Rightfoot has answered the question, be it to our liking or not. Only then can anything be
    /// overdue (P9).
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::Answered(_) | Self::NotReady | Self::Denied => true,
            Self::Unauthorized | Self::RateLimited { .. } | Self::Unanswered => false,
        }
    }

    /// The answer, or what there is instead of one.
    pub fn into_answer<U>(self) -> Result<T, PollResult<U>> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::NotReady => Err(PollResult::NotReady),
            Self::Denied => Err(PollResult::Denied),
            Self::Unauthorized => Err(PollResult::Unauthorized),
            Self::RateLimited { retry_after } => Err(PollResult::RateLimited { retry_after }),
            Self::Unanswered => Err(PollResult::Unanswered),
        }
    }

    /// When to ask again, if the answer says so and it is later than planned.
    fn retry_at(&self, now: UnixMillis, planned_at: UnixMillis) -> Option<UnixMillis> {
        match self {
            Self::RateLimited { retry_after } => {
                retry_after.map(|pause| now.plus(pause)).filter(|at| *at > planned_at)
            }
            Self::Answered(_) | Self::NotReady | Self::Denied | Self::Unauthorized | Self::Unanswered => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn polls_come_after_five_ten_and_then_every_fifteen_minutes() {
        let minutes = |polls| PollTiming::default().next_poll_at(UnixMillis(0), polls).0 / 60_000;
        assert_eq!([0, 1, 2, 3, 100, u64::MAX].map(minutes), [5, 10, 15, 15, 15, 15]);
    }

    proptest! {
        #[test]
        fn backoff_is_monotone_and_capped(polls in any::<u64>(), every_secs in 1u64..86_400, now in any::<i32>()) {
            let cadence = PollTiming { interval: Duration::from_secs(every_secs), ..PollTiming::default() };
            let now = UnixMillis(i64::from(now));
            let pause = |polls| cadence.next_poll_at(now, polls).since(now);
            prop_assert!(pause(polls) <= pause(polls.saturating_add(1)));
            prop_assert!(pause(polls) >= cadence.interval && pause(polls) <= cadence.interval * 3);
        }
    }
}
