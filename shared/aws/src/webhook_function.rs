//! The Lambda function behind a provider's webhook route: verifies a delivery by what the provider's specification says,
//! records its event and enqueues it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::value::RawValue;

use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Delivery, Provider, RejectReason, Verification};
use inbox_core::limits::SIGNATURE_TOLERANCE_SECS;
use inbox_core::providers::{Credential, ProviderSpec, SignatureScheme};
use inbox_core::secret_keys::KeyCodec;
use inbox_core::subject::Subject;
use inbox_core::url_token;

use crate::api_gateway::ApiGatewayRequest;
use crate::boot::boot;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::{CommonConfig, ConfigError, Env, revoked_subjects};
use crate::secrets::SecretCache;
use crate::webhook_receiver::WebhookReceiver;

/// Runs the webhook function of this provider in the Lambda runtime, configured by environment variables.
pub async fn run(provider: Provider) -> Result<(), Error> {
    let config = WebhookConfig::read(provider, &Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let webhook = WebhookFunction::new(provider, &config, &process.clients, Clock::system());
    // A cold start has more CPU than an invocation. Later, the TLS handshakes would delay the first delivery.
    process.clients.warm_up(&common.table, &common.queue_url, webhook.load_secret()).await;
    process
        .run(async |event: LambdaEvent<Box<RawValue>>| Ok::<_, Error>(webhook.handle(event.payload).await))
        .await
}

/// Configuration of a webhook function.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Configuration that all functions share.
    pub common: CommonConfig,
    /// The name or ARN of the secret that verifies deliveries.
    pub secret_id: String,
    /// The addresses that may deliver; empty for all.
    pub allow_list: AllowList,
    /// The accepted deliveries.
    pub verifier: Verifier,
}

/// What a delivery is verified by, besides the secret.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// The provider's signature.
    Signature {
        /// The way in which the provider signs.
        scheme: &'static SignatureScheme,
        /// The encoding of the keys in the secret.
        key_codec: KeyCodec,
        /// The largest difference between a signature's time and now, in seconds.
        tolerance_secs: u64,
    },
    /// The token in the webhook's URL.
    UrlToken {
        /// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose URLs are no longer accepted, separated by commas.
        revoked_subjects: BTreeSet<Subject>,
    },
}

impl WebhookConfig {
    /// Reads the configuration from the environment variables that the provider's specification names. Fails on a
    /// missing or invalid one.
    pub fn read(provider: Provider, env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        let ProviderSpec { secret_id_variable, allowed_cidrs_variable, credential, .. } =
            ProviderSpec::of(provider);
        Ok(Self {
            common: CommonConfig::from_env(env)?,
            secret_id: env.required(secret_id_variable)?,
            allow_list: env.parsed_or(allowed_cidrs_variable, AllowList::default())?,
            verifier: match *credential {
                Credential::Signature(scheme) => Verifier::Signature {
                    scheme,
                    key_codec: key_codec(scheme, env)?,
                    tolerance_secs: tolerance_secs(scheme, env)?,
                },
                Credential::UrlToken => Verifier::UrlToken { revoked_subjects: revoked_subjects(env)? },
            },
        })
    }
}

/// The configured encoding of the keys in the secret of a provider that signs.
pub fn key_codec(
    scheme: &SignatureScheme,
    env: &Env<impl Fn(&str) -> Option<String>>,
) -> Result<KeyCodec, ConfigError> {
    env.parsed_or(scheme.key_codec_variable, KeyCodec::default())
}

/// The configured largest difference between a signature's time and now, in seconds.
pub fn tolerance_secs(
    scheme: &SignatureScheme,
    env: &Env<impl Fn(&str) -> Option<String>>,
) -> Result<u64, ConfigError> {
    env.parsed_or(scheme.tolerance_variable, SIGNATURE_TOLERANCE_SECS)
}

/// A webhook function. Build it once per process.
#[derive(Clone, Debug)]
pub struct WebhookFunction {
    provider: Provider,
    receiver: WebhookReceiver,
    secret: SecretCache,
    allow_list: Arc<AllowList>,
    verifier: Arc<Verifier>,
}

impl WebhookFunction {
    /// Builds the function. Makes no calls.
    pub fn new(provider: Provider, config: &WebhookConfig, clients: &Clients, clock: Clock) -> Self {
        let common = &config.common;
        let key_codec = match config.verifier {
            Verifier::Signature { key_codec, .. } => key_codec,
            Verifier::UrlToken { .. } => KeyCodec::Utf8,
        };
        Self {
            provider,
            receiver: WebhookReceiver::new(clients.table(common), clients.queue(common), clock.clone()),
            secret: SecretCache::new(clients.secrets.clone(), &config.secret_id, key_codec, clock),
            allow_list: Arc::new(config.allow_list.clone()),
            verifier: Arc::new(config.verifier.clone()),
        }
    }

    /// Loads the secret, so that the first delivery need not wait for it.
    pub async fn load_secret(&self) {
        self.secret.load().await;
    }

    /// Verifies, records and enqueues one delivery, and returns the HTTP reply. `event` is the API Gateway event of the
    /// invocation (payload format 2.0). Every failure is a reply, too.
    pub async fn handle(&self, event: Box<RawValue>) -> ApiGatewayV2httpResponse {
        let request = ApiGatewayRequest::parse(&event);
        // The event may have up to 6 MB, and `request` has its own copy.
        drop(event);
        // The address that API Gateway saw: a caller can put any address into a header.
        let source_ip = request.as_ref().and_then(ApiGatewayRequest::source_ip).map(str::to_owned);
        let token = request.as_ref().and_then(|request| request.path_parameter("token"));
        let token = token.unwrap_or_default().to_owned();
        let verify = async |delivery| self.verify(delivery, source_ip.as_deref(), &token).await;
        self.receiver.receive(self.provider, request, verify).await
    }

    /// Verifies a delivery from this address to the URL with this token. `None` if the secret was never loaded.
    async fn verify(&self, delivery: Delivery, source_ip: Option<&str>, token: &str) -> Option<Verification> {
        // Checked first, so that a credential from a foreign address never causes a fetch of the secret.
        if !self.allow_list.permits(source_ip) {
            return Some(Verification::Rejected(delivery, RejectReason::AddressNotAllowed));
        }
        match &*self.verifier {
            Verifier::Signature { scheme, tolerance_secs, .. } => {
                let verify = |delivery, keys: &_| (scheme.verify)(delivery, keys, *tolerance_secs);
                self.secret.verify(delivery, verify).await
            }
            Verifier::UrlToken { revoked_subjects } => {
                let verify = |delivery, keys: &_| url_token::verify(delivery, token, keys, revoked_subjects);
                self.secret.verify(delivery, verify).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tolerance_of(variable: Option<&str>) -> Result<u64, ConfigError> {
        let Credential::Signature(scheme) = ProviderSpec::of(Provider::Fynapse).credential else {
            panic!("Fynapse signs")
        };
        tolerance_secs(
            scheme,
            &Env(|name: &str| variable.filter(|_| name == "FYNAPSE_TOLERANCE_SECS").map(str::to_owned)),
        )
    }

    #[test]
    fn the_tolerance_is_in_seconds_and_has_a_default() {
        assert_eq!((tolerance_of(None), tolerance_of(Some("60"))), (Ok(300), Ok(60)));
        assert_eq!(
            tolerance_of(Some("5m")).unwrap_err().to_string(),
            "environment variable FYNAPSE_TOLERANCE_SECS is not valid: \"5m\": invalid digit found in string"
        );
    }
}
