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
use super::rightfoot::{
    ALERTS_HELD_UP, API_KEY, CADENCE, PollerRun, PollerRuns, RUNS, Weather, at_work, behave, kill_alert,
    later,
};
use super::runs::{know_run, know_schedule};
use super::submissions::{Submission, Submitted, insist};
use super::workers::Workers;
use crate::inspect;
use crate::progress::Progress;
use crate::rightfoot::{Simulator, WebhookSeen};
use crate::senders::schedule::Timeline;
use crate::senders::{Delivered, Fynapse, Http, Outgoing, Pace, Rightfoot, at_once};
use crate::stack::{self, EVENTS_QUEUE, RIGHTFOOT_URL_KEY_SECRET, Stack, rightfoot_client};
use crate::connector::{AwsCall, CallOutcome, Fault};

/// The secret that Fynapse signs with at first.
pub(super) const OLD_SECRET: &str = "demo-old-secret";
/// The secret that it rotates to.
pub(super) const NEW_SECRET: &str = "demo-new-secret";

/// The key that signs Rightfoot's URLs at first.
const OLD_URL_KEY: &str = "demo-old-url-key";
/// The key that it is rotated to.
const NEW_URL_KEY: &str = "demo-new-url-key";

/// Pause between two runs of the relay, and of the poller, in the demo's time.
const RUN_PAUSE: Duration = Duration::from_secs(60);
/// Bound of every wait, in real time.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Pause between two looks, in real time.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// What passes of the demo's time at each look beside what passes anyhow, once only that is waited for.
const IDLE_LEAP: Duration = Duration::from_secs(5);

/// The system, its senders, and their parts.
pub(super) struct Stage {
    pub(super) system: Stack,
    pub(super) cast: Cast,
    pub(super) fynapse: Arc<Fynapse>,
    pub(super) pace: Pace,
    pub(super) progress: Progress,
    /// The Rightfoot that is submitted to.
    pub(super) simulator: Simulator,
    pub(super) workers: Workers,
    /// Until then, no alert gets through by webhook.
    alerts_from: Instant,
    rightfoot: Arc<Rightfoot>,
    http: Http,
    played: Vec<Played>,
    playing: JoinSet<(usize, Vec<Delivered>)>,
    submitted: Vec<Submitted>,
    submitting: JoinSet<Submitted>,
    weather: Weather,
    poller_runs: PollerRuns,
    at_work: Vec<JoinHandle<()>>,
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
        let (listener, home) = free_port().await?;
        let (api, api_url) = free_port().await?;
        let mut with = stack::StackOptions::in_memory(pace.clock())?;
        with.fynapse_secrets = vec![OLD_SECRET.to_owned()];
        with.rightfoot_url_key = OLD_URL_KEY.to_owned();
        with.rightfoot_client = rightfoot_client(&api_url)?;
        with.rightfoot_api_key = API_KEY.to_owned();
        with.poll_timing = CADENCE;
        with.webhook_base_url.clone_from(&home);
        with.visibility_timeout = pace.real(with.visibility_timeout);
        let system = Stack::start(with).await?;
        // As in a cold start.
        system.webhooks.fynapse.load_signing_secret().await;
        system.webhooks.rightfoot.load_url_key().await;
        system.requests.load_secrets().await;
        system.poller.load_api_key().await;

        know_schedule(&system.inbox, pace.clock().now()).await?;
        let simulator = Simulator::new(pace.clock(), API_KEY, options.seed)?;
        simulator.change(behave);
        let (weather, poller_runs) = (Weather::default(), PollerRuns::default());
        let workers = Workers::hire(&system, &pace).await;
        let mut at_work = Vec::from(at_work(&simulator, api));
        at_work.extend(workers.at_work());
        at_work.push(stack::spawn_server(listener, system.webhook_routes()));
        at_work.push(system.run_relay_every(pace.real(RUN_PAUSE)));
        at_work.push(poller_runs.note_every(pace.real(RUN_PAUSE), &system, &weather));
        let http = Http::new(pace.clone(), options.seed, options.in_flight)?;
        let fynapse = Fynapse::new(http.clone(), format!("{home}/webhooks/fynapse"), keys(&[OLD_SECRET])?);
        Ok(Self {
            cast: cast(&system, &home, options.seed)?,
            fynapse: Arc::new(fynapse),
            rightfoot: Arc::new(Rightfoot::new(http.clone(), Timeline::default())),
            progress: Progress::new(),
            played: Vec::new(),
            playing: JoinSet::new(),
            submitted: Vec::new(),
            submitting: JoinSet::new(),
            simulator,
            alerts_from: Instant::now(),
            workers,
            system,
            pace,
            http,
            weather,
            poller_runs,
            at_work,
        })
    }

    /// From now on, this decides which calls fail; the workers' excepted.
    pub(super) fn fail(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        self.weather.turns();
        self.plan(plan);
    }

    /// From now on, nothing fails any more, but for alerts that are held up. These are none of the poller's, so for
    /// it all is well.
    pub(super) fn heal(&self) {
        self.workers.plan(|_| None);
        self.plan(|_| None);
        self.weather.turns();
    }

    /// From the next turn on, whoever records an alert that came by webhook dies, for a while.
    pub(super) fn hold_up_alerts(&mut self) {
        self.alerts_from = Instant::now() + self.pace.real(ALERTS_HELD_UP);
    }

    fn plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        let alerts_from = self.alerts_from;
        self.system.connector.set_fault_plan(move |call| {
            let held_up = (Instant::now() < alerts_from).then(|| kill_alert(call));
            held_up.flatten().or_else(|| plan(call))
        });
    }

    /// The URL key is rotated: who has loaded it before signs with the old one for a while, and accepts no other.
    pub(super) async fn rotate_url_key(&self) -> anyhow::Result<()> {
        let rotate = self.system.inspector.secrets.put_secret_value().secret_id(RIGHTFOOT_URL_KEY_SECRET);
        let both = serde_json::json!([NEW_URL_KEY, OLD_URL_KEY]).to_string();
        rotate.secret_string(both).send().await.context("rotate the URL key")?;
        Ok(())
    }

    /// Has this submitted from now on, all at once.
    pub(super) fn submit(&mut self, submissions: Vec<Submission>) {
        self.progress.add_steps(submissions.len());
        let by = tokio::time::Instant::now() + WAIT_MAX;
        for submission in submissions {
            self.submitting.spawn(insist(self.system.clone(), self.pace.clone(), submission, by));
        }
    }

    /// Waits until every submission has been answered, within bounds.
    pub(super) async fn hear_answers(&mut self) {
        let by = tokio::time::Instant::now() + WAIT_MAX;
        while let Ok(Some(done)) = tokio::time::timeout_at(by, self.submitting.join_next()).await {
            self.submitted.extend(done);
            self.progress.finish_step();
        }
    }

    /// Has these parts played from now on.
    pub(super) fn play(&mut self, parts: Vec<Part>) {
        self.progress.add_steps(parts.len());
        for part in parts {
            if let Some((batch_id, balances)) = part.batch() {
                self.simulator.know(batch_id, balances);
            }
            let (index, part) = (self.played.len(), Arc::new(part));
            self.played.push(Played { part: part.clone(), deliveries: Vec::new() });
            let (fynapse, rightfoot) = (self.fynapse.clone(), self.rightfoot.clone());
            let (inbox, clock) = (self.system.inbox.clone(), self.system.clock.clone());
            self.playing.spawn(async move {
                if let Some((batch_id, authorizers)) = part.run() {
                    // Should it fail, its alerts are missing in the end.
                    let _ = know_run(&inbox, batch_id, authorizers, clock.now()).await;
                }
                (index, perform(&part, &fynapse, &rightfoot).await)
            });
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
        self.progress.finish_step();
    }

    /// Waits until a call has met its fault, within bounds.
    pub(super) async fn wait_for_call(&self, met: impl Fn(&(AwsCall, CallOutcome)) -> bool) {
        wait_until(async || self.system.connector.call_log().iter().any(&met)).await;
    }

    /// Waits until nothing is left to be done, within bounds, and ends everybody's work.
    pub(super) async fn settle(&mut self) {
        self.finish().await;
        self.playing.abort_all();
        self.hear_answers().await;
        self.submitting.abort_all();
        wait_until(async || {
            // No sender sleeps any more, and a worker's claim is not to run out while it works.
            if self.workers.are_idle() {
                self.pace.leap(IDLE_LEAP);
            }
            self.is_settled().await.unwrap_or(false)
        })
        .await;
        self.at_work.iter().for_each(JoinHandle::abort);
    }

    /// Whether every batch and enough runs of the schedule have come to their end: each webhook has come or got lost,
    /// the poller knows each run, no message is left, and nothing else is due. The schedule itself and its later runs go
    /// on.
    async fn is_settled(&self) -> anyhow::Result<bool> {
        let are_worked = async || anyhow::Ok(inspect::count_messages(&self.system, EVENTS_QUEUE).await? == 0);
        // What is put back is due before its message is gone, and what is sent is on the queue before it is not due.
        if !are_worked().await? {
            return Ok(false);
        }
        let due = inspect::due_partition_keys(&self.system).await?;
        if !are_worked().await? {
            return Ok(false);
        }
        let schedules = self.simulator.schedules();
        let later = later(&schedules);
        let goes_on = |pk: &String| {
            let batch_id = pk.strip_prefix("rightfoot#batch#");
            batch_id.is_some_and(|batch_id| later.contains(batch_id)) || pk.starts_with("rightfoot#schedule#")
        };
        let is_told =
            |webhook: &WebhookSeen| webhook.lost || webhook.delivered || later.contains(&webhook.batch_id);
        let are_there = schedules.iter().all(|schedule| schedule.runs.len() >= RUNS);
        if !are_there || !due.iter().all(goes_on) || !self.simulator.webhooks().iter().all(is_told) {
            return Ok(false);
        }
        for run in schedules.iter().flat_map(|schedule| schedule.runs.iter().take(RUNS)) {
            if !inspect::is_tracked(&self.system, &run.batch_id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What was played.
    pub(super) fn played(&self) -> &[Played] {
        &self.played
    }

    /// What was submitted, and what its callers heard.
    pub(super) fn submitted(&self) -> &[Submitted] {
        &self.submitted
    }

    /// What the poller's runs came to.
    pub(super) fn poller_runs(&self) -> Vec<PollerRun> {
        self.poller_runs.all()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.at_work.iter().for_each(JoinHandle::abort);
    }
}

/// A free port, and the URL of what answers there.
async fn free_port() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// Keys of these secrets, the newest first.
pub(super) fn keys(secrets: &[&str]) -> anyhow::Result<Keys> {
    Keys::parse(&serde_json::json!(secrets).to_string(), KeyCodec::Utf8).context("the demo's secrets")
}

fn cast(system: &Stack, home: &str, seed: u64) -> anyhow::Result<Cast> {
    let subject = "demo".parse()?;
    let token = system.mint_url_token(&subject)?;
    let url = |token: &str| format!("{home}/webhooks/rightfoot/{token}");
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

pub(super) async fn wait_until(is_so: impl AsyncFn() -> bool) {
    let by = Instant::now() + WAIT_MAX;
    while !is_so().await && Instant::now() < by {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}
