//! What happens in the demo, act by act.

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
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::rightfoot_simulator::IncompleteBatchResponse;
use crate::stack::FYNAPSE_SECRET;

/// An outage lasts at least so long, in the demo's time: the first retries still fall into it.
const OUTAGE_DURATION: Duration = Duration::from_secs(100);
/// Fynapse drops its old secret so long (in its own time) before the receiver may ask for the new one. Its
/// third execution comes 96 to 144 s after its first: two are refused, and the third is not.
const ROTATION_LEAD: Duration = Duration::from_secs(75);
/// How many rounds of ordinary deliveries come before that.
const ROTATION_ROUNDS: u32 = 20;

/// What befalls SQS while it is down, one call after the other.
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
/// What befalls DynamoDB while it is down.
const DYNAMODB_FAULTS: [Fault; 7] = [
    Fault::ServerError,
    Fault::Throttled,
    Fault::ResetBefore,
    Fault::ServerError,
    Fault::TimeoutAfter,
    Fault::AccessDenied,
    Fault::ServerError,
];
/// What befalls the bus while it is down.
const BUS_FAULTS: [Fault; 7] = [
    Fault::ServerError,
    Fault::FirstEntryFailed,
    Fault::TimeoutAfter,
    Fault::Throttled,
    Fault::MalformedResponse,
    Fault::ResetBefore,
    Fault::AccessDenied,
];
/// What befalls the storing of balances while DynamoDB has too much to do.
const WRITE_FAULTS: [Fault; 6] = [
    Fault::FirstUnprocessed,
    Fault::ServerError,
    Fault::Unprocessed,
    Fault::Throttled,
    Fault::TimeoutAfter,
    Fault::AccessDenied,
];
/// Where a function dies while it handles an event: the demo's heart is the first line.
const FUNCTION_CRASHES: [(&str, Fault); 4] = [
    ("PutItem", Fault::CrashAfter),
    ("SendMessage", Fault::CrashBefore),
    ("SendMessage", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
];

/// Where a function dies that creates a schedule: all is done, and its caller does not know.
const SCHEDULE_CRASHES: [(&str, Fault); 1] = [("TransactWriteItems", Fault::CrashAfter)];
/// Where functions die that submit a batch: before it is sent, after that, and after all is written.
const BATCH_CRASHES: [(&str, Fault); 3] = [
    ("PutItem", Fault::CrashAfter),
    ("TransactWriteItems", Fault::CrashBefore),
    ("TransactWriteItems", Fault::CrashAfter),
];
/// Where the poller dies: it has put a batch off and does not ask, or has settled it and does not know.
const POLLER_CRASHES: [(&str, Fault); 1] = [("UpdateItem", Fault::CrashAfter)];

/// Where a worker dies: it has claimed an event; has stored balances; is about to announce; has announced; and is about
/// to mark what it has announced.
const WORKER_CRASHES: [(&str, Fault); 5] = [
    (CLAIM_STEP, Fault::CrashAfter),
    ("BatchWriteItem", Fault::CrashAfter),
    ("PutEvents", Fault::CrashBefore),
    ("PutEvents", Fault::CrashAfter),
    (MARK_PUBLISHED_STEP, Fault::CrashBefore),
];
/// An update of what the worker has not announced yet.
const CLAIM_STEP: &str = "claim";
/// An update of what it has announced.
const MARK_PUBLISHED_STEP: &str = "mark";

/// Plays everything.
pub(super) async fn run(harness: &mut Harness) -> anyhow::Result<()> {
    submissions(harness).await?;
    ordinary_deliveries(harness).await;
    begin_rotation(harness).await?;
    sqs_outage(harness).await?;
    dynamodb_outage(harness).await?;
    crashes(harness).await?;
    crashes_on_completions(harness).await;
    end_rotation(harness).await?;
    harness
        .progress
        .set_message("waiting for the webhooks' last tries, and until the poller has found what was lost");
    harness.wait_until_settled().await;
    Ok(())
}

/// A schedule and batches are submitted. Functions die on the way, each followed by a process that has a newer URL
/// key than the one before.
async fn submissions(stage: &mut Harness) -> anyhow::Result<()> {
    stage
        .progress
        .set_message("a schedule and batches are submitted to a Rightfoot that loses half of its webhooks");
    stage.rotate_url_key().await?;
    let crash_plan = CrashPlan::new(&SCHEDULE_CRASHES);
    stage.inject_faults(move |call| crash_plan.fault_for(call));
    stage.submit(vec![schedule(SCHEDULE_DAYS)?]);
    stage.await_submissions().await;
    stage.clear_faults();

    stage.delay_alerts();
    let crash_plan = CrashPlan::new(&BATCH_CRASHES);
    stage.inject_faults(move |call| crash_plan.fault_for(call));
    stage.submit(batches(0..8)?);
    stage.await_submissions().await;
    stage.clear_faults();
    Ok(())
}

async fn ordinary_deliveries(stage: &mut Harness) {
    stage.progress.set_message("ordinary deliveries");
    let mut deliveries = stage.traffic.fynapse("ordinary", 0..40);
    deliveries.extend(stage.traffic.rightfoot("ordinary", 0..30));
    stage.deliver_all(deliveries).await;

    stage.progress.set_message("duplicates, one after the other and eight at once");
    let deliveries = [stage.traffic.redelivered(), stage.traffic.concurrent_duplicates()].concat();
    stage.deliver_all(deliveries).await;

    stage.progress.set_message(
        "forgeries, stale signatures, alerts made up under a valid URL, unknown types, broken JSON",
    );
    let deliveries = [
        stage.traffic.forgeries(),
        stage.traffic.fabricated_alerts(),
        stage.traffic.unprocessable("ordinary"),
    ]
    .concat();
    stage.deliver_all(deliveries).await;

    stage.progress.set_message("a 700 kB alert, and 3 MB that do not compress");
    let deliveries = stage.traffic.large();
    stage.deliver_all(deliveries).await;
}

/// The receiver holds the old secret only, and Fynapse signs with both.
async fn begin_rotation(stage: &mut Harness) -> anyhow::Result<()> {
    stage.progress.set_message("Fynapse rotates its secret, and signs with both for now");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let rotate = stage.stack.inspector.secrets.put_secret_value().secret_id(FYNAPSE_SECRET);
    rotate.secret_string(NEW_SECRET).send().await.context("rotate the secret")?;
    let deliveries = stage.traffic.fynapse("two-keys", 0..20);
    stage.deliver_all(deliveries).await;
    Ok(())
}

async fn sqs_outage(stage: &mut Harness) -> anyhow::Result<()> {
    stage
        .progress
        .set_message("SQS and the event bus are down, balances are stored in part, and the poller dies");
    let (bus, writes) =
        (fault_cycle(&["PutEvents"], &BUS_FAULTS), fault_cycle(&["BatchWriteItem"], &WRITE_FAULTS));
    stage.workers.set_fault_plan(move |call| bus(call).or_else(|| writes(call)));
    let crash_plan = CrashPlan::new(&POLLER_CRASHES);
    let (remaining_crashes, outage) =
        (crash_plan.clone(), fault_cycle(&["SendMessage", "SendMessageBatch"], &SQS_FAULTS));
    stage.inject_faults(move |call| {
        outage(call).or_else(|| call.event_ids.is_empty().then(|| crash_plan.fault_for(call))?)
    });
    let until = Instant::now() + stage.sim_clock.real_duration(OUTAGE_DURATION);
    let deliveries = stage.traffic.both_providers("sqs-outage", 20, 12);
    stage.deliver_all(deliveries).await;
    // These are complete when DynamoDB is down: their webhooks come after the poller.
    tokio::time::sleep(stage.sim_clock.real_duration(OUTAGE_DURATION / 5)).await;
    stage.submit(batches(8..14)?);
    tokio::time::sleep_until(until.into()).await;
    wait_until(async || remaining_crashes.is_exhausted()).await;
    stage.clear_faults();
    Ok(())
}

async fn dynamodb_outage(stage: &mut Harness) -> anyhow::Result<()> {
    stage.progress.set_message("DynamoDB is down, while more batches are submitted");
    let calls = &["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "TransactWriteItems"];
    // The relay still sends what SQS has not taken: otherwise there might be nothing that a worker could fail at.
    stage.workers.set_fault_plan(fault_cycle(calls, &DYNAMODB_FAULTS));
    wait_until(async || stage.workers.log().iter().any(claim_failed)).await;
    stage.inject_faults(fault_cycle(calls, &DYNAMODB_FAULTS));
    stage
        .simulator
        .configure(|behaviour| behaviour.incomplete_batch_response = IncompleteBatchResponse::NotFound404);
    stage.submit(batches(14..19)?);
    let until = Instant::now() + stage.sim_clock.real_duration(OUTAGE_DURATION);
    let deliveries =
        [stage.traffic.both_providers("dynamodb-outage", 20, 12), stage.traffic.unprocessable("outage")]
            .concat();
    stage.deliver_first_attempts(deliveries).await;
    tokio::time::sleep_until(until.into()).await;
    stage.clear_faults();
    Ok(())
}

/// The functions die, each event's once; so do those that submit; and the relay dies with a batch that it has just
/// sent.
async fn crashes(stage: &mut Harness) -> anyhow::Result<()> {
    stage
        .progress
        .set_message("functions die between record, send and mark; the relay dies after a send; workers die");
    stage
        .simulator
        .configure(|behaviour| behaviour.incomplete_batch_response = IncompleteBatchResponse::Accepted202);
    let deliveries = stage.traffic.both_providers("crash", 20, 12);
    let crashes = Mutex::new(crashes_by_event(&deliveries));
    let relay_may_crash = AtomicBool::new(true);
    let crash_plan = CrashPlan::new(&BATCH_CRASHES);
    let (remaining_crashes, remaining_worker_crashes) = (crash_plan.clone(), crash_workers(stage));
    stage.inject_faults(move |call| {
        if call.operation == "SendMessageBatch" {
            return relay_may_crash.swap(false, Ordering::SeqCst).then_some(Fault::CrashAfter);
        }
        if call.event_ids.is_empty() {
            return crash_plan.fault_for(call);
        }
        let mut crashes = crashes.lock().unwrap_or_else(PoisonError::into_inner);
        let crashes_here =
            |id: &&String| crashes.get(*id).is_some_and(|(operation, _)| *operation == call.operation);
        let id = call.event_ids.iter().find(crashes_here)?.clone();
        crashes.remove(&id).map(|(_, fault)| fault)
    });
    stage.submit(batches(19..24)?);
    stage.deliver_first_attempts(deliveries).await;
    stage.wait_for_call(relay_crashed).await;
    wait_until(async || remaining_crashes.is_exhausted() && remaining_worker_crashes.is_exhausted()).await;
    stage.clear_faults();
    Ok(())
}

/// From now on, workers die. What is left of it comes back.
fn crash_workers(stage: &Harness) -> CrashPlan {
    let crash_plan = CrashPlan::new(&WORKER_CRASHES);
    let (remaining_crashes, published) = (crash_plan.clone(), Mutex::new(BTreeSet::new()));
    stage.workers.set_fault_plan(move |call| {
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        match call.operation.as_str() {
            "UpdateItem" if call.event_ids.iter().any(|id| published.contains(id)) => {
                crash_plan.fault_at_step(MARK_PUBLISHED_STEP)
            }
            "UpdateItem" => crash_plan.fault_at_step(CLAIM_STEP),
            "PutEvents" => {
                let fault = crash_plan.fault_for(call);
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

/// Whoever records a batch's completion dies, the poller or the function that a webhook calls.
async fn crashes_on_completions(stage: &Harness) {
    stage.progress.set_message("functions and the poller die over what became of the batches");
    let crash_plan = CrashPlan::new(&FUNCTION_CRASHES);
    let remaining_crashes = crash_plan.clone();
    stage.inject_faults(move |call| {
        let is_completion = |id: &String| concerns_submitted_batch(id) && id.ends_with("/completed");
        call.event_ids.iter().any(is_completion).then(|| crash_plan.fault_for(call))?
    });
    wait_until(async || remaining_crashes.is_exhausted()).await;
    stage.clear_faults();
}

/// Fynapse drops the old secret. The receiver refuses what it signs until it may ask for the secret again;
/// then it holds the new one only.
async fn end_rotation(stage: &mut Harness) -> anyhow::Result<()> {
    stage.progress.set_message("ordinary deliveries, and late alerts");
    let round = |n| stage.traffic.both_providers(&format!("meanwhile-{n}"), 3, 2);
    let deliveries = (0..ROTATION_ROUNDS).flat_map(round).collect();
    stage.deliver_first_attempts(deliveries).await;

    stage
        .progress
        .set_message("Fynapse signs with the new secret only, which the receiver does not know yet");
    stage.fynapse.sign_with(keys(&[NEW_SECRET])?);
    let deliveries = stage.traffic.fynapse("new-key", 0..15);
    stage.deliver_first_attempts(deliveries).await;
    stage.sim_clock.sleep(ROTATION_LEAD).await;
    stage.stack.clock.advance(Duration::from_secs(SECRET_REFETCH_SECS));
    stage.await_deliveries().await;

    stage
        .progress
        .set_message("the receiver knows the new secret only: both keys, and forgeries with the old one");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let deliveries = [
        stage.traffic.fynapse("two-keys", 20..40),
        stage.traffic.signed_with_retired_key(&keys(&[OLD_SECRET])?),
    ]
    .concat();
    stage.deliver_all(deliveries).await;
    Ok(())
}

/// Calls at which a process dies, each once, whoever makes them. Clones share it.
#[derive(Clone)]
struct CrashPlan(Arc<Mutex<Vec<(&'static str, Fault)>>>);

impl CrashPlan {
    fn new(crashes: &[(&'static str, Fault)]) -> Self {
        Self(Arc::new(Mutex::new(crashes.to_vec())))
    }

    /// How the process dies that makes this call, if it does.
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

/// Which event dies at which call.
fn crashes_by_event(deliveries: &[PlannedDelivery]) -> BTreeMap<String, (&'static str, Fault)> {
    deliveries
        .iter()
        .map(|delivery| delivery.outgoing.id.clone())
        .zip(FUNCTION_CRASHES.into_iter().cycle())
        .collect()
}

/// One fault after the other for the calls of these operations. Which one a call begins with is decided by what it is
/// about, so that the order in which calls come does not matter.
fn fault_cycle(operations: &'static [&str], faults: &'static [Fault]) -> impl Fn(&AwsCall) -> Option<Fault> {
    let calls_so_far = Mutex::new(BTreeMap::new());
    move |call| {
        let subject = operations
            .contains(&call.operation.as_str())
            .then(|| (call.operation.clone(), call.event_ids.clone()))?;
        let mut calls_so_far = calls_so_far.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn an_outage_befalls_each_event_alike_in_whichever_order_they_come() {
        let faults_of = |order: &[&str]| {
            let plan = fault_cycle(&["PutItem"], &DYNAMODB_FAULTS);
            let mut faults: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for id in order {
                let call = AwsCall {
                    index: 0,
                    operation: "PutItem".to_owned(),
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
