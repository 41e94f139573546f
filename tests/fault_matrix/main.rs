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
use tests::fault_injection::{
    FaultDuration, assert_late_requests_applied, assert_table, is_applied, is_send_outcome_unknown,
    possible_faults,
};
use tests::{WebhookResponse, World, completion_body, extract_body, random_hex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Statuses after which Fynapse gives a delivery up for good.
const PERMANENT_FAILURE_STATUSES: [u16; 7] = [400, 401, 402, 405, 406, 410, 413];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Fynapse,
    Rightfoot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    New,
    Duplicate,
    Large,
    Quarantined,
    Relay,
}

#[derive(Clone, Debug)]
struct Cell {
    sender: Sender,
    scenario: Scenario,
    call: AwsCall,
    fault: Fault,
    duration: FaultDuration,
}

#[derive(Debug)]
struct CellResult {
    cell: Cell,
    answers: Vec<u16>,
    repeats: usize,
    allowed: usize,
}

impl Cell {
    fn body(&self) -> String {
        body(self.sender, self.scenario)
    }
}

fn body(sender: Sender, scenario: Scenario) -> String {
    let plain = match sender {
        Sender::Fynapse => extract_body("e-1"),
        Sender::Rightfoot => completion_body("b-1", "u-1"),
    };
    match (scenario, sender) {
        (Scenario::New | Scenario::Duplicate | Scenario::Relay, _) => plain,
        (Scenario::Large, _) => plain.replacen('{', &format!("{{\"x\":\"{}\",", random_hex(900_000, 3)), 1),
        (Scenario::Quarantined, Sender::Fynapse) => r#"{"event_type":"balance.extracted"}"#.to_owned(),
        (Scenario::Quarantined, Sender::Rightfoot) => r#"{"type":"A_THIRD_TYPE"}"#.to_owned(),
    }
}

fn event_id(sender: Sender) -> &'static str {
    match sender {
        Sender::Fynapse => "fynapse/event/e-1",
        Sender::Rightfoot => "rightfoot/batch/b-1/completed",
    }
}

async fn deliver(world: &World, sender: Sender, scenario: Scenario) -> WebhookResponse {
    let body = body(sender, scenario);
    let response = match sender {
        Sender::Fynapse => world.deliver_fynapse(&body).await,
        Sender::Rightfoot => world.deliver_rightfoot(&body).await,
    };
    if sender == Sender::Fynapse {
        assert!(!PERMANENT_FAILURE_STATUSES.contains(&response.status), "P6: {response:?}");
    }
    assert!(
        !response.headers.iter().any(|name| name.eq_ignore_ascii_case("retry-after")),
        "P6: {response:?}"
    );
    if response.is_success() {
        let is_recorded = match scenario {
            Scenario::Quarantined => !world.quarantined().await.is_empty(),
            Scenario::New | Scenario::Duplicate | Scenario::Large | Scenario::Relay => {
                world.items().await.iter().any(|item| item.contains_key("rev"))
            }
        };
        assert!(is_recorded, "P1: {} without a durable record", response.status);
    }
    response
}

/// What stands before the scenario begins.
async fn set_up(sender: Sender, scenario: Scenario) -> World {
    let world = World::new().await;
    match scenario {
        Scenario::New | Scenario::Large | Scenario::Quarantined => {}
        Scenario::Duplicate => {
            deliver(&world, sender, scenario).await;
        }
        Scenario::Relay => {
            world
                .stack
                .connector
                .set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::CrashBefore));
            deliver(&world, sender, scenario).await;
            world.stack.connector.clear_fault_plan();
            world.advance(Duration::from_secs(31));
        }
    }
    world.stack.connector.clear_call_log();
    world
}

async fn run_scenario(world: &World, sender: Sender, scenario: Scenario) -> Vec<u16> {
    match scenario {
        Scenario::Relay => {
            // A failed or dead run is an invocation error; nobody retries it.
            let _ = world.run_relay().await;
            Vec::new()
        }
        Scenario::New | Scenario::Duplicate | Scenario::Large | Scenario::Quarantined => {
            let mut answers = vec![deliver(world, sender, scenario).await.status];
            world.stack.connector.clear_fault_plan();
            world.stack.connector.apply_delayed(Fault::AppliedAfterRetry).await;
            // The sender comes again until it hears a 2xx; Rightfoot too after a 400.
            while !answers.last().is_some_and(|status| (200..300).contains(status)) {
                assert!(answers.len() < 8, "never accepted: {answers:?}");
                world.age_secret_caches(Duration::from_millis(400));
                answers.push(deliver(world, sender, scenario).await.status);
            }
            answers
        }
    }
}

/// The calls of the undisturbed scenario. Of the relay's sixteen looks at the index, the first stands for all.
async fn calls_of(sender: Sender, scenario: Scenario) -> Vec<AwsCall> {
    let world = set_up(sender, scenario).await;
    run_scenario(&world, sender, scenario).await;
    let mut calls: Vec<_> = world.stack.connector.call_log().into_iter().map(|(call, _)| call).collect();
    let first_query = calls.iter().position(|call| call.operation == "Query");
    calls.retain(|call| call.operation != "Query" || Some(call.index) == first_query);
    calls
}

/// How often the event may come again in this cell, from what was seen on the wire.
fn allowed_repeats(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> usize {
    let id = event_id(cell.sender);
    let about = |operation: &str| {
        let prefix = operation.to_owned();
        log.iter().filter(move |(call, _)| {
            call.operation.starts_with(&prefix) && call.event_ids.iter().any(|e| e == id)
        })
    };
    // Sent, and the answer lost: each of these is on the queue, and its sender does not know.
    let lost_answers = about("SendMessage").filter(|(_, fate)| is_send_outcome_unknown(fate)).count();
    let sent = about("SendMessage").any(|(_, fate)| matches!(fate, CallOutcome::Answered(200)));
    // Sent and known to be, but never written down in this process.
    let unmarked = sent && !about("UpdateItem").any(|(_, fate)| is_applied(fate));
    // In a relay run the first update is the claim; only the last one can be the mark.
    let unmarked = unmarked || (cell.scenario == Scenario::Relay && sent && is_mark_missing(cell, log));
    lost_answers + usize::from(unmarked)
}

fn is_mark_missing(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> bool {
    let sent_at = log.iter().rposition(|(call, fate)| {
        call.operation == "SendMessageBatch" && matches!(fate, CallOutcome::Answered(200))
    });
    let id = event_id(cell.sender);
    let marked = log.iter().skip(sent_at.unwrap_or(0)).any(|(call, fate)| {
        call.operation == "UpdateItem" && call.event_ids.iter().any(|event| event == id) && is_applied(fate)
    });
    !marked
}

async fn run_cell(cell: Cell) -> CellResult {
    let world = set_up(cell.sender, cell.scenario).await;
    world.stack.connector.set_fault_plan(cell.duration.fault_plan(&cell.call, cell.fault));
    let wire = &world.stack.connector;
    let answers = run_scenario(&world, cell.sender, cell.scenario).await;
    wire.clear_fault_plan();
    wire.apply_delayed(Fault::AppliedAfterRetry).await;
    let allowed = allowed_repeats(&cell, &wire.call_log());
    // What comes late comes after the next one to act: the sender again, or else the relay.
    if wire.delayed_count() > 0 && answers.len() < 2 {
        world.advance(Duration::from_secs(31));
        world.run_relay().await.unwrap().unwrap();
    }
    wire.apply_delayed(Fault::AppliedLater).await;
    world.drain_outbox().await;
    assert_late_requests_applied(wire, cell.fault);

    let messages = world.drain_queue().await;
    let repeats = assert_delivered(&cell, &world, &messages).await;
    CellResult { cell, answers, repeats, allowed }
}

/// P2 and P4 at the end of a cell. Returns how often the event was repeated.
async fn assert_delivered(cell: &Cell, world: &World, messages: &[tests::QueuedMessage]) -> usize {
    let body = cell.body();
    if cell.scenario == Scenario::Quarantined {
        assert!(messages.is_empty(), "P4: a quarantined delivery is no event: {messages:?}");
        let quarantined = world.quarantined().await;
        assert_eq!(quarantined.len(), 1, "P7: {quarantined:?}");
        assert_eq!(quarantined[0].1, payload_hash(body.as_bytes()), "P4");
        return 0;
    }
    let id = event_id(cell.sender);
    assert!(!messages.is_empty(), "P2: lost");
    for message in messages {
        assert_eq!(message.id, id, "P4");
        let carried = message.body.ends_with(&format!("\"data\":{body}}}"));
        let referred = message.body.ends_with(&format!("\"dataref\":\"inbox:///{id}\"}}"));
        assert!(if cell.scenario == Scenario::Large { referred } else { carried }, "P4: {}", message.body);
    }
    let resolved = world.stack.inbox.resolve_dataref(&format!("inbox:///{id}")).await.unwrap();
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
        for scenario in
            [Scenario::New, Scenario::Duplicate, Scenario::Large, Scenario::Quarantined, Scenario::Relay]
        {
            let calls = calls_of(sender, scenario).await;
            assert!(!calls.is_empty());
            for call in calls {
                for fault in possible_faults(&call) {
                    for duration in [FaultDuration::Once, FaultDuration::Persistent] {
                        cells.push(Cell { sender, scenario, call: call.clone(), fault, duration });
                    }
                }
            }
        }
    }
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
    let Cell { sender, scenario, call, fault, duration } = &row.cell;
    let _ = writeln!(
        table,
        "{:<10}{:<12}{:>2} {:<17}{:<16}{:<5} answers {:<22} repeats {} allowed {}",
        format!("{sender:?}"),
        format!("{scenario:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{duration:?}"),
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
    assert_eq!(
        inbox_aws::AwsError::from_sdk_error("sqs:GetQueueAttributes", &error).kind,
        AwsErrorKind::Timeout
    );
}
