//! The accepted values of a secret, kept for a while.
//!
//! A value is used for at most five minutes: from the fourth on it is asked for again. When a fetch fails, the
//! last good copy stays in use. (Not beside the delivery: a process that is frozen in mid-fetch finds its
//! connection dead.) When a delivery does not match, the secret is fetched once more, so that a
//! rotation needs no deploy; a caller without the secret can cause that only every 30 seconds.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use tokio::time::timeout;
use zeroize::Zeroizing;

use inbox_core::delivery::{Delivery, Refusal, Verdict};
use inbox_core::keys::{KeyCodec, KeyError, Keys};
use inbox_core::limits::{SECRET_FIRST_LOAD_RETRY_MS, SECRET_REFETCH_SECS, SECRET_REFRESH_SECS};

use crate::Fault;
use crate::clock::Clock;

const FETCH: &str = "secretsmanager:GetSecretValue";
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_200);

/// One secret, as what it is used for. Clones share what was loaded.
pub struct SecretCache<T = Keys>(Arc<Shared<T>>);

struct Shared<T> {
    client: Client,
    secret_id: String,
    read: Box<Read<T>>,
    clock: Clock,
    state: Mutex<State<T>>,
    fetching: tokio::sync::Mutex<()>,
}

/// What makes something usable of a secret's value, or says what is wrong with it and never what it is.
type Read<T> = dyn Fn(&str) -> Result<T, KeyError> + Send + Sync;

struct State<T> {
    value: Option<Arc<T>>,
    loaded_at: Option<Instant>,
    fetch_started_at: Option<Instant>,
}

impl SecretCache {
    /// A secret that signs or is signed with, by its name or ARN. Nothing is fetched yet.
    pub fn new(client: Client, secret_id: impl Into<String>, codec: KeyCodec, clock: Clock) -> Self {
        Self::read_by(client, secret_id, move |value| Keys::parse(value, codec), clock)
    }

    /// Proves a delivery with the accepted values, after a mismatch once more with fresh ones.
    /// `None` while none was ever loaded: then nothing can be decided.
    pub async fn prove(
        &self,
        delivery: Delivery,
        prove: impl Fn(Delivery, &Keys) -> Verdict,
    ) -> Option<Verdict> {
        let keys = self.current().await?;
        match prove(delivery, &keys) {
            Verdict::NotProven(delivery, Refusal::Mismatch) => {
                Some(match self.fresher_than(&keys).await {
                    Some(fresh) => prove(delivery, &fresh),
                    // The same keys would say the same, at the price of another pass over the body.
                    None => Verdict::NotProven(delivery, Refusal::Mismatch),
                })
            }
            verdict @ (Verdict::Proven(_) | Verdict::Stale(_) | Verdict::NotProven(..)) => Some(verdict),
        }
    }
}

impl<T> SecretCache<T> {
    /// A secret by its name or ARN, and what makes something usable of its value. Nothing is fetched yet.
    pub fn read_by(
        client: Client,
        secret_id: impl Into<String>,
        read: impl Fn(&str) -> Result<T, KeyError> + Send + Sync + 'static,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Shared {
            client,
            secret_id: secret_id.into(),
            read: Box::new(read),
            clock,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }))
    }

    /// Loads the secret, if it is not there yet: during the cold start.
    pub async fn load(&self) {
        let _ = self.current().await;
    }

    /// The value, not older than need be; `None` while it was never loaded.
    pub async fn current(&self) -> Option<Arc<T>> {
        let Some(loaded_at) = self.0.state().loaded_at else {
            self.fetch(Duration::from_millis(SECRET_FIRST_LOAD_RETRY_MS)).await;
            return self.0.state().value;
        };
        let age = self.0.clock.instant().saturating_duration_since(loaded_at);
        if age >= Duration::from_secs(SECRET_REFRESH_SECS) {
            self.fetch(Duration::from_secs(SECRET_REFETCH_SECS)).await;
        }
        self.0.state().value
    }

    /// Fetches the secret once more, because what `used` stands for was refused, unless that was done a short while
    /// ago. `None` if nothing else came of it.
    pub async fn fresher_than(&self, used: &Arc<T>) -> Option<Arc<T>> {
        self.fetch(Duration::from_secs(SECRET_REFETCH_SECS)).await;
        self.0.state().value.filter(|fresh| !Arc::ptr_eq(fresh, used))
    }

    /// Fetches the secret, one caller at a time, unless one was started while this one waited for its turn or less
    /// than `pause` ago. The pause counts from the start of a fetch, also of one that failed.
    async fn fetch(&self, pause: Duration) {
        let asked_at = self.0.clock.instant();
        let _one_at_a_time = self.0.fetching.lock().await;
        let now = self.0.clock.instant();
        let recent = |started: Instant| started >= asked_at || now.saturating_duration_since(started) < pause;
        if self.0.state().fetch_started_at.is_some_and(recent) {
            return;
        }
        self.0.change(|state| state.fetch_started_at = Some(now));
        // On the heap, because it is rare and large.
        match Box::pin(self.0.fetch()).await {
            Ok(value) => self.0.change(|state| {
                state.value = Some(Arc::new(value));
                state.loaded_at = Some(now);
            }),
            Err(why) => {
                metrics::counter!("secret_fetch_failed").increment(1);
                tracing::warn!(target: "secrets", %why, "secret not loaded");
            }
        }
    }
}

/// A secret's value, asked for once.
pub async fn fetch(client: &Client, secret_id: &str) -> Result<Zeroizing<String>, Fault> {
    let asked = client.get_secret_value().secret_id(secret_id).send();
    let answer = asked.await.map_err(|error| Fault::of(FETCH, &error))?;
    Ok(Zeroizing::new(answer.secret_string.unwrap_or_default()))
}

impl<T> Shared<T> {
    async fn fetch(&self) -> Result<T, String> {
        let asked = timeout(FETCH_TIMEOUT, fetch(&self.client, &self.secret_id)).await;
        let value = asked.unwrap_or(Err(Fault::timeout(FETCH))).map_err(|fault| fault.to_string())?;
        (self.read)(&value).map_err(|error| error.to_string())
    }

    fn state(&self) -> State<T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<T> Clone for SecretCache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SecretCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretCache")
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), loaded_at: self.loaded_at, fetch_started_at: self.fetch_started_at }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { value: None, loaded_at: None, fetch_started_at: None }
    }
}
