//! The command `local`: Balance Inbox on one machine.

#![expect(clippy::print_stdout, reason = "this is a command: it talks to a terminal")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use inbox_core::allow_list::AllowList;
use local::{demo, load, serve};

/// Balance Inbox on one machine: the real functions and the real AWS SDK over embedded engines.
///
/// Without a command it serves the webhook routes, and an AWS endpoint for DynamoDB, SQS and Secrets Manager
/// that any AWS client can look into (table `inbox`, queues `events` and `events-dead`).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Deliver a few hundred events through outages, crashes and forgeries, and prove that nothing is lost.
    Demo(Demo),
    /// Deliver many events at once, and verify that every one of them is on the queue.
    Load(Load),
}

#[derive(Args)]
struct Serve {
    /// Port of the webhook routes.
    #[arg(long, default_value_t = 9000, value_name = "PORT")]
    http_port: u16,
    /// Port of the AWS endpoint (DynamoDB, SQS, Secrets Manager).
    #[arg(long, default_value_t = 9001, value_name = "PORT")]
    aws_port: u16,
    /// Where the table is kept.
    #[arg(long, default_value = ".local", value_name = "DIR", conflicts_with = "memory")]
    data: PathBuf,
    /// Keep the table in memory: everything is gone at the end.
    #[arg(long)]
    memory: bool,
    /// An accepted Fynapse secret, for tests only; repeat it for a rotation, the newest first.
    #[arg(long = "fynapse-secret", default_value = "local-fynapse-secret", value_name = "SECRET")]
    fynapse_secrets: Vec<String>,
    /// The key that signs Rightfoot's webhook URLs.
    #[arg(long, default_value = "local-rightfoot-url-key", value_name = "KEY")]
    rightfoot_url_key: String,
    /// Addresses that may call as Rightfoot, separated by commas, for example 203.0.113.0/24. Empty: all.
    #[arg(long, default_value = "", value_name = "CIDRS")]
    rightfoot_allowed_cidrs: AllowList,
}

#[derive(Args)]
struct Demo {
    /// Seed of the simulated senders: the same seed makes the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Load {
    /// How many different events to deliver.
    #[arg(long, default_value = "2000", value_name = "N")]
    events: NonZeroUsize,
    /// How many deliveries are in flight at the same time.
    #[arg(long, default_value = "16", value_name = "C")]
    concurrency: NonZeroUsize,
    /// How many of them are delivered twice, in percent.
    #[arg(long, default_value_t = 10, value_name = "PCT", value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: u8,
    /// Seed of the simulated senders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => serve::run(cli.serve.options()).await.map(|()| true),
        Some(Command::Demo(demo)) => demo.run().await,
        Some(Command::Load(load)) => load.run().await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            serve::complain(&error);
            ExitCode::FAILURE
        }
    }
}

impl Demo {
    /// Whether everything that the demo promises held.
    async fn run(self) -> anyhow::Result<bool> {
        let options = demo::Options { seed: self.seed, ..demo::Options::default() };
        let report = demo::run(options).await?;
        print!("{report}");
        Ok(report.holds())
    }
}

impl Load {
    /// Whether nothing was lost.
    async fn run(self) -> anyhow::Result<bool> {
        let options = load::Options {
            events: self.events.get(),
            concurrency: self.concurrency.get(),
            duplicates_pct: self.duplicates,
            seed: self.seed,
        };
        let report = load::run(options).await?;
        print!("{report}");
        Ok(report.holds())
    }
}

impl Serve {
    fn options(self) -> serve::Options {
        serve::Options {
            http_port: self.http_port,
            aws_port: self.aws_port,
            data: (!self.memory).then_some(self.data),
            fynapse_secrets: self.fynapse_secrets,
            rightfoot_url_key: self.rightfoot_url_key,
            allowed: self.rightfoot_allowed_cidrs,
        }
    }
}
