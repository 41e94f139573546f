//! What happens in the demo, act by act.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use inbox_core::limits::SECRET_REFETCH_SECS;

use super::cast::Part;
use super::rightfoot::{SCHEDULE_DAYS, is_about_submitted};
use super::stage::{NEW_SECRET, OLD_SECRET, Stage, keys, wait_until};
use super::submissions::{batches, schedule};
use crate::rightfoot::BeforeCompletion;
use crate::stack::FYNAPSE_SECRET;
use crate::connector::{AwsCall, CallOutcome, Fault};

/// An outage lasts at least so long, in the demo's time: the first retries still fall into it.
const OUTAGE: Duration = Duration::from_secs(100);
/// Fynapse drops its old secret so long (in its own time) before the receiver may ask for the new one. Its
/// third execution comes 96 to 144 s after its first: two are refused, and the third is not.
const LEAD: Duration = Duration::from_secs(75);
/// How many rounds of ordinary deliveries come before that.
const ROUNDS: u32 = 20;

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
const DEATHS: [(&str, Fault); 4] = [
    ("PutItem", Fault::CrashAfter),
    ("SendMessage", Fault::CrashBefore),
    ("SendMessage", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
];

/// Where a function dies that creates a schedule: all is done, and its caller does not know.
const SCHEDULE_DEATHS: [(&str, Fault); 1] = [("TransactWriteItems", Fault::CrashAfter)];
/// Where functions die that submit a batch: before it is sent, after that, and after all is written.
const BATCH_DEATHS: [(&str, Fault); 3] = [
    ("PutItem", Fault::CrashAfter),
    ("TransactWriteItems", Fault::CrashBefore),
    ("TransactWriteItems", Fault::CrashAfter),
];
/// Where the poller dies: it has put a batch off and does not ask, or has settled it and does not know.
const POLLER_DEATHS: [(&str, Fault); 1] = [("UpdateItem", Fault::CrashAfter)];

/// Where a worker dies: it has claimed an event; has stored balances; is about to announce; has announced; and is about
/// to mark what it has announced.
const WORKER_DEATHS: [(&str, Fault); 5] = [
    (CLAIM, Fault::CrashAfter),
    ("BatchWriteItem", Fault::CrashAfter),
    ("PutEvents", Fault::CrashBefore),
    ("PutEvents", Fault::CrashAfter),
    (MARK, Fault::CrashBefore),
];
/// An update of what the worker has not announced yet.
const CLAIM: &str = "claim";
/// An update of what it has announced.
const MARK: &str = "mark";

/// Plays everything.
pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    submissions(stage).await?;
    ordinary_days(stage).await;
    rotation_begins(stage).await?;
    sqs_outage(stage).await?;
    dynamodb_outage(stage).await?;
    crashes(stage).await?;
    crashes_over_batches(stage).await;
    rotation_ends(stage).await?;
    stage.progress.set_message("waiting for the webhooks' last tries, and until the poller has found what was lost");
    stage.settle().await;
    Ok(())
}

/// A schedule and batches are submitted. Functions die on the way, each followed by a process that has a newer URL
/// key than the one before.
async fn submissions(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.set_message("a schedule and batches are submitted to a Rightfoot that loses half of its webhooks");
    stage.rotate_url_key().await?;
    let deaths = Deaths::new(&SCHEDULE_DEATHS);
    stage.fail(move |call| deaths.strike(call));
    stage.submit(vec![schedule(SCHEDULE_DAYS)?]);
    stage.hear_answers().await;
    stage.heal();

    stage.hold_up_alerts();
    let deaths = Deaths::new(&BATCH_DEATHS);
    stage.fail(move |call| deaths.strike(call));
    stage.submit(batches(0..8)?);
    stage.hear_answers().await;
    stage.heal();
    Ok(())
}

async fn ordinary_days(stage: &mut Stage) {
    stage.progress.set_message("ordinary deliveries");
    let mut parts = stage.cast.fynapse("ordinary", 0..40);
    parts.extend(stage.cast.rightfoot("ordinary", 0..30));
    stage.play_to_the_end(parts).await;

    stage.progress.set_message("duplicates, one after the other and eight at once");
    let parts = [stage.cast.again(), stage.cast.at_once()].concat();
    stage.play_to_the_end(parts).await;

    stage
        .progress
        .set_message("forgeries, stale signatures, alerts made up under a valid URL, unknown types, broken JSON");
    let parts = [stage.cast.forgeries(), stage.cast.made_up(), stage.cast.unusable("ordinary")].concat();
    stage.play_to_the_end(parts).await;

    stage.progress.set_message("a 700 kB alert, and 3 MB that do not compress");
    let parts = stage.cast.large();
    stage.play_to_the_end(parts).await;
}

/// The receiver holds the old secret only, and Fynapse signs with both.
async fn rotation_begins(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.set_message("Fynapse rotates its secret, and signs with both for now");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let rotate = stage.system.inspector.secrets.put_secret_value().secret_id(FYNAPSE_SECRET);
    rotate.secret_string(NEW_SECRET).send().await.context("rotate the secret")?;
    let parts = stage.cast.fynapse("two-keys", 0..20);
    stage.play_to_the_end(parts).await;
    Ok(())
}

async fn sqs_outage(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.set_message("SQS and the event bus are down, balances are stored in part, and the poller dies");
    let (bus, writes) = (outage(&["PutEvents"], &BUS_FAULTS), outage(&["BatchWriteItem"], &WRITE_FAULTS));
    stage.workers.plan(move |call| bus(call).or_else(|| writes(call)));
    let deaths = Deaths::new(&POLLER_DEATHS);
    let (left, outage) = (deaths.clone(), outage(&["SendMessage", "SendMessageBatch"], &SQS_FAULTS));
    stage.fail(move |call| outage(call).or_else(|| call.event_ids.is_empty().then(|| deaths.strike(call))?));
    let until = Instant::now() + stage.pace.real(OUTAGE);
    let parts = stage.cast.both("sqs-outage", 20, 12);
    stage.play_to_the_end(parts).await;
    // These are complete when DynamoDB is down: their webhooks come after the poller.
    tokio::time::sleep(stage.pace.real(OUTAGE / 5)).await;
    stage.submit(batches(8..14)?);
    tokio::time::sleep_until(until.into()).await;
    wait_until(async || left.are_over()).await;
    stage.heal();
    Ok(())
}

async fn dynamodb_outage(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.set_message("DynamoDB is down, while more batches are submitted");
    let calls = &["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "TransactWriteItems"];
    // The relay still sends what SQS has not taken: otherwise there might be nothing that a worker could fail at.
    stage.workers.plan(outage(calls, &DYNAMODB_FAULTS));
    wait_until(async || stage.workers.log().iter().any(claim_failed)).await;
    stage.fail(outage(calls, &DYNAMODB_FAULTS));
    stage.simulator.change(|behaviour| behaviour.before_completion = BeforeCompletion::NotFound404);
    stage.submit(batches(14..19)?);
    let until = Instant::now() + stage.pace.real(OUTAGE);
    let parts = [stage.cast.both("dynamodb-outage", 20, 12), stage.cast.unusable("outage")].concat();
    stage.play_first_attempts(parts).await;
    tokio::time::sleep_until(until.into()).await;
    stage.heal();
    Ok(())
}

/// The functions die, each event's once; so do those that submit; and the relay dies with a batch that it has just
/// sent.
async fn crashes(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .progress
        .set_message("functions die between record, send and mark; the relay dies after a send; workers die");
    stage.simulator.change(|behaviour| behaviour.before_completion = BeforeCompletion::Accepted202);
    let parts = stage.cast.both("crash", 20, 12);
    let doomed = Mutex::new(doomed(&parts));
    let relay_lives = AtomicBool::new(true);
    let deaths = Deaths::new(&BATCH_DEATHS);
    let (left, workers_left) = (deaths.clone(), kill_workers(stage));
    stage.fail(move |call| {
        if call.operation == "SendMessageBatch" {
            return relay_lives.swap(false, Ordering::SeqCst).then_some(Fault::CrashAfter);
        }
        if call.event_ids.is_empty() {
            return deaths.strike(call);
        }
        let mut doomed = doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = |id: &&String| doomed.get(*id).is_some_and(|(operation, _)| *operation == call.operation);
        let id = call.event_ids.iter().find(dies)?.clone();
        doomed.remove(&id).map(|(_, fault)| fault)
    });
    stage.submit(batches(19..24)?);
    stage.play_first_attempts(parts).await;
    stage.wait_for_call(relay_died).await;
    wait_until(async || left.are_over() && workers_left.are_over()).await;
    stage.heal();
    Ok(())
}

/// From now on, workers die. What is left of it comes back.
fn kill_workers(stage: &Stage) -> Deaths {
    let deaths = Deaths::new(&WORKER_DEATHS);
    let (left, announced) = (deaths.clone(), Mutex::new(BTreeSet::new()));
    stage.workers.plan(move |call| {
        let mut announced = announced.lock().unwrap_or_else(PoisonError::into_inner);
        match call.operation.as_str() {
            "UpdateItem" if call.event_ids.iter().any(|id| announced.contains(id)) => deaths.strike_at(MARK),
            "UpdateItem" => deaths.strike_at(CLAIM),
            "PutEvents" => {
                let dies = deaths.strike(call);
                if dies.is_none() {
                    announced.extend(call.event_ids.iter().cloned());
                }
                dies
            }
            _ => deaths.strike(call),
        }
    });
    left
}

/// Whoever records a batch's completion dies, the poller or the function that a webhook calls.
async fn crashes_over_batches(stage: &Stage) {
    stage.progress.set_message("functions and the poller die over what became of the batches");
    let deaths = Deaths::new(&DEATHS);
    let left = deaths.clone();
    stage.fail(move |call| {
        let is_one = |id: &String| is_about_submitted(id) && id.ends_with("/completed");
        call.event_ids.iter().any(is_one).then(|| deaths.strike(call))?
    });
    wait_until(async || left.are_over()).await;
    stage.heal();
}

/// Fynapse drops the old secret. The receiver refuses what it signs until it may ask for the secret again;
/// then it holds the new one only.
async fn rotation_ends(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.set_message("ordinary deliveries, and late alerts");
    let round = |n| stage.cast.both(&format!("meanwhile-{n}"), 3, 2);
    let parts = (0..ROUNDS).flat_map(round).collect();
    stage.play_first_attempts(parts).await;

    stage.progress.set_message("Fynapse signs with the new secret only, which the receiver does not know yet");
    stage.fynapse.sign_with(keys(&[NEW_SECRET])?);
    let parts = stage.cast.fynapse("new-key", 0..15);
    stage.play_first_attempts(parts).await;
    stage.pace.sleep(LEAD).await;
    stage.system.clock.advance(Duration::from_secs(SECRET_REFETCH_SECS));
    stage.finish().await;

    stage.progress.set_message("the receiver knows the new secret only: both keys, and forgeries with the old one");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let parts = [stage.cast.fynapse("two-keys", 20..40), stage.cast.retired(&keys(&[OLD_SECRET])?)].concat();
    stage.play_to_the_end(parts).await;
    Ok(())
}

/// Calls at which a process dies, each once, whoever makes them. Clones share it.
#[derive(Clone)]
struct Deaths(Arc<Mutex<Vec<(&'static str, Fault)>>>);

impl Deaths {
    fn new(deaths: &[(&'static str, Fault)]) -> Self {
        Self(Arc::new(Mutex::new(deaths.to_vec())))
    }

    /// How the process dies that makes this call, if it does.
    fn strike(&self, call: &AwsCall) -> Option<Fault> {
        self.strike_at(&call.operation)
    }

    fn strike_at(&self, step: &str) -> Option<Fault> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = left.iter().position(|(deadly, _)| *deadly == step)?;
        Some(left.remove(at).1)
    }

    fn are_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Which event dies at which call.
fn doomed(parts: &[Part]) -> BTreeMap<String, (&'static str, Fault)> {
    parts.iter().map(|part| part.outgoing.id.clone()).zip(DEATHS.into_iter().cycle()).collect()
}

/// One fault after the other for the calls of these operations. Which one a call begins with is decided by what it is
/// about, so that the order in which calls come does not matter.
fn outage(operations: &'static [&str], faults: &'static [Fault]) -> impl Fn(&AwsCall) -> Option<Fault> {
    let met = Mutex::new(BTreeMap::new());
    move |call| {
        let about = operations
            .contains(&call.operation.as_str())
            .then(|| (call.operation.clone(), call.event_ids.clone()))?;
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        let first = about.1.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>();
        let index = met.entry(about).or_insert(first);
        *index += 1;
        faults.get(*index % faults.len().max(1)).copied()
    }
}

fn claim_failed((call, fate): &(AwsCall, CallOutcome)) -> bool {
    call.operation == "UpdateItem" && *fate == CallOutcome::Faulted(Fault::ServerError)
}

fn relay_died((call, fate): &(AwsCall, CallOutcome)) -> bool {
    call.operation == "SendMessageBatch" && *fate == CallOutcome::Faulted(Fault::CrashAfter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_befalls_each_event_alike_in_whichever_order_they_come() {
        let faults_of = |order: &[&str]| {
            let plan = outage(&["PutItem"], &DYNAMODB_FAULTS);
            let mut met: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for id in order {
                let call = AwsCall {
                    index: 0,
                    operation: "PutItem".to_owned(),
                    permissions: Vec::new(),
                    event_ids: vec![(*id).to_owned()],
                };
                met.entry((*id).to_owned()).or_default().push(plan(&call).unwrap());
            }
            met
        };
        let met = faults_of(&["one", "two", "one", "two", "two"]);
        assert_eq!(met, faults_of(&["two", "two", "one", "two", "one"]));
        assert_ne!(met["one"][0], met["one"][1]);
    }
}
