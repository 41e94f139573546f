//! The fault matrix of deliveries and the relay: every AWS call of every kind of delivery and of a relay run is
//! combined with every fault, once or for the rest of the process; then the sender retries and the relay runs. A
//! write may also be applied late: after its retry was answered, or after the next process, sender or relay, has
//! acted.
//!
//! In every cell P1, P2, P4 and P6 hold, and the event is repeated exactly as often as P3 allows there.
//! `cargo test -p tests --test fault_matrix -- --nocapture` prints the table.
//!
//! A separate binary, because Cargo runs test binaries one at a time: the SDK's time-outs run in real time, and three
//! cells failed once where other work took the processors. Alone, none did.

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

/// Statuses after which Fynapse never retries a delivery.
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

/// Prepares the state before the scenario's own calls.
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
            // Past `RELAY_AGE_MS`: the record is due for the relay.
            world.advance(Duration::from_secs(31));
        }
    }
    world.stack.connector.clear_call_log();
    world
}

async fn run_scenario(world: &World, sender: Sender, scenario: Scenario) -> Vec<u16> {
    match scenario {
        Scenario::Relay => {
            // A failed or crashed run is an invocation error, which is not retried.
            let _ = world.run_relay().await;
            Vec::new()
        }
        Scenario::New | Scenario::Duplicate | Scenario::Large | Scenario::Quarantined => {
            let mut answers = vec![deliver(world, sender, scenario).await.status];
            world.stack.connector.clear_fault_plan();
            world.stack.connector.apply_delayed(Fault::AppliedAfterRetry).await;
            // Both senders retry until a 2xx; Rightfoot even after a 400.
            while !answers.last().is_some_and(|status| (200..300).contains(status)) {
                assert!(answers.len() < 8, "never accepted: {answers:?}");
                // While a secret was never loaded, it is fetched at most once a second
                // (`SECRET_FIRST_LOAD_RETRY_MS`).
                world.age_secret_caches(Duration::from_millis(400));
                answers.push(deliver(world, sender, scenario).await.status);
            }
            answers
        }
    }
}

/// Calls of the scenario without faults. The relay's sixteen queries of the index are equal, so only the first is
/// kept.
async fn calls_of(sender: Sender, scenario: Scenario) -> Vec<AwsCall> {
    let world = set_up(sender, scenario).await;
    run_scenario(&world, sender, scenario).await;
    let mut calls: Vec<_> = world.stack.connector.call_log().into_iter().map(|(call, _)| call).collect();
    let first_query = calls.iter().position(|call| call.operation == "Query");
    calls.retain(|call| call.operation != "Query" || Some(call.index) == first_query);
    calls
}

/// Returns how often the event may be repeated on the queue in this cell (P3), derived from the log of its calls.
fn allowed_repeats(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> usize {
    let id = event_id(cell.sender);
    let about = |operation: &str| {
        let prefix = operation.to_owned();
        log.iter().filter(move |(call, _)| {
            call.operation.starts_with(&prefix) && call.event_ids.iter().any(|e| e == id)
        })
    };
    // Sent, and the answer lost: each of these is on the queue and its sender does not know.
    let lost_answers = about("SendMessage").filter(|(_, outcome)| is_send_outcome_unknown(outcome)).count();
    let sent = about("SendMessage").any(|(_, outcome)| matches!(outcome, CallOutcome::Answered(200)));
    // Sent and known to be sent, but the mark was never applied by this process.
    let unmarked = sent && !about("UpdateItem").any(|(_, outcome)| is_applied(outcome));
    // In a relay run the first update is the claim; only the last one can be the mark.
    let unmarked = unmarked || (cell.scenario == Scenario::Relay && sent && is_mark_missing(cell, log));
    lost_answers + usize::from(unmarked)
}

fn is_mark_missing(cell: &Cell, log: &[(AwsCall, CallOutcome)]) -> bool {
    let sent_at = log.iter().rposition(|(call, outcome)| {
        call.operation == "SendMessageBatch" && matches!(outcome, CallOutcome::Answered(200))
    });
    let id = event_id(cell.sender);
    let marked = log.iter().skip(sent_at.unwrap_or(0)).any(|(call, outcome)| {
        call.operation == "UpdateItem"
            && call.event_ids.iter().any(|event| event == id)
            && is_applied(outcome)
    });
    !marked
}

async fn run_cell(cell: Cell) -> CellResult {
    let world = set_up(cell.sender, cell.scenario).await;
    world.stack.connector.set_fault_plan(cell.duration.fault_plan(&cell.call, cell.fault));
    let connector = &world.stack.connector;
    let answers = run_scenario(&world, cell.sender, cell.scenario).await;
    connector.clear_fault_plan();
    connector.apply_delayed(Fault::AppliedAfterRetry).await;
    let allowed = allowed_repeats(&cell, &connector.call_log());
    // A delayed request is applied after the next process has acted: the retrying sender, or else the relay.
    if connector.delayed_count() > 0 && answers.len() < 2 {
        world.advance(Duration::from_secs(31));
        world.run_relay().await.unwrap().unwrap();
    }
    connector.apply_delayed(Fault::AppliedLater).await;
    world.drain_outbox().await;
    assert_late_requests_applied(connector, cell.fault);

    let messages = world.drain_queue().await;
    let repeats = assert_delivered(&cell, &world, &messages).await;
    CellResult { cell, answers, repeats, allowed }
}

/// Checks P2 and P4 (P7 if quarantined) at the end of a cell. Returns the number of repeats on the queue.
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
        "P4: the stored bytes are the verified bytes"
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

/// A fault that the matrix cannot inject: a response that begins and never ends.
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
