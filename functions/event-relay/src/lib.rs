//! Runs the relay once: enqueues every event that was recorded and not enqueued.

pub mod relay;

use std::time::Duration;

use serde_json::{Value, json};

use inbox_aws::AwsError;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::CommonConfig;
use inbox_core::limits::{RELAY_BUDGET_SECS, RELAY_RESERVE_MS};

use crate::relay::OutboxRelay;

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct EventRelay {
    relay: OutboxRelay,
}

impl EventRelay {
    /// Builds it. Nothing is called yet.
    pub fn new(common: &CommonConfig, clients: &Clients, clock: Clock) -> Self {
        Self { relay: OutboxRelay::new(clients.inbox(common), clients.queue(common), clock) }
    }

    /// One run, within what is left of the invocation. What it was invoked with does not matter.
    /// Fails if an AWS call failed, after it has done what it could: so that the function's errors can alarm.
    pub async fn handle(&self, time_left: Duration) -> Result<Value, AwsError> {
        let reserve = Duration::from_millis(RELAY_RESERVE_MS);
        let budget = Duration::from_secs(RELAY_BUDGET_SECS).min(time_left.saturating_sub(reserve));
        let run = Box::pin(self.relay.run(budget)).await;
        match run.first_error {
            Some(fault) => Err(fault),
            None => Ok(json!({
                "found": run.due,
                "sent": run.sent,
                "failed": run.failed,
                "quarantined": run.quarantined,
                "left": run.remaining,
                "oldest_due_age_secs": run.oldest_due_age_secs,
            })),
        }
    }
}
