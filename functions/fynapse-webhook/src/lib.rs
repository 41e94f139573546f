//! The Lambda function `fynapse-webhook`: verifies the `Webhook-Signature` of a delivery, records and enqueues its event.

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::RawValue;

use inbox_aws::api_gateway::ApiGatewayRequest;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{CommonConfig, ConfigError, Env, tolerance_secs};
use inbox_aws::secrets::SecretCache;
use inbox_aws::webhook_receiver::WebhookReceiver;
use inbox_core::delivery::Provider;
use inbox_core::keys::KeyCodec;
use inbox_core::signature;

/// Configuration of the function.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// `FYNAPSE_SIGNING_SECRET_ID`: name or ARN of the signing secret.
    pub signing_secret_id: String,
    /// `FYNAPSE_KEY_CODEC`: encoding of the HMAC key in the secret; `utf8`, `base64` or `hex`.
    pub key_codec: KeyCodec,
    /// `FYNAPSE_TOLERANCE_SECS`: the largest difference between a signature's time and now, in seconds.
    pub tolerance_secs: u64,
}

impl Config {
    /// Reads the configuration from environment variables. Fails on a missing or invalid one.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            signing_secret_id: env.required("FYNAPSE_SIGNING_SECRET_ID")?,
            // Fynapse does not document how the key is encoded (shared/providers/fynapse.md, "Signature").
            key_codec: env.parsed_or("FYNAPSE_KEY_CODEC", KeyCodec::default())?,
            tolerance_secs: tolerance_secs(env)?,
        })
    }
}

/// The function `fynapse-webhook`. Build it once per process.
#[derive(Clone, Debug)]
pub struct FynapseWebhook {
    receiver: WebhookReceiver,
    signing_secret: SecretCache,
    tolerance_secs: u64,
}

impl FynapseWebhook {
    /// Builds the function. Makes no calls.
    pub fn new(config: &Config, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        Self {
            receiver: WebhookReceiver::new(clients.table(common), clients.queue(common), clock.clone()),
            signing_secret: SecretCache::new(
                clients.secrets.clone(),
                &config.signing_secret_id,
                config.key_codec,
                clock,
            ),
            tolerance_secs: config.tolerance_secs,
        }
    }

    /// Loads the signing secret, so that the first delivery need not wait for it.
    pub async fn load_signing_secret(&self) {
        self.signing_secret.load().await;
    }

    /// Verifies, records and enqueues one delivery, and returns the HTTP reply. `event` is the API Gateway event of the
    /// invocation (payload format 2.0). Every failure is a reply, too.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = ApiGatewayRequest::parse(&event);
        // The event may have up to 6 MB, and `request` has its own copy.
        drop(event);
        let verify = async |delivery| {
            let verify = |delivery, keys: &_| signature::verify(delivery, keys, self.tolerance_secs);
            self.signing_secret.verify(delivery, verify).await
        };
        self.receiver.receive(Provider::Fynapse, request, verify).await
    }
}
