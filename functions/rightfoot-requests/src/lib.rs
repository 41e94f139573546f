//! The Lambda function `rightfoot-requests`: submits batches and schedules to Rightfoot, each with a signed webhook URL of its
//! own, and tracks them. It has no route: its callers invoke it directly, and IAM authorizes them.

mod error;
mod redaction;
mod submit;
mod track;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, poll_timing};
use inbox_aws::secrets::SecretCache;
use inbox_aws::stores::Submissions;
use inbox_aws::telemetry::metrics;
use inbox_core::poll::PollTiming;
use inbox_core::requests::{RightfootRequest, parse};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::subject::Subject;
use inbox_core::url_token::mint;
use inbox_rightfoot::{AccountConfig, RightfootAccount};

pub use error::RequestError;

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// URL and key of Rightfoot's API.
    pub rightfoot: AccountConfig,
    /// `POLL_…_SECS`: first poll, interval, grace and deadline.
    pub poll_timing: PollTiming,
    /// `RIGHTFOOT_URL_KEY_SECRET_ID`: name or ARN of the secret with the keys that sign the URLs.
    pub url_key_secret_id: String,
    /// `WEBHOOK_BASE_URL`: base URL of the HTTP API, without a `/` at its end.
    pub webhook_base_url: String,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            rightfoot: AccountConfig::from_env(env)?,
            poll_timing: poll_timing(env)?,
            url_key_secret_id: env.required("RIGHTFOOT_URL_KEY_SECRET_ID")?,
            webhook_base_url: env.base_url("WEBHOOK_BASE_URL")?.into(),
        })
    }
}

/// The function `rightfoot-requests`. Build it once per process.
#[derive(Clone, Debug)]
pub struct RightfootRequests {
    submissions: Submissions,
    account: RightfootAccount,
    url_key: SecretCache,
    webhook_base_url: String,
    poll_timing: PollTiming,
    clock: Clock,
}

impl RightfootRequests {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        Self {
            submissions: Submissions::new(clients.table(&config.common)),
            account: RightfootAccount::new(&config.rightfoot, clients, clock.clone()),
            url_key: SecretCache::new(
                clients.secrets.clone(),
                &config.url_key_secret_id,
                KeyCodec::Utf8,
                clock.clone(),
            ),
            webhook_base_url: config.webhook_base_url.clone(),
            poll_timing: config.poll_timing,
            clock,
        }
    }

    /// Loads the API key and the URL key, so that the first request need not wait for them.
    pub async fn load_secrets(&self) {
        tokio::join!(self.account.load_key(), self.url_key.load());
    }

    /// Executes one request, the JSON payload of the invocation, and returns its JSON response. Logs and counts the outcome.
    pub async fn handle(&self, request: &RawValue) -> Result<Value, RequestError> {
        metrics::REQUESTED.add(1);
        let request = parse(request);
        // On the heap, since the future is large: it contains the SDK's calls.
        let result = match &request {
            Ok(request) => Box::pin(self.dispatch(request)).await,
            Err(invalid) => Err(invalid.clone().into()),
        };
        let request = request.as_ref().ok();
        let action = request.map(RightfootRequest::action);
        let subject = request.and_then(RightfootRequest::subject).map(Subject::as_str);
        match &result {
            Ok(answer) => {
                let id = |name| answer.get(name).and_then(Value::as_str);
                let (batch_id, schedule_id) = (id("batch_id"), id("schedule_id"));
                tracing::info!(target: "requests", action, subject, outcome = "done", batch_id, schedule_id);
            }
            Err(error) => {
                let (outcome, detail) = (error.name(), error.detail());
                metrics::REQUEST_FAILED.add(outcome, 1);
                tracing::warn!(target: "requests", action, subject, outcome, detail);
            }
        }
        result
    }

    async fn dispatch(&self, request: &RightfootRequest) -> Result<Value, RequestError> {
        match request {
            RightfootRequest::SubmitBatch(batch) => self.submit_batch(batch).await,
            RightfootRequest::CreateSchedule(schedule) => self.create_schedule(schedule).await,
            RightfootRequest::TrackBatch(track) => self.track_batch(track).await,
            RightfootRequest::TrackSchedule(track) => self.track_schedule(track).await,
            RightfootRequest::WebhookUrl { subject } => {
                let webhook_url = self.webhook_url(subject, &*self.url_keys().await?)?;
                Ok(json!({"subject": subject.as_str(), "webhook_url": webhook_url}))
            }
        }
    }

    async fn url_keys(&self) -> Result<std::sync::Arc<Keys>, RequestError> {
        self.url_key.current().await.ok_or(RequestError::UrlKeyUnavailable)
    }

    fn webhook_url(&self, subject: &Subject, keys: &Keys) -> Result<String, RequestError> {
        let token = mint(subject, keys).ok_or(RequestError::UrlKeyUnavailable)?;
        Ok(format!("{}/webhooks/rightfoot/{token}", self.webhook_base_url))
    }
}
