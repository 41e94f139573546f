//! The worker's fault matrix: every AWS call at every kind of event is combined with every fault, once or for the
//! rest of the process; then the message again if it was not acknowledged, another worker, and a few relay runs.
//! Delayed writes are applied after their retry was answered, or after the other worker has acted.
//!
//! In every cell the event is done and published, and repeated exactly as often as P10 allows there: once for each
//! publication whose publisher could not know of it.

use std::fmt::Write as _;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use inbox_core::limits::{PROCESSING_CLAIM_SECS, REQUEUE_DELAY_SECS};
use local::connector::{AwsCall, CallOutcome, Fault};
use tests::fault_injection::{
    FaultDuration, assert_late_requests_applied, assert_table, is_send_outcome_unknown, possible_faults,
};
use tests::rightfoot_world::RightfootWorld;
use tests::{alert_body, alert_event_id, completion_body, completion_event_id, extract_body, random_hex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Extract,
    LargeExtract,
    Batch,
    /// An untracked batch at its second read.
    UntrackedBatch,
    Alert,
}

#[derive(Clone, Debug)]
struct Cell {
    scenario: Scenario,
    call: AwsCall,
    fault: Fault,
    duration: FaultDuration,
}

struct CellResult {
    cell: Cell,
    acknowledged: bool,
    repeats: usize,
    allowed: usize,
}

impl Scenario {
    fn event_id(self) -> String {
        match self {
            Self::Extract | Self::LargeExtract => "fynapse/event/e-1".to_owned(),
            Self::Batch | Self::UntrackedBatch => completion_event_id("b-1"),
            Self::Alert => alert_event_id("b-1", "u-1"),
        }
    }

    fn published_id(self) -> String {
        match self {
            Self::Extract | Self::LargeExtract | Self::Batch | Self::UntrackedBatch => self.event_id(),
            Self::Alert => "rightfoot/batch/b-1/threshold-met/user-123".to_owned(),
        }
    }

    /// An event on the queue, whose content Rightfoot confirms.
    async fn set_up(self) -> RightfootWorld {
        let it = match self {
            Self::Extract | Self::LargeExtract => RightfootWorld::new().await,
            Self::UntrackedBatch => RightfootWorld::with_batch("b-1", &[("user-123", "150.00")]).await,
            Self::Batch | Self::Alert => RightfootWorld::with_run("b-1", &[("user-123", "150.00")]).await,
        };
        match self {
            Self::Extract => drop(it.world.deliver_fynapse(extract_body("e-1")).await),
            Self::LargeExtract => {
                let body = extract_body("e-1").replace("150.00", &format!("\"{}\"", random_hex(20_000, 1)));
                it.world.deliver_fynapse(body).await;
            }
            Self::Batch | Self::Alert => {
                let body = if self == Self::Batch {
                    completion_body("b-1", "u-1")
                } else {
                    alert_body("b-1", "u-1")
                };
                it.world.deliver_rightfoot(body).await;
            }
            Self::UntrackedBatch => {
                it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
                it.world.run_worker().await;
                it.world.advance(Duration::from_secs(REQUEUE_DELAY_SECS));
                it.world.run_relay().await.unwrap().unwrap();
            }
        }
        it.world.stack.connector.clear_call_log();
        it
    }
}

async fn calls_of(scenario: Scenario) -> Vec<AwsCall> {
    let it = scenario.set_up().await;
    it.world.run_worker().await;
    it.world.stack.connector.call_log().into_iter().map(|(call, _)| call).collect()
}

/// Number of publications by this process, known to it or not.
fn publish_count(log: &[(AwsCall, CallOutcome)]) -> usize {
    let is_applied =
        |outcome: &CallOutcome| *outcome == CallOutcome::Answered(200) || is_send_outcome_unknown(outcome);
    log.iter().filter(|(call, outcome)| call.operation == "PutEvents" && is_applied(outcome)).count()
}

async fn run_cell(cell: Cell) -> CellResult {
    let (scenario, it) = (cell.scenario, cell.scenario.set_up().await);
    let world = &it.world;
    world.stack.connector.set_fault_plan(cell.duration.fault_plan(&cell.call, cell.fault));
    let batch = world.run_worker_once().await;
    world.stack.connector.clear_fault_plan();
    world.stack.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    let is_known = match scenario {
        Scenario::Extract | Scenario::LargeExtract | Scenario::Batch | Scenario::UntrackedBatch => {
            world.event_record(&scenario.event_id()).await.contains_key("done_at")
        }
        Scenario::Alert => {
            let effect = world.item("rightfoot#batch#b-1", "effect#alert#user-123").await;
            effect.is_some_and(|effect| effect.contains_key("published_at"))
        }
    };
    let allowed = publish_count(&world.stack.connector.call_log()).saturating_sub(usize::from(is_known));

    let other = world.another_process();
    // The claim of the first worker expires before the second one runs.
    world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
    if batch.deleted == 0 {
        world.resend_event(&scenario.event_id()).await;
    }
    for _ in 0..4 {
        other.run_worker().await;
        world.stack.connector.apply_delayed(Fault::AppliedLater).await;
        world.advance(Duration::from_secs(200));
        world.run_relay().await.unwrap().unwrap();
    }
    other.run_worker().await;
    assert_late_requests_applied(&world.stack.connector, cell.fault);
    let record = world.event_record(&scenario.event_id()).await;
    assert!(record.contains_key("done_at") && !record.contains_key("due"), "not done: {record:?}");
    let published_ids = world.drain_bus_ids().await;
    assert!(
        !published_ids.is_empty() && published_ids.iter().all(|id| *id == scenario.published_id()),
        "{published_ids:?}"
    );
    let is_batch = matches!(scenario, Scenario::Batch | Scenario::UntrackedBatch);
    assert_eq!(world.stored_balances().await.len(), usize::from(is_batch));
    CellResult { cell, acknowledged: batch.deleted == 1, repeats: published_ids.len() - 1, allowed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p10_hold_in_every_cell() {
    let mut cells = Vec::new();
    let scenes = [
        Scenario::Extract,
        Scenario::LargeExtract,
        Scenario::Batch,
        Scenario::UntrackedBatch,
        Scenario::Alert,
    ];
    for scenario in scenes {
        for call in calls_of(scenario).await {
            let of_this_call: &[Fault] = match call.operation.as_str() {
                "PutEvents" => &[Fault::FirstEntryFailed],
                "BatchWriteItem" => &[Fault::Unprocessed, Fault::FirstUnprocessed],
                _ => &[],
            };
            for fault in possible_faults(&call).iter().chain(of_this_call) {
                for duration in [FaultDuration::Once, FaultDuration::Persistent] {
                    cells.push(Cell { scenario, call: call.clone(), fault: *fault, duration });
                }
            }
        }
    }
    assert!(cells.len() > 300, "{}", cells.len());
    let results = stream::iter(cells)
        .map(|cell| {
            let name = format!("{cell:?}");
            async move { (name, tokio::spawn(run_cell(cell)).await) }
        })
        .buffered(24)
        .collect::<Vec<_>>()
        .await;
    assert_table(&results, |row| (row.repeats, row.allowed), write_row);
}

fn write_row(table: &mut String, row: &CellResult) {
    let Cell { scenario, call, fault, duration } = &row.cell;
    let _ = writeln!(
        table,
        "{:<14}{:>2} {:<15}{:<17}{:<5} acknowledged {:<6} repeats {} allowed {}",
        format!("{scenario:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{duration:?}"),
        row.acknowledged,
        row.repeats,
        row.allowed
    );
}
