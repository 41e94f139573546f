//! The accepted values of a secret, kept for a while.
//!
//! A value is used for at most five minutes: from the fourth on it is asked for again. When a fetch fails, the
//! last good copy stays in use. (Not beside the delivery: a process that is frozen in mid-fetch finds its
//! connection dead.) When a delivery does not match, the secret is fetched once more, so that a
//! rotation needs no deploy; a caller without the secret can cause that only every 30 seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use tokio::time::{Instant, timeout};

use inbox_core::delivery::{Delivery, Refusal, Verdict};
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::limits::{SECRET_FIRST_LOAD_RETRY_MS, SECRET_REFETCH_SECS, SECRET_REFRESH_SECS};

use crate::Fault;

const FETCH: &str = "secretsmanager:GetSecretValue";
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_200);

/// One secret. Clones share what was loaded.
#[derive(Clone, Debug)]
pub struct SecretCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    secret_id: String,
    codec: KeyCodec,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    loaded_at: Option<Instant>,
    fetch_started_at: Option<Instant>,
}

impl SecretCache {
    /// A secret by its name or ARN. Nothing is fetched yet.
    pub fn new(client: Client, secret_id: impl Into<String>, codec: KeyCodec) -> Self {
        Self(Arc::new(Shared {
            client,
            secret_id: secret_id.into(),
            codec,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }))
    }

    /// Loads the secret, if it is not there yet: during the cold start.
    pub async fn load(&self) {
        let _ = self.current().await;
    }

    /// Proves a delivery with the accepted values, after a mismatch once more with fresh ones.
    /// `None` while none was ever loaded: then nothing can be decided.
    pub async fn prove(
        &self,
        delivery: Delivery,
        prove: impl Fn(Delivery, &Keys) -> Verdict,
    ) -> Option<Verdict> {
        let asked_at = Instant::now();
        let keys = self.current().await?;
        match prove(delivery, &keys) {
            Verdict::NotProven(delivery, Refusal::Mismatch) => {
                self.fetch(asked_at, Duration::from_secs(SECRET_REFETCH_SECS)).await;
                match self.0.state().keys {
                    Some(fresh) if !Arc::ptr_eq(&fresh, &keys) => Some(prove(delivery, &fresh)),
                    // The same keys would say the same, at the price of another pass over the body.
                    _ => Some(Verdict::NotProven(delivery, Refusal::Mismatch)),
                }
            }
            verdict @ (Verdict::Proven(_) | Verdict::Stale(_) | Verdict::NotProven(..)) => Some(verdict),
        }
    }

    /// The accepted values, not older than need be.
    pub async fn current(&self) -> Option<Arc<Keys>> {
        let now = Instant::now();
        let state = self.0.state();
        let Some(loaded_at) = state.loaded_at else {
            self.fetch(now, Duration::from_millis(SECRET_FIRST_LOAD_RETRY_MS)).await;
            return self.0.state().keys;
        };
        let age = now.saturating_duration_since(loaded_at);
        if age >= Duration::from_secs(SECRET_REFRESH_SECS) {
            self.fetch(now, Duration::from_secs(SECRET_REFETCH_SECS)).await;
        }
        self.0.state().keys
    }

    /// Fetches the secret, one caller at a time, unless one was started after `asked_at` or less than `pause`
    /// ago. The pause counts from the start of a fetch, also of one that failed.
    async fn fetch(&self, asked_at: Instant, pause: Duration) {
        let _one_at_a_time = self.0.fetching.lock().await;
        let now = Instant::now();
        let recent = |started: Instant| started >= asked_at || now.saturating_duration_since(started) < pause;
        if self.0.state().fetch_started_at.is_some_and(recent) {
            return;
        }
        self.0.change(|state| state.fetch_started_at = Some(now));
        // On the heap, because it is rare and large.
        match Box::pin(self.0.fetch()).await {
            Ok(keys) => self.0.change(|state| {
                state.keys = Some(Arc::new(keys));
                state.loaded_at = Some(now);
            }),
            Err(why) => {
                metrics::counter!("secret_fetch_failed").increment(1);
                tracing::warn!(target: "secrets", %why, "secret not loaded");
            }
        }
    }
}

impl Shared {
    async fn fetch(&self) -> Result<Keys, String> {
        let asked = self.client.get_secret_value().secret_id(&self.secret_id).send();
        let answer = timeout(FETCH_TIMEOUT, asked)
            .await
            .map_err(|_| Fault::timeout(FETCH).to_string())?
            .map_err(|error| Fault::of(FETCH, &error).to_string())?;
        Keys::parse(answer.secret_string().unwrap_or_default(), self.codec).map_err(|error| error.to_string())
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
