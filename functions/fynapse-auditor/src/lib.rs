//! The Lambda function `fynapse-auditor`: finds events that Fynapse never delivered, or that are not here although it did. It compares
//! Fynapse's list of the deliveries of our subscription with the recorded events.

mod check_page;
mod check_run;
mod check_summary;

use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde_json::Value;

use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{AWS_ENDPOINT_URL, CommonConfig, ConfigError, Env};
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::secrets::fetch_stored_secret;
use inbox_aws::stores::{DeliveryChecks, EventStore};
use inbox_core::id::Id;
use inbox_core::limits::{AUDITOR_BUDGET_SECS, AUDITOR_RESERVE_MS};
use inbox_fynapse::{ClientConfig, FynapseClient};

pub use check_summary::{CheckSummary, RunError};

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// `FYNAPSE_API_URL`: the client of the API there.
    pub client: FynapseClient,
    /// `FYNAPSE_API_CREDENTIALS_SECRET_ID`: name or ARN of the secret with the credentials.
    pub secret_id: String,
    /// `FYNAPSE_SUBSCRIPTION_ID`: the subscription whose deliveries are checked.
    pub subscription_id: Id,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        const URL: &str = "FYNAPSE_API_URL";
        const SUBSCRIPTION: &str = "FYNAPSE_SUBSCRIPTION_ID";
        let common = CommonConfig::from_env(env)?;
        let url = env.required(URL)?;
        let invalid = |why: String| ConfigError::Invalid { name: URL, value: url.clone(), why };
        let mut config = ClientConfig::new(&url, env.var(AWS_ENDPOINT_URL).as_deref())
            .map_err(|error| invalid(error.to_string()))?;
        config.ca_bundle = CaBundle::from_env(env)?;
        let subscription_id = env.required(SUBSCRIPTION)?;
        let subscription_id = Id::new(subscription_id.as_str()).ok_or(ConfigError::Invalid {
            name: SUBSCRIPTION,
            value: subscription_id,
            why: "an id is at most 512 bytes long".to_owned(),
        })?;
        Ok(Self {
            common,
            client: FynapseClient::new(config).map_err(|error| invalid(error.to_string()))?,
            secret_id: env.required("FYNAPSE_API_CREDENTIALS_SECRET_ID")?,
            subscription_id,
        })
    }
}

/// The function `fynapse-auditor`. Build it once per process.
#[derive(Clone, Debug)]
pub struct FynapseAuditor {
    recorder: EventRecorder,
    checks: DeliveryChecks,
    client: FynapseClient,
    secrets: aws_sdk_secretsmanager::Client,
    secret_id: String,
    subscription_id: Id,
}

impl FynapseAuditor {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let table = clients.table(&config.common);
        let events = EventStore::new(table.clone());
        Self {
            recorder: EventRecorder::new(events, clients.queue(&config.common), clock),
            checks: DeliveryChecks::new(table),
            client: config.client.clone(),
            secrets: clients.secrets.clone(),
            secret_id: config.secret_id.clone(),
            subscription_id: config.subscription_id.clone(),
        }
    }

    /// Opens the connection to Secrets Manager, so that the first run need not wait for it.
    pub async fn warm_up(&self) {
        let _ = fetch_stored_secret(&self.secrets, &self.secret_id).await;
    }

    /// Checks deliveries once within `time_left` of the invocation, and returns the counts as JSON. The invocation's payload is not
    /// used.
    ///
    /// # Errors
    ///
    /// The first [`RunError`], after the run has done all that it could, so that Lambda's error metric alarms.
    pub async fn handle(&self, time_left: Duration) -> Result<Value, Diagnostic> {
        // The reserve is for the page in progress and the report: Lambda kills a run that takes longer.
        let left = time_left.saturating_sub(Duration::from_millis(AUDITOR_RESERVE_MS));
        Box::pin(self.run(Duration::from_secs(AUDITOR_BUDGET_SECS).min(left))).await.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_variable_is_named_at_start_up() {
        let read = |url: &str, subscription: &str| {
            let env = Env(|name: &str| match name {
                "INBOX_TABLE" | "EVENTS_QUEUE_URL" | "FYNAPSE_API_CREDENTIALS_SECRET_ID" => {
                    Some("x".to_owned())
                }
                "FYNAPSE_API_URL" => Some(url.to_owned()),
                "FYNAPSE_SUBSCRIPTION_ID" => Some(subscription.to_owned()),
                _ => None,
            });
            Config::read(&env).map(|config| config.subscription_id).map_err(|error| error.to_string())
        };
        assert_eq!(read("https://ours.fynapse.test", "s-1"), Ok(Id::new("s-1").unwrap()));
        let no_url = "environment variable FYNAPSE_API_URL is not set".to_owned();
        assert_eq!(read("", "s-1"), Err(no_url));
        let no_subscription = "environment variable FYNAPSE_SUBSCRIPTION_ID is not set".to_owned();
        assert_eq!(read("https://ours.fynapse.test", ""), Err(no_subscription));
        let open = "environment variable FYNAPSE_API_URL is not valid: \"…@ours.fynapse.test\": a base URL is https://host, \
                    with or without a path, and without user name, query or fragment; http is for localhost only, and for a \
                    container's host if AWS_ENDPOINT_URL leads to one, too";
        assert_eq!(read("https://u:p@ours.fynapse.test", "s-1"), Err(open.to_owned()));
    }
}
