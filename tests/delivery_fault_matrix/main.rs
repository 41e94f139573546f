//! The fault matrix of deliveries and the relay: every AWS call of every kind of delivery and of a relay run is
//! combined with every fault, once or for the rest of the process; then the sender retries and the relay runs. A
//! write may also be applied late: after its retry was answered, or after the next process, sender or relay, has
//! acted.
//!
//! In every cell P1, P2, P4 and P6 hold, and the event is repeated exactly as often as P3 allows there.
//! `cargo test -p tests --test delivery_fault_matrix -- --nocapture` prints the table.
//!
//! A separate binary, because Cargo runs test binaries one at a time: the SDK's time-outs run in real time, and three
//! cells failed once where other work took the processors. Alone, none did.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

mod relayed_batches;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::config::Credentials;
use inbox_aws::AwsErrorKind;
use inbox_aws::clients::Clients;
use inbox_core::delivery::Provider;
use local::connector::{AwsConnector, Fault};
use local::invariants::{self, ExpectedOutcome, Observed, SentDelivery};
use tests::fault_injection::allowed_repeats;
use tests::fault_matrix::{Cell, CellResult, Scenario, run_matrix};
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

/// The work of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    New,
    Duplicate,
    Large,
    Quarantined,
    Relay,
}

/// Work on a delivery by this sender.
#[derive(Clone, Copy, Debug)]
struct Delivery(Sender, Work);

impl Delivery {
    fn body(self) -> String {
        let Self(sender, work) = self;
        let plain = match sender {
            Sender::Fynapse => extract_body("e-1"),
            Sender::Rightfoot => completion_body("b-1", "u-1"),
        };
        match (work, sender) {
            (Work::New | Work::Duplicate | Work::Relay, _) => plain,
            (Work::Large, _) => plain.replacen('{', &format!("{{\"x\":\"{}\",", random_hex(900_000, 3)), 1),
            (Work::Quarantined, Sender::Fynapse) => r#"{"event_type":"balance.extracted"}"#.to_owned(),
            (Work::Quarantined, Sender::Rightfoot) => r#"{"type":"A_THIRD_TYPE"}"#.to_owned(),
        }
    }

    fn event_id(self) -> &'static str {
        match self.0 {
            Sender::Fynapse => "fynapse/event/e-1",
            Sender::Rightfoot => "rightfoot/batch/b-1/completed",
        }
    }

    /// Delivers the webhook once; checks P1 and P6 of the response.
    async fn send(self, world: &World) -> WebhookResponse {
        let body = self.body();
        let response = match self.0 {
            Sender::Fynapse => world.deliver_fynapse(&body).await,
            Sender::Rightfoot => world.deliver_rightfoot(&body).await,
        };
        if self.0 == Sender::Fynapse {
            assert!(!PERMANENT_FAILURE_STATUSES.contains(&response.status), "P6: {response:?}");
        }
        assert!(
            !response.headers.iter().any(|name| name.eq_ignore_ascii_case("retry-after")),
            "P6: {response:?}"
        );
        if response.is_success() {
            let is_recorded = match self.1 {
                Work::Quarantined => !world.quarantined().await.is_empty(),
                Work::New | Work::Duplicate | Work::Large | Work::Relay => {
                    world.items().await.iter().any(|item| item.contains_key("rev"))
                }
            };
            assert!(is_recorded, "P1: {} without a durable record", response.status);
        }
        response
    }

    /// Repeats the delivery until it is accepted, as both senders do; Rightfoot even after a 400. Returns all
    /// statuses.
    async fn retry(self, world: &World, first: u16) -> Vec<u16> {
        let mut statuses = vec![first];
        while !statuses.last().is_some_and(|status| (200..300).contains(status)) {
            assert!(statuses.len() < 8, "never accepted: {statuses:?}");
            // While a secret was never loaded, it is fetched at most once a second (`SECRET_FIRST_LOAD_RETRY_MS`).
            world.age_secret_caches(Duration::from_millis(400));
            statuses.push(self.send(world).await.status);
        }
        statuses
    }

    /// What the promises say about the delivery at the end of a cell.
    fn expected(self) -> SentDelivery {
        let (provider, reason) = match self.0 {
            Sender::Fynapse => (Provider::Fynapse, "unreadable"),
            Sender::Rightfoot => (Provider::Rightfoot, "unknown_type"),
        };
        let expected = match self.1 {
            Work::Quarantined => ExpectedOutcome::Quarantined { reason, status: 200 },
            Work::New | Work::Duplicate | Work::Large | Work::Relay => ExpectedOutcome::Enqueued,
        };
        SentDelivery::expecting(provider, self.event_id(), self.body(), expected)
    }

    /// Checks the promises at the end of a cell. Returns the number of repeats on the queue.
    async fn assert_delivered(self, world: &World) -> usize {
        let mut run = Observed::read(&world.stack).await.unwrap();
        run.deliveries.push(self.expected());
        invariants::assert_hold(&run, &[invariants::QUEUE, invariants::RECORDS, invariants::QUARANTINE]);
        run.messages.len().saturating_sub(1)
    }
}

impl Scenario for Delivery {
    type Scene = World;
    /// Status of the response; `None` for a relay run.
    type Outcome = Option<u16>;

    async fn set_up(self) -> World {
        let world = World::new().await;
        match self.1 {
            Work::New | Work::Large | Work::Quarantined => {}
            Work::Duplicate => {
                self.send(&world).await;
            }
            Work::Relay => {
                world.inject_fault("SendMessage", Fault::CrashBefore);
                self.send(&world).await;
                world.stack.connector.clear_fault_plan();
                // Past `RELAY_AGE_MS`: the record is due for the relay.
                world.advance(Duration::from_secs(31));
            }
        }
        world.stack.connector.clear_call_log();
        world
    }

    fn connector(world: &World) -> &AwsConnector {
        &world.stack.connector
    }

    async fn run(self, world: &World) -> Option<u16> {
        if self.1 == Work::Relay {
            // A failed or crashed run is an invocation error, which is not retried.
            let _ = world.run_relay().await;
            return None;
        }
        Some(self.send(world).await.status)
    }

    async fn recover(cell: &Cell<Self>, world: World, status: Option<u16>) -> CellResult {
        let (delivery, connector) = (cell.scenario, &world.stack.connector);
        let statuses = match status {
            Some(status) => delivery.retry(&world, status).await,
            None => Vec::new(),
        };
        let allowed = allowed_repeats(&connector.call_log(), delivery.event_id());
        // A delayed request is applied after the next process has acted: the retrying sender, or else the relay.
        if connector.delayed_count() > 0 && statuses.len() < 2 {
            world.advance(Duration::from_secs(31));
            world.run_relay().await.unwrap().unwrap();
        }
        connector.apply_delayed(Fault::AppliedLater).await;
        world.drain_outbox().await;
        let repeats = delivery.assert_delivered(&world).await;
        CellResult { summary: format!("answers {statuses:?}"), repeats, allowed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_p3_p4_p6_hold_in_every_cell() {
    // Rightfoot's webhooks also read the batch's owner; for a quarantined delivery there is no batch.
    let calls = [
        (Work::New, 4, 5),
        (Work::Duplicate, 2, 3),
        (Work::Large, 6, 7),
        (Work::Quarantined, 2, 2),
        (Work::Relay, 5, 5),
    ];
    let scenarios = calls.map(|(work, of_fynapse, of_rightfoot)| {
        [(Delivery(Sender::Fynapse, work), of_fynapse), (Delivery(Sender::Rightfoot, work), of_rightfoot)]
    });
    run_matrix(scenarios.as_flattened()).await;
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
