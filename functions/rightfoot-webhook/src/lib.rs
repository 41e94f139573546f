//! The Lambda function `rightfoot-webhook`: verifies the signed URL token of a delivery and, if an allow list is set, its
//! address; records and enqueues its event.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::api_gateway::ApiGatewayRequest;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, revoked_subjects};
use inbox_aws::secrets::SecretCache;
use inbox_aws::webhook_receiver::WebhookReceiver;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Provider, RejectReason, Verification};
use inbox_core::keys::KeyCodec;
use inbox_core::subject::Subject;
use inbox_core::url_token;

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// `RIGHTFOOT_URL_KEY_SECRET_ID`: name or ARN of the secret with the keys that sign the URLs.
    pub url_key_secret_id: String,
    /// `RIGHTFOOT_ALLOWED_CIDRS`: addresses that may deliver, separated by commas; empty for all.
    pub allow_list: AllowList,
    /// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose URLs are no longer accepted, separated by commas.
    pub revoked_subjects: BTreeSet<Subject>,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            url_key_secret_id: env.required("RIGHTFOOT_URL_KEY_SECRET_ID")?,
            allow_list: env.parsed_or("RIGHTFOOT_ALLOWED_CIDRS", AllowList::default())?,
            revoked_subjects: revoked_subjects(env)?,
        })
    }
}

/// The function `rightfoot-webhook`. Build it once per process.
#[derive(Clone, Debug)]
pub struct RightfootWebhook {
    receiver: WebhookReceiver,
    url_key: SecretCache,
    allow_list: AllowList,
    revoked_subjects: Arc<BTreeSet<Subject>>,
}

impl RightfootWebhook {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        Self {
            receiver: WebhookReceiver::new(clients.table(common), clients.queue(common), clock.clone()),
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

    /// Loads the URL key, so that the first delivery need not wait for it.
    pub async fn load_url_key(&self) {
        self.url_key.load().await;
    }

    /// Verifies, records and enqueues one delivery, and returns the HTTP reply. `event` is the API Gateway event of the
    /// invocation (payload format 2.0). Every failure is a reply, too.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = ApiGatewayRequest::parse(&event);
        // The event may have up to 6 MB, and `request` has its own copy.
        drop(event);
        // The address that API Gateway saw: a caller can put any address into a header.
        let is_allowed = self.allow_list.permits(request.as_ref().and_then(ApiGatewayRequest::source_ip));
        let token = request.as_ref().and_then(|request| request.path_parameter("token"));
        let token = token.unwrap_or_default().to_owned();
        let verify = async |delivery| {
            // Checked first, so that a token from a foreign address never causes a fetch of the secret.
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
