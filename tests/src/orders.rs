//! Processes that take their AWS calls one by one, in every order.

use std::time::Duration;

use local::connector::{AwsCall, StepGate};
use tokio::task::{JoinHandle, JoinSet};

use crate::World;

/// A process that stops before each of its steps: the calls that its gate names.
pub struct Process {
    gate: StepGate,
    task: JoinHandle<()>,
    /// What it has done.
    pub steps: Vec<String>,
    /// How many steps it lives.
    lives: usize,
}

impl Process {
    /// A process of its own, on the same data.
    pub fn of<F>(world: &World, waits: fn(&AwsCall) -> bool, work: impl FnOnce(World) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = world.another();
        let gate = world.system.connector.hold_calls(waits);
        Self { gate, task: tokio::spawn(work(world)), steps: Vec::new(), lives: usize::MAX }
    }

    /// One that dies after so many steps.
    #[must_use]
    pub fn that_dies_after(self, lives: usize) -> Self {
        Self { lives, ..self }
    }

    /// Waits until its first step is what it does next.
    async fn arrive(&mut self) {
        let end = async {
            while !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        self.gate.wait_for_call_until(end).await;
    }

    /// One step, if the process has one left.
    pub async fn step(&mut self) -> bool {
        if self.steps.len() >= self.lives {
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
    pub async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// In which order the processes' steps came, as their numbers, and what each did.
pub struct Played {
    /// Whose step came when.
    pub order: Vec<usize>,
    /// What each process did.
    pub steps: Vec<Vec<String>>,
}

impl Played {
    /// When the nth step of a process came.
    pub fn at(&self, process: usize, nth: usize) -> Option<usize> {
        self.order.iter().enumerate().filter(|(_, p)| **p == process).map(|(at, _)| at).nth(nth)
    }

    /// Whether one process' step came before another's.
    pub fn is_before(&self, one: (usize, usize), other: (usize, usize)) -> bool {
        self.at(one.0, one.1).unwrap() < self.at(other.0, other.1).unwrap()
    }
}

/// Lets the processes take their steps in this order, and goes on with the first that has one left.
pub async fn play(mut processes: Vec<Process>, order: &[usize]) -> Played {
    let mut played = Vec::new();
    for process in &mut processes {
        process.arrive().await;
    }
    for process in order {
        assert!(processes[*process].step().await, "{order:?}: no step left");
        played.push(*process);
    }
    for (number, process) in processes.iter_mut().enumerate() {
        while process.step().await {
            played.push(number);
        }
    }
    Played { order: played, steps: processes.into_iter().map(|process| process.steps).collect() }
}

/// Plays a scene in every order in which its processes' steps can come, each once. How many steps a process takes
/// depends on what the others did before: so one order tells where the next ones branch off.
pub async fn in_every_order<F>(scene: impl Fn(Vec<usize>) -> F) -> Vec<Played>
where
    F: Future<Output = Played> + Send + 'static,
{
    const AT_ONCE: usize = 4;
    let mut open = vec![Vec::new()];
    let (mut playing, mut all) = (JoinSet::new(), Vec::new());
    while !open.is_empty() || !playing.is_empty() {
        while playing.len() < AT_ONCE
            && let Some(order) = open.pop()
        {
            let begun = order.len();
            let play = scene(order);
            playing.spawn(async move { (begun, play.await) });
        }
        let (begun, played): (usize, Played) = playing.join_next().await.unwrap().unwrap();
        for at in begun..played.order.len() {
            let (done, rest) = played.order.split_at(at);
            let others = (0..played.steps.len()).filter(|other| rest.contains(other) && *other != rest[0]);
            open.extend(others.map(|other| [done, &[other]].concat()));
        }
        all.push(played);
    }
    all
}
