//! The local system's table in a file: after a restart the records are there, and their events are on the queue
//! again, which is in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use futures::StreamExt;
use futures::stream;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use serde_json::Value;
use tests::lambda_process::build_binary;
use tests::{FYNAPSE_SIGNING_SECRET, Item, World, completion_body, extract_body, number, text};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A temporary directory, deleted on drop.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("balance-inbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn p2_records_outlive_the_system_and_go_on_the_queue_again() {
    let dir = TempDir::new("file");
    let start = || World::with_options(|options| options.database_file = Some(dir.0.join("inbox.sqlite")));
    let first = start().await;
    first.deliver_fynapse(extract_body("e-1")).await;
    first.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    first.deliver_fynapse("{").await;
    let recorded = first.items().await.len();
    drop(first);

    let second = start().await;
    assert_eq!(second.items().await.len(), recorded);
    assert_eq!(second.drain_event_ids().await, Vec::<String>::new(), "the queue was in memory");
    assert_eq!(second.deliver_fynapse(extract_body("e-1")).await.body, r#"{"status":"duplicate"}"#);
    let mut claimed = second.item("fynapse#event#e-1", "event").await.unwrap();
    claimed.extend([
        ("claim_by".to_owned(), AttributeValue::S("a worker of before".to_owned())),
        ("claim_until".to_owned(), AttributeValue::N(i64::MAX.to_string())),
    ]);
    second.put_item(claimed).await;
    assert_eq!(second.stack.make_unfinished_due().await.unwrap(), 2);
    let record = second.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!((number(&record, "rev"), number(&record, "enqueue_after")), (Some(2), Some(second.now().0)));
    for gone in ["sent_at", "expires_at", "claim_by", "claim_until"] {
        assert!(!record.contains_key(gone), "{gone}");
    }
    second.run_relay().await.unwrap().unwrap();
    assert_eq!(second.drain_event_ids().await, ["fynapse/event/e-1", "rightfoot/batch/b-1/completed"]);
    assert_eq!(second.quarantined().await.len(), 1);
    second.drain_outbox().await;
    assert_eq!(second.drain_event_ids().await, Vec::<String>::new(), "once");
}

/// A running process of the command `local`.
struct LocalProcess {
    process: Child,
    /// Its output; kept open, so that the process can go on writing.
    stdout_lines: Lines<BufReader<ChildStdout>>,
    http_url: String,
    aws_url: String,
}

impl LocalProcess {
    /// Starts it on free ports, and waits until it is ready.
    async fn start(binary: &Path, data: &Path, more: &[&str]) -> Self {
        let mut process = Command::new(binary)
            .args([
                "--http-port",
                "0",
                "--aws-port",
                "0",
                "--rightfoot-port",
                "0",
                "--fynapse-port",
                "0",
                "--data",
            ])
            .arg(data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout_lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut local = Self { process, stdout_lines, http_url: String::new(), aws_url: String::new() };
        timeout(Duration::from_secs(60), local.wait_until_ready()).await.expect("ready within a minute");
        local
    }

    async fn wait_until_ready(&mut self) {
        while let Some(line) = self.stdout_lines.next_line().await.unwrap() {
            let mut words = line.split_whitespace();
            match (words.next(), words.find(|word| word.starts_with("http://"))) {
                (Some("ready"), None) => return,
                (Some("Fynapse's"), Some(url)) if line.contains("endpointUrl") => {
                    url.clone_into(&mut self.http_url);
                }
                (Some("AWS"), Some(url)) => url.clone_into(&mut self.aws_url),
                _ => {}
            }
        }
        panic!("it ended before it was ready");
    }

    async fn wait_for_exit(&mut self) -> ExitStatus {
        timeout(Duration::from_secs(20), self.process.wait()).await.expect("an end").unwrap()
    }

    /// Interrupts it as Ctrl-C does.
    async fn interrupt(&mut self) -> ExitStatus {
        let interrupt = format!("kill -INT {}", self.process.id().unwrap());
        assert!(Command::new("sh").args(["-c", &interrupt]).status().await.unwrap().success());
        self.wait_for_exit().await
    }

    /// The event records in the table.
    async fn records(&self) -> Vec<Item> {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("any", "any", None, None, "test"))
            .endpoint_url(&self.aws_url);
        let scan = aws_sdk_dynamodb::Client::from_conf(config.build()).scan().table_name("inbox");
        let items = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        items.into_iter().filter(|item| text(item, "pk").starts_with("fynapse#event#")).collect()
    }

    /// Ids of the events on record.
    async fn recorded_event_ids(&self) -> BTreeSet<String> {
        self.records().await.iter().map(|item| text(item, "pk").replace("fynapse#event#", "")).collect()
    }

    /// Returns `true` if every event is done.
    async fn are_all_done(&self) -> bool {
        self.records().await.iter().all(|item| item.contains_key("done_at"))
    }

    /// Receives messages until all of `wanted` have come; returns the event ids, read from each body by the JSON
    /// pointer.
    async fn receive_event_ids(
        &self,
        queue: &str,
        id_pointer: &str,
        expected: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("any", "any", None, None, "test"))
            .endpoint_url(&self.aws_url);
        let sqs = aws_sdk_sqs::Client::from_conf(config.build());
        let url = sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap();
        let mut ids = BTreeSet::new();
        while !ids.is_superset(expected) {
            let receive =
                sqs.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(1);
            for message in receive.send().await.unwrap().messages.unwrap_or_default() {
                let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                let id = event.pointer(id_pointer).unwrap().as_str().unwrap();
                ids.insert(id.replace("fynapse/event/", ""));
            }
        }
        ids
    }
}

/// Delivers an event; returns its id and the response's status.
async fn deliver(http: &reqwest::Client, url: &str, number: usize) -> reqwest::Result<(String, u16)> {
    let keys = Keys::parse(FYNAPSE_SIGNING_SECRET, KeyCodec::Utf8).unwrap();
    let id = format!("e-{number:04}");
    let body = extract_body(&id);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = signature::sign(UnixSecs(now.cast_signed()), body.as_bytes(), &keys);
    let post = http.post(url).header("content-type", "application/json");
    let answer = post.header("webhook-signature", signature).body(body).send().await?;
    Ok((id, answer.status().as_u16()))
}

/// Delivers events, eight at a time, kills the process once `enough` were accepted, and returns the ids that were
/// answered 200.
async fn deliver_and_kill(local: &mut LocalProcess, enough: usize) -> BTreeSet<String> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = local.http_url.clone();
    let deliver = |number: usize| deliver(&http, &url, number);
    let mut accepted = BTreeSet::new();
    let mut answers = stream::iter(0..).map(deliver).buffer_unordered(8);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok((id, 200)) => drop(accepted.insert(id)),
            Ok((id, status)) => assert_eq!(status, 503, "{id}"),
            Err(_) if accepted.len() >= enough => break,
            Err(error) => panic!("{error}"),
        }
        if accepted.len() == enough {
            local.process.start_kill().unwrap();
        }
    }
    accepted
}

#[tokio::test]
async fn p1_p2_no_accepted_event_is_lost_when_the_process_is_killed() {
    let (binary, dir) = (build_binary("local").await, TempDir::new("process"));
    let data = dir.0.join("data");
    let mut first = LocalProcess::start(&binary, &data, &["--no-worker"]).await;
    let delivered = timeout(Duration::from_secs(120), deliver_and_kill(&mut first, 60));
    let accepted = delivered.await.expect("sixty accepted within two minutes");
    let end = first.wait_for_exit().await;
    assert_eq!(end.code(), None, "killed, not ended");

    let mut second = LocalProcess::start(&binary, &data, &["--no-worker"]).await;
    let recorded = second.recorded_event_ids().await;
    assert!(recorded.is_superset(&accepted), "lost: {:?}", accepted.difference(&recorded));
    // An event that was recorded and not answered when the process died counts as well.
    let received = second.receive_event_ids("events", "/id", &recorded);
    assert_eq!(timeout(Duration::from_secs(60), received).await.expect("on the queue"), recorded);
    assert_eq!(second.interrupt().await.code(), Some(0));
    assert_eq!(second.stdout_lines.next_line().await.unwrap(), None);
}

#[tokio::test]
async fn p10_what_the_worker_announces_is_on_the_queue_of_the_bus_and_not_again_after_a_restart() {
    let (binary, dir) = (build_binary("local").await, TempDir::new("worker"));
    let data = dir.0.join("data");
    let mut first = LocalProcess::start(&binary, &data, &[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for number in 0..3 {
        assert_eq!(deliver(&http, &first.http_url, number).await.unwrap().1, 200);
    }
    let three: BTreeSet<_> = (0..3).map(|number| format!("e-{number:04}")).collect();
    let announced = first.receive_event_ids("bus-events", "/detail/event_id", &three);
    assert_eq!(timeout(Duration::from_secs(60), announced).await.expect("on the bus"), three);
    while !first.are_all_done().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(first.interrupt().await.code(), Some(0));

    let mut second = LocalProcess::start(&binary, &data, &[]).await;
    assert_eq!(deliver(&http, &second.http_url, 3).await.unwrap().1, 200);
    let fourth = BTreeSet::from(["e-0003".to_owned()]);
    let announced = second.receive_event_ids("bus-events", "/detail/event_id", &fourth);
    assert_eq!(timeout(Duration::from_secs(60), announced).await.expect("on the bus"), fourth);
    assert_eq!(second.interrupt().await.code(), Some(0));
}
