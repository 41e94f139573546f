//! `local`: serves until Ctrl-C.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command: it talks to a terminal")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use inbox_aws::clock::Clock;
use inbox_aws::telemetry;
use inbox_core::allow_list::AllowList;
use inbox_core::keys::{KeyCodec, Keys};
use tokio::net::TcpListener;

use crate::system::{self, DEAD, FYNAPSE_SECRET, QUEUE, RIGHTFOOT_URL_KEY, System, TABLE};

/// Pause between two runs of the relay.
const RELAY_PAUSE: Duration = Duration::from_secs(5);

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of the webhook routes.
    pub http_port: u16,
    /// Port of the AWS endpoint.
    pub aws_port: u16,
    /// The directory that the table is kept in; `None` for memory.
    pub data: Option<PathBuf>,
    /// Accepted Fynapse secrets; the first one signs.
    pub fynapse_secrets: Vec<String>,
    /// The key that signs Rightfoot's URLs.
    pub rightfoot_url_key: String,
    /// Addresses that may call as Rightfoot.
    pub allowed: AllowList,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    Keys::parse(&options.rightfoot_url_key, KeyCodec::Utf8).context("--rightfoot-url-key")?;
    for secret in &options.fynapse_secrets {
        Keys::parse(secret, KeyCodec::Utf8).context("--fynapse-secret")?;
    }
    if options.fynapse_secrets.len() > inbox_core::limits::SECRETS_MAX {
        bail!("--fynapse-secret may be given at most {} times", inbox_core::limits::SECRETS_MAX);
    }
    telemetry::log_to(tracing::Level::INFO, std::io::stderr);
    let http = bind(options.http_port, "--http-port").await?;
    let aws = bind(options.aws_port, "--aws-port").await?;
    let aws_url = format!("http://{}", aws.local_addr()?);
    let _lock = options.data.as_deref().map(lock).transpose()?;
    let system = System::start(system::Options {
        file: options.data.as_deref().map(|dir| dir.join("inbox.sqlite")),
        fynapse_secrets: options.fynapse_secrets.clone(),
        rightfoot_url_key: options.rightfoot_url_key.clone(),
        allowed: options.allowed.clone(),
        clock: Clock::system(),
    })
    .await?;
    let again = system.make_undone_due_again().await?;
    let http_url = format!("http://{}", http.local_addr()?);
    let serving = [
        system::serve(http, system.routes()),
        system::serve(aws, system.wire.engine().endpoint(aws_url.clone())),
        system.run_relay_every(RELAY_PAUSE),
    ];
    print!("{}", greeting(&options, &system, &http_url, &aws_url, again)?);
    println!("ready");
    until_asked_to_stop().await?;
    for task in serving {
        task.abort();
    }
    eprintln!("stopped");
    Ok(())
}

/// Says on the terminal why the command failed.
pub fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

async fn bind(port: u16, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("cannot listen on port {port}; choose another one with {option}"))
}

/// Keeps a second process off the directory: each has a queue of its own.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {shown}"))?;
    let file = File::create(dir.join("lock")).with_context(|| format!("cannot write into {shown}"))?;
    file.try_lock().with_context(|| format!("{shown} is in use; choose another directory with --data"))?;
    Ok(file)
}

async fn until_asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn greeting(
    options: &Options,
    system: &System,
    http_url: &str,
    aws_url: &str,
    again: usize,
) -> anyhow::Result<String> {
    let secret = options.fynapse_secrets.first().map(String::as_str).unwrap_or_default();
    let rightfoot_url = format!("{http_url}/webhooks/rightfoot/{}", system.mint(&"demo".parse()?)?);
    let kept = match &options.data {
        Some(dir) => format!(
            "The table is kept in {}. The queue is in memory: {again} event(s) from before are due again.",
            dir.display()
        ),
        None => "Everything is in memory and gone at the end.".to_owned(),
    };
    Ok(format!(
        r#"Fynapse's endpointUrl      {http_url}/webhooks/fynapse
Rightfoot's webhook_url    {rightfoot_url}
AWS endpoint               {aws_url}   (table {TABLE}; queues {QUEUE}, {DEAD}; secrets {FYNAPSE_SECRET}, {RIGHTFOOT_URL_KEY})
{kept}

Deliver something (again for a duplicate; with another event_id or batch_id it is another event):

  t=$(date +%s); body='{{"event_id":"a3efc743-ac6c-463b-aa19-4dd9c45b5b96","event_type":"balance.extracted","metadata":{{}},"event_timestamp":"2026-01-02T03:04:05Z","data":{{"amount":150.00}}}}'
  v1=$(printf %s "$t.$body" | openssl dgst -sha256 -hmac '{secret}' -r | cut -d' ' -f1)
  curl -s {http_url}/webhooks/fynapse -H 'content-type: application/json' -H "webhook-signature: t=$t,v1=$v1" -d "$body"

  curl -s {rightfoot_url} -H 'content-type: application/json' -d '{{"event_uuid":"f47ac10b-58cc-4372-a567-0e02b2c3d479","type":"BALANCE_BATCH_COMPLETED","batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83"}}'

"#
    ))
}
