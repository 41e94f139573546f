//! Processes that take their AWS calls one by one, in every order.

use std::time::Duration;

use local::connector::{AwsCall, StepGate};
use tokio::task::{JoinHandle, JoinSet};

use crate::World;

/// A process that stops before each of its steps: the calls that its gate names.
pub struct SteppedProcess {
    gate: StepGate,
    task: JoinHandle<()>,
    /// What it has done.
    pub steps: Vec<String>,
    /// How many steps it lives.
    max_steps: usize,
}

impl SteppedProcess {
    /// A process of its own, on the same data.
    pub fn spawn<F>(world: &World, is_step: fn(&AwsCall) -> bool, work: impl FnOnce(World) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = world.another_process();
        let gate = world.stack.connector.hold_calls(is_step);
        Self { gate, task: tokio::spawn(work(world)), steps: Vec::new(), max_steps: usize::MAX }
    }

    /// One that dies after so many steps.
    #[must_use]
    pub fn crash_after(self, max_steps: usize) -> Self {
        Self { max_steps, ..self }
    }

    /// Waits until its first step is what it does next.
    async fn wait_for_first_step(&mut self) {
        let end = async {
            while !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        self.gate.wait_for_call_until(end).await;
    }

    /// One step, if the process has one left.
    pub async fn step(&mut self) -> bool {
        if self.steps.len() >= self.max_steps {
            if !self.task.is_finished() {
                self.task.abort();
                // Dead before anybody else goes on, and before its gate is gone.
                let _ = (&mut self.task).await;
            }
            return false;
        }
        let end = async { (&mut self.task).await.unwrap() };
        let call = self.gate.step_until(end).await;
        self.steps.extend(call.iter().map(|call| call.operation.clone()));
        call.is_some()
    }

    /// The process dies where it stands.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// In which order the processes' steps came, as their numbers, and what each did.
pub struct Interleaving {
    /// Whose step came when.
    pub order: Vec<usize>,
    /// What each process did.
    pub steps: Vec<Vec<String>>,
}

impl Interleaving {
    /// When the nth step of a process came.
    pub fn position_of(&self, process: usize, nth: usize) -> Option<usize> {
        self.order.iter().enumerate().filter(|(_, p)| **p == process).map(|(at, _)| at).nth(nth)
    }

    /// Whether one process' step came before another's.
    pub fn is_before(&self, one: (usize, usize), other: (usize, usize)) -> bool {
        self.position_of(one.0, one.1).unwrap() < self.position_of(other.0, other.1).unwrap()
    }
}

/// Lets the processes take their steps in this order, and goes on with the first that has one left.
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

/// Plays a scene in every order in which its processes' steps can come, each once. How many steps a process takes
/// depends on what the others did before: so one order tells where the next ones branch off.
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
