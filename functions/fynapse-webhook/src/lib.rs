//! Takes in Fynapse's webhooks: proves the caller by `Webhook-Signature`, records, enqueues, answers.

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::api_gateway::ApiGatewayRequest;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, tolerance_secs};
use inbox_aws::secrets::SecretCache;
use inbox_aws::webhook_receiver::Receiver;
use inbox_core::delivery::Provider;
use inbox_core::keys::KeyCodec;
use inbox_core::signature;

/// What the function is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every function is told.
    pub common: CommonConfig,
    /// `FYNAPSE_SIGNING_SECRET_ID`: name or ARN of the signing secret.
    pub signing_secret_id: String,
    /// `FYNAPSE_KEY_CODEC`: how the key's bytes are made from the secret; `utf8`, `base64` or `hex`.
    pub key_codec: KeyCodec,
    /// `FYNAPSE_TOLERANCE_SECS`: how far a signature's time may lie from now.
    pub tolerance_secs: u64,
}

impl Config {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            signing_secret_id: env.required("FYNAPSE_SIGNING_SECRET_ID")?,
            key_codec: env.parsed_or("FYNAPSE_KEY_CODEC", KeyCodec::default())?,
            tolerance_secs: tolerance_secs(env)?,
        })
    }
}

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct FynapseWebhook {
    receiver: Receiver,
    signing_secret: SecretCache,
    tolerance_secs: u64,
}

impl FynapseWebhook {
    /// Builds it. Nothing is called yet.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        Self {
            receiver: Receiver::new(clients.inbox(common), clients.queue(common), clock.clone()),
            signing_secret: SecretCache::new(
                clients.secrets.clone(),
                &config.signing_secret_id,
                config.key_codec,
                clock,
            ),
            tolerance_secs: config.tolerance_secs,
        }
    }

    /// Loads the signing secret: for the cold start.
    pub async fn load_signing_secret(&self) {
        self.signing_secret.load().await;
    }

    /// Takes in one delivery: an invocation by the HTTP API.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = ApiGatewayRequest::parse(&event);
        drop(event); // it may be of 6 MB
        let verify = async |delivery| {
            let verify = |delivery, keys: &_| signature::verify(delivery, keys, self.tolerance_secs);
            self.signing_secret.verify(delivery, verify).await
        };
        self.receiver.receive(Provider::Fynapse, request, verify).await
    }
}
