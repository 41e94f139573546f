//! `local demo`: runs the whole system under faults and checks that no event is lost and that each takes effect once.
//!
//! A few hundred events meet duplicates, forgeries, outages, crashes and secret rotations; batches and a schedule are
//! submitted to a Rightfoot that loses half of its webhooks; two workers process the events.
//!
//! Simulated Rightfoot and Fynapse deliver by their documented rules, in compressed time, to the real functions
//! over the embedded AWS emulators. The report prints observed counts. Expectations are computed from the deliveries
//! that were sent and from the state of the simulated Rightfoot, never from the system under test.

use std::time::Instant;

use anyhow::Context;

use crate::inspect;
use crate::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};

mod harness;
mod invariants;
mod poller_runs;
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

/// Options of a demo run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Seed of the simulated senders: the same seed produces the same events and pauses.
    pub seed: u64,
    /// Seconds of simulated time per real second. The receiver's own deadlines are not compressed.
    pub rate: u32,
    /// Maximum number of deliveries in flight at the same time.
    pub in_flight: usize,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { seed: 1, rate: 30, in_flight: 16 }
    }
}

/// Runs the demo; the report lists violated promises.
///
/// # Errors
///
/// The demo could not be started, or its evidence could not be collected. This says nothing about the promises.
pub async fn run(options: DemoOptions) -> anyhow::Result<DemoReport> {
    let started = Instant::now();
    let mut harness = Harness::start(&options).await.context("start the demo")?;
    scenario::run(&mut harness).await?;
    let evidence = collect_evidence(&harness).await.context("collect the evidence")?;
    Ok(DemoReport::from_evidence(&evidence, started.elapsed()))
}

async fn collect_evidence(harness: &Harness) -> anyhow::Result<Evidence> {
    let (stack, worker_evidence) = (&harness.stack, harness.workers.seen());
    let mut messages = Vec::new();
    // The workers deleted most messages, so these exist only in the workers' evidence.
    for body in worker_evidence.messages.values().chain(&inspect::receive_all(stack, EVENTS_QUEUE).await?) {
        messages.push(inspect::read_message(stack, body).await?);
    }
    let dead_letters = inspect::receive_all(stack, DEAD_LETTER_QUEUE).await?.len();
    let (mut table, mut stored) = (inspect::read_inbox(stack).await?, inspect::read_balances(stack).await?);
    let mut published = inspect::receive_bus_events(stack).await?;
    // Read last, so that it knows everything that the evidence above can contain.
    let truth = GroundTruth::of(&harness.simulator);
    messages.retain(|message| !is_about_unchecked_run(&truth, &message.id));
    table.records.retain(|id, _| !is_about_unchecked_run(&truth, id));
    table.tracked.retain(|pk, _| !is_about_unchecked_run(&truth, pk));
    stored.retain(|balance| !truth.unchecked_batches.contains(&balance.batch_id));
    published.retain(|published| !is_about_unchecked_run(&truth, &published.event_id));
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

/// Returns `true` if an event id or a partition key (`name`) belongs to a run after the first
/// [`simulated_rightfoot::CHECKED_RUNS`].
fn is_about_unchecked_run(truth: &GroundTruth, name: &str) -> bool {
    name.split(['/', '#']).nth(2).is_some_and(|batch_id| truth.unchecked_batches.contains(batch_id))
}
