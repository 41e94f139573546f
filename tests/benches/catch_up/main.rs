//! Measures how fast the functions work off a backlog, with the share of a processor that their memory gives them.
//!
//! ```text
//!  bootstrap, held to its share of a processor ──HTTP──▶ 5 ms a call ──▶ emulators (the relay's updates: afterwards)
//!                                              └─HTTP──▶ 100 ms ──────▶ simulated Rightfoot
//! ```
//!
//! `cargo lambda build --release` builds the functions, and `cargo bench --workspace --profile dev --bench catch_up`
//! measures them: relay, poller and worker, each with several sizes of memory.
//!
//! | option | |
//! |---|---|
//! | `--functions DIR` | the folder with the binaries of `cargo lambda`; `target/lambda` by default |
//! | `--only NAME` | measures this function alone |
//! | `--memory MB` | measures with this memory alone |
//!
//! *A minute* is what a run of the relay or the poller does within its budget, since one starts every minute; and what
//! one instance of the worker does in 60 s. It ends with exit code 1 if the relay, with the memory of the template,
//! sends fewer events than [`RELAYED_PER_MINUTE_MIN`].

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark panics on an error and prints its results"
)]

mod backlog;
mod cpu_share;
mod deferred_updates;

use std::path::{Path, PathBuf};
use std::process::exit;
use std::time::{Duration, Instant};

use inbox_core::limits::{POLL_BUDGET_SECS, RELAY_BUDGET_SECS, RELAY_MEMORY_MB};
use tests::lambda_process::{LambdaProcess, RuntimeResult, deployed_binary};
use tokio::process::Command;

use backlog::Backlog;
use cpu_share::CpuShare;

/// Events that the relay must send in a minute.
const RELAYED_PER_MINUTE_MIN: f64 = 60_000.0;
/// Events in the relay's backlog, batches in the poller's, messages in the worker's; and the sizes of memory, in MB.
const BACKLOGS: [(&str, usize, &[u32]); 3] = [
    ("event-relay", 10_000, &[256, 512, 1_024, 1_769]),
    ("rightfoot-poller", 2_000, &[256, 1_024]),
    ("event-worker", 2_000, &[256, 1_024]),
];
/// Measured invocations with nothing to do.
const IDLE_RUNS: usize = 11;
/// Time that a minute has for the worker.
const MINUTE_SECS: u64 = 60;

struct BenchOptions {
    functions: PathBuf,
    only: Option<String>,
    memory_mb: Option<u32>,
}

/// A measured backlog.
struct Measurement {
    function: &'static str,
    memory_mb: u32,
    /// Median duration of an invocation with nothing to do.
    idle_run: Duration,
    done: usize,
    took: Duration,
    cpu: Duration,
}

#[tokio::main]
async fn main() {
    let options = BenchOptions::read();
    println!("function          memory MB  idle ms    done  seconds  CPU ms each  a minute");
    let mut missed = false;
    for (function, size, memory_sizes) in BACKLOGS {
        let is_chosen = options.only.as_deref().is_none_or(|only| only == function);
        let chosen = memory_sizes.iter().filter(|mb| options.memory_mb.is_none_or(|only| only == **mb));
        for memory_mb in chosen.filter(|_| is_chosen) {
            let row = options.measure(function, size, *memory_mb).await;
            row.print();
            missed |= row.misses_target();
        }
    }
    if missed {
        eprintln!("missed: event-relay sends at least {RELAYED_PER_MINUTE_MIN} events a minute");
    }
    exit(i32::from(missed));
}

impl BenchOptions {
    fn read() -> Self {
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lambda");
        let mut options = Self { functions, only: None, memory_mb: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {} // Cargo's own
                "--functions" => options.functions = value().into(),
                "--only" => options.only = Some(value()),
                "--memory" => options.memory_mb = Some(value().parse().unwrap()),
                unknown => panic!("no such option: {unknown}"),
            }
        }
        options
    }

    /// Lets a new process work off a new backlog.
    async fn measure(&self, function: &'static str, size: usize, memory_mb: u32) -> Measurement {
        let mut backlog = Backlog::new(function).await;
        let command = Command::new(deployed_binary(&self.functions, function));
        let mut process = LambdaProcess::run(command, function, &backlog.network.env()).await;
        // The cold start is not part of the measurement.
        process.invoke(backlog.idle_invocation()).await;
        let _limit = CpuShare::of_memory(memory_mb, process.process_id());
        let mut idle_runs = Vec::new();
        for _ in 0..IDLE_RUNS {
            let started = Instant::now();
            process.invoke(backlog.idle_invocation()).await;
            idle_runs.push(started.elapsed());
        }
        idle_runs.sort();
        backlog.fill(size).await;
        let (started, cpu_before) = (Instant::now(), process.cpu_time());
        let mut done = 0;
        for invocation in backlog.invocations() {
            let RuntimeResult::Response(response) = process.invoke(invocation).await else {
                panic!("{function} failed")
            };
            done += backlog.count_done(&response);
        }
        let (took, cpu) = (started.elapsed(), process.cpu_time() - cpu_before);
        if function == "event-relay" && done == size {
            backlog.assert_relayed(size).await;
        }
        Measurement { function, memory_mb, idle_run: idle_runs[IDLE_RUNS / 2], done, took, cpu }
    }
}

impl Measurement {
    fn per_minute(&self) -> f64 {
        let budget_secs = match self.function {
            "event-relay" => RELAY_BUDGET_SECS,
            "rightfoot-poller" => POLL_BUDGET_SECS,
            _ => MINUTE_SECS,
        };
        self.done as f64 / self.took.as_secs_f64() * budget_secs as f64
    }

    fn misses_target(&self) -> bool {
        self.function == "event-relay"
            && u64::from(self.memory_mb) == RELAY_MEMORY_MB
            && self.per_minute() < RELAYED_PER_MINUTE_MIN
    }

    fn print(&self) {
        let Self { function, memory_mb, done, took, cpu, .. } = self;
        let idle_ms = self.idle_run.as_secs_f64() * 1_000.0;
        let cpu_ms = cpu.as_secs_f64() * 1_000.0 / *done as f64;
        let (secs, per_minute) = (took.as_secs_f64(), self.per_minute());
        println!(
            "{function:<18}{memory_mb:>9}{idle_ms:>9.0}{done:>8}{secs:>9.1}{cpu_ms:>13.2}{per_minute:>10.0}"
        );
    }
}
