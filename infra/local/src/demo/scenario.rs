//! The demo's scenario: which faults, submissions and deliveries happen, phase by phase.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use inbox_core::limits::SECRET_REFETCH_SECS;

use super::harness::{Harness, NEW_SECRET, OLD_SECRET, keys, wait_until};
use super::simulated_rightfoot::{SCHEDULE_DAYS, concerns_submitted_batch};
use super::submissions::{batches, schedule};
use super::traffic::PlannedDelivery;
use super::undelivered;
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::invariants::Violation;
use crate::rightfoot_simulator::IncompleteBatchResponse;
use crate::stack::FYNAPSE_SECRET;

/// Minimum length of an outage, in simulated time. The first retries still fall into it.
const OUTAGE_DURATION: Duration = Duration::from_secs(100);
/// Time from Fynapse dropping its old secret until the receiver may load the new one, in simulated time. Fynapse's
/// third execution comes 96 to 144 s after its first: the first two are rejected, the third is accepted.
const ROTATION_LEAD: Duration = Duration::from_secs(75);
/// Rounds of ordinary deliveries before that.
const ROTATION_ROUNDS: u32 = 20;

/// Faults of SQS during its outage, one call after the other.
const SQS_FAULTS: [Fault; 8] = [
    Fault::ServerError,
    Fault::Throttled,
    Fault::ResetBefore,
    Fault::TimeoutAfter,
    Fault::ServerError,
    Fault::ResetBefore,
    Fault::AccessDenied,
    Fault::MalformedResponse,
];
/// Faults of DynamoDB during its outage.
const DYNAMODB_FAULTS: [Fault; 7] = [
    Fault::ServerError,
    Fault::Throttled,
    Fault::ResetBefore,
    Fault::ServerError,
    Fault::TimeoutAfter,
    Fault::AccessDenied,
    Fault::ServerError,
];
/// Faults of the event bus during its outage.
const BUS_FAULTS: [Fault; 7] = [
    Fault::ServerError,
    Fault::FirstEntryFailed,
    Fault::TimeoutAfter,
    Fault::Throttled,
    Fault::MalformedResponse,
    Fault::ResetBefore,
    Fault::AccessDenied,
];
/// Faults of balance writes while DynamoDB is overloaded.
const WRITE_FAULTS: [Fault; 6] = [
    Fault::FirstUnprocessed,
    Fault::ServerError,
    Fault::Unprocessed,
    Fault::Throttled,
    Fault::TimeoutAfter,
    Fault::AccessDenied,
];
/// Calls at which a function crashes while it handles an event. The first is the classic loss: recorded, not enqueued.
const FUNCTION_CRASHES: [(&str, Fault); 4] = [
    ("PutItem", Fault::CrashAfter),
    ("SendMessage", Fault::CrashBefore),
    ("SendMessage", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
];

/// Call at which the function that creates a schedule crashes: all is done, and its caller does not know.
const SCHEDULE_CRASHES: [(&str, Fault); 1] = [("TransactWriteItems", Fault::CrashAfter)];
/// Calls at which functions that submit a batch crash: before it is sent, after that, and after all is written.
const BATCH_CRASHES: [(&str, Fault); 3] = [
    ("PutItem", Fault::CrashAfter),
    ("TransactWriteItems", Fault::CrashBefore),
    ("TransactWriteItems", Fault::CrashAfter),
];
/// Call at which the poller crashes: it has deferred a batch and has not polled it, or has finished it and does not know.
const POLLER_CRASHES: [(&str, Fault); 1] = [("UpdateItem", Fault::CrashAfter)];

/// Calls at which a worker crashes: after it claimed an event, after it stored balances, before and after it published,
/// and before it marked what it published.
const WORKER_CRASHES: [(&str, Fault); 5] = [
    (CLAIM_STEP, Fault::CrashAfter),
    ("BatchWriteItem", Fault::CrashAfter),
    ("PutEvents", Fault::CrashBefore),
    ("PutEvents", Fault::CrashAfter),
    (MARK_PUBLISHED_STEP, Fault::CrashBefore),
];
/// An `UpdateItem` of an event of which nothing is published yet.
const CLAIM_STEP: &str = "claim";
/// An `UpdateItem` after the event's effects were published.
const MARK_PUBLISHED_STEP: &str = "mark";

/// Runs all phases, then waits until nothing is left to do. Returns what the auditor did not find, or found wrongly.
pub(super) async fn run(harness: &mut Harness) -> anyhow::Result<Vec<Violation>> {
    submissions(harness).await?;
    ordinary_deliveries(harness).await;
    begin_rotation(harness).await?;
    sqs_outage(harness).await?;
    dynamodb_outage(harness).await?;
    crashes(harness).await?;
    crashes_on_completions(harness).await;
    end_rotation(harness).await?;
    let audited = undelivered_deliveries(harness).await?;
    harness.progress.start_phase("the last retries arrive, and the poller finds what was lost");
    harness.wait_until_settled().await;
    harness.progress.finish_phase();
    Ok(audited)
}

/// Submits a schedule and batches. Functions crash meanwhile; each is followed by a process that loads a newer URL
/// key than its predecessor.
async fn submissions(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("batches and a schedule are submitted; half of the webhooks get lost");
    // A process that crashes has the old key, its successor both; a repetition must still send the same URL.
    harness.rotate_url_key().await?;
    let crash_plan = CrashPlan::new(&SCHEDULE_CRASHES);
    harness.inject_faults(move |call| crash_plan.fault_for(call));
    harness.submit(vec![schedule(SCHEDULE_DAYS)?]);
    harness.await_submissions().await;
    harness.clear_faults();

    // Only now, because the delay counts from the schedule's creation.
    harness.delay_alerts();
    let crash_plan = CrashPlan::new(&BATCH_CRASHES);
    harness.inject_faults(move |call| crash_plan.fault_for(call));
    harness.submit(batches(0..8)?);
    harness.await_submissions().await;
    harness.clear_faults();
    Ok(())
}

async fn ordinary_deliveries(harness: &mut Harness) {
    harness.progress.start_phase("ordinary deliveries");
    let mut deliveries = harness.traffic.fynapse("ordinary", 0..40);
    deliveries.extend(harness.traffic.rightfoot("ordinary", 0..30));
    harness.deliver_all(deliveries).await;

    harness.progress.start_phase("duplicates, one after the other and eight at once");
    let deliveries = [harness.traffic.redelivered(), harness.traffic.concurrent_duplicates()].concat();
    harness.deliver_all(deliveries).await;

    harness.progress.start_phase("forgeries, fabricated alerts, stale signatures, broken JSON");
    let deliveries = [
        harness.traffic.forgeries(),
        harness.traffic.fabricated_alerts(),
        harness.traffic.unprocessable("ordinary"),
    ]
    .concat();
    harness.deliver_all(deliveries).await;

    harness.progress.start_phase("a 700 kB alert, and 3 MB that do not compress");
    let deliveries = harness.traffic.large();
    harness.deliver_all(deliveries).await;
}

/// Has Fynapse sign with both secrets, of which the receiver holds only the old one.
async fn begin_rotation(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("Fynapse rotates its secret, and signs with both for now");
    harness.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    // The receiver does not notice: it still holds the old secret, which matches the second `v1`.
    let rotate = harness.stack.inspector.secrets.put_secret_value().secret_id(FYNAPSE_SECRET);
    rotate.secret_string(NEW_SECRET).send().await.context("rotate the secret")?;
    let deliveries = harness.traffic.fynapse("two-keys", 0..20);
    harness.deliver_all(deliveries).await;
    Ok(())
}

async fn sqs_outage(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("SQS and the bus are down, balance writes fail, the poller crashes");
    let (bus, writes) =
        (fault_cycle(&["PutEvents"], &BUS_FAULTS), fault_cycle(&["BatchWriteItem"], &WRITE_FAULTS));
    harness.workers.set_fault_plan(move |call| bus(call).or_else(|| writes(call)));
    let crash_plan = CrashPlan::new(&POLLER_CRASHES);
    let (remaining_crashes, outage) =
        (crash_plan.clone(), fault_cycle(&["SendMessage", "SendMessageBatch"], &SQS_FAULTS));
    harness.inject_faults(move |call| {
        // The poller's own writes concern no event; an update that names one is a claim or a mark.
        outage(call).or_else(|| call.event_ids.is_empty().then(|| crash_plan.fault_for(call))?)
    });
    let until = Instant::now() + harness.sim_clock.real_duration(OUTAGE_DURATION);
    let deliveries = harness.traffic.both_providers("sqs-outage", 20, 12);
    harness.deliver_all(deliveries).await;
    // These complete while DynamoDB is down, so the poller finds them before their webhooks are accepted.
    tokio::time::sleep(harness.sim_clock.real_duration(OUTAGE_DURATION / 5)).await;
    harness.submit(batches(8..14)?);
    tokio::time::sleep_until(until.into()).await;
    wait_until(async || remaining_crashes.is_exhausted()).await;
    harness.clear_faults();
    Ok(())
}

async fn dynamodb_outage(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("DynamoDB is down, while more batches are submitted");
    let calls = &["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "TransactWriteItems"];
    // The workers' outage starts first, while the relay still enqueues what SQS did not take: without messages, no
    // worker would call DynamoDB and fail.
    harness.workers.set_fault_plan(fault_cycle(calls, &DYNAMODB_FAULTS));
    wait_until(async || harness.workers.log().iter().any(claim_failed)).await;
    harness.inject_faults(fault_cycle(calls, &DYNAMODB_FAULTS));
    harness
        .simulator
        .configure(|behaviour| behaviour.incomplete_batch_response = IncompleteBatchResponse::NotFound404);
    harness.submit(batches(14..19)?);
    let until = Instant::now() + harness.sim_clock.real_duration(OUTAGE_DURATION);
    let deliveries =
        [harness.traffic.both_providers("dynamodb-outage", 20, 12), harness.traffic.unprocessable("outage")]
            .concat();
    harness.deliver_first_attempts(deliveries).await;
    tokio::time::sleep_until(until.into()).await;
    harness.clear_faults();
    Ok(())
}

/// Crashes the functions, once for each event; the functions that submit; and the relay, after it sent a batch of
/// messages.
async fn crashes(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("functions crash between record and send; relay and workers crash");
    harness
        .simulator
        .configure(|behaviour| behaviour.incomplete_batch_response = IncompleteBatchResponse::Accepted202);
    let deliveries = harness.traffic.both_providers("crash", 20, 12);
    let crashes = Mutex::new(crashes_by_event(&deliveries));
    let relay_may_crash = AtomicBool::new(true);
    let crash_plan = CrashPlan::new(&BATCH_CRASHES);
    let (remaining_crashes, remaining_worker_crashes) = (crash_plan.clone(), crash_workers(harness));
    harness.inject_faults(move |call| {
        if call.operation == "SendMessageBatch" {
            return relay_may_crash.swap(false, Ordering::SeqCst).then_some(Fault::CrashAfter);
        }
        // A call without event ids concerns a submission or a batch.
        if call.event_ids.is_empty() {
            return crash_plan.fault_for(call);
        }
        let mut crashes = crashes.lock().unwrap_or_else(PoisonError::into_inner);
        let crashes_here =
            |id: &&String| crashes.get(*id).is_some_and(|(operation, _)| *operation == call.operation);
        let id = call.event_ids.iter().find(crashes_here)?.clone();
        crashes.remove(&id).map(|(_, fault)| fault)
    });
    harness.submit(batches(19..24)?);
    harness.deliver_first_attempts(deliveries).await;
    harness.wait_for_call(relay_crashed).await;
    wait_until(async || remaining_crashes.is_exhausted() && remaining_worker_crashes.is_exhausted()).await;
    harness.clear_faults();
    Ok(())
}

/// Has the workers crash from now on; returns the crashes that have not occurred yet.
fn crash_workers(harness: &Harness) -> CrashPlan {
    let crash_plan = CrashPlan::new(&WORKER_CRASHES);
    let (remaining_crashes, published) = (crash_plan.clone(), Mutex::new(BTreeSet::new()));
    harness.workers.set_fault_plan(move |call| {
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        match call.operation.as_str() {
            // An update after the publication is the mark; any other one is a claim.
            "UpdateItem" if call.event_ids.iter().any(|id| published.contains(id)) => {
                crash_plan.fault_at_step(MARK_PUBLISHED_STEP)
            }
            "UpdateItem" => crash_plan.fault_at_step(CLAIM_STEP),
            "PutEvents" => {
                let fault = crash_plan.fault_for(call);
                // A worker that crashes here makes no mark: the next update is another's claim.
                if fault.is_none() {
                    published.extend(call.event_ids.iter().cloned());
                }
                fault
            }
            _ => crash_plan.fault_for(call),
        }
    });
    remaining_crashes
}

/// Crashes the processes that record a batch's completion: the poller, or the function that handles its webhook.
async fn crashes_on_completions(harness: &Harness) {
    harness.progress.start_phase("functions and the poller crash while recording completions");
    let crash_plan = CrashPlan::new(&FUNCTION_CRASHES);
    let remaining_crashes = crash_plan.clone();
    harness.inject_faults(move |call| {
        let is_completion = |id: &String| concerns_submitted_batch(id) && id.ends_with("/completed");
        call.event_ids.iter().any(is_completion).then(|| crash_plan.fault_for(call))?
    });
    wait_until(async || remaining_crashes.is_exhausted()).await;
    harness.clear_faults();
}

/// Has Fynapse drop the old secret. The receiver rejects its deliveries until it may load the secret again
/// (`SECRET_REFETCH_SECS`); from then on it holds only the new one.
async fn end_rotation(harness: &mut Harness) -> anyhow::Result<()> {
    harness.progress.start_phase("ordinary deliveries, and late alerts");
    let round = |n| harness.traffic.both_providers(&format!("meanwhile-{n}"), 3, 2);
    let deliveries = (0..ROTATION_ROUNDS).flat_map(round).collect();
    harness.deliver_first_attempts(deliveries).await;

    harness.progress.start_phase("Fynapse signs with the new secret, which the receiver lacks");
    harness.fynapse.sign_with(keys(&[NEW_SECRET])?);
    let deliveries = harness.traffic.fynapse("new-key", 0..15);
    harness.deliver_first_attempts(deliveries).await;
    harness.sim_clock.sleep(ROTATION_LEAD).await;
    // The receiver loads secrets again by monotonic time, which a manual clock advances only by `advance`.
    harness.stack.clock.advance(Duration::from_secs(SECRET_REFETCH_SECS));
    harness.await_deliveries().await;

    harness.progress.start_phase("the receiver knows only the new secret; forgeries with the old one");
    harness.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let deliveries = [
        harness.traffic.fynapse("two-keys", 20..40),
        harness.traffic.signed_with_retired_key(&keys(&[OLD_SECRET])?),
    ]
    .concat();
    harness.deliver_all(deliveries).await;
    Ok(())
}

/// Has Fynapse give up and cancel deliveries, and the auditor find them among all others.
async fn undelivered_deliveries(harness: &mut Harness) -> anyhow::Result<Vec<Violation>> {
    harness.progress.start_phase("Fynapse gives up or cancels five deliveries, and the auditor finds them");
    harness.await_deliveries().await;
    undelivered::audit(&harness.stack, &harness.fynapse_api, harness.deliveries()).await
}

/// Crashes that have not occurred yet: each happens once, in any process that makes its call. Clones share it.
#[derive(Clone)]
struct CrashPlan(Arc<Mutex<Vec<(&'static str, Fault)>>>);

impl CrashPlan {
    fn new(crashes: &[(&'static str, Fault)]) -> Self {
        Self(Arc::new(Mutex::new(crashes.to_vec())))
    }

    /// The crash for this call, which is used up by it; `None` if none is left.
    fn fault_for(&self, call: &AwsCall) -> Option<Fault> {
        self.fault_at_step(&call.operation)
    }

    fn fault_at_step(&self, step: &str) -> Option<Fault> {
        let mut remaining = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = remaining.iter().position(|(at_step, _)| *at_step == step)?;
        Some(remaining.remove(at).1)
    }

    fn is_exhausted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// The call, by event id, at which the function that handles the event crashes.
fn crashes_by_event(deliveries: &[PlannedDelivery]) -> BTreeMap<String, (&'static str, Fault)> {
    deliveries
        .iter()
        .map(|delivery| delivery.outgoing.id.clone())
        .zip(FUNCTION_CRASHES.into_iter().cycle())
        .collect()
}

/// A fault plan that cycles through `faults` for calls of `operations`. The first fault depends on the ids that the
/// call concerns, so that the order of calls does not matter.
fn fault_cycle(operations: &'static [&str], faults: &'static [Fault]) -> impl Fn(&AwsCall) -> Option<Fault> {
    let calls_so_far = Mutex::new(BTreeMap::new());
    move |call| {
        let subject = operations
            .contains(&call.operation.as_str())
            .then(|| (call.operation.clone(), call.event_ids.clone()))?;
        let mut calls_so_far = calls_so_far.lock().unwrap_or_else(PoisonError::into_inner);
        // Derived from the ids instead of a common counter, which would depend on the order of calls.
        let first = subject.1.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>();
        let index = calls_so_far.entry(subject).or_insert(first);
        *index += 1;
        faults.get(*index % faults.len().max(1)).copied()
    }
}

fn claim_failed((call, outcome): &(AwsCall, CallOutcome)) -> bool {
    call.operation == "UpdateItem" && *outcome == CallOutcome::Faulted(Fault::ServerError)
}

fn relay_crashed((call, outcome): &(AwsCall, CallOutcome)) -> bool {
    call.operation == "SendMessageBatch" && *outcome == CallOutcome::Faulted(Fault::CrashAfter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_an_event_do_not_depend_on_the_order_of_calls() {
        let faults_of = |order: &[&str]| {
            let plan = fault_cycle(&["PutItem"], &DYNAMODB_FAULTS);
            let mut faults: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for id in order {
                let call = AwsCall {
                    index: 0,
                    operation: "PutItem".to_owned(),
                    function: None,
                    permissions: Vec::new(),
                    event_ids: vec![(*id).to_owned()],
                };
                faults.entry((*id).to_owned()).or_default().push(plan(&call).unwrap());
            }
            faults
        };
        let faults = faults_of(&["one", "two", "one", "two", "two"]);
        assert_eq!(faults, faults_of(&["two", "two", "one", "two", "one"]));
        assert_ne!(faults["one"][0], faults["one"][1]);
    }
}
