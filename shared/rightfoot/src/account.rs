//! Calls of Rightfoot's API with our account: its current key, and its rate limit.

use std::sync::Arc;

use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{AWS_ENDPOINT_URL, ConfigError, Env};
use inbox_aws::secrets::SecretCache;
use inbox_aws::telemetry::metrics;
use inbox_core::id::Id;
use inbox_core::secret_keys::{KeyError, parse_api_key};

use crate::rate_limit::AccountRateLimit;
use crate::{ApiError, ApiKey, BASE_URL, BalancePager, ClientConfig, RightfootClient};

/// The API's URL and the secret with its key, from the environment.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// `RIGHTFOOT_API_URL`: the client of the API there.
    pub client: RightfootClient,
    /// `RIGHTFOOT_API_KEY_SECRET_ID`: name or ARN of the secret with the API key.
    pub secret_id: String,
}

impl AccountConfig {
    /// Reads `RIGHTFOOT_API_URL`, `RIGHTFOOT_API_KEY_SECRET_ID`, `AWS_CA_BUNDLE` and `AWS_ENDPOINT_URL`.
    pub fn from_env(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        const URL: &str = "RIGHTFOOT_API_URL";
        let url = env.parsed_or(URL, BASE_URL.to_owned())?;
        let invalid = |why: String| ConfigError::Invalid { name: URL, value: url.clone(), why };
        let mut config = ClientConfig::new(&url, env.var(AWS_ENDPOINT_URL).as_deref())
            .map_err(|error| invalid(error.to_string()))?;
        config.ca_bundle = CaBundle::from_env(env)?;
        Ok(Self {
            client: RightfootClient::new(config).map_err(|error| invalid(error.to_string()))?,
            secret_id: env.required("RIGHTFOOT_API_KEY_SECRET_ID")?,
        })
    }
}

/// Our account at Rightfoot: the client, the key from its secret, and the current rate-limit pause.
///
/// Clones share all of it. There is one per process, so a pause that one call's response starts holds for every
/// other call.
#[derive(Clone, Debug)]
pub struct RightfootAccount {
    client: RightfootClient,
    key: SecretCache<ApiKey>,
    rate_limit: AccountRateLimit,
}

impl RightfootAccount {
    /// Creates the account. Nothing is called yet.
    pub fn new(access: &AccountConfig, clients: &Clients, clock: Clock) -> Self {
        let key =
            SecretCache::with_parser(clients.secrets.clone(), &access.secret_id, read_api_key, clock.clone());
        Self { client: access.client.clone(), key, rate_limit: AccountRateLimit::new(clock) }
    }

    /// Loads the key; called during the cold start.
    pub async fn load_key(&self) {
        self.key.load().await;
    }

    /// Returns `true` during a rate-limit pause: until it ends, no call is sent.
    pub fn is_rate_limited(&self) -> bool {
        self.rate_limit.remaining().is_some()
    }

    /// Starts to read the balances of a batch page by page.
    pub fn balance_pager(&self, batch_id: &Id) -> Result<BalancePager, ApiError> {
        self.client.balance_pager(batch_id)
    }

    /// Makes a call, unless there is a rate-limit pause: then nothing is sent, and the error is
    /// [`ApiError::RateLimited`] with the rest of the pause. A call that is under way when a pause begins goes
    /// on.
    ///
    /// If Rightfoot rejects the key, the key is fetched again, and the call is repeated once if it has changed:
    /// a rotation needs no deploy, and a call with a rejected key has had no effect.
    pub async fn call<T, F>(&self, request: impl Fn(RightfootClient, Arc<ApiKey>) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        if let Some(remaining) = self.rate_limit.remaining() {
            return Err(ApiError::RateLimited { retry_after: Some(remaining) });
        }
        let result = self.call_with_current_key(request).await;
        // An operator has to fix either of them, so they raise the same alarm.
        if let Err(ApiError::KeyUnavailable | ApiError::Unauthorized) = result {
            metrics::KEY_REFUSED.add(1);
        }
        if let Err(ApiError::RateLimited { retry_after }) = result {
            self.rate_limit.start(retry_after);
        }
        result
    }

    async fn call_with_current_key<T, F>(
        &self,
        request: impl Fn(RightfootClient, Arc<ApiKey>) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let key = self.key.current().await.ok_or(ApiError::KeyUnavailable)?;
        match request(self.client.clone(), key.clone()).await {
            Err(ApiError::Unauthorized) => match self.key.refetch(&key).await {
                Some(fresh) => request(self.client.clone(), fresh).await,
                None => Err(ApiError::Unauthorized),
            },
            answer => answer,
        }
    }
}

/// Parses the API key: the secret's plain string, or the first of its array.
fn read_api_key(value: &str) -> Result<ApiKey, KeyError> {
    ApiKey::new(&parse_api_key(value)?).map_err(|_| KeyError::NotVisibleAscii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_api_url_is_rejected_at_start_up_with_its_variable() {
        let read = |url: &str| {
            let env = Env(|name: &str| match name {
                "RIGHTFOOT_API_URL" => Some(url.to_owned()),
                "RIGHTFOOT_API_KEY_SECRET_ID" => Some("rightfoot-api-key".to_owned()),
                _ => None,
            });
            AccountConfig::from_env(&env).map(|_| ()).map_err(|error| error.to_string())
        };
        for good in
            ["https://api.rightfoot.com", "https://api.rightfoot.com/v1", "https://api.rightfoot.com/v1/"]
        {
            assert_eq!(read(good), Ok(()), "{good}");
        }
        for (bad, shown) in [
            ("api.rightfoot.com", "api.rightfoot.com"),
            ("https://api.rightfoot.com/v1?limit=1", "https://api.rightfoot.com/v1?limit=1"),
            ("http://api.rightfoot.com/v1", "http://api.rightfoot.com/v1"),
            ("https://user:password@api.rightfoot.com", "…@api.rightfoot.com"),
        ] {
            let expected = format!(
                "environment variable RIGHTFOOT_API_URL is not valid: \"{shown}\": a base URL is https://host, with or \
                 without a path, and without user name, query or fragment; http is for localhost only, and for a \
                 container's host if AWS_ENDPOINT_URL leads to one, too"
            );
            assert_eq!(read(bad), Err(expected), "{bad}");
        }
    }

    #[test]
    fn only_a_function_whose_aws_is_emulated_on_its_containers_host_calls_rightfoot_there() {
        let is_accepted = |aws_endpoint: Option<&str>| {
            let env = Env(|name: &str| match name {
                "RIGHTFOOT_API_URL" => Some("http://host.docker.internal:9002".to_owned()),
                "RIGHTFOOT_API_KEY_SECRET_ID" => Some("rightfoot-api-key".to_owned()),
                "AWS_ENDPOINT_URL" => aws_endpoint.map(str::to_owned),
                _ => None,
            });
            AccountConfig::from_env(&env).is_ok()
        };
        assert!(is_accepted(Some("http://host.docker.internal:9001")));
        assert!(!is_accepted(None) && !is_accepted(Some("")) && !is_accepted(Some("http://127.0.0.1:9001")));
    }
}
