//! The worker's fault matrix: every AWS call at every kind of event, times everything that can go wrong with a call, once
//! or for the rest of the process; then the message again if it was not acknowledged, another worker, and a few relay runs.
//! What is applied late is applied after its retry was answered, or after the other worker has acted.
//!
//! In every cell the event is done and was told, and told again exactly as often as P10 allows there: as often as it was
//! published and nobody could know.

use std::fmt::Write as _;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use inbox_core::limits::{REQUEUE_DELAY_SECS, PROCESSING_CLAIM_SECS};
use local::connector::{AwsCall, CallOutcome, Fault};
use tests::matrix::{Lasts, all_came, faults_of, is_lost_send, judge};
use tests::rightfoot::RightfootWorld;
use tests::{alert, alerted, completed, completion, extract, noise};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Extract,
    LargeExtract,
    Batch,
    /// A batch that nobody tracks, at the second look.
    UntrackedBatch,
    Alert,
}

#[derive(Clone, Debug)]
struct Cell {
    scene: Scene,
    call: AwsCall,
    fault: Fault,
    lasts: Lasts,
}

struct Row {
    cell: Cell,
    acknowledged: bool,
    repeats: usize,
    allowed: usize,
}

impl Scene {
    fn event_id(self) -> String {
        match self {
            Self::Extract | Self::LargeExtract => "fynapse/event/e-1".to_owned(),
            Self::Batch | Self::UntrackedBatch => completed("b-1"),
            Self::Alert => alerted("b-1", "u-1"),
        }
    }

    fn told(self) -> String {
        match self {
            Self::Extract | Self::LargeExtract | Self::Batch | Self::UntrackedBatch => self.event_id(),
            Self::Alert => "rightfoot/batch/b-1/threshold-met/user-123".to_owned(),
        }
    }

    /// An event is on the queue, and Rightfoot shows what it tells.
    async fn set(self) -> RightfootWorld {
        let it = match self {
            Self::Extract | Self::LargeExtract => RightfootWorld::new().await,
            Self::UntrackedBatch => RightfootWorld::known("b-1", &[("user-123", "150.00")]).await,
            Self::Batch | Self::Alert => RightfootWorld::known_run("b-1", &[("user-123", "150.00")]).await,
        };
        match self {
            Self::Extract => drop(it.world.fynapse(extract("e-1")).await),
            Self::LargeExtract => {
                let body = extract("e-1").replace("150.00", &format!("\"{}\"", noise(20_000, 1)));
                it.world.fynapse(body).await;
            }
            Self::Batch | Self::Alert => {
                let body = if self == Self::Batch { completion("b-1", "u-1") } else { alert("b-1", "u-1") };
                it.world.rightfoot(body).await;
            }
            Self::UntrackedBatch => {
                it.world.rightfoot(completion("b-1", "u-1")).await;
                it.world.work().await;
                it.world.pass(Duration::from_secs(REQUEUE_DELAY_SECS));
                it.world.relay().await.unwrap().unwrap();
            }
        }
        it.world.system.connector.clear_call_log();
        it
    }
}

async fn calls_of(scene: Scene) -> Vec<AwsCall> {
    let it = scene.set().await;
    it.world.work().await;
    it.world.system.connector.call_log().into_iter().map(|(call, _)| call).collect()
}

/// How often the process has published, whether it could know that or not.
fn published(log: &[(AwsCall, CallOutcome)]) -> usize {
    let is_applied = |fate: &CallOutcome| *fate == CallOutcome::Answered(200) || is_lost_send(fate);
    log.iter().filter(|(call, fate)| call.operation == "PutEvents" && is_applied(fate)).count()
}

async fn play(cell: Cell) -> Row {
    let (scene, it) = (cell.scene, cell.scene.set().await);
    let world = &it.world;
    world.system.connector.set_fault_plan(cell.lasts.plan(&cell.call, cell.fault));
    let worked = world.work_once().await;
    world.system.connector.clear_fault_plan();
    world.system.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    let is_known = match scene {
        Scene::Extract | Scene::LargeExtract | Scene::Batch | Scene::UntrackedBatch => {
            world.record(&scene.event_id()).await.contains_key("done_at")
        }
        Scene::Alert => {
            let effect = world.item("rightfoot#batch#b-1", "effect#alert#user-123").await;
            effect.is_some_and(|effect| effect.contains_key("published_at"))
        }
    };
    let allowed = published(&world.system.connector.call_log()).saturating_sub(usize::from(is_known));

    let other = world.another();
    world.pass(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
    if worked.deleted == 0 {
        world.send_again(&scene.event_id()).await;
    }
    for _ in 0..4 {
        other.work().await;
        world.system.connector.apply_delayed(Fault::AppliedLater).await;
        world.pass(Duration::from_secs(200));
        world.relay().await.unwrap().unwrap();
    }
    other.work().await;
    all_came(&world.system.connector, cell.fault);
    let record = world.record(&scene.event_id()).await;
    assert!(record.contains_key("done_at") && !record.contains_key("due"), "not done: {record:?}");
    let told = world.told().await;
    assert!(!told.is_empty() && told.iter().all(|id| *id == scene.told()), "{told:?}");
    let is_batch = matches!(scene, Scene::Batch | Scene::UntrackedBatch);
    assert_eq!(world.balances().await.len(), usize::from(is_batch));
    Row { cell, acknowledged: worked.deleted == 1, repeats: told.len() - 1, allowed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p10_hold_in_every_cell() {
    let mut cells = Vec::new();
    let scenes = [Scene::Extract, Scene::LargeExtract, Scene::Batch, Scene::UntrackedBatch, Scene::Alert];
    for scene in scenes {
        for call in calls_of(scene).await {
            let of_this_call: &[Fault] = match call.operation.as_str() {
                "PutEvents" => &[Fault::FirstEntryFailed],
                "BatchWriteItem" => &[Fault::Unprocessed, Fault::FirstUnprocessed],
                _ => &[],
            };
            for fault in faults_of(&call).iter().chain(of_this_call) {
                for lasts in [Lasts::Once, Lasts::On] {
                    cells.push(Cell { scene, call: call.clone(), fault: *fault, lasts });
                }
            }
        }
    }
    assert!(cells.len() > 300, "{}", cells.len());
    let played = stream::iter(cells)
        .map(|cell| {
            let named = format!("{cell:?}");
            async move { (named, tokio::spawn(play(cell)).await) }
        })
        .buffered(24)
        .collect::<Vec<_>>()
        .await;
    judge(&played, |row| (row.repeats, row.allowed), write_row);
}

fn write_row(table: &mut String, row: &Row) {
    let Cell { scene, call, fault, lasts } = &row.cell;
    let _ = writeln!(
        table,
        "{:<14}{:>2} {:<15}{:<17}{:<5} acknowledged {:<6} repeats {} allowed {}",
        format!("{scene:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{lasts:?}"),
        row.acknowledged,
        row.repeats,
        row.allowed
    );
}
