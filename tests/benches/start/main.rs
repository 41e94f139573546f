//! Measures the cold start and the warm events of the deployed binaries, beside a *baseline* (`tests/baseline`), which
//! makes the same calls and nothing else, and a *peer* (`tests/benches/peer`), the same webhook in Python with
//! Powertools for AWS Lambda.
//!
//! ```text
//!  bootstrap, a process of its own ──runtime API──▶ bench
//!                                  ──HTTP──▶ 40 ms a connection, 5 ms a call ──▶ emulators, simulated Rightfoot
//! ```
//!
//! `.ci/start-up` builds the functions as for a deployment, and the baseline with them, and runs this bench. The bench
//! itself need not be optimised, because the emulators take the same time for all kinds.
//!
//! | option | |
//! |---|---|
//! | `--functions DIR` | the folder with the binaries of `cargo lambda`; `target/lambda` by default |
//! | `--only NAME` | measures this function alone |
//! | `--peer PYTHON` | an interpreter with the peer's packages: measures it beside `fynapse-webhook` |
//! | `--events N`, `--rounds N` | warm events of a process, and processes of each kind |
//! | `--short` | few of both, for a check. Targets that depend on the load of the machine may be missed by a quarter |
//!
//! It ends with exit code 1 if a target is missed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark panics on an error and prints its results"
)]

mod report;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::exit;
use std::time::{Duration, Instant};

use local::lambda_api::FUNCTION_NAMES;
use tests::lambda_process::{LambdaProcess, RuntimeResult, deployed_binary};
use tokio::process::Command;
use tokio::time::sleep;

use report::{FunctionResult, Measurements};
use workloads::Workload;

/// The one function that the peer implements.
const PEER_FUNCTION: &str = "fynapse-webhook";
/// Warm events that are not counted: until then, connections and pools are still growing.
const WARM_UP_EVENTS: usize = 5;

struct BenchOptions {
    rounds: usize,
    events: usize,
    functions: PathBuf,
    only: Option<String>,
    python: Option<PathBuf>,
    is_short: bool,
}

#[tokio::main]
async fn main() {
    let options = BenchOptions::read();
    let mut missed = Vec::new();
    report::print_header();
    for name in
        FUNCTION_NAMES.iter().copied().filter(|name| options.only.as_deref().is_none_or(|only| only == *name))
    {
        let row = options.measure(name).await;
        row.print();
        missed.extend(row.missed_targets(options.is_short));
    }
    missed.iter().for_each(|target| eprintln!("missed: {target}"));
    exit(i32::from(!missed.is_empty()));
}

impl BenchOptions {
    fn read() -> Self {
        let mut options = Self {
            rounds: 11,
            events: 100,
            functions: Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lambda"),
            only: None,
            python: None,
            is_short: false,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {} // Cargo's own
                "--short" => (options.is_short, options.rounds, options.events) = (true, 3, 25),
                "--events" => options.events = value().parse().unwrap(),
                "--rounds" => options.rounds = value().parse().unwrap(),
                "--functions" => options.functions = value().into(),
                "--only" => options.only = Some(value()),
                "--peer" => options.python = Some(value().into()),
                unknown => panic!("no such option: {unknown}"),
            }
        }
        options
    }

    /// Measures the processes of each kind in turn, round after round, so that the machine's load affects all of them
    /// alike. The first round only fills the file caches and is not counted.
    async fn measure(&self, name: &'static str) -> FunctionResult {
        let [ours, baseline] =
            [name.to_owned(), format!("baseline-{name}")].map(|name| deployed_binary(&self.functions, &name));
        let python = self.python.as_ref().filter(|_| name == PEER_FUNCTION);
        let mut workload = Workload::new(name).await;
        let mut figures: [Measurements; 3] = Default::default();
        for round in 0..=self.rounds {
            let mut commands = vec![Command::new(&ours), Command::new(&baseline)];
            commands.extend(python.map(|python| peer(python)));
            let mut calls = Vec::new();
            for (command, figures) in commands.into_iter().zip(&mut figures) {
                let mut discarded = Measurements::default();
                let measurements = if round == 0 { &mut discarded } else { figures };
                calls.push(measurements.measure(command, &mut workload, self.events).await);
            }
            assert!(calls.iter().all(|these| *these == calls[0]), "{name}: not the same calls: {calls:#?}");
        }
        let [ours_figures, baseline, peer] = figures;
        let peer = python.map(|_| peer);
        FunctionResult { name, ours: ours_figures, baseline, peer, zip_bytes: report::zipped_bytes(&ours) }
    }
}

impl Measurements {
    /// Measures one process from its start to its end, and returns the calls of its last event.
    async fn measure(&mut self, command: Command, workload: &mut Workload, events: usize) -> Vec<String> {
        let invocation = workload.next_invocation().await;
        let started = Instant::now();
        let mut function = LambdaProcess::run(command, workload.name, &workload.network.env()).await;
        assert_succeeded(workload.name, &function.invoke(invocation).await);
        self.cold.push(started.elapsed());
        let mut cpu_before = Duration::ZERO;
        for event in 0..WARM_UP_EVENTS + events {
            if event == WARM_UP_EVENTS {
                cpu_before = cpu_when_idle(&function).await;
            }
            let invocation = workload.next_invocation().await;
            workload.network.calls.take_sorted();
            let started = Instant::now();
            assert_succeeded(workload.name, &function.invoke(invocation).await);
            if event >= WARM_UP_EVENTS {
                self.warm.push(started.elapsed());
            }
        }
        let cpu = cpu_when_idle(&function).await - cpu_before;
        self.cpu.push(cpu / u32::try_from(events).unwrap());
        self.peak_bytes.push(function.peak_bytes());
        function.stop().await;
        workload.network.calls.take_sorted()
    }
}

/// CPU time of the process after a pause of 50 ms, because work after the response belongs to the same event.
async fn cpu_when_idle(function: &LambdaProcess) -> Duration {
    sleep(Duration::from_millis(50)).await;
    function.cpu_time()
}

fn assert_succeeded(name: &str, result: &RuntimeResult) {
    let RuntimeResult::Response(response) = result else { panic!("{name}: {result:?}") };
    let status = response.get("statusCode");
    assert!(status.is_none_or(|status| *status == 200), "{name}: {response}");
}

fn peer(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "awslambdaric", "handler.handle"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer"));
    command
}
