//! Explores the interleavings of concurrent processes, one AWS call at a time.

use std::time::Duration;

use local::connector::{AwsCall, StepGate};
use tokio::task::{JoinHandle, JoinSet};

use crate::World;

/// A process that stops before each of its steps. A step is an AWS call selected by `is_step`.
pub struct SteppedProcess {
    gate: StepGate,
    task: JoinHandle<()>,
    /// Operations of the steps taken so far.
    pub steps: Vec<String>,
    max_steps: usize,
}

impl SteppedProcess {
    /// Spawns `work` as a process of its own on the same data. It stops before each call for which `is_step` is true.
    pub fn spawn<F>(world: &World, is_step: fn(&AwsCall) -> bool, work: impl FnOnce(World) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = world.another_process();
        let gate = world.stack.connector.hold_calls(is_step);
        Self { gate, task: tokio::spawn(work(world)), steps: Vec::new(), max_steps: usize::MAX }
    }

    /// Crashes the process after `max_steps` steps.
    #[must_use]
    pub fn crash_after(self, max_steps: usize) -> Self {
        Self { max_steps, ..self }
    }

    /// Waits until the process has reached its first step or has ended.
    async fn wait_for_first_step(&mut self) {
        let end = async {
            while !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        self.gate.wait_for_call_until(end).await;
    }

    /// Runs one step; returns `false` if the process has none left.
    pub async fn step(&mut self) -> bool {
        if self.steps.len() >= self.max_steps {
            if !self.task.is_finished() {
                self.task.abort();
                // Abort completes before another process goes on and before the gate is dropped.
                let _ = (&mut self.task).await;
            }
            return false;
        }
        let end = async { (&mut self.task).await.unwrap() };
        let call = self.gate.step_until(end).await;
        self.steps.extend(call.iter().map(|call| call.operation.clone()));
        call.is_some()
    }

    /// Aborts the process between two steps.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// One interleaving that was run.
pub struct Interleaving {
    /// Process numbers in the order of their steps.
    pub order: Vec<usize>,
    /// Operations of each process, by process number.
    pub steps: Vec<Vec<String>>,
}

impl Interleaving {
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
pub async fn run_in_order(mut processes: Vec<SteppedProcess>, order: &[usize]) -> Interleaving {
    let mut taken = Vec::new();
    for process in &mut processes {
        process.wait_for_first_step().await;
    }
    for process in order {
        assert!(processes[*process].step().await, "{order:?}: no step left");
        taken.push(*process);
    }
    for (number, process) in processes.iter_mut().enumerate() {
        while process.step().await {
            taken.push(number);
        }
    }
    Interleaving { order: taken, steps: processes.into_iter().map(|process| process.steps).collect() }
}

/// Runs `scenario` once for every possible order of its processes' steps. The number of steps depends on the
/// interleaving, so the orders are discovered on the way: each one that was run yields the prefixes at which others
/// branch off.
pub async fn explore_interleavings<F>(scenario: impl Fn(Vec<usize>) -> F) -> Vec<Interleaving>
where
    F: Future<Output = Interleaving> + Send + 'static,
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
        let (prefix_len, interleaving): (usize, Interleaving) = running.join_next().await.unwrap().unwrap();
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
