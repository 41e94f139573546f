//! Runs a function's real binary as Lambda does: the process polls a runtime API for invocations.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use local::lambda_api::FUNCTION_NAMES;
use local::stack::{self, INBOX_TABLE};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{World, bind_listener};

/// Longest wait for a response or for the process to end.
const TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// A running function and its runtime API.
pub struct LambdaProcess {
    child: Child,
    api_task: JoinHandle<()>,
    invocations: mpsc::UnboundedSender<Value>,
    results: mpsc::UnboundedReceiver<RuntimeResult>,
    output: Arc<Mutex<String>>,
}

/// Result that the function posted to the runtime API.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeResult {
    /// Body posted to `/response`.
    Response(Value),
    /// Body posted to `/error`.
    Error(Value),
}

struct RuntimeApi {
    invocations: tokio::sync::Mutex<mpsc::UnboundedReceiver<Value>>,
    results: mpsc::UnboundedSender<RuntimeResult>,
}

impl LambdaProcess {
    /// Builds the binary `name` and starts it with these environment variables only, besides Lambda's own.
    pub async fn start(name: &str, env: &[(&str, &str)]) -> Self {
        Self::run(Command::new(build_binary(name).await), name, env).await
    }

    /// Starts `command` as the function `name` with these environment variables.
    pub async fn run(mut command: Command, name: &str, env: &[(&str, &str)]) -> Self {
        let (invocations, next) = mpsc::unbounded_channel();
        let (sender, answers) = mpsc::unbounded_channel();
        let api = Arc::new(RuntimeApi { invocations: next.into(), results: sender });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(accept_response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(accept_error))
            .with_state(api);
        let (listener, url) = bind_listener().await;
        let api = stack::spawn_server(listener, routes);
        let mut child = command
            // The function must not see the environment of the tests, such as AWS profiles.
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", url.trim_start_matches("http://"))
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect_output(child.stdout.take().unwrap(), output.clone());
        collect_output(child.stderr.take().unwrap(), output.clone());
        Self { child, api_task: api, invocations, results: answers, output }
    }

    /// Invokes the function and waits for its result. Panics with its output after 60 s.
    pub async fn invoke(&mut self, event: Value) -> RuntimeResult {
        self.invocations.send(event).unwrap();
        let answer = tokio::time::timeout(TIMEOUT, self.results.recv()).await;
        assert!(
            answer.is_ok(),
            "no answer from the function, which printed:\n{}",
            self.output.lock().unwrap()
        );
        answer.unwrap().unwrap()
    }

    /// Peak resident memory in bytes (Linux's `VmHWM`).
    pub fn peak_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")).unwrap();
        peak.trim().parse::<u64>().unwrap() * 1_024
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// CPU time of the live threads. Threads that have ended are not included.
    pub fn cpu_time(&self) -> Duration {
        cpu_time_of(self.process_id())
    }

    /// Waits until the process ends by itself, and returns its exit code.
    pub async fn wait_for_exit(&mut self) -> Option<i32> {
        tokio::time::timeout(TIMEOUT, self.child.wait()).await.expect("still running").unwrap().code()
    }

    /// Kills the process and returns all its output.
    pub async fn stop(mut self) -> String {
        let _ = self.child.kill().await;
        self.api_task.abort();
        // The last lines may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.output.lock().unwrap().clone()
    }
}

/// A world's AWS services behind a URL, for functions that run in processes of their own. Dropping it stops the server.
pub struct AwsEndpoint {
    /// Its base URL.
    pub url: String,
    server: JoinHandle<()>,
}

impl AwsEndpoint {
    /// Serves the emulators of this world.
    pub async fn serve(world: &World) -> Self {
        let (listener, url) = bind_listener().await;
        let server = stack::spawn_server(listener, world.stack.connector.emulator().router(url.clone()));
        Self { url, server }
    }

    /// Starts the function `name` with its table and queue here, and with these further environment variables, which
    /// replace others of the same name.
    pub async fn start(&self, name: &str, env: &[(&str, &str)]) -> LambdaProcess {
        let queue_url = format!("{}/123456789012/events", self.url);
        let here = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("INBOX_TABLE", INBOX_TABLE),
            ("EVENTS_QUEUE_URL", &queue_url),
        ];
        LambdaProcess::start(name, &[&here, env].concat()).await
    }
}

impl Drop for AwsEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// CPU time of a process's live threads (Linux's `schedstat`, in nanoseconds); zero if it has ended.
pub fn cpu_time_of(process_id: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process_id}/task"));
    let nanos = tasks.into_iter().flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Path of a function that `cargo lambda build --release` has built, in its folder of functions. Panics with the command if it
/// is missing.
pub fn deployed_binary(functions: &Path, name: &str) -> PathBuf {
    let path = functions.join(name).join("bootstrap");
    let packages: Vec<_> = FUNCTION_NAMES.iter().map(|name| format!("-p {name}")).collect();
    let packages = packages.join(" ");
    assert!(
        path.is_file(),
        "{} is missing: cargo lambda build --release {packages} -p baseline",
        path.display()
    );
    path
}

/// Builds a binary of the workspace in this test's or bench's profile, and returns its path.
pub async fn build_binary(name: &str) -> PathBuf {
    let mut directory = std::env::current_exe().unwrap();
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    // The profiles `test` and `bench` share a directory with `dev` and `release`.
    let profile = match directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    // The whole workspace, as the tests themselves were built: with one package alone, Cargo would build its
    // dependencies again with fewer features.
    let arguments = ["build", "--quiet", "--workspace", "--bin", name, "--profile", profile, "--target-dir"];
    let target = directory.parent().unwrap();
    let built = Command::new(env!("CARGO")).args(arguments).arg(target).status().await.unwrap();
    assert!(built.success(), "cargo build --workspace --bin {name}");
    directory.join(name)
}

fn collect_output(stream: impl AsyncRead + Unpin + Send + 'static, into: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = into.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

async fn next_invocation(State(api): State<Arc<RuntimeApi>>) -> Response {
    let Some(event) = api.invocations.lock().await.recv().await else { std::future::pending().await };
    let deadline_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 60_000;
    Response::builder()
        .header("lambda-runtime-aws-request-id", REQUEST_ID)
        .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f")
        .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
        .header("content-type", "application/json")
        .body(Body::from(event.to_string()))
        .unwrap()
}

async fn accept_response(State(api): State<Arc<RuntimeApi>>, body: String) -> Response {
    send_result(&api, RuntimeResult::Response(serde_json::from_str(&body).unwrap_or_default()))
}

async fn accept_error(State(api): State<Arc<RuntimeApi>>, body: String) -> Response {
    send_result(&api, RuntimeResult::Error(serde_json::from_str(&body).unwrap_or_default()))
}

fn send_result(api: &RuntimeApi, answer: RuntimeResult) -> Response {
    let _ = api.results.send(answer);
    Response::builder().status(202).body(Body::from(r#"{"status":"OK"}"#)).unwrap()
}
