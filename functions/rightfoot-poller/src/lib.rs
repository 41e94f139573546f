//! Asks Rightfoot for what no webhook told: batches that are not complete, the runs of schedules, their alerts.

mod check_submission;
mod poll_batch;
mod poll_run;
mod poll_schedule;
mod record_event;

use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde_json::Value;

use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, poll_timing};
use inbox_aws::ingest::Ingestor;
use inbox_core::limits::{POLL_BUDGET_SECS, POLL_DRAIN_MS, POLL_RESERVE_MS};
use inbox_core::poll::PollTiming;
use inbox_rightfoot::{AccountConfig, RightfootAccount};

pub use poll_run::{PollSummary, RunError};

/// What the function is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every function is told.
    pub common: CommonConfig,
    /// Where Rightfoot is asked, and with which key.
    pub rightfoot: AccountConfig,
    /// `POLL_…_SECS`: when it is asked, and how long.
    pub poll_timing: PollTiming,
}

impl Config {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            rightfoot: AccountConfig::from_env(env)?,
            poll_timing: poll_timing(env)?,
        })
    }
}

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct RightfootPoller {
    recorder: Ingestor,
    account: RightfootAccount,
    poll_timing: PollTiming,
}

impl RightfootPoller {
    /// Builds it. Nothing is called yet.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        Self {
            recorder: Ingestor::new(clients.inbox(common), clients.queue(common), clock.clone()),
            account: RightfootAccount::new(&config.rightfoot, clients, clock),
            poll_timing: config.poll_timing,
        }
    }

    /// Loads the API key: for the cold start.
    pub async fn load_api_key(&self) {
        self.account.load_key().await;
    }

    /// One run, within what is left of the invocation. What it was invoked with does not matter.
    /// Fails if an AWS call failed or Rightfoot does not accept our key, after it has done what it could: so that
    /// the function's errors can alarm.
    pub async fn handle(&self, time_left: Duration) -> Result<Value, Diagnostic> {
        let (budget, linger) = budget_and_linger(time_left);
        Box::pin(self.run(budget, linger)).await.into_response()
    }
}

/// For how long a run begins with what is due, and how much longer what is under way may last.
fn budget_and_linger(time_left: Duration) -> (Duration, Duration) {
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
