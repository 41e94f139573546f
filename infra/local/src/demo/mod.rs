//! `local demo`: a few hundred events through duplicates, forgeries, outages, crashes and rotations, batches and a
//! schedule at a Rightfoot that loses half of its webhooks, two workers, and the proof that nothing is lost and that
//! every event has had its effect once.
//!
//! Simulated Rightfoot and Fynapse deliver by their documented rules, in compressed time, to the real functions
//! over the embedded engines. What is printed is what was observed; what must be is computed from what was sent,
//! and from what the simulated Rightfoot knows.

use std::time::Instant;

use anyhow::Context;

use crate::inspect;
use crate::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};

mod acts;
mod cast;
mod check;
mod rightfoot;
mod runs;
mod stage;
mod submissions;
mod table;
#[cfg(test)]
mod tests;
mod workers;

use check::Evidence;
use rightfoot::Truth;
use stage::Stage;

pub use check::Problem;
pub use table::{Effects, Report, Row, Told};

/// How the demo runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seed of the simulated senders: the same seed makes the same events and pauses.
    pub seed: u64,
    /// Seconds of the demo's time in one real second. The receiver's own deadlines are not compressed.
    pub rate: u32,
    /// Deliveries in flight at the same time.
    pub in_flight: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, rate: 30, in_flight: 16 }
    }
}

/// Runs the demo. The report says whether every promise was kept; an error, that it could not be found out.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut stage = Stage::set(&options).await.context("set the stage")?;
    acts::play(&mut stage).await?;
    let seen = look(&stage).await.context("look what became of it")?;
    Ok(Report::of(&seen, started.elapsed()))
}

async fn look(stage: &Stage) -> anyhow::Result<Evidence> {
    let (system, worked) = (&stage.system, stage.workers.seen());
    let mut messages = Vec::new();
    for body in worked.messages.values().chain(&inspect::receive_all(system, EVENTS_QUEUE).await?) {
        messages.push(inspect::read_message(system, body).await?);
    }
    let dead_letters = inspect::receive_all(system, DEAD_LETTER_QUEUE).await?.len();
    let (mut table, mut stored) = (inspect::read_inbox(system).await?, inspect::read_balances(system).await?);
    let mut announced = inspect::receive_bus_events(system).await?;
    // At last: so nothing was seen that it does not know.
    let truth = Truth::of(&stage.simulator);
    messages.retain(|message| !is_later(&truth, &message.id));
    table.records.retain(|id, _| !is_later(&truth, id));
    table.tracked.retain(|pk, _| !is_later(&truth, pk));
    stored.retain(|balance| !truth.later.contains(&balance.batch_id));
    announced.retain(|announced| !is_later(&truth, &announced.event_id));
    Ok(Evidence {
        played: stage.played().to_vec(),
        submitted: stage.submitted().to_vec(),
        thresholds: submissions::thresholds(),
        truth,
        poller_runs: stage.poller_runs(),
        table,
        messages,
        dead_letters,
        log: system.connector.call_log(),
        stored,
        announced,
        worked,
        worked_log: stage.workers.log(),
    })
}

/// Whether an event's id or a partition key is about a run that is not looked at any more.
fn is_later(truth: &Truth, name: &str) -> bool {
    name.split(['/', '#']).nth(2).is_some_and(|batch_id| truth.later.contains(batch_id))
}
