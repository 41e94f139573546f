//! The worker's fault matrix: every AWS call at every kind of event is combined with every fault, once or for the
//! rest of the process; then the message again if it was not acknowledged, another worker, and a few relay runs.
//! Delayed writes are applied after their retry was answered, or after the other worker has acted.
//!
//! In every cell the event is done and published, and repeated exactly as often as P10 allows there: once for each
//! publication whose publisher could not know of it.

use std::time::Duration;

use inbox_core::delivery::Provider;
use inbox_core::limits::{PROCESSING_CLAIM_SECS, REQUEUE_DELAY_SECS};
use local::connector::{AwsCall, AwsConnector, Fault};
use local::invariants::{self, ExpectedOutcome, Observed, SentDelivery};
use local::sqs_trigger::TriggerOutcome;
use tests::fault_injection::count_publications;
use tests::fault_matrix::{Cell, CellResult, Scenario, run_matrix};
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_event_id, completion_body, completion_event_id, extract_body, random_hex};

use super::forged_webhooks::alert_with;

/// The kind of event on the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    Extract,
    LargeExtract,
    Batch,
    /// An untracked batch at its second read.
    UntrackedBatch,
    Alert,
}

impl Queued {
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

    /// Returns `true` if the table says that the event was published.
    async fn is_publication_recorded(self, world: &World) -> bool {
        match self {
            Self::Extract | Self::LargeExtract | Self::Batch | Self::UntrackedBatch => {
                world.event_record(&self.event_id()).await.contains_key("done_at")
            }
            Self::Alert => {
                let effect = world.item("rightfoot#batch#b-1", "effect#alert#user-123").await;
                effect.is_some_and(|effect| effect.contains_key("published_at"))
            }
        }
    }

    /// The body of its webhook.
    fn body(self) -> String {
        match self {
            Self::Extract => extract_body("e-1"),
            Self::LargeExtract => {
                extract_body("e-1").replace("150.00", &format!("\"{}\"", random_hex(20_000, 1)))
            }
            Self::Batch | Self::UntrackedBatch => completion_body("b-1", "u-1"),
            Self::Alert => alert_with("b-1", "u-1", &[("user-123", "150.00", "100")]),
        }
    }

    fn provider(self) -> Provider {
        match self {
            Self::Extract | Self::LargeExtract => Provider::Fynapse,
            Self::Batch | Self::UntrackedBatch | Self::Alert => Provider::Rightfoot,
        }
    }

    /// Checks the promises at the end of a cell. Returns the number of repeats on the bus.
    async fn assert_published(self, it: &RightfootWorld, other: &World) -> usize {
        let mut run = Observed::read(&it.world.stack).await.unwrap();
        let sent = (self.provider(), self.event_id(), self.body());
        run.deliveries.push(SentDelivery::expecting(sent.0, sent.1, sent.2, ExpectedOutcome::Enqueued));
        run.rightfoot = it.rightfoot.snapshot();
        run.calls.extend(other.stack.connector.call_log());
        invariants::assert_hold(&run, &[invariants::PROCESSING, invariants::BALANCES, invariants::BUS]);
        let record = it.world.event_record(&self.event_id()).await;
        assert!(!record.contains_key("due"), "done, and due: {record:?}");
        let published_ids: Vec<_> = run.bus_events.iter().map(|event| event.id.clone()).collect();
        assert!(published_ids.iter().all(|id| *id == self.published_id()), "{published_ids:?}");
        published_ids.len() - 1
    }
}

impl Scenario for Queued {
    type Scene = RightfootWorld;
    type Outcome = TriggerOutcome;

    /// An event on the queue, whose content Rightfoot confirms.
    async fn set_up(self) -> RightfootWorld {
        let it = match self {
            Self::Extract | Self::LargeExtract => RightfootWorld::new().await,
            Self::UntrackedBatch => RightfootWorld::with_batch("b-1", &[("user-123", "150.00")]).await,
            Self::Batch | Self::Alert => RightfootWorld::with_run("b-1", &[("user-123", "150.00")]).await,
        };
        match self {
            Self::Extract | Self::LargeExtract => drop(it.world.deliver_fynapse(self.body()).await),
            Self::Batch | Self::Alert => drop(it.world.deliver_rightfoot(self.body()).await),
            Self::UntrackedBatch => {
                it.world.deliver_rightfoot(self.body()).await;
                it.world.run_worker().await;
                it.world.advance(Duration::from_secs(REQUEUE_DELAY_SECS));
                it.world.run_relay().await.unwrap().unwrap();
            }
        }
        it.world.stack.connector.clear_call_log();
        it
    }

    fn connector(it: &RightfootWorld) -> &AwsConnector {
        &it.world.stack.connector
    }

    async fn run(self, it: &RightfootWorld) -> TriggerOutcome {
        it.world.run_worker_once().await
    }

    async fn recover(cell: &Cell<Self>, it: RightfootWorld, first: TriggerOutcome) -> CellResult {
        let (queued, world) = (cell.scenario, &it.world);
        let publications = count_publications(&world.stack.connector.call_log());
        let allowed = publications.saturating_sub(usize::from(queued.is_publication_recorded(world).await));
        let other = world.another_process();
        // The claim of the first worker expires before the second one runs.
        world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
        if first.deleted == 0 {
            world.resend_event(&queued.event_id()).await;
        }
        for _ in 0..4 {
            other.run_worker().await;
            world.stack.connector.apply_delayed(Fault::AppliedLater).await;
            world.advance(Duration::from_secs(200));
            world.run_relay().await.unwrap().unwrap();
        }
        other.run_worker().await;
        let repeats = queued.assert_published(&it, &other).await;
        CellResult { summary: format!("acknowledged {:<6}", first.deleted == 1), repeats, allowed }
    }

    fn further_faults(call: &AwsCall) -> &'static [Fault] {
        match call.operation.as_str() {
            "PutEvents" => &[Fault::FirstEntryFailed],
            "BatchWriteItem" => &[Fault::Unprocessed, Fault::FirstUnprocessed],
            _ => &[],
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p10_hold_in_every_cell() {
    Box::pin(run_matrix(&[
        (Queued::Extract, 3),
        (Queued::LargeExtract, 4),
        (Queued::Batch, 6),
        (Queued::UntrackedBatch, 7),
        (Queued::Alert, 9),
    ]))
    .await;
}
