//! The command `inboxctl`: what an operator sees of a Balance Inbox, and how it is mended.
//!
//! ```text
//!  cli ──▶ place (which table, queues, secrets) ──▶ a command ──▶ what it found ──▶ view (text, or JSON)
//! ```

mod account;
mod aws_time;
mod batches;
mod cli;
mod consent;
mod dead;
mod doctor;
mod due;
mod events;
mod parameters;
mod place;
mod poll_problem;
mod quarantine;
mod send;
mod signed_get;
mod submissions;
mod terminal;
mod trace;
mod trouble;
mod url;
mod view;

use std::process::ExitCode;

use anyhow::Context;
use cli::{Batches, Command, Dead, Events, Quarantine, Submissions, Url};
use doctor::COULD_NOT_LOOK;
use place::Place;
use view::Shown;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let is_json = cli.everywhere.json;
    let failure = if matches!(cli.command, Command::Doctor(_)) { COULD_NOT_LOOK } else { 1 };
    let printed = async {
        let at = Place::of(&cli.everywhere).await?;
        // Without the place, an error does not say which one it was.
        let shown = run(&at, cli.command).await.map_err(|error| at.account.located(error))?;
        terminal::print(&shown.text).context("what was found cannot be printed")?;
        anyhow::Ok(shown.exit_code)
    };
    match printed.await {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) => {
            terminal::complain(&format!("{error:#}"), is_json);
            ExitCode::from(failure)
        }
    }
}

async fn run(at: &Place, command: Command) -> anyhow::Result<Shown> {
    // On the heap: with the SDK's calls inside they are too large to be moved about.
    match command {
        Command::Url(Url::Mint(args)) => at.show(&Box::pin(url::mint(at, args)).await?),
        Command::Send(args) => at.show(&Box::pin(send::send(at, args)).await?),
        Command::Trace(args) => at.show(&Box::pin(trace::trace(at, args)).await?),
        Command::Events(Events::List(args)) => at.show(&Box::pin(events::list(at, args)).await?),
        Command::Events(Events::Show(args)) => at.show(&Box::pin(events::show(at, args)).await?),
        Command::Events(Events::Replay(args)) => at.show(&Box::pin(events::replay(at, args)).await?),
        Command::Batches(Batches::List(args)) => at.show(&Box::pin(batches::list(at, args)).await?),
        Command::Batches(Batches::Track(args)) => at.show(&Box::pin(batches::track(at, args)).await?),
        Command::Submissions(Submissions::Conclude(args)) => {
            at.show(&Box::pin(submissions::conclude(at, args)).await?)
        }
        Command::Quarantine(Quarantine::List(args)) => at.show(&Box::pin(quarantine::list(at, args)).await?),
        Command::Quarantine(Quarantine::Show(args)) => at.show(&Box::pin(quarantine::show(at, args)).await?),
        Command::Quarantine(Quarantine::Replay(args)) => {
            at.show(&Box::pin(quarantine::replay(at, args)).await?)
        }
        Command::Quarantine(Quarantine::Discard(args)) => {
            at.show(&Box::pin(quarantine::discard(at, args)).await?)
        }
        Command::Dead(Dead::List(args)) => at.show(&Box::pin(dead::list(at, args)).await?),
        Command::Dead(Dead::Redrive(args)) => at.show(&Box::pin(dead::redrive(at, args)).await?),
        Command::Due(args) => at.show(&Box::pin(due::due(at, args)).await?),
        Command::Doctor(args) => at.show(&Box::pin(doctor::doctor(at, args)).await?),
    }
}
