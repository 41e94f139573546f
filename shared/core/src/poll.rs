//! Polling Rightfoot for events that no webhook announced.
//!
//! Every decision is a function of the stored item, a [`PollResult`] and the time; `rightfoot-poller` carries it
//! out. [`batch`] plans the polls of batches and of schedules' runs, [`completion`] interprets a recorded completion,
//! [`schedule`] finds the runs, [`pagination`] reads lists to their end.

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

/// The times at which to poll, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTiming {
    /// Delay from tracking a batch to its first poll, and from a schedule's run to the search for it.
    pub first: Duration,
    /// First delay between two polls; it grows to three times that.
    pub interval: Duration,
    /// Time after a run's completion during which a webhook may still arrive.
    pub grace: Duration,
    /// Time from tracking a batch until it is overdue.
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
    /// The time of the next poll after `polls` polls: later and later, up to three times
    /// [`PollTiming::interval`].
    pub fn next_poll_at(&self, now: UnixMillis, polls: u64) -> UnixMillis {
        let factor = u32::try_from(polls.saturating_add(1)).unwrap_or(u32::MAX).min(POLL_INTERVAL_MAX_FACTOR);
        now.plus(self.interval.saturating_mul(factor))
    }

    /// The longest delay between two polls.
    pub const fn max_interval(&self) -> Duration {
        self.interval.saturating_mul(POLL_INTERVAL_MAX_FACTOR)
    }
}

/// The result of a question to Rightfoot's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollResult<T> {
    /// An answer that could be parsed.
    Answered(T),
    /// Rightfoot does not have the answer yet, or does not know the object yet.
    NotReady,
    /// Rightfoot denies access to this object, or rejects its id.
    Denied,
    /// Rightfoot rejects our API key: nothing can be asked until an operator fixes it.
    Unauthorized,
    /// Rightfoot asks for a pause.
    RateLimited {
        /// The length of the pause, if Rightfoot has said so.
        retry_after: Option<Duration>,
    },
    /// No answer, a failure, or an answer that cannot be parsed: nothing is known.
    Unanswered,
}

impl<T> PollResult<T> {
    /// Returns `true` if Rightfoot has answered the question, for good or bad. Only an answer can make
    /// anything overdue (P9).
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::Answered(_) | Self::NotReady | Self::Denied => true,
            Self::Unauthorized | Self::RateLimited { .. } | Self::Unanswered => false,
        }
    }

    /// Returns the answer, or the result without one.
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

    /// The time of the next poll, if Rightfoot asks for one later than planned.
    fn retry_at(&self, now: UnixMillis, planned_at: UnixMillis) -> Option<UnixMillis> {
        match self {
            Self::RateLimited { retry_after } => {
                // A shorter pause must not make the polls more frequent than planned.
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
            let timing = PollTiming { interval: Duration::from_secs(every_secs), ..PollTiming::default() };
            let now = UnixMillis(i64::from(now));
            let pause = |polls| timing.next_poll_at(now, polls).since(now);
            prop_assert!(pause(polls) <= pause(polls.saturating_add(1)));
            prop_assert!(pause(polls) >= timing.interval && pause(polls) <= timing.interval * 3);
        }
    }
}
