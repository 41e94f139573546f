//! The fault matrix of an operator's replay: every AWS call of it is combined with every fault; then the operator
//! repeats it.

use inbox_aws::AwsError;
use inbox_aws::quarantine_replay::QuarantineReplayOutcome;
use inbox_core::delivery::Provider;
use inbox_core::quarantine::QuarantineId;
use local::connector::{AwsConnector, Fault, until_crash};
use local::invariants::{self, ExpectedOutcome, Observed, SentDelivery};
use tests::fault_injection::allowed_repeats;
use tests::fault_matrix::{Cell, CellResult, FaultDuration, Scenario, dry_run, run_matrix};
use tests::operator::test_operator;
use tests::{World, completion_body};

use super::{
    COMPLETED, audit_trail, quarantine_items, quarantined_by_older_version, replay, undeliverable_event,
};

/// The quarantined item that is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replayed {
    Delivery,
    Event,
}

impl Scenario for Replayed {
    type Scene = (World, QuarantineId);
    /// Outcome of the first replay; `None` if it crashed.
    type Outcome = Option<Result<QuarantineReplayOutcome, AwsError>>;

    async fn set_up(self) -> (World, QuarantineId) {
        match self {
            Self::Delivery => quarantined_by_older_version().await,
            Self::Event => undeliverable_event().await,
        }
    }

    fn connector((world, _): &(World, QuarantineId)) -> &AwsConnector {
        &world.stack.connector
    }

    async fn run(self, (world, id): &(World, QuarantineId)) -> Self::Outcome {
        until_crash(world.replayer().replay(id, &test_operator())).await
    }

    async fn recover(_: &Cell<Self>, (world, id): (World, QuarantineId), first: Self::Outcome) -> CellResult {
        let connector = &world.stack.connector;
        let allowed = allowed_repeats(&connector.call_log(), COMPLETED);
        let second = replay(&world, &id).await;
        connector.apply_delayed(Fault::AppliedLater).await;
        assert!(is_closed(&second), "{second:?}");
        if let Some(Ok(first)) = &first {
            assert!(
                is_closed(first) && matches!(second, QuarantineReplayOutcome::AlreadyClosed(_)),
                "{first:?}"
            );
        }
        world.drain_outbox().await;
        let mut run = Observed::read(&world.stack).await.unwrap();
        let body = completion_body("b-1", "u-1");
        let replayed =
            SentDelivery::expecting(Provider::Rightfoot, COMPLETED, body, ExpectedOutcome::Enqueued);
        run.deliveries.push(replayed);
        invariants::assert_hold(&run, &[invariants::QUEUE, invariants::RECORDS]);
        assert_eq!(audit_trail(&world, COMPLETED).await.len(), 1);
        assert!(!quarantine_items(&world).await[0].contains_key("due"));
        CellResult { summary: format!("first {first:?}"), repeats: run.messages.len() - 1, allowed }
    }

    fn durations(self, _: Fault) -> &'static [FaultDuration] {
        &[FaultDuration::Once]
    }
}

fn is_closed(outcome: &QuarantineReplayOutcome) -> bool {
    matches!(
        outcome,
        QuarantineReplayOutcome::Closed { is_reopened: false, .. }
            | QuarantineReplayOutcome::AlreadyClosed(_)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_p7_whatever_goes_wrong_in_a_replay_the_second_one_mends_it() {
    let operations =
        async |replayed| dry_run(replayed).await.into_iter().map(|call| call.operation).collect::<Vec<_>>();
    let of_delivery = ["GetItem", "GetItem", "PutItem", "SendMessage", "UpdateItem", "TransactWriteItems"];
    let of_event = ["GetItem", "GetItem", "TransactWriteItems", "TransactWriteItems"];
    assert_eq!(operations(Replayed::Delivery).await, of_delivery);
    assert_eq!(operations(Replayed::Event).await, of_event);
    run_matrix(&[(Replayed::Delivery, of_delivery.len()), (Replayed::Event, of_event.len())]).await;
}
