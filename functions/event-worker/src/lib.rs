//! The Lambda function `event-worker`: turns the events on the queue into stored balances and events on the bus, each effect
//! once (P10).
//!
//! ```text
//!  message ──▶ claim ──▶ effect ──▶ done, requeued, or quarantined
//!                        ├ completed: the balances of all pages are stored, the batch is published
//!                        ├ alerts:    each alert that the API confirms is published
//!                        └ extracted: published as received
//! ```
//!
//! Events of a revoked subject, or of one with too many open events about untracked batches, are quarantined before
//! Rightfoot is called (`admit_event`).

mod admit_event;
mod balance_reader;
mod effect;
mod process_message;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::stream::{self, StreamExt};

use inbox_aws::balances::BalancesTable;
use inbox_aws::bus::EventBus;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, poll_deadline, revoked_subjects};
use inbox_aws::stores::{Processing, Tracking};
use inbox_core::effect::alert::UntrackedAlertPolicy;
use inbox_core::limits::{BALANCES_RETENTION_DAYS, WORKER_BATCH_MESSAGES};
use inbox_core::subject::Subject;
use inbox_rightfoot::{AccountConfig, RightfootAccount};

use process_message::MessageOutcome;

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// `RIGHTFOOT_ENABLED`: if false, the stack has nothing of Rightfoot but events that were recorded before.
    pub is_rightfoot_enabled: bool,
    /// URL and key of Rightfoot's API.
    pub rightfoot: AccountConfig,
    /// `BALANCES_TABLE`: name of the balances table.
    pub balances_table: String,
    /// `BALANCES_RETENTION_DAYS`: days that a balance is kept after its check; 0 for ever.
    pub balances_retention_days: u64,
    /// `EVENT_BUS_NAME`: name or ARN of the bus.
    pub event_bus: String,
    /// `VERIFY_ALERTS`: if true, an alert is published only after the API confirms it.
    pub verify_alerts: bool,
    /// `UNTRACKED_ALERTS`: how to process alerts of untracked batches, if alerts are verified.
    pub untracked_alerts: UntrackedAlertPolicy,
    /// `POLL_DEADLINE_SECS`: time after which an incomplete batch is no longer read.
    pub poll_deadline: Duration,
    /// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose events are quarantined.
    pub revoked_subjects: BTreeSet<Subject>,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            is_rightfoot_enabled: env.parsed_or("RIGHTFOOT_ENABLED", true)?,
            rightfoot: AccountConfig::from_env(env)?,
            balances_table: env.required("BALANCES_TABLE")?,
            balances_retention_days: env.parsed_or("BALANCES_RETENTION_DAYS", BALANCES_RETENTION_DAYS)?,
            event_bus: env.required("EVENT_BUS_NAME")?,
            verify_alerts: env.parsed_or("VERIFY_ALERTS", true)?,
            untracked_alerts: env.parsed_or("UNTRACKED_ALERTS", UntrackedAlertPolicy::default())?,
            poll_deadline: poll_deadline(env)?,
            revoked_subjects: revoked_subjects(env)?,
        })
    }
}

/// The function `event-worker`. Build it once per process.
#[derive(Clone, Debug)]
pub struct EventWorker {
    processing: Processing,
    tracking: Tracking,
    balances: BalancesTable,
    bus: EventBus,
    account: RightfootAccount,
    is_rightfoot_enabled: bool,
    verify_alerts: bool,
    untracked_alerts: UntrackedAlertPolicy,
    poll_deadline: Duration,
    revoked_subjects: Arc<BTreeSet<Subject>>,
    clock: Clock,
}

impl EventWorker {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let inbox = clients.table(&config.common);
        let (table, retention_days) = (&config.balances_table, config.balances_retention_days);
        Self {
            processing: Processing::new(inbox.clone()),
            tracking: Tracking::new(inbox),
            balances: BalancesTable::new(clients.dynamodb.clone(), table, retention_days),
            bus: EventBus::new(clients.eventbridge(), &config.event_bus),
            account: RightfootAccount::new(&config.rightfoot, clients, clock.clone()),
            is_rightfoot_enabled: config.is_rightfoot_enabled,
            verify_alerts: config.verify_alerts,
            untracked_alerts: config.untracked_alerts,
            poll_deadline: config.poll_deadline,
            revoked_subjects: Arc::new(config.revoked_subjects.clone()),
            clock,
        }
    }

    /// Loads the key of Rightfoot's API, so that the first message need not wait for it. Without Rightfoot the key may be empty, and
    /// nobody is to be alarmed by that.
    pub async fn load_api_key(&self) {
        if self.is_rightfoot_enabled {
            self.account.load_key().await;
        }
    }

    /// Processes a batch of messages concurrently, and returns the ids of those that SQS must deliver again. One failure does
    /// not affect the others.
    pub async fn handle(&self, event: SqsEvent) -> SqsBatchResponse {
        let failures = stream::iter(event.records)
            .map(|message| Box::pin(self.process_message(message)))
            // All at once: one after another, ten messages could take longer than the function may run.
            .buffer_unordered(WORKER_BATCH_MESSAGES)
            .filter_map(async |failure| failure)
            .collect()
            .await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failures;
        response
    }

    async fn process_message(&self, message: SqsMessage) -> Option<BatchItemFailure> {
        match self.process(message.body.as_deref().unwrap_or_default()).await {
            MessageOutcome::Delete => None,
            MessageOutcome::ReturnToQueue => {
                let mut failure = BatchItemFailure::default();
                // SQS always sets an id. Without one the whole batch is delivered again, which loses nothing.
                failure.item_identifier = message.message_id.unwrap_or_default();
                Some(failure)
            }
        }
    }
}
