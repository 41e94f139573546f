//! Takes in Rightfoot's webhooks: proves the caller by the signed URL token (and, if set, by its address),
//! records, enqueues, answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{Common, ConfigError, Env, revoked_subjects};
use inbox_aws::gateway::Invocation;
use inbox_aws::receive::Receiver;
use inbox_aws::secrets::SecretCache;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Provider, Refusal, Subject, Verdict};
use inbox_core::keys::KeyCodec;
use inbox_core::url_token;

/// What the function is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every function is told.
    pub common: Common,
    /// `RIGHTFOOT_URL_KEY_SECRET_ID`: name or ARN of the secret that signs the URLs.
    pub secret_id: String,
    /// `RIGHTFOOT_ALLOWED_CIDRS`: addresses that may call, separated by commas; empty for all.
    pub allowed: AllowList,
    /// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose URLs are no longer accepted, separated by commas.
    pub revoked: BTreeSet<Subject>,
}

impl Config {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: Common::read(env)?,
            secret_id: env.required("RIGHTFOOT_URL_KEY_SECRET_ID")?,
            allowed: env.parsed_or("RIGHTFOOT_ALLOWED_CIDRS", AllowList::default())?,
            revoked: revoked_subjects(env)?,
        })
    }
}

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct Webhook {
    receiver: Receiver,
    secret: SecretCache,
    allowed: AllowList,
    revoked: Arc<BTreeSet<Subject>>,
}

impl Webhook {
    /// Builds it. Nothing is called yet.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let told = &config.common;
        Self {
            receiver: Receiver::new(clients.inbox(told), clients.queue(told), clock.clone()),
            secret: SecretCache::new(clients.secrets.clone(), &config.secret_id, KeyCodec::Utf8, clock),
            allowed: config.allowed.clone(),
            revoked: Arc::new(config.revoked.clone()),
        }
    }

    /// Loads the URL key: for the cold start.
    pub async fn load_secret(&self) {
        self.secret.load().await;
    }

    /// Takes in one delivery: an invocation by the HTTP API.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = Invocation::read(&event);
        drop(event); // it may be of 6 MB
        let permitted = self.allowed.permits(request.as_ref().and_then(Invocation::source_ip));
        let token = request.as_ref().and_then(|request| request.path_parameter("token"));
        let token = token.unwrap_or_default().to_owned();
        let prove = async |delivery| {
            if !permitted {
                return Some(Verdict::NotProven(delivery, Refusal::Address));
            }
            let prove = |delivery, keys: &_| url_token::prove(delivery, &token, keys, &self.revoked);
            self.secret.prove(delivery, prove).await
        };
        self.receiver.receive(Provider::Rightfoot, request, prove).await
    }
}
