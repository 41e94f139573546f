//! Measures the processing of a batch by its size: requests, calls, time and memory.
//!
//! ```text
//!  event-worker, a process of its own ──HTTP──▶ 100 ms ──▶ simulated Rightfoot
//!                                     └─HTTP──▶ count ───▶ emulators
//! ```
//!
//! `cargo bench -p tests --bench worker`; `-- --short` leaves out the largest batches. Each row has a new process;
//! its peak memory (Linux's `VmHWM`) is read before and after the batch.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark panics on an error and prints its results"
)]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use local::emulator::service_and_operation;
use local::lambda_api::aws_endpoint;
use local::stack::{self, BALANCES_TABLE, EVENT_BUS, INBOX_TABLE, RIGHTFOOT_API_KEY_SECRET};
use serde_json::{Value, json};
use tests::lambda_process::{LambdaProcess, RuntimeResult};
use tests::rightfoot_world::RightfootWorld;
use tests::{bind_listener, completion_body};

const API_LATENCY: Duration = Duration::from_millis(100);
/// Number of batches in one invocation, and balances of each.
const SMALL_BATCHES: [(usize, usize); 2] = [(1, 100), (1, 1_000)];
const LARGE_BATCHES: [(usize, usize); 3] = [(10, 1_000), (1, 10_000), (1, 30_000)];

/// Number of calls by operation.
type CallCounts = Arc<Mutex<BTreeMap<String, usize>>>;

struct Bench {
    rightfoot_world: RightfootWorld,
    endpoint_url: String,
    calls: CallCounts,
}

struct Measurement {
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
    let long = LARGE_BATCHES.iter().filter(|_| !is_short);
    println!(
        "batches  balances  requests  BatchWriteItem  PutEvents  seconds  idle MB  peak MB  more B/balance"
    );
    let mut smallest: Option<Measurement> = None;
    for (batches, size) in SMALL_BATCHES.iter().chain(long) {
        let row = bench.measure(*batches, *size).await;
        row.print(smallest.as_ref());
        smallest.get_or_insert(row);
    }
}

impl Bench {
    async fn new() -> Self {
        let delay = async |request: Request, next: Next| {
            tokio::time::sleep(API_LATENCY).await;
            next.run(request).await
        };
        let rightfoot_world =
            RightfootWorld::with_transport(|_| {}, |_| {}, |_, routes| routes.layer(from_fn(delay))).await;
        let (listener, endpoint_url) = bind_listener().await;
        let calls = CallCounts::default();
        let emulators = aws_endpoint(&rightfoot_world.world.stack, endpoint_url.clone());
        stack::spawn_server(listener, count_calls(emulators, calls.clone()));
        Self { rightfoot_world, endpoint_url, calls }
    }

    /// Starts a new process, lets it process this number of batches in one invocation, and checks the result.
    async fn measure(&self, batches: usize, size: usize) -> Measurement {
        let event = self.completion_event(batches, size).await;
        let mut worker = self.start_worker().await;
        // After one response, the process has allocated everything that does not depend on a batch.
        assert_eq!(worker.invoke(json!({"Records": []})).await, all_succeeded());
        let idle_bytes = worker.peak_bytes();
        self.rightfoot_world.rightfoot.clear_requests();
        self.calls.lock().unwrap().clear();
        let started = Instant::now();
        let response = worker.invoke(event).await;
        let took = started.elapsed();
        assert_eq!(response, all_succeeded());
        let peak_bytes = worker.peak_bytes();
        let output = worker.stop().await;
        let events = self.rightfoot_world.world.drain_bus().await;
        // Events of earlier rows are received again, because their messages are never deleted.
        let of_row = events.iter().filter(|event| event.id().contains(&batch_id(batches, size, "")));
        let found: Vec<_> = of_row.map(|event| event.detail.get("found")).collect();
        assert_eq!(found, vec![Some(&json!(size)); batches], "{output}");
        let requests = self.rightfoot_world.rightfoot.requests().len();
        let calls = self.calls.lock().unwrap().clone();
        let called = |operation| calls.get(operation).copied().unwrap_or_default();
        Measurement {
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

    /// Returns the invocation event for complete batches that are tracked with this size.
    async fn completion_event(&self, batches: usize, size: usize) -> Value {
        let people: Vec<_> = (0..size).map(|n| (authorizer(n), format!("{n}.50"))).collect();
        for n in 0..batches {
            let batch_id = batch_id(batches, size, n);
            self.rightfoot_world.rightfoot.add_completed_batch(&batch_id, &people);
            let track =
                json!({"action": "track_batch", "batch_id": batch_id, "expected": size, "subject": "demo"});
            self.rightfoot_world.request(track).await;
            assert!(
                self.rightfoot_world
                    .world
                    .deliver_rightfoot(completion_body(&batch_id, "u-1"))
                    .await
                    .is_success()
            );
        }
        let messages = self.rightfoot_world.world.drain_queue().await;
        assert_eq!(messages.len(), batches);
        let records: Vec<_> =
            messages.iter().map(|message| json!({"messageId": message.id, "body": message.body})).collect();
        json!({"Records": records})
    }

    async fn start_worker(&self) -> LambdaProcess {
        let events_url = format!("{}/123456789012/events", self.endpoint_url);
        let env = [
            ("AWS_ENDPOINT_URL", self.endpoint_url.as_str()),
            ("INBOX_TABLE", INBOX_TABLE),
            ("EVENTS_QUEUE_URL", &events_url),
            ("BALANCES_TABLE", BALANCES_TABLE),
            ("EVENT_BUS_NAME", EVENT_BUS),
            ("RIGHTFOOT_API_URL", &self.rightfoot_world.api_url),
            ("RIGHTFOOT_API_KEY_SECRET_ID", RIGHTFOOT_API_KEY_SECRET),
        ];
        LambdaProcess::start("event-worker", &env).await
    }
}

impl Measurement {
    /// Prints the row, with the additional bytes for each balance more than the row with the fewest balances has.
    fn print(&self, smallest: Option<&Self>) {
        let Self { batches, balances, requests, writes, puts, .. } = self;
        let (secs, idle, peak) = (self.took.as_secs_f64(), mb(self.idle_bytes), mb(self.peak_bytes));
        let more = smallest.map(|smallest| {
            let bytes = self.peak_bytes as f64 - smallest.peak_bytes as f64;
            format!("{:.0}", bytes / (balances - smallest.balances) as f64)
        });
        let more = more.unwrap_or_default();
        println!(
            "{batches:>7}{balances:>10}{requests:>10}{writes:>16}{puts:>11}{secs:>9.1}{idle:>9.1}{peak:>9.1}{more:>16}"
        );
    }
}

fn count_calls(routes: Router, calls: CallCounts) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (_, operation) = service_and_operation(request.headers());
        *calls.lock().unwrap().entry(operation.to_owned()).or_default() += 1;
        next.run(request)
    }))
}

fn batch_id(batches: usize, size: usize, which: impl Display) -> String {
    format!("{batches}-of-{size}-{which}")
}

/// An id with the length of a UUID.
fn authorizer(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn all_succeeded() -> RuntimeResult {
    RuntimeResult::Response(json!({"batchItemFailures": []}))
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
