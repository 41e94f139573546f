//! Command-line interface of `local`: Balance Inbox on one machine.

#![expect(clippy::print_stdout, reason = "a command prints its results")]

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use inbox_aws::config::{BaseUrl, restart_without_empty_variables};
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::Provider;
use inbox_core::poll::PollTiming;
use local::api_destination::{CustomHeader, DestinationUrl};
use local::serve::logging::{LogFormat, Verbosity};
use local::{demo, load_test, serve};

// The only environment variable that the command line reads.
const RIGHTFOOT_API_KEY: &str = "RIGHTFOOT_API_KEY";

/// Balance Inbox on one machine: the deployed functions and the AWS SDK over emulated AWS services.
///
/// Without a command, serves the webhook routes, simulated APIs of both providers, and an AWS endpoint for any AWS client:
/// DynamoDB (tables `inbox` and `balances`), SQS (queues `events`, `events-dead` and `bus-events`, which receives every
/// event of the bus `balance-inbox`), EventBridge, Secrets Manager, Lambda's Invoke for every function, and
/// CloudWatch's GetMetricData.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Deliver a few hundred events through outages, crashes and forgeries, and check that nothing is lost.
    Demo(DemoArgs),
    /// Deliver many events concurrently, and check that every event is on the queue.
    Load(LoadArgs),
    /// Serve only the simulated Rightfoot API, for functions that run elsewhere, such as on an emulated AWS.
    Rightfoot(RightfootArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Port of the webhook routes.
    #[arg(long, default_value_t = 9000, value_name = "PORT")]
    http_port: u16,
    /// Port of the AWS endpoint (DynamoDB, SQS, EventBridge, Secrets Manager, Lambda's Invoke, CloudWatch's GetMetricData).
    #[arg(long, default_value_t = 9001, value_name = "PORT")]
    aws_port: u16,
    /// Listen on this address, too, and not only on 127.0.0.1: for functions in Docker on Linux, 172.17.0.1. The
    /// AWS endpoint asks for no credentials: whoever reaches it can read and change all data, and read the secrets.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Directory of the tables; the queues are always in memory.
    #[arg(long, default_value = ".local", value_name = "DIR", conflicts_with = "memory")]
    data: PathBuf,
    /// Keep the tables in memory: everything is lost on exit.
    #[arg(long)]
    memory: bool,
    /// Delete the tables of earlier runs first.
    #[arg(long, conflicts_with = "memory")]
    fresh: bool,
    /// Accepted Fynapse secret, for tests only; repeat the option for a rotation, newest secret first.
    #[arg(long = "fynapse-secret", default_value = "local-fynapse-secret", value_name = "SECRET")]
    fynapse_secrets: Vec<String>,
    /// Key that signs Rightfoot's webhook URLs.
    #[arg(long, default_value = "local-rightfoot-url-key", value_name = "KEY")]
    rightfoot_url_key: String,
    /// Comma-separated addresses from which Fynapse may call, for example 203.0.113.0/24. Empty: any.
    #[arg(long, default_value = "", value_name = "CIDRS")]
    fynapse_allowed_cidrs: AllowList,
    /// Comma-separated addresses from which Rightfoot may call. Empty: any.
    #[arg(long, default_value = "", value_name = "CIDRS")]
    rightfoot_allowed_cidrs: AllowList,
    /// Port of the simulated Rightfoot API.
    #[arg(long, default_value_t = 9002, value_name = "PORT", conflicts_with = "rightfoot_api")]
    rightfoot_port: u16,
    /// Port of the simulated Fynapse API.
    #[arg(long, default_value_t = 9005, value_name = "PORT")]
    fynapse_port: u16,
    /// Port of the console, for a browser [default: 9003, or any free port if that is taken].
    #[arg(long, value_name = "PORT")]
    console_port: Option<u16>,
    /// Share of the simulated Rightfoot's webhooks that are lost, in percent.
    #[arg(long, default_value_t = 0, value_name = "PCT", value_parser = clap::value_parser!(u8).range(0..=100), conflicts_with = "rightfoot_api")]
    lose_webhooks: u8,
    /// Use the Rightfoot API at this URL instead of the simulated one.
    #[arg(long, value_name = "URL", requires = "rightfoot_api_key")]
    rightfoot_api: Option<BaseUrl>,
    /// API key for Rightfoot.
    #[arg(long, value_name = "KEY", env = RIGHTFOOT_API_KEY, hide_env_values = true)]
    rightfoot_api_key: Option<String>,
    /// Base URL at which Rightfoot reaches the webhook routes: for the real Rightfoot, a tunnel to --http-port. Without
    /// it, the real Rightfoot's webhooks do not arrive, and all events come from polls.
    #[arg(long, value_name = "URL")]
    webhook_base_url: Option<BaseUrl>,
    /// Do not run the worker: messages stay on the queue `events`.
    #[arg(long)]
    no_worker: bool,
    /// Do not schedule the relay, the poller and the auditor; invoke them yourself.
    #[arg(long)]
    no_schedules: bool,
    /// Seconds from tracking a batch to its first poll [default: 10; with --rightfoot-api 600].
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    poll_first_secs: Option<u64>,
    /// Seconds between two polls, growing to three times as many [default: 5; with --rightfoot-api 300].
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    poll_every_secs: Option<u64>,
    /// Seconds from a run's completion to the search for alerts that no webhook announced [default: 20; with
    /// --rightfoot-api 1200].
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    poll_grace_secs: Option<u64>,
    /// Seconds from tracking a batch until it is overdue [default: 600; with --rightfoot-api 86400].
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    poll_deadline_secs: Option<u64>,
    /// Post each event of the bus to this URL, as an EventBridge API destination does, and print the answers. A failed post
    /// is repeated up to 10 times within 10 minutes.
    #[arg(long, value_name = "URL")]
    forward_to: Option<DestinationUrl>,
    /// Header of these posts, for example 'x-api-key: 123'; repeat the option for several.
    #[arg(long = "forward-header", value_name = "HEADER", requires = "forward_to")]
    forward_headers: Vec<CustomHeader>,
    /// Form of the log lines on stderr [default: text on a terminal, otherwise json].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormatArg>,
    /// Log warnings and errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Also log runs of the relay, the poller and the auditor that had nothing to do, whole ids, and request ids.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormatArg {
    /// One readable line for each thing that happened; coloured on a terminal, unless NO_COLOR is set.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Args)]
struct DemoArgs {
    /// Random seed: the same seed sends the same events and injects the same faults; only timing may differ.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also print what was sent and answered, recorded, found and published, in four tables.
    #[arg(long)]
    details: bool,
}

#[derive(Args)]
struct LoadArgs {
    /// Number of different events to deliver.
    #[arg(long, default_value = "2000", value_name = "N")]
    events: NonZeroUsize,
    /// Number of concurrent deliveries.
    #[arg(long, default_value = "16", value_name = "C")]
    concurrency: NonZeroUsize,
    /// Share of the events that are delivered twice, in percent.
    #[arg(long, default_value_t = 10, value_name = "PCT", value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: u8,
    /// Random seed of the simulated senders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct RightfootArgs {
    /// Port; 0 for any free one.
    #[arg(long, default_value_t = 9002, value_name = "PORT")]
    port: u16,
    /// Listen on this address, too, and not only on 127.0.0.1: for functions in Docker on Linux, 172.17.0.1.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// API key that it accepts.
    #[arg(
        long,
        default_value = "local-rightfoot-api-key",
        value_name = "KEY",
        env = RIGHTFOOT_API_KEY,
        hide_env_values = true
    )]
    api_key: String,
    /// Share of its webhooks that are lost, in percent.
    #[arg(long, default_value_t = 0, value_name = "PCT", value_parser = clap::value_parser!(u8).range(0..=100))]
    lose_webhooks: u8,
    /// Seconds that a batch takes.
    #[arg(long, default_value_t = serve::PROCESSING.as_secs(), value_name = "SECS")]
    processing_secs: u64,
    /// Length of a simulated day, in seconds: a daily schedule runs once in it.
    #[arg(long, default_value_t = serve::SCHEDULE_DAY.as_secs(), value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    schedule_day_secs: u64,
    /// Random seed: the same seed gives the same ids and balances [default: a new one at each start].
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // An empty variable counts as unset; clap would take it for a value.
    if let Err(error) = restart_without_empty_variables(&[RIGHTFOOT_API_KEY.into()]) {
        serve::print_error(
            &anyhow::Error::new(error).context("cannot restart without the empty environment variables"),
        );
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve::run(cli.serve.options()).await.map(|()| true),
        Some(Command::Demo(demo)) => demo.run().await,
        Some(Command::Load(load)) => load.run().await,
        Some(Command::Rightfoot(args)) => serve::rightfoot_only::run(args.options()).await.map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        // The command ran to its end, and its report shows failed checks.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            serve::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

impl DemoArgs {
    /// Prints the report. Returns `true` if every check succeeded.
    async fn run(self) -> anyhow::Result<bool> {
        let options = demo::DemoOptions { seed: self.seed, ..demo::DemoOptions::default() };
        let report = Box::pin(demo::run(options)).await?;
        if self.details {
            print!("{}", report.details());
        }
        // Drops the colours if stdout is no terminal, or NO_COLOR is set.
        anstream::print!("{report}");
        Ok(report.is_success())
    }
}

impl LoadArgs {
    /// Prints the report. Returns `true` if every event is on the queue, and nothing else.
    async fn run(self) -> anyhow::Result<bool> {
        let options = load_test::LoadTestOptions {
            events: self.events.get(),
            concurrency: self.concurrency.get(),
            duplicates_pct: self.duplicates,
            seed: self.seed,
        };
        let report = load_test::run(options).await?;
        print!("{report}");
        Ok(report.is_success())
    }
}

impl RightfootArgs {
    fn options(self) -> serve::rightfoot_only::SimulatorOptions {
        serve::rightfoot_only::SimulatorOptions {
            port: self.port,
            bind: self.bind,
            api_key: self.api_key,
            lost_webhooks_pct: self.lose_webhooks,
            batch_processing: Duration::from_secs(self.processing_secs),
            schedule_day: Duration::from_secs(self.schedule_day_secs),
            seed: self.seed,
        }
    }
}

impl ServeArgs {
    /// Short intervals for the simulated Rightfoot, which answers within seconds; production's for a real one.
    fn poll_timing(&self) -> PollTiming {
        let defaults = match self.rightfoot_api {
            Some(_) => PollTiming::default(),
            None => PollTiming {
                first: Duration::from_secs(10),
                interval: Duration::from_secs(5),
                grace: Duration::from_secs(20),
                deadline: Duration::from_secs(600),
            },
        };
        let secs_or = |secs: Option<u64>, default| secs.map_or(default, Duration::from_secs);
        PollTiming {
            first: secs_or(self.poll_first_secs, defaults.first),
            interval: secs_or(self.poll_every_secs, defaults.interval),
            grace: secs_or(self.poll_grace_secs, defaults.grace),
            deadline: secs_or(self.poll_deadline_secs, defaults.deadline),
        }
    }

    fn options(self) -> serve::ServeOptions {
        serve::ServeOptions {
            poll_timing: self.poll_timing(),
            webhook_base_url: self.webhook_base_url.clone().map(String::from),
            worker: !self.no_worker,
            run_schedules: !self.no_schedules,
            log_format: match self.log_format {
                Some(LogFormatArg::Text) => LogFormat::Text,
                Some(LogFormatArg::Json) => LogFormat::Json,
                None => LogFormat::detect(),
            },
            verbosity: match (self.quiet, self.verbose) {
                (true, _) => Verbosity::Quiet,
                (false, true) => Verbosity::Verbose,
                (false, false) => Verbosity::Normal,
            },
            forward_to: self.forward_to,
            forward_headers: self.forward_headers,
            rightfoot_api: match self.rightfoot_api {
                Some(url) => serve::RightfootApi::External(url.into()),
                None => serve::RightfootApi::Simulated {
                    port: self.rightfoot_port,
                    lost_webhooks_pct: self.lose_webhooks,
                },
            },
            // With a real Rightfoot, the option is required, so this default is only for the simulated one.
            rightfoot_api_key: self.rightfoot_api_key.unwrap_or_else(|| "local-rightfoot-api-key".to_owned()),
            http_port: self.http_port,
            fynapse_port: self.fynapse_port,
            console_port: self.console_port,
            aws_port: self.aws_port,
            bind: self.bind,
            data_dir: (!self.memory).then_some(self.data),
            fresh: self.fresh,
            fynapse_secrets: self.fynapse_secrets,
            rightfoot_url_key: self.rightfoot_url_key,
            allow_lists: [
                (Provider::Fynapse, self.fynapse_allowed_cidrs),
                (Provider::Rightfoot, self.rightfoot_allowed_cidrs),
            ]
            .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_options(args: &str) -> Result<serve::ServeOptions, clap::error::ErrorKind> {
        let cli = Cli::try_parse_from(std::iter::once("local").chain(args.split_whitespace()));
        cli.map(|cli| cli.serve.options()).map_err(|error| error.kind())
    }

    #[test]
    fn poll_timing_is_short_for_the_simulated_rightfoot_and_default_for_the_real_one() {
        let secs = |args: &str| {
            let PollTiming { first, interval, grace, deadline } = parse_options(args).unwrap().poll_timing;
            [first, interval, grace, deadline].map(|span| span.as_secs())
        };
        assert_eq!(secs(""), [10, 5, 20, 600]);
        let overrides = "--poll-first-secs 1 --poll-every-secs 2 --poll-grace-secs 3 --poll-deadline-secs 4";
        assert_eq!(secs(overrides), [1, 2, 3, 4]);
        let real = "--rightfoot-api https://api.example --rightfoot-api-key k";
        assert_eq!(secs(real), [600, 300, 1_200, 86_400]);
        assert_eq!(secs(&format!("{real} {overrides}")), [1, 2, 3, 4]);
    }

    #[test]
    fn the_worker_and_the_schedules_run_unless_disabled() {
        let runs = |args: &str| {
            let serve::ServeOptions { worker, run_schedules, .. } = parse_options(args).unwrap();
            (worker, run_schedules)
        };
        assert_eq!(runs(""), (true, true));
        assert_eq!(runs("--no-worker"), (false, true));
        assert_eq!(runs("--no-schedules"), (true, false));
    }

    #[test]
    fn rightfoot_is_simulated_or_external_with_a_key() {
        let simulated = parse_options("--rightfoot-port 9 --lose-webhooks 50").unwrap();
        assert!(matches!(
            simulated.rightfoot_api,
            serve::RightfootApi::Simulated { port: 9, lost_webhooks_pct: 50 }
        ));
        let real = parse_options("--rightfoot-api https://api.example --rightfoot-api-key k").unwrap();
        assert!(
            matches!(real.rightfoot_api, serve::RightfootApi::External(url) if url == "https://api.example")
        );
        assert_eq!(real.rightfoot_api_key, "k");
        for (args, kind) in [
            ("--rightfoot-api https://api.example", clap::error::ErrorKind::MissingRequiredArgument),
            (
                "--rightfoot-api https://u --rightfoot-api-key k --lose-webhooks 1",
                clap::error::ErrorKind::ArgumentConflict,
            ),
            ("--lose-webhooks 101", clap::error::ErrorKind::ValueValidation),
            ("--poll-every-secs 0", clap::error::ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse_options(args).err(), Some(kind), "{args}");
        }
    }

    #[test]
    fn rightfoot_alone_has_the_defaults_of_serve_unless_overridden() {
        let parse_rightfoot = |args: &str| {
            let args = std::iter::once("local").chain(args.split_whitespace());
            match Cli::try_parse_from(args).map(|cli| cli.command) {
                Ok(Some(Command::Rightfoot(args))) => args.options(),
                _ => panic!("no such command"),
            }
        };
        let defaults = parse_rightfoot("rightfoot --api-key k");
        assert_eq!((defaults.port, defaults.lost_webhooks_pct, defaults.seed), (9002, 0, None));
        assert_eq!(
            (defaults.batch_processing, defaults.schedule_day),
            (serve::PROCESSING, serve::SCHEDULE_DAY)
        );
        let overridden = parse_rightfoot(
            "rightfoot --api-key k --port 0 --bind 172.17.0.1 --lose-webhooks 100 --processing-secs 1 --schedule-day-secs 2 --seed 3",
        );
        let expected = serve::rightfoot_only::SimulatorOptions {
            port: 0,
            bind: Some("172.17.0.1".parse().unwrap()),
            api_key: "k".to_owned(),
            lost_webhooks_pct: 100,
            batch_processing: Duration::from_secs(1),
            schedule_day: Duration::from_secs(2),
            seed: Some(3),
        };
        assert_eq!(overridden, expected);
    }
}
