//! The Lambda function `rightfoot-poller`: finds events whose webhooks were missed. It polls Rightfoot for tracked batches, for the
//! runs of schedules and their alerts, and reports submissions of unknown outcome.

mod check_submission;
mod poll_batch;
mod poll_run;
mod poll_schedule;
mod record_polled_event;

use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde_json::Value;

use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, poll_timing};
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::stores::{DueIndex, EventStore, PollStore, Submissions, Tracking};
use inbox_core::limits::{POLL_BUDGET_SECS, POLL_DRAIN_MS, POLL_RESERVE_MS};
use inbox_core::poll::PollTiming;
use inbox_rightfoot::{AccountConfig, RightfootAccount};

pub use poll_run::{PollSummary, RunError};

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// URL and key of Rightfoot's API.
    pub rightfoot: AccountConfig,
    /// `POLL_…_SECS`: first poll, interval, grace and deadline.
    pub poll_timing: PollTiming,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            rightfoot: AccountConfig::from_env(env)?,
            poll_timing: poll_timing(env)?,
        })
    }
}

/// The function `rightfoot-poller`. Build it once per process.
#[derive(Clone, Debug)]
pub struct RightfootPoller {
    recorder: EventRecorder,
    due_index: DueIndex,
    polls: PollStore,
    tracking: Tracking,
    submissions: Submissions,
    account: RightfootAccount,
    poll_timing: PollTiming,
}

impl RightfootPoller {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        let table = clients.table(common);
        Self {
            recorder: EventRecorder::new(
                EventStore::new(table.clone()),
                clients.queue(common),
                clock.clone(),
            ),
            due_index: DueIndex::new(table.clone()),
            polls: PollStore::new(table.clone()),
            tracking: Tracking::new(table.clone()),
            submissions: Submissions::new(table),
            account: RightfootAccount::new(&config.rightfoot, clients, clock),
            poll_timing: config.poll_timing,
        }
    }

    /// Loads the API key, so that the first poll need not wait for it.
    pub async fn load_api_key(&self) {
        self.account.load_key().await;
    }

    /// Runs the poller once within `time_left` of the invocation, and returns the counts as JSON. The invocation's payload is not
    /// used.
    ///
    /// # Errors
    ///
    /// The first [`RunError`], after the run has done all that it could, so that Lambda's error metric alarms.
    pub async fn handle(&self, time_left: Duration) -> Result<Value, Diagnostic> {
        let (budget, linger) = budget_and_linger(time_left);
        Box::pin(self.run(budget, linger)).await.into_response()
    }
}

/// The time in which a run starts new polls, and the time that polls in progress may still take after it.
fn budget_and_linger(time_left: Duration) -> (Duration, Duration) {
    // The reserve is for polls in progress and the report: Lambda kills a run that takes longer.
    let left = time_left.saturating_sub(Duration::from_millis(POLL_RESERVE_MS));
    (Duration::from_secs(POLL_BUDGET_SECS).min(left), Duration::from_millis(POLL_DRAIN_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_cut_off_before_the_invocation_ends_and_leaves_time_to_report_it() {
        let secs = Duration::from_secs;
        for (time_left, budget) in [(900, 45), (60, 45), (59, 45), (58, 44), (15, 1), (14, 0), (0, 0)] {
            assert_eq!(budget_and_linger(secs(time_left)), (secs(budget), secs(12)), "{time_left}");
        }
    }
}
