//! The clients of the AWS SDK, built once per process.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use futures::future::join_all;
use tokio::time::timeout;

use inbox_core::limits::{CONCURRENT_CALLS, WARM_UP_BUDGET_MS};

use crate::ca_bundle::CaBundle;
use crate::config::{CommonConfig, ConfigError, Env};
use crate::queue::EventsQueue;
use crate::stores::Table;
use crate::table::key::Key;

/// Clients of the services that the functions call.
#[derive(Clone, Debug)]
pub struct Clients {
    /// DynamoDB, for the inbox and the balances.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SQS, for the queue `events`.
    pub sqs: aws_sdk_sqs::Client,
    /// Secrets Manager, for the secrets of the functions.
    pub secrets: aws_sdk_secretsmanager::Client,
    sdk: SdkConfig,
}

impl Clients {
    /// Creates clients with region, credentials, endpoints and `AWS_CA_BUNDLE` from the environment.
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(bundle) = CaBundle::from_env(&Env::process())? {
            loader = loader.http_client(bundle.http_client());
        }
        Ok(Self::new(&loader.load().await))
    }

    /// Creates clients over a given configuration, with this project's own time-outs and retries.
    pub fn new(sdk: &SdkConfig) -> Self {
        // A connection that died while the process was frozen may cost one attempt; a second one must still
        // fit into a delivery's three seconds.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(800))
            .operation_attempt_timeout(Duration::from_millis(1_400))
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_millis(400));
        let sdk = sdk
            .to_builder()
            .timeout_config(timeouts)
            .retry_config(retries)
            // The attempt's time-out also bounds the response's body; a second guard on it would cost a
            // twentieth of all CPU time.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        // Sending and marking share one second. The relay is the safety net here, not a third attempt.
        let sqs = aws_sdk_sqs::config::Builder::from(&sdk)
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_millis(500))
                    .operation_attempt_timeout(Duration::from_millis(700))
                    .build(),
            )
            .build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            secrets: aws_sdk_secretsmanager::Client::new(&sdk),
            sdk,
        }
    }

    /// Creates a client of EventBridge. Only the worker publishes; the other functions do not carry its code.
    pub fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.sdk)
    }

    /// The configured table `inbox`, for the stores.
    pub fn table(&self, config: &CommonConfig) -> Table {
        Table::new(self.dynamodb.clone(), &config.table, config.retention_days)
    }

    /// The configured queue `events`.
    pub fn queue(&self, config: &CommonConfig) -> EventsQueue {
        EventsQueue::new(self.sqs.clone(), &config.queue_url)
    }

    /// Opens the connections that a function needs, while the cold start still has its boosted CPU.
    ///
    /// DNS, TCP and TLS would cost the first delivery hundreds of milliseconds. `others` (the loading of
    /// secrets) runs beside it. Errors are ignored, and it ends after 2 s at the latest.
    pub async fn warm_up(&self, table: &str, queue_url: &str, others: impl Future<Output = ()>) {
        let queue = self.sqs.get_queue_attributes().queue_url(queue_url);
        let others = async { drop(tokio::join!(queue.send(), others)) };
        self.warm_up_table(table, others).await;
    }

    /// Warms up like [`Clients::warm_up`], with as many connections to DynamoDB as a scan of the index `due`
    /// uses at the same time.
    pub async fn warm_up_due_scan(&self, table: &str, queue_url: &str, others: impl Future<Output = ()>) {
        // From 1, because `warm_up` opens one connection itself.
        let more = join_all((1..CONCURRENT_CALLS).map(|_| self.touch(table)));
        let others = async { drop(tokio::join!(more, others)) };
        self.warm_up(table, queue_url, others).await;
    }

    /// Warms up like [`Clients::warm_up`], for a function that sends nothing to a queue.
    pub async fn warm_up_table(&self, table: &str, others: impl Future<Output = ()>) {
        let all = async { tokio::join!(self.touch(table), others) };
        let _ = timeout(Duration::from_millis(WARM_UP_BUDGET_MS), Box::pin(all)).await;
    }

    async fn touch(&self, table: &str) {
        // There is no such item: only the connection matters.
        let get =
            self.dynamodb.get_item().table_name(table).set_key(Some(Key::new("warm-up", "-").to_item()));
        let _ = get.send().await;
    }
}
