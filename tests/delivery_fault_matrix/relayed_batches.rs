//! The fault matrix of a relay run with several batches: the first goes alone, the others side by side.

use std::time::Duration;

use inbox_core::delivery::Provider;
use local::connector::{AwsCall, AwsConnector, CallOutcome, Fault};
use local::invariants::{self, ExpectedOutcome, Observed, SentDelivery};
use tests::fault_injection::allowed_repeats;
use tests::fault_matrix::{Cell, CellResult, FaultDuration, Scenario, run_matrix};
use tests::{World, extract_body};

/// Due events: a batch that goes alone, and two that follow side by side.
const EVENTS: usize = 21;

/// A relay run.
#[derive(Clone, Copy, Debug)]
struct RelayRun;

impl Scenario for RelayRun {
    type Scene = World;
    type Outcome = ();

    async fn set_up(self) -> World {
        let world = World::new().await;
        world.inject_fault("SendMessage", Fault::AccessDenied);
        for n in 0..EVENTS {
            assert!(world.deliver_fynapse(body(n)).await.is_success());
        }
        world.stack.connector.clear_fault_plan();
        world.stack.connector.clear_call_log();
        // Past `RELAY_AGE_MS`: the records are due for the relay.
        world.advance(Duration::from_secs(31));
        world
    }

    fn connector(world: &World) -> &AwsConnector {
        &world.stack.connector
    }

    async fn run(self, world: &World) {
        // A failed or crashed run is an invocation error, which is not retried.
        let _ = world.run_relay().await;
    }

    async fn recover(_: &Cell<Self>, world: World, (): ()) -> CellResult {
        let connector = &world.stack.connector;
        let log = connector.call_log();
        let allowed: usize = (0..EVENTS).map(|n| allowed_repeats(&log, &event_id(n))).sum();
        // A message that was on its way when the process crashed arrives, or does not.
        let on_their_way: usize = log
            .iter()
            .filter(|(call, outcome)| is_send(call) && *outcome == CallOutcome::Pending)
            .map(|(call, _)| call.event_ids.len())
            .sum();
        // A delayed request is applied after the next run has acted.
        if connector.delayed_count() > 0 {
            world.advance(Duration::from_secs(31));
            world.run_relay().await.unwrap().unwrap();
        }
        connector.apply_delayed(Fault::AppliedLater).await;
        world.drain_outbox().await;
        let mut run = Observed::read(&world.stack).await.unwrap();
        run.deliveries.extend((0..EVENTS).map(|n| {
            SentDelivery::expecting(Provider::Fynapse, event_id(n), body(n), ExpectedOutcome::Enqueued)
        }));
        invariants::assert_hold(&run, &[invariants::QUEUE, invariants::RECORDS, invariants::QUARANTINE]);
        let repeats = run.messages.len() - EVENTS;
        let allowed = repeats.clamp(allowed, allowed + on_their_way);
        CellResult { summary: format!("on their way {on_their_way}"), repeats, allowed }
    }

    /// Of each batch, the calls of its first event; and the reads, which are of all events.
    fn faulted_calls(calls: &[AwsCall]) -> Vec<AwsCall> {
        let sends = calls.iter().filter(|call| is_send(call));
        let first_ids: Vec<_> = sends.filter_map(|send| send.event_ids.first()).collect();
        let is_of_first = |call: &&AwsCall| first_ids.iter().any(|id| call.event_ids.contains(id));
        calls.iter().filter(|call| call.is_read() || is_of_first(call)).cloned().collect()
    }

    /// A fault that lasts hits the batches side by side; these are its kinds: not applied, applied unseen, and crashed.
    fn durations(self, fault: Fault) -> &'static [FaultDuration] {
        const LASTING: [Fault; 3] = [Fault::AccessDenied, Fault::TimeoutAfter, Fault::CrashAfter];
        if LASTING.contains(&fault) {
            &[FaultDuration::Once, FaultDuration::Persistent]
        } else {
            &[FaultDuration::Once]
        }
    }

    fn further_faults(call: &AwsCall) -> &'static [Fault] {
        match call.operation.as_str() {
            "SendMessageBatch" => &[Fault::FirstEntryInvalid, Fault::FirstEntryFailed],
            "BatchGetItem" => &[Fault::Unprocessed],
            _ => &[],
        }
    }
}

fn is_send(call: &AwsCall) -> bool {
    call.operation == "SendMessageBatch"
}

fn body(n: usize) -> String {
    extract_body(&format!("e-{n}"))
}

fn event_id(n: usize) -> String {
    format!("fynapse/event/e-{n}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_p3_hold_in_every_cell_of_a_run_with_batches_side_by_side() {
    // A query of the index, a read, 21 claims, three sends, 21 marks.
    run_matrix(&[(RelayRun, 47)]).await;
}
