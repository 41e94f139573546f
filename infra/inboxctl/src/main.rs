//! The command `inboxctl`: what an operator sees of a Balance Inbox, and how it is mended.
//!
//! ```text
//!  cli ──▶ place (which table, queues, secrets) ──▶ a command ──▶ what it found ──▶ view (text, or JSON)
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
    let failure_code = if matches!(cli.command, Command::Doctor(_)) { EXIT_UNKNOWN } else { 1 };
    let outcome = async {
        let target = Target::resolve(&cli.global).await?;
        // Without the place, an error does not say which one it was.
        let shown = run(&target, cli.command).await.map_err(|error| target.account.with_location(error))?;
        terminal::print(&shown.text).context("what was found cannot be printed")?;
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
    // On the heap: with the SDK's calls inside they are too large to be moved about.
    match command {
        Command::Url(UrlCommand::Mint(args)) => target.render(&Box::pin(url::mint(target, args)).await?),
        Command::Send(args) => target.render(&Box::pin(send::send(target, args)).await?),
        Command::Trace(args) => target.render(&Box::pin(timeline::show(target, args)).await?),
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
        Command::Dead(DeadLettersCommand::List(args)) => {
            target.render(&Box::pin(dead_letters::list(target, args)).await?)
        }
        Command::Dead(DeadLettersCommand::Redrive(args)) => {
            target.render(&Box::pin(dead_letters::redrive(target, args)).await?)
        }
        Command::Due(args) => target.render(&Box::pin(due::list(target, args)).await?),
        Command::Doctor(args) => target.render(&Box::pin(doctor::run(target, args)).await?),
    }
}
