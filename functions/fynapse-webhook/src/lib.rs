//! Takes in Fynapse's webhooks: proves the caller by `Webhook-Signature`, records, enqueues, answers.

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{Common, ConfigError, Env, tolerance_secs};
use inbox_aws::gateway::Invocation;
use inbox_aws::receive::Receiver;
use inbox_aws::secrets::SecretCache;
use inbox_core::delivery::Provider;
use inbox_core::keys::KeyCodec;
use inbox_core::signature;

/// What the function is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every function is told.
    pub common: Common,
    /// `FYNAPSE_SIGNING_SECRET_ID`: name or ARN of the signing secret.
    pub secret_id: String,
    /// `FYNAPSE_KEY_CODEC`: how the key's bytes are made from the secret; `utf8`, `base64` or `hex`.
    pub key_codec: KeyCodec,
    /// `FYNAPSE_TOLERANCE_SECS`: how far a signature's time may lie from now.
    pub tolerance_secs: u64,
}

impl Config {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: Common::read(env)?,
            secret_id: env.required("FYNAPSE_SIGNING_SECRET_ID")?,
            key_codec: env.parsed_or("FYNAPSE_KEY_CODEC", KeyCodec::default())?,
            tolerance_secs: tolerance_secs(env)?,
        })
    }
}

/// The function: built once per process.
#[derive(Clone, Debug)]
pub struct Webhook {
    receiver: Receiver,
    secret: SecretCache,
    tolerance_secs: u64,
}

impl Webhook {
    /// Builds it. Nothing is called yet.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let told = &config.common;
        Self {
            receiver: Receiver::new(clients.inbox(told), clients.queue(told), clock.clone()),
            secret: SecretCache::new(clients.secrets.clone(), &config.secret_id, config.key_codec, clock),
            tolerance_secs: config.tolerance_secs,
        }
    }

    /// Loads the signing secret: for the cold start.
    pub async fn load_secret(&self) {
        self.secret.load().await;
    }

    /// Takes in one delivery: an invocation by the HTTP API.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = Invocation::read(&event);
        drop(event); // it may be of 6 MB
        let prove = async |delivery| {
            let prove = |delivery, keys: &_| signature::prove(delivery, keys, self.tolerance_secs);
            self.secret.prove(delivery, prove).await
        };
        self.receiver.receive(Provider::Fynapse, request, prove).await
    }
}
