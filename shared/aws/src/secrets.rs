//! A cache of one secret from Secrets Manager, with all values that are accepted.
//!
//! A value is used for at most five minutes: it is fetched again from the fourth minute on. When a fetch fails, the last
//! good copy stays in use. The refresh runs before a delivery is verified, not beside it: a process that is frozen in the
//! middle of a fetch finds its connection dead. When a delivery does not match, the secret is fetched once more, so that a
//! rotation needs no deploy; a caller without the secret can cause that only every 30 seconds.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use tokio::time::timeout;
use zeroize::Zeroizing;

use inbox_core::delivery::{Delivery, RejectReason, Verification};
use inbox_core::limits::{SECRET_FIRST_LOAD_RETRY_MS, SECRET_REFETCH_SECS, SECRET_REFRESH_SECS};
use inbox_core::secret_keys::{KeyCodec, KeyError, Keys};
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::clock::Clock;
use crate::telemetry::metrics;

const FETCH: &str = "secretsmanager:GetSecretValue";
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_200);

/// A cached secret, parsed to `T`. Clones share the cached value.
pub struct SecretCache<T = Keys>(Arc<SecretCacheInner<T>>);

struct SecretCacheInner<T> {
    client: Client,
    secret_id: String,
    parse: Box<SecretParser<T>>,
    clock: Clock,
    state: Mutex<CachedSecret<T>>,
    fetch_lock: tokio::sync::Mutex<()>,
}

/// Parses the value of a secret. The error says what is wrong with it, never what it is.
type SecretParser<T> = dyn Fn(&str) -> Result<T, KeyError> + Send + Sync;

struct CachedSecret<T> {
    value: Option<Arc<T>>,
    loaded_at: Option<Instant>,
    fetch_started_at: Option<Instant>,
}

impl SecretCache {
    /// Creates a cache for a secret that holds keys, by its name or ARN. Nothing is fetched yet.
    pub fn new(client: Client, secret_id: impl Into<String>, codec: KeyCodec, clock: Clock) -> Self {
        Self::with_parser(client, secret_id, move |value| Keys::parse(value, codec), clock)
    }

    /// Verifies a delivery with the cached keys; after a mismatch once more with freshly fetched ones.
    ///
    /// `None` if the secret was never loaded: then nothing can be decided.
    pub async fn verify(
        &self,
        delivery: Delivery,
        verify: impl Fn(Delivery, &Keys) -> Verification,
    ) -> Option<Verification> {
        let keys = self.current().await?;
        match verify(delivery, &keys) {
            Verification::Rejected(delivery, RejectReason::Mismatch) => {
                Some(match self.refetch(&keys).await {
                    Some(fresh) => verify(delivery, &fresh),
                    // The same keys would give the same result, at the price of another pass over the body.
                    None => Verification::Rejected(delivery, RejectReason::Mismatch),
                })
            }
            verification @ (Verification::Verified(_)
            | Verification::Stale(_)
            | Verification::Rejected(..)) => Some(verification),
        }
    }
}

impl<T> SecretCache<T> {
    /// Creates a cache for a secret by its name or ARN, with a parser for its value. Nothing is fetched yet.
    pub fn with_parser(
        client: Client,
        secret_id: impl Into<String>,
        parse: impl Fn(&str) -> Result<T, KeyError> + Send + Sync + 'static,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(SecretCacheInner {
            client,
            secret_id: secret_id.into(),
            parse: Box::new(parse),
            clock,
            state: Mutex::default(),
            fetch_lock: tokio::sync::Mutex::default(),
        }))
    }

    /// Loads the secret unless it is cached; called during the cold start. A failure is logged, not returned.
    pub async fn load(&self) {
        let _ = self.current().await;
    }

    /// Returns the value, refreshed if it is due; `None` if the secret was never loaded.
    pub async fn current(&self) -> Option<Arc<T>> {
        // Never loaded: retry soon, because nothing can be decided without it.
        let Some(loaded_at) = self.0.snapshot().loaded_at else {
            self.fetch_unless_recent(Duration::from_millis(SECRET_FIRST_LOAD_RETRY_MS)).await;
            return self.0.snapshot().value;
        };
        let age = self.0.clock.instant().saturating_duration_since(loaded_at);
        if age >= Duration::from_secs(SECRET_REFRESH_SECS) {
            self.fetch_unless_recent(Duration::from_secs(SECRET_REFETCH_SECS)).await;
        }
        self.0.snapshot().value
    }

    /// Fetches the secret again because `used` was rejected, unless a fetch was started within the last 30
    /// seconds.
    ///
    /// `None` if there is no newer value than `used`.
    pub async fn refetch(&self, used: &Arc<T>) -> Option<Arc<T>> {
        self.fetch_unless_recent(Duration::from_secs(SECRET_REFETCH_SECS)).await;
        self.0.snapshot().value.filter(|fresh| !Arc::ptr_eq(fresh, used))
    }

    /// Fetches the secret, one caller at a time. Does nothing if another fetch was started while this caller
    /// waited, or less than `pause` ago.
    async fn fetch_unless_recent(&self, pause: Duration) {
        // A fetch that another caller started after this moment is fresh enough.
        let requested_at = self.0.clock.instant();
        let _guard = self.0.fetch_lock.lock().await;
        let now = self.0.clock.instant();
        let recent =
            |started: Instant| started >= requested_at || now.saturating_duration_since(started) < pause;
        if self.0.snapshot().fetch_started_at.is_some_and(recent) {
            return;
        }
        // Set before the fetch, so that the pause also follows a failed one.
        self.0.update(|state| state.fetch_started_at = Some(now));
        // On the heap: this future is large and rarely needed.
        match Box::pin(self.0.fetch_and_parse()).await {
            Ok(value) => self.0.update(|state| {
                state.value = Some(Arc::new(value));
                // The start of the fetch: the value may be as old as that.
                state.loaded_at = Some(now);
            }),
            Err(error) => {
                metrics::SECRET_FETCH_FAILED.add(1);
                tracing::warn!(target: "secrets", why = %error, "secret not loaded");
            }
        }
    }
}

/// The value of a secret.
pub struct StoredSecret {
    /// The value.
    pub value: Zeroizing<String>,
    /// The time at which this value was stored.
    pub stored_at: Option<UnixMillis>,
}

/// Fetches the value of a secret, without a cache.
pub async fn fetch_secret(client: &Client, secret_id: &str) -> Result<Zeroizing<String>, AwsError> {
    fetch_stored_secret(client, secret_id).await.map(|secret| secret.value)
}

/// Fetches the value of a secret and the time at which it was stored, without a cache.
pub async fn fetch_stored_secret(client: &Client, secret_id: &str) -> Result<StoredSecret, AwsError> {
    let request = client.get_secret_value().secret_id(secret_id).send();
    let answer = request.await.map_err(|error| AwsError::from_sdk_error(FETCH, &error))?;
    Ok(StoredSecret {
        value: Zeroizing::new(answer.secret_string.unwrap_or_default()),
        stored_at: answer.created_date.and_then(|at| at.to_millis().ok()).map(UnixMillis),
    })
}

/// Does not show the value (P8).
impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredSecret(stored at {:?})", self.stored_at)
    }
}

impl<T> SecretCacheInner<T> {
    async fn fetch_and_parse(&self) -> Result<T, String> {
        let response = timeout(FETCH_TIMEOUT, fetch_secret(&self.client, &self.secret_id)).await;
        let value = response.unwrap_or(Err(AwsError::timeout(FETCH))).map_err(|error| error.to_string())?;
        (self.parse)(&value).map_err(|error| error.to_string())
    }

    fn snapshot(&self) -> CachedSecret<T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut CachedSecret<T>)) {
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

impl<T> Clone for CachedSecret<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), loaded_at: self.loaded_at, fetch_started_at: self.fetch_started_at }
    }
}

impl<T> Default for CachedSecret<T> {
    fn default() -> Self {
        Self { value: None, loaded_at: None, fetch_started_at: None }
    }
}
