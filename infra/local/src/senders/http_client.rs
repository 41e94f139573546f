//! The senders' HTTP client, with their shared limits, time and randomness.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use inbox_core::time::UnixMillis;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::header::RETRY_AFTER;
use tokio::sync::Semaphore;

use super::retry_policy::JITTER_MAX;
use super::{AttemptResponse, DeliveryAttempt, SimClock};

/// Time limit for a response, in real time. Neither provider documents its own; this one is longer than the receiver
/// ever takes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// HTTP client, clock and random seed that the senders of one run share. Clones share its limits.
#[derive(Clone, Debug)]
pub struct SenderClient {
    client: reqwest::Client,
    in_flight_permits: Arc<Semaphore>,
    first_attempts: Arc<AtomicUsize>,
    clock: SimClock,
    seed: u64,
}

impl SenderClient {
    /// Creates a client that makes at most `in_flight` requests at the same time (at least 1).
    pub fn new(clock: SimClock, seed: u64, in_flight: usize) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(RESPONSE_TIMEOUT).build();
        Ok(Self {
            client: client.context("no HTTP client")?,
            in_flight_permits: Arc::new(Semaphore::new(in_flight.max(1))),
            first_attempts: Arc::default(),
            clock,
            seed,
        })
    }

    /// Number of deliveries whose first attempt has ended, with or without a response.
    pub fn first_attempts(&self) -> usize {
        self.first_attempts.load(Ordering::SeqCst)
    }

    pub(super) fn clock(&self) -> &SimClock {
        &self.clock
    }

    pub(super) fn count_first_attempt(&self) {
        self.first_attempts.fetch_add(1, Ordering::SeqCst);
    }

    /// The random numbers of one delivery: the same for the same id in every run with the same seed.
    pub(super) fn delivery_rng(&self, id: &str) -> DeliveryRng {
        // FNV-1a, because the standard library's hasher may change between versions.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        DeliveryRng(StdRng::seed_from_u64(self.seed ^ hash))
    }

    /// Posts JSON. Headers and body are built once a permit is free, so that a signature's time is the time of
    /// sending.
    pub(super) async fn post(
        &self,
        url: &str,
        build_request: impl FnOnce(UnixMillis) -> (Vec<(&'static str, String)>, Bytes),
    ) -> DeliveryAttempt {
        // An error would mean that the semaphore was closed, which never happens.
        let _permit = self.in_flight_permits.acquire().await;
        // Taken after the permit, so that waiting for it does not count as response time.
        let (at, started) = (self.clock.now(), Instant::now());
        let (headers, body) = build_request(at);
        let request = self.client.post(url).header("content-type", "application/json");
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = send(request.body(body)).await.unwrap_or_else(|error| {
            let reason = if error.is_timeout() { "timed out" } else { "no connection" };
            AttemptResponse::TransportError(reason.to_owned())
        });
        DeliveryAttempt { at, response_time: started.elapsed(), response }
    }
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<AttemptResponse> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    // Only whole seconds: Fynapse does not document the form (shared/providers/fynapse.md, "Retries").
    let retry_after_secs = retry_after.and_then(|secs| secs.trim().parse().ok());
    Ok(AttemptResponse::Http { status, body: response.text().await?, retry_after_secs })
}

/// Random numbers of one delivery.
pub(super) struct DeliveryRng(StdRng);

impl DeliveryRng {
    /// Draws a number from 0 to [`JITTER_MAX`].
    pub(super) fn draw_jitter(&mut self) -> u64 {
        self.0.random_range(0..=JITTER_MAX)
    }

    /// Draws an `Idempotency-Key` of 32 hexadecimal digits.
    pub(super) fn draw_key(&mut self) -> String {
        format!("{:032x}", self.0.random::<u128>())
    }
}
