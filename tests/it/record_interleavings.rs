//! Two processes at one record, in every interleaving of their steps.
//!
//! A step is one AWS call. The handler has three (put, send, mark), the relay four (read, claim, send, mark). Its
//! query of the index is no step: a lagging index is why it reads the record consistently.

use std::time::Duration;

use local::connector::{AwsCall, StepGate};
use tests::{World, extract_body};
use tokio::task::JoinHandle;

const EVENT: &str = "fynapse/event/e-1";
const HANDLER_STEPS: usize = 3;
const RELAY_STEPS: usize = 4;

/// Every way to merge processes with these numbers of steps, as sequences of process numbers.
fn orders(steps: &[usize]) -> Vec<Vec<usize>> {
    if steps.iter().all(|left| *left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (process, left) in steps.iter().enumerate().filter(|(_, left)| **left > 0) {
        let mut rest = steps.to_vec();
        rest[process] = left - 1;
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, process);
            order
        }));
    }
    all
}

struct RecordProcess {
    gate: StepGate,
    task: JoinHandle<()>,
}

impl RecordProcess {
    fn is_step(call: &AwsCall) -> bool {
        call.operation != "Query" && call.operation != "GetSecretValue"
    }

    fn handler(world: &World) -> Self {
        let world = world.another_process();
        let gate = world.stack.connector.hold_calls(Self::is_step);
        Self {
            gate,
            task: tokio::spawn(async move { drop(world.deliver_fynapse(extract_body("e-1")).await) }),
        }
    }

    fn relay(world: &World) -> Self {
        let world = world.another_process();
        let gate = world.stack.connector.hold_calls(Self::is_step);
        Self { gate, task: tokio::spawn(async move { drop(world.run_relay().await) }) }
    }

    /// Runs one step, if the process has one left.
    async fn step(&mut self) {
        let Self { gate, task } = self;
        tokio::select! {
            biased;
            _ = gate.step() => {}
            _ = task => {}
        }
    }

    async fn finish(mut self) {
        while !self.task.is_finished() {
            self.step().await;
        }
    }

    /// Aborts the process between two steps.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn run_in_order(processes: &mut [RecordProcess], order: &[usize]) {
    for process in order {
        let process = &mut processes[*process];
        if !process.task.is_finished() {
            process.step().await;
        }
    }
}

/// Checks the number of messages (P3).
fn assert_at_most(messages: &[String], most: usize, order: &[usize]) {
    assert!(!messages.is_empty(), "P2: lost in {order:?}");
    assert!(messages.iter().all(|id| id == EVENT), "P4 in {order:?}: {messages:?}");
    assert!(messages.len() <= most, "P3: {} messages in {order:?}", messages.len());
}

/// The handler is so slow that the relay considers its record abandoned. The relay's claim makes the handler's mark
/// late: at most one repeat, and the late mark neither hides the record nor undoes the claim.
#[tokio::test]
async fn p2_p3_a_slow_handler_and_the_relay_in_every_order() {
    let all = orders(&[HANDLER_STEPS, RELAY_STEPS]);
    assert_eq!(all.len(), 35);
    for order in all {
        let world = World::new().await;
        let mut processes = vec![RecordProcess::handler(&world)];
        // The relay queries the index at its start, so the record must be there by then.
        let put_first = order.iter().position(|process| *process == 0).unwrap();
        run_in_order(&mut processes, &order[put_first..=put_first]).await;
        world.advance(Duration::from_secs(31));
        processes.push(RecordProcess::relay(&world));
        let rest: Vec<_> =
            order.iter().enumerate().filter(|(at, _)| *at != put_first).map(|(_, p)| *p).collect();
        run_in_order(&mut processes, &rest).await;
        for process in processes {
            process.finish().await;
        }
        world.drain_outbox().await;
        let claimed_before_mark = {
            // Steps left: the handler's send and mark; the relay's read, claim, send and mark.
            let mark = rest.iter().enumerate().filter(|(_, p)| **p == 0).nth(1).map(|(at, _)| at).unwrap();
            let claim = rest.iter().enumerate().filter(|(_, p)| **p == 1).nth(1).map(|(at, _)| at).unwrap();
            claim < mark
        };
        let messages = world.drain_event_ids().await;
        assert_at_most(&messages, if claimed_before_mark { 2 } else { 1 }, &order);
    }
}

/// The handler dies after each of its calls, while the relay is running.
#[tokio::test]
async fn p2_p3_a_dying_handler_and_the_relay_in_every_order() {
    for lived in 1..=HANDLER_STEPS {
        for order in orders(&[lived - 1, RELAY_STEPS]) {
            let world = World::new().await;
            let mut processes = vec![RecordProcess::handler(&world)];
            run_in_order(&mut processes, &[0]).await;
            world.advance(Duration::from_secs(31));
            processes.push(RecordProcess::relay(&world));
            run_in_order(&mut processes, &order).await;
            let relay = processes.pop().unwrap();
            processes.pop().unwrap().kill().await;
            relay.finish().await;
            world.drain_outbox().await;
            assert_at_most(&world.drain_event_ids().await, if lived == 1 { 1 } else { 2 }, &order);
        }
    }
}

/// Two overlapping runs of the relay: one of them claims, and nothing is sent twice.
#[tokio::test]
async fn p3_two_overlapping_relays_send_once_in_every_order() {
    let all = orders(&[RELAY_STEPS, RELAY_STEPS]);
    assert_eq!(all.len(), 70);
    for order in all {
        let world = unsent_event().await;
        world.advance(Duration::from_secs(31));
        let mut processes = vec![RecordProcess::relay(&world), RecordProcess::relay(&world)];
        run_in_order(&mut processes, &order).await;
        for process in processes {
            process.finish().await;
        }
        world.drain_outbox().await;
        assert_at_most(&world.drain_event_ids().await, 1, &order);
    }
}

/// A handler's late mark and two relays: 630 interleavings.
#[tokio::test]
async fn p2_p3_a_late_mark_and_two_relays_in_every_order() {
    let all = orders(&[1, RELAY_STEPS, RELAY_STEPS]);
    assert_eq!(all.len(), 630);
    let per_task = 80;
    let tasks = all.chunks(per_task).map(<[_]>::to_vec).map(|some| {
        tokio::spawn(async move {
            for order in some {
                let world = World::new().await;
                let mut handler = vec![RecordProcess::handler(&world)];
                run_in_order(&mut handler, &[0, 0]).await;
                world.advance(Duration::from_secs(31));
                let mut processes = handler;
                processes.extend([RecordProcess::relay(&world), RecordProcess::relay(&world)]);
                run_in_order(&mut processes, &order).await;
                for process in processes {
                    process.finish().await;
                }
                world.drain_outbox().await;
                assert_at_most(&world.drain_event_ids().await, 2, &order);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// A relay dies after each of its calls; another run follows.
#[tokio::test]
async fn p2_p3_a_dying_relay_loses_nothing_and_repeats_only_what_it_may_have_sent() {
    for lived in 0..=RELAY_STEPS {
        let world = unsent_event().await;
        world.advance(Duration::from_secs(31));
        let mut processes = vec![RecordProcess::relay(&world)];
        run_in_order(&mut processes, &vec![0; lived]).await;
        processes.pop().unwrap().kill().await;
        world.drain_outbox().await;
        // Between send and mark is the only point at which the next run cannot know that the event was sent.
        assert_at_most(&world.drain_event_ids().await, if lived == 3 { 2 } else { 1 }, &[lived]);
    }
}

/// A record whose handler died before its send.
async fn unsent_event() -> World {
    let world = World::new().await;
    let mut handler = vec![RecordProcess::handler(&world)];
    run_in_order(&mut handler, &[0]).await;
    handler.pop().unwrap().kill().await;
    world
}
