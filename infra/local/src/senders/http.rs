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

use super::schedule::LUCK_MAX;
use super::{Answer, Attempt, Pace};

/// How long a sender waits for an answer, in real time. Neither provider says how long it waits: this is more
/// than the receiver ever takes.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the senders of one run share: connections, time, and chance.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    slots: Arc<Semaphore>,
    first_attempts: Arc<AtomicUsize>,
    pace: Pace,
    seed: u64,
}

impl Http {
    /// At most `in_flight` requests at the same time.
    pub fn new(pace: Pace, seed: u64, in_flight: usize) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(CLIENT_TIMEOUT).build();
        Ok(Self {
            client: client.context("no HTTP client")?,
            slots: Arc::new(Semaphore::new(in_flight.max(1))),
            first_attempts: Arc::default(),
            pace,
            seed,
        })
    }

    /// How many deliveries have had an answer, or none, to their first attempt.
    pub fn first_attempts(&self) -> usize {
        self.first_attempts.load(Ordering::SeqCst)
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn note_first_attempt(&self) {
        self.first_attempts.fetch_add(1, Ordering::SeqCst);
    }

    /// The luck of one delivery: the same one has the same in every run with the same seed.
    pub(super) fn luck(&self, id: &str) -> Luck {
        // FNV-1a: the standard library's own hasher is not the same in every version.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Luck(StdRng::seed_from_u64(self.seed ^ hash))
    }

    /// Posts JSON. Headers and body are made when it is its turn, so that a signature's time is the time of
    /// sending.
    pub(super) async fn post(
        &self,
        url: &str,
        make: impl FnOnce(UnixMillis) -> (Vec<(&'static str, String)>, Bytes),
    ) -> Attempt {
        let _slot = self.slots.acquire().await;
        let (at, started) = (self.pace.now(), Instant::now());
        let (headers, body) = make(at);
        let request = self.client.post(url).header("content-type", "application/json");
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = answer(request.body(body)).await.unwrap_or_else(|error| {
            let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
            Answer::Nothing(why.to_owned())
        });
        Attempt { at, took: started.elapsed(), answer }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after_secs = retry_after.and_then(|secs| secs.trim().parse().ok());
    Ok(Answer::Heard { status, body: response.text().await?, retry_after_secs })
}

/// The chances of one delivery.
pub(super) struct Luck(StdRng);

impl Luck {
    /// From 0 to [`LUCK_MAX`].
    pub(super) fn draw(&mut self) -> u64 {
        self.0.random_range(0..=LUCK_MAX)
    }

    /// Some key.
    pub(super) fn key(&mut self) -> String {
        format!("{:032x}", self.0.random::<u128>())
    }
}
