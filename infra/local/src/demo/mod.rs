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

mod harness;
mod invariants;
mod report;
mod scenario;
mod seed_tracking;
mod simulated_rightfoot;
mod submissions;
#[cfg(test)]
mod tests;
mod traffic;
mod workers;

use harness::Harness;
use invariants::Evidence;
use simulated_rightfoot::GroundTruth;

pub use invariants::Violation;
pub use report::{DemoReport, EffectRow, OriginRow, ProviderRow};

/// How the demo runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Seed of the simulated senders: the same seed makes the same events and pauses.
    pub seed: u64,
    /// Seconds of the demo's time in one real second. The receiver's own deadlines are not compressed.
    pub rate: u32,
    /// Deliveries in flight at the same time.
    pub in_flight: usize,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { seed: 1, rate: 30, in_flight: 16 }
    }
}

/// Runs the demo. The report says whether every promise was kept; an error, that it could not be found out.
pub async fn run(options: DemoOptions) -> anyhow::Result<DemoReport> {
    let started = Instant::now();
    let mut harness = Harness::start(&options).await.context("set the stage")?;
    scenario::run(&mut harness).await?;
    let evidence = collect_evidence(&harness).await.context("look what became of it")?;
    Ok(DemoReport::from_evidence(&evidence, started.elapsed()))
}

async fn collect_evidence(harness: &Harness) -> anyhow::Result<Evidence> {
    let (stack, worker_evidence) = (&harness.stack, harness.workers.seen());
    let mut messages = Vec::new();
    for body in worker_evidence.messages.values().chain(&inspect::receive_all(stack, EVENTS_QUEUE).await?) {
        messages.push(inspect::read_message(stack, body).await?);
    }
    let dead_letters = inspect::receive_all(stack, DEAD_LETTER_QUEUE).await?.len();
    let (mut table, mut stored) = (inspect::read_inbox(stack).await?, inspect::read_balances(stack).await?);
    let mut published = inspect::receive_bus_events(stack).await?;
    // At last: so nothing was seen that it does not know.
    let truth = GroundTruth::of(&harness.simulator);
    messages.retain(|message| !is_about_unchecked_run(&truth, &message.id));
    table.records.retain(|id, _| !is_about_unchecked_run(&truth, id));
    table.tracked.retain(|pk, _| !is_about_unchecked_run(&truth, pk));
    stored.retain(|balance| !truth.unchecked_batches.contains(&balance.batch_id));
    published.retain(|announced| !is_about_unchecked_run(&truth, &announced.event_id));
    Ok(Evidence {
        deliveries: harness.deliveries().to_vec(),
        submissions: harness.submissions().to_vec(),
        thresholds: submissions::thresholds(),
        truth,
        poller_runs: harness.poller_runs(),
        table,
        messages,
        dead_letters,
        log: stack.connector.call_log(),
        stored_balances: stored,
        published,
        workers: worker_evidence,
        worker_log: harness.workers.log(),
    })
}

/// Whether an event's id or a partition key is about a run that is not looked at any more.
fn is_about_unchecked_run(truth: &GroundTruth, name: &str) -> bool {
    name.split(['/', '#']).nth(2).is_some_and(|batch_id| truth.unchecked_batches.contains(batch_id))
}
