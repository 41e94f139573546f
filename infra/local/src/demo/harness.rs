//! The demo's harness: starts the stack, the senders and the simulated Rightfoot, injects faults, and bounds every wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use inbox_aws::clock::Clock;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::url_token;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::DemoOptions;
use super::poller_runs::{FaultWindow, PollerRuns};
use super::seed_tracking::{track_alert_run, track_alert_schedule};
use super::simulated_rightfoot::{
    ALERT_DELAY, API_KEY, CHECKED_RUNS, POLL_TIMING, configure, crash_on_webhook_alert, spawn_simulator,
    unchecked_batches,
};
use super::submissions::{PlannedSubmission, submit_until_succeeded};
use super::traffic::{DeliverySender, PlannedDelivery, Traffic};
use super::workers::Workers;
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::fynapse_simulator::FynapseSimulator;
use crate::inspect;
use crate::invariants::{PollerRun, SentDelivery, SubmissionLog};
use crate::progress::Progress;
use crate::rightfoot_simulator::{RightfootSimulator, SimulatedWebhook};
use crate::run_every;
use crate::senders::retry_policy::RetrySpacing;
use crate::senders::{
    DeliveryReport, FynapseSender, OutgoingDelivery, RightfootSender, SenderClient, SimClock,
    run_concurrently,
};
use crate::stack::{
    self, EVENTS_QUEUE, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET, FYNAPSE_SUBSCRIPTION_ID, FynapseApi,
    RIGHTFOOT_URL_KEY_SECRET, Stack, rightfoot_client,
};

/// Fynapse's signing secret at the start.
pub(super) const OLD_SECRET: &str = "demo-old-secret";
/// The secret that Fynapse rotates to.
pub(super) const NEW_SECRET: &str = "demo-new-secret";

/// The key that signs Rightfoot's webhook URLs at the start.
const OLD_URL_KEY: &str = "demo-old-url-key";
/// The URL key after its rotation.
const NEW_URL_KEY: &str = "demo-new-url-key";

/// Interval of the relay and of the poller, in simulated time.
const RUN_INTERVAL: Duration = Duration::from_secs(60);
/// Limit of every wait, in real time.
const WAIT_TIMEOUT: Duration = Duration::from_secs(90);
/// Interval at which a condition is checked, in real time.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Extra simulated time that passes at each check once the demo only waits for timers.
const IDLE_ADVANCE: Duration = Duration::from_secs(5);

/// The running stack with its senders, and the log of what they delivered and submitted.
pub(super) struct Harness {
    pub(super) stack: Stack,
    pub(super) traffic: Traffic,
    pub(super) fynapse: Arc<FynapseSender>,
    /// The simulated Fynapse that lists its deliveries.
    pub(super) fynapse_api: FynapseSimulator,
    pub(super) sim_clock: SimClock,
    pub(super) progress: Progress,
    /// The simulated Rightfoot that batches and schedules are submitted to.
    pub(super) simulator: RightfootSimulator,
    pub(super) workers: Workers,
    /// Until then (real time), webhook alerts crash the function that records them.
    alerts_delayed_until: Instant,
    rightfoot: Arc<RightfootSender>,
    http: SenderClient,
    deliveries: Vec<SentDelivery>,
    delivering: JoinSet<(usize, Vec<DeliveryReport>)>,
    submissions: Vec<SubmissionLog>,
    submitting: JoinSet<SubmissionLog>,
    fault_window: FaultWindow,
    poller_runs: PollerRuns,
    background_tasks: Vec<JoinHandle<()>>,
}

impl Harness {
    /// Starts the stack and the simulated providers on free ports of `127.0.0.1`.
    pub(super) async fn start(options: &DemoOptions) -> anyhow::Result<Self> {
        let sim_clock = SimClock::compressed(Clock::system().now(), options.rate);
        // Bound before the stack starts, because its options need both addresses.
        let (listener, base_url) = bind_free_port().await?;
        let (api, api_url) = bind_free_port().await?;
        let (fynapse_listener, fynapse_url) = bind_free_port().await?;
        let mut stack_options = stack::StackOptions::in_memory(sim_clock.to_clock())?;
        stack_options.fynapse_secrets = vec![OLD_SECRET.to_owned()];
        stack_options.rightfoot_url_key = OLD_URL_KEY.to_owned();
        stack_options.fynapse_api = FynapseApi::simulated_at(&fynapse_url)?;
        stack_options.rightfoot_client = rightfoot_client(&api_url)?;
        stack_options.rightfoot_api_key = API_KEY.to_owned();
        stack_options.poll_timing = POLL_TIMING;
        stack_options.webhook_base_url.clone_from(&base_url);
        // The queue's visibility timeout passes in real time, unlike everything that reads the clock.
        stack_options.visibility_timeout = sim_clock.real_duration(stack_options.visibility_timeout);
        let stack = Stack::start(stack_options).await?;
        // A cold start loads the secrets as well.
        for webhook in stack.webhooks.values() {
            webhook.load_secret().await;
        }
        stack.requests.load_secrets().await;
        stack.poller.load_api_key().await;

        track_alert_schedule(&stack.stores, sim_clock.to_clock().now()).await?;
        let simulator = RightfootSimulator::new(sim_clock.to_clock(), API_KEY, options.seed)?;
        simulator.configure(configure);
        let (fault_window, poller_runs) = (FaultWindow::default(), PollerRuns::default());
        let workers = Workers::start(&stack, &sim_clock).await;
        let mut background_tasks = Vec::from(spawn_simulator(&simulator, api));
        let fynapse_api = FynapseSimulator::new(
            sim_clock.to_clock(),
            FYNAPSE_SUBSCRIPTION_ID,
            FYNAPSE_CLIENT_ID,
            FYNAPSE_CLIENT_SECRET,
        );
        background_tasks.push(stack::spawn_server(fynapse_listener, fynapse_api.routes()));
        background_tasks.extend(workers.spawn());
        background_tasks.push(stack::spawn_server(listener, stack.webhook_routes()));
        background_tasks.push(stack.run_relay_every(sim_clock.real_duration(RUN_INTERVAL)));
        // Not the stack's own loop, because the checks need the outcome of each run.
        background_tasks.push(poller_runs.run_poller_every(
            sim_clock.real_duration(RUN_INTERVAL),
            &stack,
            &fault_window,
        ));
        let http = SenderClient::new(sim_clock.clone(), options.seed, options.in_flight)?;
        let fynapse =
            FynapseSender::new(http.clone(), format!("{base_url}/webhooks/fynapse"), keys(&[OLD_SECRET])?);
        Ok(Self {
            traffic: traffic(&stack, &base_url, options.seed)?,
            fynapse: Arc::new(fynapse),
            fynapse_api,
            rightfoot: Arc::new(RightfootSender::new(http.clone(), RetrySpacing::default())),
            progress: Progress::new(),
            deliveries: Vec::new(),
            delivering: JoinSet::new(),
            submissions: Vec::new(),
            submitting: JoinSet::new(),
            simulator,
            alerts_delayed_until: Instant::now(),
            workers,
            stack,
            sim_clock,
            http,
            fault_window,
            poller_runs,
            background_tasks,
        })
    }

    /// Starts a fault window: from now on, `plan` decides which AWS calls fail, except the workers'.
    pub(super) fn inject_faults(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        // Opened before the first fault, closed after the last: a run between counts as disturbed rather than as fault-free.
        self.fault_window.toggle();
        self.set_fault_plan(plan);
    }

    /// Ends the fault window. Delayed alerts ([`Self::delay_alerts`]) still crash; they do not concern the poller, whose
    /// runs count as fault-free from now on.
    pub(super) fn clear_faults(&self) {
        self.workers.set_fault_plan(|_| None);
        self.set_fault_plan(|_| None);
        self.fault_window.toggle();
    }

    /// Has functions that record a webhook alert crash for [`ALERT_DELAY`], from the next fault plan on.
    pub(super) fn delay_alerts(&mut self) {
        self.alerts_delayed_until = Instant::now() + self.sim_clock.real_duration(ALERT_DELAY);
    }

    fn set_fault_plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        // Copied, so that a later delay applies from the next plan on.
        let alerts_delayed_until = self.alerts_delayed_until;
        self.stack.connector.set_fault_plan(move |call| {
            let delayed_alert = (Instant::now() < alerts_delayed_until).then(|| crash_on_webhook_alert(call));
            delayed_alert.flatten().or_else(|| plan(call))
        });
    }

    /// Rotates the URL key. Processes that loaded it before still sign with the old key and accept no other.
    pub(super) async fn rotate_url_key(&self) -> anyhow::Result<()> {
        let rotate = self.stack.inspector.secrets.put_secret_value().secret_id(RIGHTFOOT_URL_KEY_SECRET);
        let both = serde_json::json!([NEW_URL_KEY, OLD_URL_KEY]).to_string();
        rotate.secret_string(both).send().await.context("rotate the URL key")?;
        Ok(())
    }

    /// Starts all these submissions at once.
    pub(super) fn submit(&mut self, submissions: Vec<PlannedSubmission>) {
        self.progress.add_steps(submissions.len());
        let by = tokio::time::Instant::now() + WAIT_TIMEOUT;
        for submission in submissions {
            self.submitting.spawn(submit_until_succeeded(
                self.stack.clone(),
                self.sim_clock.clone(),
                submission,
                by,
            ));
        }
    }

    /// Waits until every submission has succeeded, at most [`WAIT_TIMEOUT`].
    pub(super) async fn await_submissions(&mut self) {
        let by = tokio::time::Instant::now() + WAIT_TIMEOUT;
        while let Ok(Some(done)) = tokio::time::timeout_at(by, self.submitting.join_next()).await {
            self.submissions.extend(done);
            self.progress.finish_step();
        }
    }

    /// Starts these deliveries, and collects the reports of those that have ended.
    pub(super) fn start_deliveries(&mut self, deliveries: Vec<PlannedDelivery>) {
        self.progress.add_steps(deliveries.len());
        for delivery in deliveries {
            // The API must show the batch before its webhook arrives.
            if let Some((batch_id, balances)) = delivery.simulated_batch() {
                self.simulator.add_completed_batch(batch_id, balances);
            }
            let (index, delivery) = (self.deliveries.len(), Arc::new(delivery));
            self.deliveries.push(delivery.to_sent());
            let (fynapse, rightfoot) = (self.fynapse.clone(), self.rightfoot.clone());
            let (stores, clock) = (self.stack.stores.clone(), self.stack.clock.clone());
            self.delivering.spawn(async move {
                if let Some((batch_id, authorizers)) = delivery.alerted_run() {
                    // An error need not end the demo: the alerts of an untracked run show up as violations.
                    let _ = track_alert_run(&stores, batch_id, authorizers, clock.now()).await;
                }
                (index, deliver_planned(&delivery, &fynapse, &rightfoot).await)
            });
        }
        while let Some(done) = self.delivering.try_join_next() {
            self.record_reports(done);
        }
    }

    /// Starts these deliveries and waits until the first attempt of each has ended.
    pub(super) async fn deliver_first_attempts(&mut self, deliveries: Vec<PlannedDelivery>) {
        let expected_attempts =
            self.http.first_attempts() + deliveries.iter().map(|delivery| delivery.copies).sum::<usize>();
        self.start_deliveries(deliveries);
        let http = self.http.clone();
        wait_until(async || http.first_attempts() >= expected_attempts).await;
    }

    /// Starts these deliveries and waits until all deliveries have ended.
    pub(super) async fn deliver_all(&mut self, deliveries: Vec<PlannedDelivery>) {
        self.start_deliveries(deliveries);
        self.await_deliveries().await;
    }

    /// Waits until every delivery has ended, at most [`WAIT_TIMEOUT`].
    pub(super) async fn await_deliveries(&mut self) {
        let by = tokio::time::Instant::now() + WAIT_TIMEOUT;
        while let Ok(Some(done)) = tokio::time::timeout_at(by, self.delivering.join_next()).await {
            self.record_reports(done);
        }
    }

    fn record_reports(&mut self, done: Result<(usize, Vec<DeliveryReport>), JoinError>) {
        let Ok((index, deliveries)) = done else { return };
        if let Some(sent) = self.deliveries.get_mut(index) {
            sent.reports = deliveries;
        }
        self.progress.finish_step();
    }

    /// Waits until a logged call matches, at most [`WAIT_TIMEOUT`].
    pub(super) async fn wait_for_call(&self, is_match: impl Fn(&(AwsCall, CallOutcome)) -> bool) {
        wait_until(async || self.stack.connector.call_log().iter().any(&is_match)).await;
    }

    /// Waits until nothing is left to do, at most [`WAIT_TIMEOUT`] for each step, and stops all background tasks.
    pub(super) async fn wait_until_settled(&mut self) {
        self.await_deliveries().await;
        // Deliveries that still run have exceeded the limit; without reports they become violations.
        self.delivering.abort_all();
        self.await_submissions().await;
        self.submitting.abort_all();
        wait_until(async || {
            // No sender sleeps any more. A worker's claim must not expire while it works, so time leaps only when all
            // workers are idle.
            if self.workers.are_idle() {
                self.sim_clock.advance(IDLE_ADVANCE);
            }
            self.is_settled().await.unwrap_or(false)
        })
        .await;
        self.background_tasks.iter().for_each(JoinHandle::abort);
    }

    /// Returns `true` if every batch and the first [`CHECKED_RUNS`] runs of each schedule have ended: each webhook was
    /// delivered or lost, each run is tracked, no message is left, and nothing else is due. The schedule itself and its
    /// later runs go on.
    async fn is_settled(&self) -> anyhow::Result<bool> {
        let is_queue_empty =
            async || anyhow::Ok(inspect::count_messages(&self.stack, EVENTS_QUEUE).await? == 0);
        // The queue is checked before and after: a requeued event becomes due before its message is deleted, and a relayed
        // one is on the queue before it stops being due.
        if !is_queue_empty().await? {
            return Ok(false);
        }
        let due = inspect::due_partition_keys(&self.stack).await?;
        if !is_queue_empty().await? {
            return Ok(false);
        }
        let schedules = self.simulator.schedules();
        let unchecked = unchecked_batches(&schedules);
        let may_stay_due = |pk: &String| {
            let batch_id = pk.strip_prefix("rightfoot#batch#");
            batch_id.is_some_and(|batch_id| unchecked.contains(batch_id))
                || pk.starts_with("rightfoot#schedule#")
        };
        let is_finished = |webhook: &SimulatedWebhook| {
            webhook.is_lost || webhook.is_delivered || unchecked.contains(&webhook.batch_id)
        };
        // Later runs may stay due: they are left out of the evidence.
        let has_enough_runs = schedules.iter().all(|schedule| schedule.runs.len() >= CHECKED_RUNS);
        if !has_enough_runs
            || !due.iter().all(may_stay_due)
            || !self.simulator.webhooks().iter().all(is_finished)
        {
            return Ok(false);
        }
        for run in schedules.iter().flat_map(|schedule| schedule.runs.iter().take(CHECKED_RUNS)) {
            if !inspect::is_tracked(&self.stack, &run.batch_id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All deliveries so far.
    pub(super) fn deliveries(&self) -> &[SentDelivery] {
        &self.deliveries
    }

    /// The submissions that have ended, with the responses to their callers.
    pub(super) fn submissions(&self) -> &[SubmissionLog] {
        &self.submissions
    }

    /// All runs of the poller so far.
    pub(super) fn poller_runs(&self) -> Vec<PollerRun> {
        self.poller_runs.all()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.background_tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Binds a free port; returns its listener and base URL.
async fn bind_free_port() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// Signing keys of these secrets, the newest first.
pub(super) fn keys(secrets: &[&str]) -> anyhow::Result<Keys> {
    Keys::parse(&serde_json::json!(secrets).to_string(), KeyCodec::Utf8).context("the demo's secrets")
}

fn traffic(stack: &Stack, base_url: &str, seed: u64) -> anyhow::Result<Traffic> {
    let subject = "demo".parse()?;
    let token = stack.mint_url_token(&subject)?;
    let url = |token: &str| format!("{base_url}/webhooks/rightfoot/{token}");
    let untrusted_key = keys(&["forgers-key"])?;
    let forged = url_token::mint(&subject, &untrusted_key).context("no forged token")?;
    let mac = token.split_once('.').map(|(_, mac)| mac).unwrap_or_default();
    let cut_off = token.get(..token.len() - 1).unwrap_or_default();
    Ok(Traffic {
        rightfoot_url: url(&token),
        forged_urls: vec![
            // A token signed with a key that the receiver does not accept.
            url(&forged),
            // Another subject under this subject's MAC, then a cut-off token, no MAC, no subject.
            url(&format!("another-subject.{mac}")),
            url(cut_off),
            url("demo"),
            url(mac),
        ],
        untrusted_key,
        seed,
    })
}

async fn deliver_planned(
    planned: &PlannedDelivery,
    fynapse: &FynapseSender,
    rightfoot: &RightfootSender,
) -> Vec<DeliveryReport> {
    let deliver = |outgoing| deliver_once(planned, outgoing, fynapse, rightfoot);
    let mut deliveries = run_concurrently(planned.copies, || deliver(&planned.outgoing)).await;
    for repeat in &planned.repeats {
        deliveries.push(deliver(repeat).await);
    }
    deliveries
}

async fn deliver_once(
    planned: &PlannedDelivery,
    outgoing: &OutgoingDelivery,
    fynapse: &FynapseSender,
    rightfoot: &RightfootSender,
) -> DeliveryReport {
    match &planned.sender {
        DeliverySender::Fynapse(signing) => {
            fynapse.deliver_with(outgoing, signing, planned.retry_limit).await
        }
        DeliverySender::Rightfoot { url } => rightfoot.deliver_with(url, outgoing, planned.retry_limit).await,
    }
}

/// Waits until a condition holds, at most [`WAIT_TIMEOUT`].
pub(super) async fn wait_until(condition: impl AsyncFn() -> bool) {
    run_every::wait_until(WAIT_TIMEOUT, CHECK_INTERVAL, condition).await;
}
