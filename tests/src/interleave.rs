//! Explores the interleavings of concurrent processes, one step at a time.
//!
//! The processes run the real code, whose state can be neither copied nor compared: each interleaving runs from its
//! start. So there is no common core with the explorer of the models (`tests/it/write_protocol/explorer.rs`), which
//! branches by copying a state and visits each state once.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use local::connector::{AwsCall, StepGate};
use local::stack;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::{World, bind_listener};

/// A process that stops before each of its steps. A step is an AWS call selected by `is_step`, or a request to its
/// [`HeldApi`].
pub struct SteppedProcess<T = ()> {
    gate: StepGate,
    api: Option<HeldApi>,
    task: JoinHandle<T>,
    /// Result of the process, once it has ended.
    outcome: Option<T>,
    /// Operations of the steps taken so far.
    pub steps: Vec<String>,
    max_steps: usize,
    interleaved_steps: usize,
}

impl<T: Send + 'static> SteppedProcess<T> {
    /// Spawns `work` as a process of its own on the same data. It stops before each call for which `is_step` is true.
    pub fn spawn<F>(world: &World, is_step: fn(&AwsCall) -> bool, work: impl FnOnce(World) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let world = world.another_process();
        let gate = world.stack.connector.hold_calls(is_step);
        Self {
            gate,
            api: None,
            task: tokio::spawn(work(world)),
            outcome: None,
            steps: Vec::new(),
            max_steps: usize::MAX,
            interleaved_steps: usize::MAX,
        }
    }

    /// Makes each request to this API a step of the process, too.
    #[must_use]
    pub fn with_held_api(self, api: HeldApi) -> Self {
        Self { api: Some(api), ..self }
    }

    /// Crashes the process after `max_steps` steps.
    #[must_use]
    pub fn crash_after(self, max_steps: usize) -> Self {
        Self { max_steps, ..self }
    }

    /// Interleaves only the first steps with those of other processes. The others run at the end, undisturbed.
    #[must_use]
    pub fn interleave_only(self, interleaved_steps: usize) -> Self {
        Self { interleaved_steps, ..self }
    }

    /// Waits until the process has reached its next step or has ended.
    pub async fn wait_for_step(&mut self) {
        let task = &self.task;
        let end = async {
            while !task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let end = async {
            tokio::select! {
                () = wait_for_request(&mut self.api) => {}
                () = end => {}
            }
        };
        self.gate.wait_for_call_until(end).await;
    }

    /// Runs one step; returns `false` if the process has none left.
    pub async fn step(&mut self) -> bool {
        if self.steps.len() >= self.max_steps {
            // The abort completes before another process goes on and before the gate is dropped.
            self.abort().await;
            return false;
        }
        if self.outcome.is_some() {
            return false;
        }
        let mut outcome = None;
        let end = async {
            tokio::select! {
                biased;
                () = wait_for_request(&mut self.api) => {}
                done = &mut self.task => outcome = Some(done.unwrap()),
            }
        };
        let call = self.gate.step_until(end).await;
        let request = self.api.as_mut().filter(|_| call.is_none()).and_then(|api| api.next.take());
        match (call, request) {
            (Some(call), _) => self.steps.push(call.operation),
            (None, Some(request)) => self.steps.push(request.release().await),
            (None, None) => {
                // The gate may close first, because it closes when the process drops its connector.
                self.outcome = match outcome {
                    None => Some((&mut self.task).await.unwrap()),
                    some => some,
                };
                return false;
            }
        }
        true
    }

    /// Runs the process to its end.
    pub async fn finish(mut self) -> T {
        while self.step().await {}
        self.outcome.expect("the process crashed")
    }

    /// Aborts the process between two steps.
    pub async fn kill(mut self) {
        self.abort().await;
    }

    async fn abort(&mut self) {
        if !self.task.is_finished() {
            self.task.abort();
            let _ = (&mut self.task).await;
        }
    }
}

/// An HTTP API that holds each request until a step releases it. Dropping it stops the server.
pub struct HeldApi {
    /// Its base URL.
    pub url: String,
    requests: mpsc::UnboundedReceiver<HeldRequest>,
    /// The request that the next step releases, once it has arrived.
    next: Option<HeldRequest>,
    server: JoinHandle<()>,
}

struct HeldRequest {
    path: String,
    proceed: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

impl HeldApi {
    /// Serves `api` on a port of its own.
    pub async fn serve(api: Router) -> Self {
        let (queue, requests) = mpsc::unbounded_channel();
        let (listener, url) = bind_listener().await;
        let server = stack::spawn_server(listener, api.layer(from_fn_with_state(queue, hold_request)));
        Self { url, requests, next: None, server }
    }
}

impl Drop for HeldApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl HeldRequest {
    /// Lets the request through, and waits for its response. Returns its path.
    async fn release(self) -> String {
        let _ = self.proceed.send(());
        // The sender is only ever dropped, so this ends with an error.
        let _ = self.done.await;
        self.path
    }
}

async fn hold_request(
    State(queue): State<mpsc::UnboundedSender<HeldRequest>>,
    request: Request,
    next: Next,
) -> Response {
    let (proceed, may_proceed) = oneshot::channel();
    let (_is_done, done) = oneshot::channel();
    let _ = queue.send(HeldRequest { path: request.uri().path().to_owned(), proceed, done });
    let _ = may_proceed.await;
    next.run(request).await
}

/// Waits until a request to the API is held; for ever if there is no API.
async fn wait_for_request(api: &mut Option<HeldApi>) {
    let Some(api) = api else { return std::future::pending().await };
    if api.next.is_none() {
        api.next = api.requests.recv().await;
    }
}

/// One interleaving that was run.
pub struct Interleaving<T = ()> {
    /// Process numbers in the order of their steps.
    pub order: Vec<usize>,
    /// Operations of each process, by process number.
    pub steps: Vec<Vec<String>>,
    /// Results of the processes; `None` for one that crashed.
    pub outcomes: Vec<Option<T>>,
}

impl<T> Interleaving<T> {
    /// Returns the position in [`Self::order`] of a process's nth step, counted from 0.
    pub fn position_of(&self, process: usize, nth: usize) -> Option<usize> {
        self.order.iter().enumerate().filter(|(_, p)| **p == process).map(|(at, _)| at).nth(nth)
    }

    /// Returns `true` if step `one` came before step `other`, each given as (process, nth). Panics if either did not
    /// happen.
    pub fn is_before(&self, one: (usize, usize), other: (usize, usize)) -> bool {
        self.position_of(one.0, one.1).unwrap() < self.position_of(other.0, other.1).unwrap()
    }
}

/// Runs the steps in this order, then lets the processes finish one after the other.
pub async fn run_in_order<T: Send + 'static>(
    mut processes: Vec<SteppedProcess<T>>,
    order: &[usize],
) -> Interleaving<T> {
    let mut taken = Vec::new();
    for process in &mut processes {
        process.wait_for_step().await;
    }
    for process in order {
        assert!(processes[*process].step().await, "{order:?}: no step left");
        taken.push(*process);
    }
    for (number, process) in processes.iter_mut().enumerate() {
        while process.steps.len() < process.interleaved_steps && process.step().await {
            taken.push(number);
        }
    }
    for process in &mut processes {
        while process.step().await {}
    }
    let (steps, outcomes) = processes.into_iter().map(|process| (process.steps, process.outcome)).unzip();
    Interleaving { order: taken, steps, outcomes }
}

/// Runs `scenario` once for every possible order of its processes' steps. The number of steps depends on the
/// interleaving, so the orders are discovered on the way: each one that was run yields the prefixes at which others
/// branch off.
pub async fn explore_interleavings<T, F>(scenario: impl Fn(Vec<usize>) -> F) -> Vec<Interleaving<T>>
where
    T: Send + 'static,
    F: Future<Output = Interleaving<T>> + Send + 'static,
{
    const CONCURRENCY: usize = 4;
    let mut unexplored = vec![Vec::new()];
    let (mut running, mut all) = (JoinSet::new(), Vec::new());
    while !unexplored.is_empty() || !running.is_empty() {
        while running.len() < CONCURRENCY
            && let Some(order) = unexplored.pop()
        {
            let prefix_len = order.len();
            let play = scenario(order);
            running.spawn(async move { (prefix_len, play.await) });
        }
        let (prefix_len, interleaving): (usize, Interleaving<T>) =
            running.join_next().await.unwrap().unwrap();
        // Other orders branch off behind the prescribed prefix only: earlier branches were added by the run that
        // prescribed it.
        for at in prefix_len..interleaving.order.len() {
            let (done, rest) = interleaving.order.split_at(at);
            let others =
                (0..interleaving.steps.len()).filter(|other| rest.contains(other) && *other != rest[0]);
            unexplored.extend(others.map(|other| [done, &[other]].concat()));
        }
        all.push(interleaving);
    }
    all
}
