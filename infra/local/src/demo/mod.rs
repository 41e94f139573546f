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
use crate::invariants::Observed;

mod coverage;
mod harness;
mod poller_runs;
mod report;
mod scenario;
mod seed_tracking;
mod simulated_rightfoot;
mod submissions;
mod traffic;
mod undelivered;
mod workers;

use harness::Harness;
use simulated_rightfoot::unchecked_batches;
use workers::WorkerEvidence;

pub use report::{DemoReport, EffectRow, OriginRow, PromiseRow, ProviderRow, ReportDetails};

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
    let audited = scenario::run(&mut harness).await?;
    let workers = harness.workers.seen();
    let observed = observe(&harness, &workers).await.context("collect the evidence")?;
    let mut report = DemoReport::new(&observed, &workers, started.elapsed());
    report.violations.extend(audited);
    Ok(report)
}

/// What the run left. The workers have deleted most messages, so these exist only in the workers' evidence.
async fn observe(harness: &Harness, workers: &WorkerEvidence) -> anyhow::Result<Observed> {
    let mut run = Observed::read(&harness.stack).await?;
    for body in workers.messages.values() {
        run.messages.push(inspect::read_message(&harness.stack, body).await?);
    }
    run.calls.extend(harness.workers.log());
    run.interruptions.clone_from(&workers.interruptions);
    run.deliveries = harness.deliveries().to_vec();
    run.submissions = harness.submissions().to_vec();
    run.thresholds = submissions::thresholds();
    run.poller_runs = harness.poller_runs();
    // Read last and at once, so that it knows everything that was read above, and every run is complete in it.
    run.rightfoot = harness.simulator.snapshot();
    // The system may not have found the later runs yet.
    let unchecked = unchecked_batches(&run.rightfoot.schedules);
    run.leave_out_batches(&unchecked);
    Ok(run)
}
