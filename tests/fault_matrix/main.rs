//! The fault matrix: every AWS call of every kind of delivery and of a relay run, times everything that can go
//! wrong with a call, once or for the rest of the process; then the sender's retry and a few relay runs. A write may also be
//! applied late: after its retry was answered, or after the next one has acted, be it the sender or the relay.
//!
//! In every cell P1, P2, P4 and P6 hold, and the event is repeated exactly as often as P3 allows there.
//! `cargo test -p tests --test fault_matrix -- --nocapture` prints the table.
//!
//! A binary of its own, because Cargo runs nothing beside it: the SDK's time-outs run in real time, and three cells failed once
//! where other work took the processors. Alone, none did.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test's own code")]

use std::fmt::Write as _;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::config::Credentials;
use futures::stream::{self, StreamExt};
use inbox_aws::AwsErrorKind;
use inbox_aws::clients::Clients;
use inbox_core::event::payload_hash;
use local::connector::{AwsCall, CallOutcome, Fault};
use tests::matrix::{Lasts, all_came, faults_of, is_applied, is_lost_send, judge};
use tests::{Heard, World, completion, extract, noise};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Statuses after which Fynapse gives a delivery up for good.
const KILLS: [u16; 7] = [400, 401, 402, 405, 406, 410, 413];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Fynapse,
    Rightfoot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    New,
    Duplicate,
    Large,
    Quarantined,
    Relay,
}

#[derive(Clone, Debug)]
struct Cell {
    sender: Sender,
    scene: Scene,
    call: AwsCall,
    fault: Fault,
    lasts: Lasts,
}

#[derive(Debug)]
struct Row {
    cell: Cell,
    answers: Vec<u16>,
    repeats: usize,
    allowed: usize,
}

impl Cell {
    fn body(&self) -> String {
        body(self.sender, self.scene)
    }
}

fn body(sender: Sender, scene: Scene) -> String {
    let plain = match sender {
        Sender::Fynapse => extract("e-1"),
        Sender::Rightfoot => completion("b-1", "u-1"),
    };
    match (scene, sender) {
        (Scene::New | Scene::Duplicate | Scene::Relay, _) => plain,
        (Scene::Large, _) => plain.replacen('{', &format!("{{\"x\":\"{}\",", noise(900_000, 3)), 1),
        (Scene::Quarantined, Sender::Fynapse) => r#"{"event_type":"balance.extracted"}"#.to_owned(),
        (Scene::Quarantined, Sender::Rightfoot) => r#"{"type":"A_THIRD_TYPE"}"#.to_owned(),
    }
}

fn event_id(sender: Sender) -> &'static str {
    match sender {
        Sender::Fynapse => "fynapse/event/e-1",
        Sender::Rightfoot => "rightfoot/batch/b-1/completed",
    }
}

async fn deliver(world: &World, sender: Sender, scene: Scene) -> Heard {
    let body = body(sender, scene);
    let heard = match sender {
        Sender::Fynapse => world.fynapse(&body).await,
        Sender::Rightfoot => world.rightfoot(&body).await,
    };
    if sender == Sender::Fynapse {
        assert!(!KILLS.contains(&heard.status), "P6: {heard:?}");
    }
    assert!(!heard.headers.iter().any(|name| name.eq_ignore_ascii_case("retry-after")), "P6: {heard:?}");
    if heard.is_success() {
        let kept = match scene {
            Scene::Quarantined => !world.quarantined().await.is_empty(),
            Scene::New | Scene::Duplicate | Scene::Large | Scene::Relay => {
                world.items().await.iter().any(|item| item.contains_key("rev"))
            }
        };
        assert!(kept, "P1: {} without a durable record", heard.status);
    }
    heard
}

/// What stands before the scene begins.
async fn set_the_scene(sender: Sender, scene: Scene) -> World {
    let world = World::new().await;
    match scene {
        Scene::New | Scene::Large | Scene::Quarantined => {}
        Scene::Duplicate => {
            deliver(&world, sender, scene).await;
        }
        Scene::Relay => {
            world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::CrashBefore));
            deliver(&world, sender, scene).await;
            world.system.connector.clear_fault_plan();
            world.pass(Duration::from_secs(31));
        }
    }
    world.system.connector.clear_call_log();
    world
}

async fn act(world: &World, sender: Sender, scene: Scene) -> Vec<u16> {
    match scene {
        Scene::Relay => {
            // A failed or dead run is an invocation error; nobody retries it.
            let _ = world.relay().await;
            Vec::new()
        }
        Scene::New | Scene::Duplicate | Scene::Large | Scene::Quarantined => {
            let mut answers = vec![deliver(world, sender, scene).await.status];
            world.system.connector.clear_fault_plan();
            world.system.connector.apply_delayed(Fault::AppliedAfterRetry).await;
            // The sender comes again until it hears a 2xx; Rightfoot too after a 400.
            while !answers.last().is_some_and(|status| (200..300).contains(status)) {
                assert!(answers.len() < 8, "never accepted: {answers:?}");
                world.age(Duration::from_millis(400));
                answers.push(deliver(world, sender, scene).await.status);
            }
            answers
        }
    }
}

/// The calls of the undisturbed scene. Of the relay's sixteen looks at the index, the first stands for all.
async fn calls_of(sender: Sender, scene: Scene) -> Vec<AwsCall> {
    let world = set_the_scene(sender, scene).await;
    act(&world, sender, scene).await;
    let mut calls: Vec<_> = world.system.connector.call_log().into_iter().map(|(call, _)| call).collect();
    let first_query = calls.iter().position(|call| call.operation == "Query");
    calls.retain(|call| call.operation != "Query" || Some(call.index) == first_query);
    calls
}

/// How often the event may come again in this cell, from what was seen on the wire.
fn allowed(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> usize {
    let id = event_id(cell.sender);
    let about = |operation: &str| {
        let wanted = operation.to_owned();
        log.iter().filter(move |(call, _)| {
            call.operation.starts_with(&wanted) && call.event_ids.iter().any(|e| e == id)
        })
    };
    // Sent, and the answer lost: each of these is on the queue, and its sender does not know.
    let lost_answers = about("SendMessage").filter(|(_, fate)| is_lost_send(fate)).count();
    let sent = about("SendMessage").any(|(_, fate)| matches!(fate, CallOutcome::Answered(200)));
    // Sent and known to be, but never written down in this process.
    let unmarked = sent && !about("UpdateItem").any(|(_, fate)| is_applied(fate));
    // In a relay run the first update is the claim; only the last one can be the mark.
    let unmarked = unmarked || (cell.scene == Scene::Relay && sent && mark_failed(cell, log));
    lost_answers + usize::from(unmarked)
}

fn mark_failed(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> bool {
    let sent_at = log.iter().rposition(|(call, fate)| {
        call.operation == "SendMessageBatch" && matches!(fate, CallOutcome::Answered(200))
    });
    let id = event_id(cell.sender);
    let marked = log.iter().skip(sent_at.unwrap_or(0)).any(|(call, fate)| {
        call.operation == "UpdateItem" && call.event_ids.iter().any(|event| event == id) && is_applied(fate)
    });
    !marked
}

async fn play(cell: Cell) -> Row {
    let world = set_the_scene(cell.sender, cell.scene).await;
    world.system.connector.set_fault_plan(cell.lasts.plan(&cell.call, cell.fault));
    let wire = &world.system.connector;
    let answers = act(&world, cell.sender, cell.scene).await;
    wire.clear_fault_plan();
    wire.apply_delayed(Fault::AppliedAfterRetry).await;
    let allowed = allowed(&cell, &wire.call_log());
    // What comes late comes after the next one to act: the sender again, or else the relay.
    if wire.delayed_count() > 0 && answers.len() < 2 {
        world.pass(Duration::from_secs(31));
        world.relay().await.unwrap().unwrap();
    }
    wire.apply_delayed(Fault::AppliedLater).await;
    world.settle().await;
    all_came(wire, cell.fault);

    let messages = world.drain().await;
    let repeats = check(&cell, &world, &messages).await;
    Row { cell, answers, repeats, allowed }
}

/// P2 and P4 at the end of a cell. Returns how often the event was repeated.
async fn check(cell: &Cell, world: &World, messages: &[tests::Message]) -> usize {
    let body = cell.body();
    if cell.scene == Scene::Quarantined {
        assert!(messages.is_empty(), "P4: a quarantined delivery is no event: {messages:?}");
        let kept = world.quarantined().await;
        assert_eq!(kept.len(), 1, "P7: {kept:?}");
        assert_eq!(kept[0].1, payload_hash(body.as_bytes()), "P4");
        return 0;
    }
    let id = event_id(cell.sender);
    assert!(!messages.is_empty(), "P2: lost");
    for message in messages {
        assert_eq!(message.id, id, "P4");
        let carried = message.body.ends_with(&format!("\"data\":{body}}}"));
        let referred = message.body.ends_with(&format!("\"dataref\":\"inbox:///{id}\"}}"));
        assert!(if cell.scene == Scene::Large { referred } else { carried }, "P4: {}", message.body);
    }
    let resolved = world.system.inbox.resolve_dataref(&format!("inbox:///{id}")).await.unwrap();
    assert!(
        resolved.is_some_and(|bytes| bytes == body.as_bytes()),
        "P4: the bytes stored are the bytes proven"
    );
    messages.len() - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_p3_p4_p6_hold_in_every_cell() {
    let mut cells = Vec::new();
    for sender in [Sender::Fynapse, Sender::Rightfoot] {
        for scene in [Scene::New, Scene::Duplicate, Scene::Large, Scene::Quarantined, Scene::Relay] {
            let calls = calls_of(sender, scene).await;
            assert!(!calls.is_empty());
            for call in calls {
                for fault in faults_of(&call) {
                    for lasts in [Lasts::Once, Lasts::On] {
                        cells.push(Cell { sender, scene, call: call.clone(), fault, lasts });
                    }
                }
            }
        }
    }
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
    let Cell { sender, scene, call, fault, lasts } = &row.cell;
    let _ = writeln!(
        table,
        "{:<10}{:<12}{:>2} {:<17}{:<16}{:<5} answers {:<22} repeats {} allowed {}",
        format!("{sender:?}"),
        format!("{scene:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{lasts:?}"),
        format!("{:?}", row.answers),
        row.repeats,
        row.allowed
    );
}

/// What the matrix cannot do to a call: its answer begins, and never ends.
#[tokio::test]
async fn an_answer_that_stalls_in_its_body_is_timed_out() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept_open = Vec::new();
        while let Ok((mut connection, _)) = server.accept().await {
            assert_ne!(connection.read(&mut [0; 4096]).await.unwrap(), 0, "a request");
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
            kept_open.push(connection);
        }
    });
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(&url);
    let clients = Clients::new(&sdk.load().await);
    let asked = clients.sqs.get_queue_attributes().queue_url(&url).send();
    let error = timeout(Duration::from_secs(10), asked).await.unwrap().unwrap_err();
    assert_eq!(inbox_aws::AwsError::from_sdk_error("sqs:GetQueueAttributes", &error).kind, AwsErrorKind::Timeout);
}
