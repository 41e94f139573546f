//! `inboxctl`, the operator's command-line tool for a Balance Inbox.
//!
//! ```text
//!  cli (arguments) ──▶ target (table, queues, secrets) ──▶ command ──▶ report ──▶ output (text or JSON)
//! ```

mod aws_account;
mod aws_error;
mod batches;
mod cli;
mod clock_skew;
mod confirm;
mod dead_letters;
mod doctor;
mod due;
mod events;
mod output;
mod poll_problem;
mod quarantine;
mod send;
mod sigv4_client;
mod stack_parameters;
mod submissions;
mod target;
mod terminal;
mod timeline;
mod url;

use std::process::ExitCode;

use anyhow::Context;
use cli::{
    BatchesCommand, Command, DeadLettersCommand, EventsCommand, QuarantineCommand, SubmissionsCommand,
    UrlCommand,
};
use doctor::EXIT_UNKNOWN;
use output::Rendered;
use target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    let is_json = cli.global.json;
    // If `doctor` cannot start, nothing is known to fail.
    let failure_code = if matches!(cli.command, Command::Doctor(_)) { EXIT_UNKNOWN } else { 1 };
    let outcome = async {
        let target = Target::resolve(&cli.global).await?;
        // A wrong account, region or endpoint looks like a missing resource, so the error names them.
        let shown = run(&target, cli.command).await.map_err(|error| target.account.with_location(error))?;
        terminal::print(&shown.text).context("cannot write the output")?;
        anyhow::Ok(shown.exit_code)
    };
    match outcome.await {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) => {
            terminal::print_error(&format!("{error:#}"), is_json);
            ExitCode::from(failure_code)
        }
    }
}

async fn run(target: &Target, command: Command) -> anyhow::Result<Rendered> {
    // Boxed: with the SDK's calls inside, the futures are too large to be moved about.
    match command {
        Command::Url(UrlCommand::Mint(args)) => target.render(&Box::pin(url::mint(target, args)).await?),
        Command::Send(args) => target.render(&Box::pin(send::send(target, args)).await?),
        Command::Timeline(args) => target.render(&Box::pin(timeline::show(target, args)).await?),
        Command::Events(EventsCommand::List(args)) => {
            target.render(&Box::pin(events::list(target, args)).await?)
        }
        Command::Events(EventsCommand::Show(args)) => {
            target.render(&Box::pin(events::show(target, args)).await?)
        }
        Command::Events(EventsCommand::Replay(args)) => {
            target.render(&Box::pin(events::replay(target, args)).await?)
        }
        Command::Batches(BatchesCommand::List(args)) => {
            target.render(&Box::pin(batches::list(target, args)).await?)
        }
        Command::Batches(BatchesCommand::Track(args)) => {
            target.render(&Box::pin(batches::track(target, args)).await?)
        }
        Command::Submissions(SubmissionsCommand::Conclude(args)) => {
            target.render(&Box::pin(submissions::conclude(target, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::List(args)) => {
            target.render(&Box::pin(quarantine::list(target, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::Show(args)) => {
            target.render(&Box::pin(quarantine::show(target, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::Replay(args)) => {
            target.render(&Box::pin(quarantine::replay(target, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::Discard(args)) => {
            target.render(&Box::pin(quarantine::discard(target, args)).await?)
        }
        Command::DeadLetters(DeadLettersCommand::List(args)) => {
            target.render(&Box::pin(dead_letters::list(target, args)).await?)
        }
        Command::DeadLetters(DeadLettersCommand::Redrive(args)) => {
            target.render(&Box::pin(dead_letters::redrive(target, args)).await?)
        }
        Command::Due(args) => target.render(&Box::pin(due::list(target, args)).await?),
        Command::Doctor(args) => target.render(&Box::pin(doctor::run(target, args)).await?),
    }
}
