//! Tests of `inboxctl` as a process against the local stack: its output, its effects and its exit code.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test's own code")]

#[path = "inboxctl/account_stub.rs"]
mod account_stub;
#[path = "inboxctl/aws_account.rs"]
mod aws_account;
#[path = "inboxctl/aws_profiles.rs"]
mod aws_profiles;
#[path = "inboxctl/balances.rs"]
mod balances;
#[path = "inboxctl/bulk_replay.rs"]
mod bulk_replay;
#[path = "inboxctl/cli_errors.rs"]
mod cli_errors;
#[path = "inboxctl/clock_skew.rs"]
mod clock_skew;
#[path = "inboxctl/console.rs"]
mod console;
#[path = "inboxctl/console_metrics.rs"]
mod console_metrics;
#[path = "inboxctl/doctor.rs"]
mod doctor;
#[path = "inboxctl/doctor_account.rs"]
mod doctor_account;
#[path = "inboxctl/doctor_findings.rs"]
mod doctor_findings;
#[path = "inboxctl/function_code.rs"]
mod function_code;
#[path = "inboxctl/fynapse_missed.rs"]
mod fynapse_missed;
#[path = "inboxctl/fynapse_setup.rs"]
mod fynapse_setup;
#[path = "inboxctl/lists_and_details.rs"]
mod lists_and_details;
#[path = "inboxctl/lost_messages.rs"]
mod lost_messages;
#[path = "inboxctl/operator_actions.rs"]
mod operator_actions;
#[path = "inboxctl/person.rs"]
mod person;
#[path = "inboxctl/quarantine.rs"]
mod quarantine;
#[path = "inboxctl/schedules_and_submissions.rs"]
mod schedules_and_submissions;
#[path = "inboxctl/send_and_mint.rs"]
mod send_and_mint;
#[path = "inboxctl/shell_integration.rs"]
mod shell_integration;
#[path = "inboxctl/short_ids.rs"]
mod short_ids;
#[path = "inboxctl/suspicious_secrets.rs"]
mod suspicious_secrets;
#[path = "inboxctl/terminal_output.rs"]
mod terminal_output;
#[path = "inboxctl/timeline.rs"]
mod timeline;
#[path = "inboxctl/unreachable_aws.rs"]
mod unreachable_aws;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::MethodRouter;
use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use local::lambda_api::aws_endpoint;
use local::stack::{self, DEAD_LETTER_QUEUE};
use tempfile::TempDir;
use tests::World;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Start of the stack's clock: years before the tests run, so that its times differ from those of `inboxctl`, which uses
/// the machine's clock.
const START_MS: i64 = 1_577_934_245_000;

/// The local stack with its AWS and webhook endpoints, and `inboxctl` to run against it.
struct CliHarness {
    world: World,
    aws_url: String,
    http_url: String,
    time: Arc<AtomicI64>,
    servers: Vec<JoinHandle<()>>,
    /// Where `inboxctl` remembers the last list.
    state: TempDir,
}

/// Output and exit code of a run of `inboxctl`.
struct CliOutput {
    command: String,
    exit_code: i32,
    stdout: String,
    /// Without `progress`.
    stderr: String,
    /// Lines about a long wait. On a busy machine, any command may print them.
    progress: String,
}

impl CliHarness {
    /// A stack whose clock only the test advances.
    async fn new() -> Self {
        let time = Arc::new(AtomicI64::new(START_MS));
        let clock_time = time.clone();
        Self::with_clock(time, Clock::new(move || UnixMillis(clock_time.load(Ordering::SeqCst)))).await
    }

    /// A stack with the machine's clock.
    async fn with_system_clock() -> Self {
        Self::with_clock(Arc::default(), Clock::system()).await
    }

    async fn with_clock(time: Arc<AtomicI64>, clock: Clock) -> Self {
        Self::serve(World::with_options(|options| options.clock = clock).await, time).await
    }

    /// A stack that has processed something already, with its own clock.
    async fn of_world(world: World) -> Self {
        Self::serve(world, Arc::default()).await
    }

    async fn serve(world: World, time: Arc<AtomicI64>) -> Self {
        let (aws, http) = (bind_listener().await, bind_listener().await);
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (aws_url, http_url) = (url(&aws), url(&http));
        let serving = vec![
            stack::spawn_server(aws, aws_endpoint(&world.stack, aws_url.clone())),
            stack::spawn_server(http, world.stack.webhook_routes()),
        ];
        let state = tempfile::tempdir().unwrap();
        Self { world, aws_url, http_url, time, servers: serving, state }
    }

    fn advance(&self, span: Duration) {
        self.time.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Runs `inboxctl` with these arguments; one in single quotes may hold blanks.
    async fn run(&self, words: &str) -> CliOutput {
        let state = self.state.path().to_str().unwrap();
        let env = [("AWS_ENDPOINT_URL", self.aws_url.as_str()), ("XDG_STATE_HOME", state)];
        self.run_with_env(words, &env).await
    }

    async fn run_with_env(&self, words: &str, env: &[(&str, &str)]) -> CliOutput {
        let command = inboxctl_command(words, env).output();
        let output = tokio::time::timeout(Duration::from_secs(60), command).await.unwrap().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let is_progress = |line: &&str| line.starts_with("waiting for ");
        CliOutput {
            command: words.to_owned(),
            exit_code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: stderr.split_inclusive('\n').filter(|line| !is_progress(line)).collect(),
            progress: stderr.split_inclusive('\n').filter(is_progress).collect(),
        }
    }

    /// Puts a message on the dead-letter queue, as SQS does.
    async fn send_dead_letter(&self, body: &str) {
        let url = self.world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
        let send = self.world.stack.inspector.sqs.send_message().queue_url(url).message_body(body);
        send.send().await.unwrap();
    }

    /// Receives and deletes all messages of a queue; returns their bodies.
    async fn drain_queue(&self, queue: &str) -> Vec<String> {
        local::inspect::receive_all(&self.world.stack, queue).await.unwrap()
    }
}

impl Drop for CliHarness {
    fn drop(&mut self) {
        for task in &self.servers {
            task.abort();
        }
    }
}

impl CliOutput {
    /// Command, output and exit code, for a snapshot.
    fn transcript(&self) -> String {
        let errors =
            if self.stderr.is_empty() { String::new() } else { format!("[stderr]\n{}", self.stderr) };
        format!("$ inboxctl {}\n{}{errors}[exit {}]", self.command, self.stdout, self.exit_code)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.transcript()))
    }
}

fn inboxctl_command(words: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inboxctl"));
    command
        .args(split_words(words))
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        // Not this user's own: no list is remembered unless the test says where.
        .env("XDG_STATE_HOME", "/dev/null")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn bind_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Serves a stub of an AWS service; returns its URL.
async fn serve_stub(responses: MethodRouter) -> String {
    let listener = bind_listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    stack::spawn_server(listener, Router::new().route("/", responses));
    url
}

fn split_words(words: &str) -> Vec<String> {
    let is_quoted = |n: usize| n % 2 == 1;
    let parts = words.split('\'').enumerate();
    parts
        .flat_map(|(n, part)| match is_quoted(n) {
            true => vec![part.to_owned()],
            false => part.split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}

/// Compares an output with its snapshot, without what differs from run to run.
macro_rules! snapshot {
    ($output:expr) => {{
        let output = $output;
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path("snapshots");
        // Times of `inboxctl` itself; the stack's are of 2020.
        settings.add_filter(r"20(2[1-9]|[3-9]\d)-\d\d-\d\d[T ][0-9:.]+Z", "[now]");
        settings.add_filter(r"\((\d+ (s|min|h|days) ago|in \d+ (s|min|h|days))\)", "([age])");
        settings.add_filter(r"(?m)\b\d+ (s|min|h|days) ago$", "[age]");
        // An age of another width moves the next column.
        settings.add_filter(r"\(\[age\]\) {2,}", "([age])  ");
        settings.add_filter(r"\b(WHEN|AGE) {2,}", "$1  ");
        settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]");
        settings.add_filter(r"http://127\.0\.0\.1:\d+", "http://[local]");
        settings.add_filter(r"in \d+ ms", "in [n] ms");
        settings.add_filter(r#""took_ms": \d+"#, r#""took_ms": "[n]""#);
        settings.bind(|| insta::assert_snapshot!(output));
    }};
}
pub(crate) use snapshot;
