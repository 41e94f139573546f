//! Where the demo plays: the system, its senders, and what they have reported.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use inbox_aws::clock::Clock;
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::url_token;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::Options;
use super::cast::{By, Cast, Part};
use crate::onlooker;
use crate::progress::Progress;
use crate::senders::schedule::Timeline;
use crate::senders::{Delivered, Fynapse, Http, Outgoing, Pace, Rightfoot, at_once};
use crate::system::{self, System};
use crate::wire::{Call, Fate};

/// The secret that Fynapse signs with at first.
pub(super) const OLD_SECRET: &str = "demo-old-secret";
/// The secret that it rotates to.
pub(super) const NEW_SECRET: &str = "demo-new-secret";

/// Pause between two runs of the relay, in the demo's time.
const RELAY_PAUSE: Duration = Duration::from_secs(60);
/// Bound of every wait, in real time.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Pause between two looks, in real time.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The system, its senders, and their parts.
pub(super) struct Stage {
    pub(super) system: System,
    pub(super) cast: Cast,
    pub(super) fynapse: Arc<Fynapse>,
    pub(super) pace: Pace,
    /// When the receiver loaded its secrets.
    pub(super) loaded_at: Instant,
    pub(super) progress: Progress,
    rightfoot: Arc<Rightfoot>,
    http: Http,
    played: Vec<Played>,
    playing: JoinSet<(usize, Vec<Delivered>)>,
    gateway: JoinHandle<()>,
    relay: JoinHandle<()>,
}

/// A part and what its senders heard: nothing yet while they are at it.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) part: Arc<Part>,
    pub(super) deliveries: Vec<Delivered>,
}

impl Stage {
    /// Starts everything, on free ports.
    pub(super) async fn set(options: &Options) -> anyhow::Result<Self> {
        let pace = Pace::compressed(Clock::system().now(), options.rate);
        let mut with = system::Options::in_memory(pace.clock());
        with.fynapse_secrets = vec![OLD_SECRET.to_owned()];
        let system = System::start(with).await?;
        // As in a cold start. From here the receiver's own pause between two fetches counts.
        system.functions.fynapse.load_secret().await;
        system.functions.rightfoot.load_secret().await;
        let loaded_at = Instant::now();

        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let home = format!("http://{}/webhooks", listener.local_addr()?);
        let http = Http::new(pace.clone(), options.seed, options.in_flight)?;
        let fynapse = Fynapse::new(http.clone(), format!("{home}/fynapse"), keys(&[OLD_SECRET])?);
        Ok(Self {
            cast: cast(&system, &home, options.seed)?,
            fynapse: Arc::new(fynapse),
            rightfoot: Arc::new(Rightfoot::new(http.clone(), Timeline::default())),
            gateway: system::serve(listener, system.routes()),
            relay: system.run_relay_every(pace.real(RELAY_PAUSE)),
            progress: Progress::new(),
            played: Vec::new(),
            playing: JoinSet::new(),
            system,
            pace,
            loaded_at,
            http,
        })
    }

    /// Has these parts played from now on.
    pub(super) fn play(&mut self, parts: Vec<Part>) {
        self.progress.expect(parts.len());
        for part in parts {
            let (index, part) = (self.played.len(), Arc::new(part));
            self.played.push(Played { part: part.clone(), deliveries: Vec::new() });
            let (fynapse, rightfoot) = (self.fynapse.clone(), self.rightfoot.clone());
            self.playing.spawn(async move { (index, perform(&part, &fynapse, &rightfoot).await) });
        }
        while let Some(done) = self.playing.try_join_next() {
            self.note(done);
        }
    }

    /// Has these parts played until each of them has been tried once.
    pub(super) async fn play_first_attempts(&mut self, parts: Vec<Part>) {
        let wanted = self.http.first_attempts() + parts.iter().map(|part| part.copies).sum::<usize>();
        self.play(parts);
        let http = self.http.clone();
        wait_until(async || http.first_attempts() >= wanted).await;
    }

    /// Has these parts played, and waits until they and all others have come to their end.
    pub(super) async fn play_to_the_end(&mut self, parts: Vec<Part>) {
        self.play(parts);
        self.finish().await;
    }

    /// Waits until every part has come to its end, within bounds.
    pub(super) async fn finish(&mut self) {
        let by = tokio::time::Instant::now() + WAIT_MAX;
        while let Ok(Some(done)) = tokio::time::timeout_at(by, self.playing.join_next()).await {
            self.note(done);
        }
    }

    fn note(&mut self, done: Result<(usize, Vec<Delivered>), JoinError>) {
        let Ok((index, deliveries)) = done else { return };
        if let Some(played) = self.played.get_mut(index) {
            played.deliveries = deliveries;
        }
        self.progress.done();
    }

    /// Waits until a call has met its fault, within bounds.
    pub(super) async fn wait_for_call(&self, met: impl Fn(&(Call, Fate)) -> bool) {
        wait_until(async || self.system.wire.log().iter().any(&met)).await;
    }

    /// Waits until nothing is due any more, within bounds, and ends the system's own tasks.
    pub(super) async fn settle(&mut self) {
        self.finish().await;
        self.playing.abort_all();
        wait_until(async || matches!(onlooker::count_due(&self.system).await, Ok(0))).await;
        self.relay.abort();
        self.gateway.abort();
    }

    /// What was played.
    pub(super) fn played(&self) -> &[Played] {
        &self.played
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.relay.abort();
        self.gateway.abort();
    }
}

/// Keys of these secrets, the newest first.
pub(super) fn keys(secrets: &[&str]) -> anyhow::Result<Keys> {
    Keys::parse(&serde_json::json!(secrets).to_string(), KeyCodec::Utf8).context("the demo's secrets")
}

fn cast(system: &System, home: &str, seed: u64) -> anyhow::Result<Cast> {
    let subject = "demo".parse()?;
    let token = system.mint(&subject)?;
    let url = |token: &str| format!("{home}/rightfoot/{token}");
    let forgers_key = keys(&["forgers-key"])?;
    let forged = url_token::mint(&subject, &forgers_key).context("no forged token")?;
    let mac = token.split_once('.').map(|(_, mac)| mac).unwrap_or_default();
    let cut_off = token.get(..token.len() - 1).unwrap_or_default();
    Ok(Cast {
        rightfoot_url: url(&token),
        forged_urls: vec![
            url(&forged),
            url(&format!("another-subject.{mac}")),
            url(cut_off),
            url("demo"),
            url(mac),
        ],
        forgers_key,
        seed,
    })
}

async fn perform(part: &Part, fynapse: &Fynapse, rightfoot: &Rightfoot) -> Vec<Delivered> {
    let deliver = |outgoing| deliver(part, outgoing, fynapse, rightfoot);
    let mut deliveries = at_once(part.copies, || deliver(&part.outgoing)).await;
    for encore in &part.encores {
        deliveries.push(deliver(encore).await);
    }
    deliveries
}

async fn deliver(part: &Part, outgoing: &Outgoing, fynapse: &Fynapse, rightfoot: &Rightfoot) -> Delivered {
    match &part.by {
        By::Fynapse(signing) => fynapse.deliver_as(outgoing, signing, part.patience).await,
        By::Rightfoot { url } => rightfoot.deliver_as(url, outgoing, part.patience).await,
    }
}

async fn wait_until(is_so: impl AsyncFn() -> bool) {
    let by = Instant::now() + WAIT_MAX;
    while !is_so().await && Instant::now() < by {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}
