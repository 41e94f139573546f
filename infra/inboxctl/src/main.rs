//! The command `inboxctl`: what an operator sees of a Balance Inbox, and how it is mended.
//!
//! ```text
//!  cli ──▶ place (which table, queues, secrets) ──▶ a command ──▶ what it found ──▶ view (text, or JSON)
//! ```

mod aws_account;
mod clock_skew;
mod batches;
mod cli;
mod confirm;
mod dead_letters;
mod doctor;
mod due;
mod events;
mod stack_parameters;
mod target;
mod poll_problem;
mod quarantine;
mod send;
mod sigv4_client;
mod submissions;
mod terminal;
mod timeline;
mod aws_error;
mod url;
mod output;

use std::process::ExitCode;

use anyhow::Context;
use cli::{BatchesCommand, Command, DeadLettersCommand, EventsCommand, QuarantineCommand, SubmissionsCommand, UrlCommand};
use doctor::EXIT_UNKNOWN;
use target::Target;
use output::Rendered;

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
        Command::Url(UrlCommand::Mint(args)) => at.show(&Box::pin(url::mint(at, args)).await?),
        Command::Send(args) => at.show(&Box::pin(send::send(at, args)).await?),
        Command::Trace(args) => at.show(&Box::pin(timeline::show(at, args)).await?),
        Command::Events(EventsCommand::List(args)) => at.show(&Box::pin(events::list(at, args)).await?),
        Command::Events(EventsCommand::Show(args)) => at.show(&Box::pin(events::show(at, args)).await?),
        Command::Events(EventsCommand::Replay(args)) => at.show(&Box::pin(events::replay(at, args)).await?),
        Command::Batches(BatchesCommand::List(args)) => at.show(&Box::pin(batches::list(at, args)).await?),
        Command::Batches(BatchesCommand::Track(args)) => at.show(&Box::pin(batches::track(at, args)).await?),
        Command::Submissions(SubmissionsCommand::Conclude(args)) => {
            at.show(&Box::pin(submissions::conclude(at, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::List(args)) => at.show(&Box::pin(quarantine::list(at, args)).await?),
        Command::Quarantine(QuarantineCommand::Show(args)) => at.show(&Box::pin(quarantine::show(at, args)).await?),
        Command::Quarantine(QuarantineCommand::Replay(args)) => {
            at.show(&Box::pin(quarantine::replay(at, args)).await?)
        }
        Command::Quarantine(QuarantineCommand::Discard(args)) => {
            at.show(&Box::pin(quarantine::discard(at, args)).await?)
        }
        Command::Dead(DeadLettersCommand::List(args)) => at.show(&Box::pin(dead_letters::list(at, args)).await?),
        Command::Dead(DeadLettersCommand::Redrive(args)) => at.show(&Box::pin(dead_letters::redrive(at, args)).await?),
        Command::Due(args) => at.show(&Box::pin(due::list(at, args)).await?),
        Command::Doctor(args) => at.show(&Box::pin(doctor::run(at, args)).await?),
    }
}
