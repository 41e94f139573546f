//! Takes in Rightfoot's webhooks: proves the caller by the signed URL token (and, if set, by its address),
//! records, enqueues, answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::api_gateway::ApiGatewayRequest;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, revoked_subjects};
use inbox_aws::secrets::SecretCache;
use inbox_aws::webhook_receiver::Receiver;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Provider, RejectReason, Subject, Verification};
use inbox_core::keys::KeyCodec;
use inbox_core::url_token;

/// What the function is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every function is told.
    pub common: CommonConfig,
    /// `RIGHTFOOT_URL_KEY_SECRET_ID`: name or ARN of the secret that signs the URLs.
    pub url_key_secret_id: String,
    /// `RIGHTFOOT_ALLOWED_CIDRS`: addresses that may call, separated by commas; empty for all.
    pub allow_list: AllowList,
    /// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose URLs are no longer accepted, separated by commas.
    pub revoked_subjects: BTreeSet<Subject>,
}

impl Config {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            url_key_secret_id: env.required("RIGHTFOOT_URL_KEY_SECRET_ID")?,
            allow_list: env.parsed_or("RIGHTFOOT_ALLOWED_CIDRS", AllowList::default())?,
            revoked_subjects: revoked_subjects(env)?,
        })
    }
}

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct RightfootWebhook {
    receiver: Receiver,
    url_key: SecretCache,
    allow_list: AllowList,
    revoked_subjects: Arc<BTreeSet<Subject>>,
}

impl RightfootWebhook {
    /// Builds it. Nothing is called yet.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        Self {
            receiver: Receiver::new(clients.inbox(common), clients.queue(common), clock.clone()),
            url_key: SecretCache::new(
                clients.secrets.clone(),
                &config.url_key_secret_id,
                KeyCodec::Utf8,
                clock,
            ),
            allow_list: config.allow_list.clone(),
            revoked_subjects: Arc::new(config.revoked_subjects.clone()),
        }
    }

    /// Loads the URL key: for the cold start.
    pub async fn load_url_key(&self) {
        self.url_key.load().await;
    }

    /// Takes in one delivery: an invocation by the HTTP API.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = ApiGatewayRequest::parse(&event);
        drop(event); // it may be of 6 MB
        let is_allowed = self.allow_list.permits(request.as_ref().and_then(ApiGatewayRequest::source_ip));
        let token = request.as_ref().and_then(|request| request.path_parameter("token"));
        let token = token.unwrap_or_default().to_owned();
        let verify = async |delivery| {
            if !is_allowed {
                return Some(Verification::Rejected(delivery, RejectReason::AddressNotAllowed));
            }
            let verify =
                |delivery, keys: &_| url_token::verify(delivery, &token, keys, &self.revoked_subjects);
            self.url_key.verify(delivery, verify).await
        };
        self.receiver.receive(Provider::Rightfoot, request, verify).await
    }
}
