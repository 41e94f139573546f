//! Asking with our own key, whatever it is at the moment.

use std::sync::Arc;

use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{ConfigError, Env};
use inbox_aws::secrets::SecretCache;
use inbox_core::event::Id;
use inbox_core::keys::{KeyError, api_key};

use crate::rate_limit::RateLimitPause;
use crate::{ApiError, ApiKey, BASE_URL, BalancePages, Config, Rightfoot};

/// Where Rightfoot is asked, and with which key.
#[derive(Clone, Debug)]
pub struct Access {
    /// `RIGHTFOOT_API_URL`: the client of the API there.
    pub client: Rightfoot,
    /// `RIGHTFOOT_API_KEY_SECRET_ID`: name or ARN of the secret with the API key.
    pub secret_id: String,
}

impl Access {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        const URL: &str = "RIGHTFOOT_API_URL";
        let url = env.parsed_or(URL, BASE_URL.to_owned())?;
        let invalid = |why: String| ConfigError::Invalid { name: URL, value: url.clone(), why };
        let mut config = Config::new(&url).map_err(|error| invalid(error.to_string()))?;
        config.ca_bundle = CaBundle::of(env)?;
        Ok(Self {
            client: Rightfoot::new(config).map_err(|error| invalid(error.to_string()))?,
            secret_id: env.required("RIGHTFOOT_API_KEY_SECRET_ID")?,
        })
    }
}

/// Our account at Rightfoot: the client, the key from its secret, and the pause that Rightfoot has asked for. Clones share
/// all of it: there is one for each process, so whoever in it asks keeps the pause that somebody else's answer began.
#[derive(Clone, Debug)]
pub struct Account {
    client: Rightfoot,
    key: SecretCache<ApiKey>,
    pause: RateLimitPause,
}

impl Account {
    /// Asks by the client, with the key of the secret. Nothing is called yet.
    pub fn new(access: &Access, clients: &Clients, clock: Clock) -> Self {
        let key = SecretCache::read_by(clients.secrets.clone(), &access.secret_id, read_key, clock.clone());
        Self { client: access.client.clone(), key, pause: RateLimitPause::new(clock) }
    }

    /// Loads the key: for the cold start.
    pub async fn load_key(&self) {
        self.key.load().await;
    }

    /// Whether Rightfoot has asked for a pause that is not over: nothing would be asked.
    pub fn is_pausing(&self) -> bool {
        self.pause.left().is_some()
    }

    /// The balances of a batch, to be read page by page.
    pub fn pages_of(&self, batch_id: &Id) -> Result<BalancePages, ApiError> {
        self.client.balance_pages(batch_id)
    }

    /// Asks, unless Rightfoot has asked for a pause: until that is over, nothing is sent, and the answer is
    /// [`ApiError::RateLimited`] with the rest of it. (A question that is under way by then goes on.)
    ///
    /// If the key is refused, it is fetched again, and the question is asked once more with another one: a
    /// rotation needs no deploy, and a refused key has had no effect.
    pub async fn ask<T, F>(&self, question: impl Fn(Rightfoot, Arc<ApiKey>) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        if let Some(left) = self.pause.left() {
            return Err(ApiError::RateLimited { retry_after: Some(left) });
        }
        let answer = self.ask_with_keys(question).await;
        if let Err(ApiError::NoKey | ApiError::Unauthorized) = answer {
            metrics::counter!("key_refused").increment(1);
        }
        if let Err(ApiError::RateLimited { retry_after }) = answer {
            self.pause.begin(retry_after);
        }
        answer
    }

    async fn ask_with_keys<T, F>(&self, question: impl Fn(Rightfoot, Arc<ApiKey>) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let key = self.key.current().await.ok_or(ApiError::NoKey)?;
        match question(self.client.clone(), key.clone()).await {
            Err(ApiError::Unauthorized) => match self.key.fresher_than(&key).await {
                Some(fresh) => question(self.client.clone(), fresh).await,
                None => Err(ApiError::Unauthorized),
            },
            answer => answer,
        }
    }
}

/// The key is the secret's plain string, or the first of its array.
fn read_key(value: &str) -> Result<ApiKey, KeyError> {
    ApiKey::new(&api_key(value)?).map_err(|_| KeyError::NotVisibleAscii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_asked_is_refused_at_start_up_by_its_variable() {
        let read = |url: &str| {
            let env = Env(|name: &str| match name {
                "RIGHTFOOT_API_URL" => Some(url.to_owned()),
                "RIGHTFOOT_API_KEY_SECRET_ID" => Some("rightfoot-api-key".to_owned()),
                _ => None,
            });
            Access::read(&env).map(|_| ()).map_err(|error| error.to_string())
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
                 without a path, and without user name, query or fragment; http is for this machine only"
            );
            assert_eq!(read(bad), Err(expected), "{bad}");
        }
    }
}
