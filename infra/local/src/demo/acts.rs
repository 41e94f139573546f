//! What happens in the demo, act by act.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use inbox_core::limits::SECRET_REFETCH_SECS;

use super::cast::Part;
use super::stage::{NEW_SECRET, OLD_SECRET, Stage, keys};
use crate::system::FYNAPSE_SECRET;
use crate::wire::{Call, Fate, Fault};

/// An outage lasts at least so long, in the demo's time: the first retries still fall into it.
const OUTAGE: Duration = Duration::from_secs(100);
/// Fynapse drops its old secret so long (in its own time) before the receiver may ask for the new one. Its
/// third execution comes 96 to 144 s after its first: two are refused, and the third is not.
const LEAD: Duration = Duration::from_secs(75);

/// What befalls SQS while it is down, one call after the other.
const SQS_FAULTS: [Fault; 8] = [
    Fault::ServerError,
    Fault::Throttled,
    Fault::ResetBefore,
    Fault::TimeoutAfter,
    Fault::ServerError,
    Fault::ResetBefore,
    Fault::AccessDenied,
    Fault::MalformedAnswer,
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
/// Where a function dies while it handles an event: the demo's heart is the first line.
const DEATHS: [(&str, Fault); 4] = [
    ("PutItem", Fault::CrashAfter),
    ("SendMessage", Fault::CrashBefore),
    ("SendMessage", Fault::CrashAfter),
    ("UpdateItem", Fault::CrashBefore),
];

/// Plays everything.
pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    ordinary_days(stage).await;
    rotation_begins(stage).await?;
    sqs_outage(stage).await;
    dynamodb_outage(stage).await;
    crashes(stage).await;
    rotation_ends(stage).await?;
    stage.progress.now("waiting until every sender is done and nothing is due");
    stage.settle().await;
    Ok(())
}

async fn ordinary_days(stage: &mut Stage) {
    stage.progress.now("ordinary deliveries");
    let mut parts = stage.cast.fynapse("ordinary", 0..40);
    parts.extend(stage.cast.rightfoot("ordinary", 0..30));
    stage.play_to_the_end(parts).await;

    stage.progress.now("duplicates, one after the other and eight at once");
    let parts = [stage.cast.again(), stage.cast.at_once()].concat();
    stage.play_to_the_end(parts).await;

    stage.progress.now("forgeries, stale signatures, unknown types, broken JSON");
    let parts = [stage.cast.forgeries(), stage.cast.unusable("ordinary")].concat();
    stage.play_to_the_end(parts).await;

    stage.progress.now("a 700 kB alert, and 3 MB that do not compress");
    let parts = stage.cast.large();
    stage.play_to_the_end(parts).await;
}

/// The receiver holds the old secret only, and Fynapse signs with both.
async fn rotation_begins(stage: &mut Stage) -> anyhow::Result<()> {
    stage.progress.now("Fynapse rotates its secret, and signs with both for now");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let rotate = stage.system.onlooker.secrets.put_secret_value().secret_id(FYNAPSE_SECRET);
    rotate.secret_string(NEW_SECRET).send().await.context("rotate the secret")?;
    let parts = stage.cast.fynapse("two-keys", 0..20);
    stage.play_to_the_end(parts).await;
    Ok(())
}

async fn sqs_outage(stage: &mut Stage) {
    stage.progress.now("SQS is down");
    stage.system.wire.plan(outage(&["SendMessage", "SendMessageBatch"], &SQS_FAULTS));
    let until = Instant::now() + stage.pace.real(OUTAGE);
    let parts = stage.cast.both("sqs-outage", 20, 12);
    stage.play_to_the_end(parts).await;
    tokio::time::sleep_until(until.into()).await;
    stage.system.wire.heal();
}

async fn dynamodb_outage(stage: &mut Stage) {
    stage.progress.now("DynamoDB is down");
    let calls = &["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem"];
    stage.system.wire.plan(outage(calls, &DYNAMODB_FAULTS));
    let until = Instant::now() + stage.pace.real(OUTAGE);
    let parts = [stage.cast.both("dynamodb-outage", 20, 12), stage.cast.unusable("outage")].concat();
    stage.play_first_attempts(parts).await;
    tokio::time::sleep_until(until.into()).await;
    stage.system.wire.heal();
}

/// The functions die, each event's once; and the relay dies with a batch that it has just sent.
async fn crashes(stage: &mut Stage) {
    stage.progress.now("functions die between record, send and mark; the relay dies after a send");
    let parts = stage.cast.both("crash", 20, 12);
    let doomed = Mutex::new(doomed(&parts));
    let relay_lives = AtomicBool::new(true);
    stage.system.wire.plan(move |call| {
        if call.operation == "SendMessageBatch" {
            return relay_lives.swap(false, Ordering::SeqCst).then_some(Fault::CrashAfter);
        }
        let mut doomed = doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = |id: &&String| doomed.get(*id).is_some_and(|(operation, _)| *operation == call.operation);
        let id = call.events.iter().find(dies)?.clone();
        doomed.remove(&id).map(|(_, fault)| fault)
    });
    stage.play_first_attempts(parts).await;
    stage.wait_for_call(relay_died).await;
    stage.system.wire.heal();
}

/// Fynapse drops the old secret. The receiver refuses what it signs until it may ask for the secret again;
/// then it holds the new one only.
async fn rotation_ends(stage: &mut Stage) -> anyhow::Result<()> {
    let refetch_at = stage.loaded_at + Duration::from_secs(SECRET_REFETCH_SECS);
    let drop_at = refetch_at.checked_sub(stage.pace.real(LEAD)).unwrap_or(refetch_at);
    stage.progress.now("ordinary deliveries, until the receiver may soon ask for its secret again");
    let mut act = 0;
    while Instant::now() < drop_at {
        let parts = stage.cast.both(&format!("meanwhile-{act}"), 3, 2);
        stage.play(parts);
        act += 1;
        let next = Instant::now() + Duration::from_secs(1);
        tokio::time::sleep_until(next.min(drop_at).into()).await;
    }

    stage.progress.now("Fynapse signs with the new secret only, which the receiver does not know yet");
    stage.fynapse.sign_with(keys(&[NEW_SECRET])?);
    let parts = stage.cast.fynapse("new-key", 0..15);
    stage.play_to_the_end(parts).await;

    stage.progress.now("the receiver knows the new secret only: both keys, and forgeries with the old one");
    stage.fynapse.sign_with(keys(&[NEW_SECRET, OLD_SECRET])?);
    let parts = [stage.cast.fynapse("two-keys", 20..40), stage.cast.retired(&keys(&[OLD_SECRET])?)].concat();
    stage.play_to_the_end(parts).await;
    Ok(())
}

/// Which event dies at which call.
fn doomed(parts: &[Part]) -> BTreeMap<String, (&'static str, Fault)> {
    parts.iter().map(|part| part.outgoing.id.clone()).zip(DEATHS.into_iter().cycle()).collect()
}

/// One fault after the other for every call of these operations.
fn outage(operations: &'static [&str], faults: &'static [Fault]) -> impl Fn(&Call) -> Option<Fault> {
    let met = AtomicUsize::new(0);
    move |call| {
        let concerns_it = operations.contains(&call.operation.as_str());
        let index = || met.fetch_add(1, Ordering::SeqCst) % faults.len().max(1);
        concerns_it.then(|| faults.get(index()).copied()).flatten()
    }
}

fn relay_died((call, fate): &(Call, Fate)) -> bool {
    call.operation == "SendMessageBatch" && *fate == Fate::Faulted(Fault::CrashAfter)
}
