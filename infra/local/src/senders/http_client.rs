//! The senders' HTTP client.

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

/// How long a sender waits for an answer, in real time. Neither provider says how long it waits: this is more
/// than the receiver ever takes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the senders of one run share: connections, time, and chance.
#[derive(Clone, Debug)]
pub struct SenderClient {
    client: reqwest::Client,
    in_flight_permits: Arc<Semaphore>,
    first_attempts: Arc<AtomicUsize>,
    clock: SimClock,
    seed: u64,
}

impl SenderClient {
    /// At most `in_flight` requests at the same time.
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

    /// How many deliveries have had an answer, or none, to their first attempt.
    pub fn first_attempts(&self) -> usize {
        self.first_attempts.load(Ordering::SeqCst)
    }

    pub(super) fn clock(&self) -> &SimClock {
        &self.clock
    }

    pub(super) fn count_first_attempt(&self) {
        self.first_attempts.fetch_add(1, Ordering::SeqCst);
    }

    /// The luck of one delivery: the same one has the same in every run with the same seed.
    pub(super) fn delivery_rng(&self, id: &str) -> DeliveryRng {
        // FNV-1a: the standard library's own hasher is not the same in every version.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        DeliveryRng(StdRng::seed_from_u64(self.seed ^ hash))
    }

    /// Posts JSON. Headers and body are made when it is its turn, so that a signature's time is the time of
    /// sending.
    pub(super) async fn post(
        &self,
        url: &str,
        build_request: impl FnOnce(UnixMillis) -> (Vec<(&'static str, String)>, Bytes),
    ) -> DeliveryAttempt {
        let _slot = self.in_flight_permits.acquire().await;
        let (at, started) = (self.clock.now(), Instant::now());
        let (headers, body) = build_request(at);
        let request = self.client.post(url).header("content-type", "application/json");
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = send(request.body(body)).await.unwrap_or_else(|error| {
            let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
            AttemptResponse::TransportError(why.to_owned())
        });
        DeliveryAttempt { at, response_time: started.elapsed(), response }
    }
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<AttemptResponse> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after_secs = retry_after.and_then(|secs| secs.trim().parse().ok());
    Ok(AttemptResponse::Http { status, body: response.text().await?, retry_after_secs })
}

/// The chances of one delivery.
pub(super) struct DeliveryRng(StdRng);

impl DeliveryRng {
    /// From 0 to [`LUCK_MAX`].
    pub(super) fn draw_jitter(&mut self) -> u64 {
        self.0.random_range(0..=JITTER_MAX)
    }

    /// Some key.
    pub(super) fn draw_key(&mut self) -> String {
        format!("{:032x}", self.0.random::<u128>())
    }
}
