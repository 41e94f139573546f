//! `local` without a command: serves the webhook routes, the AWS endpoint and the simulated providers until Ctrl-C.
//!
//! Tables survive a restart, in a SQLite file; queues and secrets do not. Events whose messages were lost with the queue
//! are made due again at the start.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use inbox_aws::clock::Clock;
use inbox_aws::config::redact_userinfo;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::Provider;
use inbox_core::effect::alert::UntrackedAlertPolicy;
use inbox_core::limits::VISIBILITY_SECS;
use inbox_core::local_hosts::is_loopback;
use inbox_core::poll::PollTiming;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inboxctl::create_private_directory;

use crate::api_destination::{ApiDestination, CustomHeader, DestinationUrl, RetryPolicy};
use crate::lambda_api::aws_endpoint;
use crate::stack::{
    self, BALANCES_TABLE, BUS_QUEUE, DEAD_LETTER_QUEUE, EVENT_BUS, EVENTS_QUEUE,
    FYNAPSE_API_CREDENTIALS_SECRET, FYNAPSE_SECRET, FynapseApi, INBOX_TABLE, RIGHTFOOT_API_KEY_SECRET,
    RIGHTFOOT_URL_KEY_SECRET, Stack, rightfoot_client,
};

mod bus_events;
mod console;
mod fynapse;
mod listeners;
mod log_line;
pub mod logging;
pub mod rightfoot_only;

use listeners::{PortListener, bind_ports, bind_warning};
use logging::{LogFormat, Verbosity};

/// SQLite database of the tables. SQLite's other files (`-wal`, `-shm`) have this name as a prefix.
const DATABASE_FILE: &str = "inbox.sqlite";
/// Pause between two runs of the relay and of the poller. In AWS they run every minute.
const SCHEDULE_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two runs of the auditor. In AWS it runs every 15 minutes.
const AUDIT_PAUSE: Duration = Duration::from_secs(10);
/// Pause before the worker receives from an empty queue again.
const EMPTY_QUEUE_PAUSE: Duration = Duration::from_millis(200);
/// Time that the simulated Rightfoot takes for a batch.
pub const PROCESSING: Duration = Duration::from_secs(5);
/// Length of the simulated Rightfoot's day: a daily schedule runs every minute.
pub const SCHEDULE_DAY: Duration = Duration::from_secs(60);

/// Options of [`run`].
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Port of the webhook routes.
    pub http_port: u16,
    /// Port of the AWS endpoint.
    pub aws_port: u16,
    /// Port of the simulated Fynapse API.
    pub fynapse_port: u16,
    /// Address on which all ports are open, in addition to 127.0.0.1.
    pub bind: Option<IpAddr>,
    /// Directory of the tables; `None` keeps them in memory.
    pub data_dir: Option<PathBuf>,
    /// True if the tables in `data_dir` are deleted first.
    pub fresh: bool,
    /// Accepted Fynapse secrets; the first one signs.
    pub fynapse_secrets: Vec<String>,
    /// Key that signs Rightfoot's webhook URLs.
    pub rightfoot_url_key: String,
    /// Addresses from which a provider may call; empty for any.
    pub allow_lists: BTreeMap<Provider, AllowList>,
    /// Rightfoot's API.
    pub rightfoot_api: RightfootApi,
    /// Key for Rightfoot's API.
    pub rightfoot_api_key: String,
    /// Intervals of the polls.
    pub poll_timing: PollTiming,
    /// Base URL at which Rightfoot reaches the webhook routes; `None` for the address on which they are served.
    pub webhook_base_url: Option<String>,
    /// True if the worker processes the queue `events`.
    pub worker: bool,
    /// True if the relay, the poller and the auditor are scheduled.
    pub run_schedules: bool,
    /// Port of the console; `None` for the default one, or any free one if that is taken.
    pub console_port: Option<u16>,
    /// Endpoint to which every event of the bus is posted.
    pub forward_to: Option<DestinationUrl>,
    /// Headers of these requests, beside EventBridge's own.
    pub forward_headers: Vec<CustomHeader>,
    /// Form of the log lines.
    pub log_format: LogFormat,
    /// Amount of log lines.
    pub verbosity: Verbosity,
}

/// Rightfoot's API: simulated or real.
#[derive(Clone, Debug)]
pub enum RightfootApi {
    /// Simulated by this process.
    Simulated {
        /// Port of the simulated API.
        port: u16,
        /// Share of its webhooks that are lost, in percent.
        lost_webhooks_pct: u8,
    },
    /// At this URL.
    External(String),
}

/// Serves until Ctrl-C or SIGTERM. Prints the URLs and then `ready` on stdout; logs go to stderr.
///
/// # Errors
///
/// A secret is not acceptable, a port is taken, or the data directory is in use by another process.
pub async fn run(options: ServeOptions) -> anyhow::Result<()> {
    check_secrets(&options)?;
    logging::init(options.log_format, options.verbosity);
    let Listeners { http, aws, fynapse, rightfoot } = bind_listeners(&options).await?;
    let (http_url, aws_url, fynapse_url) = (http.url.clone(), aws.url.clone(), fynapse.url.clone());
    let (rightfoot_url, simulator) = match &options.rightfoot_api {
        RightfootApi::External(url) => (url.clone(), None),
        RightfootApi::Simulated { port, lost_webhooks_pct } => {
            let listener = rightfoot.context("no listener for the simulated Rightfoot")?;
            let url = listener.url.clone();
            let simulated = rightfoot_only::SimulatorOptions {
                port: *port,
                bind: options.bind,
                api_key: options.rightfoot_api_key.clone(),
                lost_webhooks_pct: *lost_webhooks_pct,
                batch_processing: PROCESSING,
                schedule_day: SCHEDULE_DAY,
                // Without a data directory no batch id is remembered, so the ids may be the same at each start. With
                // one they must be new: the inbox would take a batch with an old id for the old batch.
                seed: options.data_dir.is_none().then_some(1),
            };
            (url, Some((listener, simulated.build_simulator()?)))
        }
    };
    // Held until this function returns. Taken before the deletion: another process may be using the tables.
    let _lock = options.data_dir.as_deref().map(lock_directory).transpose()?;
    if let Some(dir) = options.data_dir.as_deref().filter(|_| options.fresh) {
        delete_tables(dir)?;
    }
    let stack = Stack::start(stack_options(&options, &http_url, &rightfoot_url, &fynapse_url)?).await?;
    // Only here: as a library, `local` leaves the choice of the process's recorder to the program.
    let _ = metrics::set_global_recorder(stack.connector.emulator().metrics_recorder());
    let due_again = stack.make_unfinished_due().await?;
    let subscription = stack.connector.emulator().subscribe_to_buses();
    let mut serving = vec![bus_events::spawn(subscription, api_destination(&options)?)];
    serving.extend(http.serve_by_any_name(&stack.webhook_routes()));
    serving.extend(aws.serve_programs(|url| aws_endpoint(&stack, url)));
    if options.run_schedules {
        serving.extend([stack.run_relay_every(SCHEDULE_PAUSE), stack.run_poller_every(SCHEDULE_PAUSE)]);
        serving.push(stack.run_auditor_every(AUDIT_PAUSE));
    }
    let fynapse_routes = fynapse::routes(&stack, &http_url)?;
    serving.extend(fynapse.serve_programs(|_| fynapse_routes.clone()));
    if options.worker {
        serving.push(stack.run_worker_every(EMPTY_QUEUE_PAUSE));
    }
    if let Some((listener, simulator)) = simulator {
        serving.extend(listener.serve_programs(|_| simulator.routes()));
        serving.push(simulator.run_every(rightfoot_only::TICK_PAUSE));
    }
    let (console, console_url) =
        console::serve(&options, &aws_url, &http_url).await.context("--console-port")?;
    serving.push(console);
    if let Some(warning) = bind_warning(options.bind) {
        eprintln!("{warning}");
    }
    let urls = [&http_url, &aws_url, &fynapse_url, &rightfoot_url, &console_url].map(String::as_str);
    println!("{}ready", startup_message(&options, &stack, urls, due_again)?);
    wait_for_shutdown().await?;
    for task in serving {
        task.abort();
    }
    eprintln!("stopped");
    Ok(())
}

/// The options of the stack that is served at these URLs.
fn stack_options(
    options: &ServeOptions,
    http_url: &str,
    rightfoot_url: &str,
    fynapse_url: &str,
) -> anyhow::Result<stack::StackOptions> {
    let rightfoot_client = rightfoot_client(rightfoot_url)
        .with_context(|| format!("--rightfoot-api {}", redact_userinfo(rightfoot_url)))?;
    Ok(stack::StackOptions {
        database_file: options.data_dir.as_deref().map(|dir| dir.join(DATABASE_FILE)),
        fynapse_secrets: options.fynapse_secrets.clone(),
        rightfoot_url_key: options.rightfoot_url_key.clone(),
        allow_lists: options.allow_lists.clone(),
        rightfoot_client,
        rightfoot_api_key: options.rightfoot_api_key.clone(),
        fynapse_api: FynapseApi::simulated_at(fynapse_url)?,
        poll_timing: options.poll_timing,
        webhook_base_url: options.webhook_base_url.clone().unwrap_or_else(|| http_url.to_owned()),
        verify_alerts: true,
        untracked_alerts: UntrackedAlertPolicy::default(),
        visibility_timeout: Duration::from_secs(VISIBILITY_SECS),
        clock: Clock::system(),
    })
}

/// Destination of the events of the bus, if they are forwarded.
fn api_destination(options: &ServeOptions) -> anyhow::Result<Option<ApiDestination>> {
    let create = |url: &DestinationUrl| {
        ApiDestination::new(url.clone(), &options.forward_headers, RetryPolicy::default())
    };
    options.forward_to.as_ref().map(create).transpose()
}

fn check_secrets(options: &ServeOptions) -> anyhow::Result<()> {
    Keys::parse(&options.rightfoot_url_key, KeyCodec::Utf8).context("--rightfoot-url-key")?;
    for secret in &options.fynapse_secrets {
        Keys::parse(secret, KeyCodec::Utf8).context("--fynapse-secret")?;
    }
    // The receiver accepts no more values in one secret.
    if options.fynapse_secrets.len() > inbox_core::limits::SECRETS_MAX {
        bail!("--fynapse-secret may be given at most {} times", inbox_core::limits::SECRETS_MAX);
    }
    // The AWS endpoint gives the key of Rightfoot's API to whoever asks.
    if let RightfootApi::External(url) = &options.rightfoot_api
        && options.bind.is_some_and(|address| !address.is_loopback())
        && !is_on_this_machine(url)
    {
        bail!("--bind is only for a Rightfoot on this machine: others could read the real one's API key");
    }
    Ok(())
}

fn is_on_this_machine(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some_and(is_loopback))
}

/// Prints an error and its causes on stderr.
pub fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

struct Listeners {
    http: PortListener,
    aws: PortListener,
    fynapse: PortListener,
    /// `None` with an external Rightfoot.
    rightfoot: Option<PortListener>,
}

async fn bind_listeners(options: &ServeOptions) -> anyhow::Result<Listeners> {
    let simulated = match options.rightfoot_api {
        RightfootApi::Simulated { port, .. } => Some((port, "--rightfoot-port")),
        RightfootApi::External(_) => None,
    };
    let ports = [
        (options.http_port, "--http-port"),
        (options.aws_port, "--aws-port"),
        (options.fynapse_port, "--fynapse-port"),
    ];
    let mut bound = bind_ports(options.bind, ports.into_iter().chain(simulated)).await?.into_iter();
    let (http, aws) = bound.next().zip(bound.next()).context("no listeners")?;
    let fynapse = bound.next().context("no listener for the simulated Fynapse")?;
    Ok(Listeners { http, aws, fynapse, rightfoot: bound.next() })
}

/// Locks the directory against a second process. A new directory is this user's alone: it will hold payloads.
fn lock_directory(dir: &Path) -> anyhow::Result<File> {
    let shown = dir.display();
    create_private_directory(dir).with_context(|| format!("cannot create the directory {shown}"))?;
    let file =
        File::create(dir.join("lock")).with_context(|| format!("cannot create a lock file in {shown}"))?;
    // Each process has its own queues, so two over the same tables would miss each other's messages.
    file.try_lock().with_context(|| {
        format!("{shown} is in use by another process; choose another directory with --data")
    })?;
    Ok(file)
}

/// Deletes the database in a locked directory, and nothing else.
fn delete_tables(dir: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot delete the tables in {}", dir.display());
    for entry in std::fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        // `--data` may name a directory with other files, and the lock file must stay.
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(DATABASE_FILE))
        {
            std::fs::remove_file(path).with_context(failed)?;
        }
    }
    Ok(())
}

async fn wait_for_shutdown() -> anyhow::Result<()> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        terminated = terminated() => terminated?,
    }
    Ok(())
}

/// Waits for SIGTERM.
#[cfg(unix)]
async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

/// Never returns: only Unix has SIGTERM.
#[cfg(not(unix))]
async fn terminated() -> anyhow::Result<()> {
    std::future::pending().await
}

fn startup_message(
    options: &ServeOptions,
    stack: &Stack,
    [http_url, aws_url, fynapse_url, rightfoot_url, console_url]: [&str; 5],
    due_again: usize,
) -> anyhow::Result<String> {
    let secret = options.fynapse_secrets.first().map(String::as_str).unwrap_or_default();
    let webhook_url = format!("{http_url}/webhooks/rightfoot/{}", stack.mint_url_token(&"demo".parse()?)?);
    let storage_note = match &options.data_dir {
        Some(dir) => format!(
            "The tables are kept in {}; --fresh deletes them first. The queues are in\n\
             memory: {due_again} unfinished event(s) of earlier runs are due again.",
            dir.display()
        ),
        None => "All data is in memory and lost on exit.".to_owned(),
    };
    let rightfoot_note = describe_rightfoot_api(options);
    let worker_note = if options.worker {
        format!("The worker processes {EVENTS_QUEUE}; what it publishes is on {BUS_QUEUE}.")
    } else {
        format!("The worker does not run: messages stay on {EVENTS_QUEUE}.")
    };
    let forward_note = match &options.forward_to {
        Some(url) => format!("Each event of the bus is posted to {url}.\n"),
        None => String::new(),
    };
    let schedules_note =
        if options.run_schedules { "" } else { "The relay, the poller and the auditor are not scheduled.\n" };
    Ok(format!(
        r#"Fynapse's endpointUrl      {http_url}/webhooks/fynapse
Rightfoot's webhook_url    {webhook_url}
AWS endpoint               {aws_url}
                           tables {INBOX_TABLE}, {BALANCES_TABLE}; bus {EVENT_BUS};
                           queues {EVENTS_QUEUE}, {DEAD_LETTER_QUEUE}, {BUS_QUEUE};
                           secrets {FYNAPSE_SECRET}, {RIGHTFOOT_URL_KEY_SECRET},
                           {RIGHTFOOT_API_KEY_SECRET}, {FYNAPSE_API_CREDENTIALS_SECRET};
                           Lambda's Invoke; CloudWatch's GetMetricData
Fynapse's API              {fynapse_url}
Rightfoot's API            {rightfoot_url}
{rightfoot_note}
{worker_note}
{forward_note}{schedules_note}{storage_note}

Deliver an event. The same again is a duplicate; another event_id or batch_id
makes another event:

  t=$(date +%s); body='{{"event_id":"a3efc743-ac6c-463b-aa19-4dd9c45b5b96","event_type":"balance.extracted","metadata":{{}},"event_timestamp":"2026-01-02T03:04:05Z","data":{{"amount":150.00}}}}'
  v1=$(printf %s "$t.$body" | openssl dgst -sha256 -hmac '{secret}' -r | cut -d' ' -f1)
  curl -s {http_url}/webhooks/fynapse -H 'content-type: application/json' -H "webhook-signature: t=$t,v1=$v1" -d "$body"

  curl -s {webhook_url} -H 'content-type: application/json' -d '{{"event_uuid":"f47ac10b-58cc-4372-a567-0e02b2c3d479","type":"BALANCE_BATCH_COMPLETED","batch_id":"5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83"}}'

Submit a batch. The same submission_id again returns the same batch; another one
submits a new batch:

  curl -s {aws_url}/2015-03-31/functions/rightfoot-requests/invocations -d '{{"action":"submit_batch","submission_id":"payroll-1","authorizers":[{{"authorizer_unique_id":"user-1","first_name":"Jane","last_name":"Doe","phone_number":"5551234567","ssn":"078051120","account_number":"000123456789","routing_number":"021000021"}}]}}'

Look at what became of them, in the console or by command:

  {console_url}
  cargo run -q --bin inboxctl -- --endpoint-url {aws_url} events list

"#
    ))
}

/// Describes Rightfoot's API and the intervals of the polls.
fn describe_rightfoot_api(options: &ServeOptions) -> String {
    let PollTiming { first, interval, grace, deadline } = options.poll_timing;
    // The pause grows up to this factor (`POLL_INTERVAL_MAX_FACTOR`).
    let longest_pause = interval.as_secs() * 3;
    let polled = [
        format!("polled after {} s, every {} to {longest_pause} s;", first.as_secs(), interval.as_secs()),
        format!("overdue after {} s; alerts are searched for", deadline.as_secs()),
        format!("{} s after completion", grace.as_secs()),
    ];
    let simulated = match options.rightfoot_api {
        RightfootApi::External(_) => Vec::new(),
        RightfootApi::Simulated { lost_webhooks_pct, .. } => vec![
            format!(
                "simulated: a batch takes {} s, a day {} s;",
                PROCESSING.as_secs(),
                SCHEDULE_DAY.as_secs()
            ),
            format!("{lost_webhooks_pct} % of its webhooks are lost;"),
        ],
    };
    // Under the URL.
    let lines = simulated.into_iter().chain(polled).map(|line| format!("{:27}{line}", ""));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_deletes_the_tables_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("balance-inbox-fresh-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for name in ["inbox.sqlite", "inbox.sqlite-wal", "inbox.sqlite-shm", "lock", "notes.txt"] {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        delete_tables(&dir).unwrap();
        let mut remaining: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        remaining.sort();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(remaining, ["lock", "notes.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_data_directory_is_its_users_alone() {
        use std::os::unix::fs::PermissionsExt;

        let parent = std::env::temp_dir().join(format!("balance-inbox-private-{}", std::process::id()));
        let dir = parent.join("data");
        drop(lock_directory(&dir).unwrap());
        let mode = dir.metadata().unwrap().permissions().mode() & 0o777;
        std::fs::remove_dir_all(&parent).unwrap();
        assert_eq!(mode, 0o700);
    }
}
