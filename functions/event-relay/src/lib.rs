//! The Lambda function `event-relay`: enqueues events that were recorded but are not on the queue.

pub mod relay;
mod relay_batch;
pub mod relay_summary;
mod run_context;

use std::time::Duration;

use serde_json::{Value, json};

use inbox_aws::AwsError;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::CommonConfig;
use inbox_core::limits::{RELAY_BUDGET_SECS, RELAY_RESERVE_MS};

use crate::relay::OutboxRelay;

/// The function `event-relay`. Build it once per process.
#[derive(Clone, Debug)]
pub struct EventRelay {
    relay: OutboxRelay,
}

impl EventRelay {
    /// Builds the function. Makes no calls.
    pub fn new(common: &CommonConfig, clients: &Clients, clock: Clock) -> Self {
        Self { relay: OutboxRelay::new(clients.table(common), clients.queue(common), clock) }
    }

    /// Runs the relay once within `time_left` of the invocation, and returns the counts as JSON. The invocation's payload is
    /// not used.
    ///
    /// # Errors
    ///
    /// The first AWS call that failed, after the run has done all that it could, so that Lambda's error metric alarms.
    pub async fn handle(&self, time_left: Duration) -> Result<Value, AwsError> {
        let reserve = Duration::from_millis(RELAY_RESERVE_MS);
        // Lambda kills an invocation that runs out of time, and then nothing is reported.
        let budget = Duration::from_secs(RELAY_BUDGET_SECS).min(time_left.saturating_sub(reserve));
        let run = Box::pin(self.relay.run(budget)).await;
        match run.first_error {
            Some(error) => Err(error),
            None => Ok(json!({
                "due": run.due,
                "sent": run.sent,
                "failed": run.failed,
                "quarantined": run.quarantined,
                "remaining": run.remaining,
                "oldest_due_age_secs": run.oldest_due_age_secs,
            })),
        }
    }
}
