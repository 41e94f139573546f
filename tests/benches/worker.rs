//! What the work on a batch takes, by the batch's size: requests, calls, time and memory.
//!
//! ```text
//!  event-worker, a process of its own ──HTTP──▶ 100 ms ──▶ simulated Rightfoot
//!                                     └─HTTP──▶ count ───▶ embedded engines
//! ```
//!
//! `cargo bench -p tests --bench worker`, with `-- --short` without the largest batches. Each row has a new process:
//! what it holds at most (Linux's `VmHWM`) is told before it has worked, and after.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark's own code, and what it is for")]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use local::emulator::service_and_operation;
use local::lambda_api::aws_endpoint;
use local::stack::{self, BALANCES_TABLE, EVENT_BUS, RIGHTFOOT_API_KEY_SECRET, INBOX_TABLE};
use serde_json::{Value, json};
use tests::bootstrap::{Answer, Function};
use tests::completion;
use tests::rightfoot::RightfootWorld;
use tokio::net::TcpListener;

const THINKING: Duration = Duration::from_millis(100);
/// How many batches are worked on at the same time, and how many balances each has.
const SHORT: [(usize, usize); 2] = [(1, 100), (1, 1_000)];
const LONG: [(usize, usize); 3] = [(10, 1_000), (1, 10_000), (1, 30_000)];

/// How often each operation was called.
type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

struct Bench {
    it: RightfootWorld,
    endpoint_url: String,
    calls: Calls,
}

struct Row {
    batches: usize,
    balances: usize,
    requests: usize,
    writes: usize,
    puts: usize,
    took: Duration,
    idle_bytes: u64,
    peak_bytes: u64,
}

#[tokio::main]
async fn main() {
    let bench = Bench::new().await;
    let is_short = std::env::args().any(|arg| arg == "--short");
    let long = LONG.iter().filter(|_| !is_short);
    println!(
        "batches  balances  requests  BatchWriteItem  PutEvents  seconds  idle MB  peak MB  more B/balance"
    );
    let mut least: Option<Row> = None;
    for (batches, size) in SHORT.iter().chain(long) {
        let row = bench.row(*batches, *size).await;
        row.print(least.as_ref());
        least.get_or_insert(row);
    }
}

impl Bench {
    async fn new() -> Self {
        let think = async |request: Request, next: Next| {
            tokio::time::sleep(THINKING).await;
            next.run(request).await
        };
        let it = RightfootWorld::made(|_| {}, |_| {}, |_, routes| routes.layer(from_fn(think))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Calls::default();
        let engines = aws_endpoint(&it.world.system, endpoint_url.clone());
        stack::spawn_server(listener, counted(engines, calls.clone()));
        Self { it, endpoint_url, calls }
    }

    /// Has a new process work on so many batches of this size, by one invocation, and looks whether it did.
    async fn row(&self, batches: usize, size: usize) -> Row {
        let event = self.batches_are_complete(batches, size).await;
        let mut worker = self.worker().await;
        // Once it has answered, it is as warm as it gets without work.
        assert_eq!(worker.invoke(json!({"Records": []})).await, nothing_failed());
        let idle_bytes = worker.peak_bytes();
        self.it.rightfoot.clear_requests();
        self.calls.lock().unwrap().clear();
        let began = Instant::now();
        let answer = worker.invoke(event).await;
        let took = began.elapsed();
        assert_eq!(answer, nothing_failed());
        let peak_bytes = worker.peak_bytes();
        let output = worker.stop().await;
        let told = self.it.world.on_bus().await;
        // Those of earlier rows show again, because nobody deletes them.
        let told = told.iter().filter(|event| event.id().contains(&batch_id(batches, size, "")));
        let found: Vec<_> = told.map(|event| event.detail.get("found")).collect();
        assert_eq!(found, vec![Some(&json!(size)); batches], "{output}");
        let requests = self.it.rightfoot.requests().len();
        let calls = self.calls.lock().unwrap().clone();
        let called = |operation| calls.get(operation).copied().unwrap_or_default();
        Row {
            batches,
            balances: batches * size,
            requests,
            writes: called("BatchWriteItem"),
            puts: called("PutEvents"),
            took,
            idle_bytes,
            peak_bytes,
        }
    }

    /// The invocation event that says so. The batches are known to be of this size.
    async fn batches_are_complete(&self, batches: usize, size: usize) -> Value {
        let people: Vec<_> = (0..size).map(|n| (authorizer(n), format!("{n}.50"))).collect();
        for n in 0..batches {
            let batch_id = batch_id(batches, size, n);
            self.it.rightfoot.add_completed_batch(&batch_id, &people);
            let track =
                json!({"action": "track_batch", "batch_id": batch_id, "expected": size, "subject": "demo"});
            self.it.ask(track).await;
            assert!(self.it.world.rightfoot(completion(&batch_id, "u-1")).await.is_success());
        }
        let messages = self.it.world.drain().await;
        assert_eq!(messages.len(), batches);
        let records: Vec<_> =
            messages.iter().map(|message| json!({"messageId": message.id, "body": message.body})).collect();
        json!({"Records": records})
    }

    async fn worker(&self) -> Function {
        let events_url = format!("{}/123456789012/events", self.endpoint_url);
        let env = [
            ("AWS_ENDPOINT_URL", self.endpoint_url.as_str()),
            ("INBOX_TABLE", INBOX_TABLE),
            ("EVENTS_QUEUE_URL", &events_url),
            ("BALANCES_TABLE", BALANCES_TABLE),
            ("EVENT_BUS_NAME", EVENT_BUS),
            ("RIGHTFOOT_API_URL", &self.it.api_url),
            ("RIGHTFOOT_API_KEY_SECRET_ID", RIGHTFOOT_API_KEY_SECRET),
        ];
        Function::start("event-worker", &env).await
    }
}

impl Row {
    /// With the bytes that each balance took beyond those of the row with the least.
    fn print(&self, least: Option<&Self>) {
        let Self { batches, balances, requests, writes, puts, .. } = self;
        let (secs, idle, peak) = (self.took.as_secs_f64(), mb(self.idle_bytes), mb(self.peak_bytes));
        let more = least.map(|least| {
            let bytes = self.peak_bytes as f64 - least.peak_bytes as f64;
            format!("{:.0}", bytes / (balances - least.balances) as f64)
        });
        let more = more.unwrap_or_default();
        println!(
            "{batches:>7}{balances:>10}{requests:>10}{writes:>16}{puts:>11}{secs:>9.1}{idle:>9.1}{peak:>9.1}{more:>16}"
        );
    }
}

fn counted(routes: Router, calls: Calls) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (_, operation) = service_and_operation(request.headers());
        *calls.lock().unwrap().entry(operation.to_owned()).or_default() += 1;
        next.run(request)
    }))
}

fn batch_id(batches: usize, size: usize, which: impl Display) -> String {
    format!("{batches}-of-{size}-{which}")
}

/// An id as long as a UUID.
fn authorizer(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn nothing_failed() -> Answer {
    Answer::Response(json!({"batchItemFailures": []}))
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
