//! The commands, one module each: its arguments, what it does, and its report.

mod audit;
mod balances;
mod batches;
mod console;
mod dead_letters;
pub(crate) mod doctor;
mod due;
mod events;
mod fynapse;
mod person;
mod quarantine;
mod schedules;
pub(crate) mod send;
mod submissions;
mod timeline;
mod url;

use std::sync::Arc;

use clap::Subcommand;

use crate::output::Rendered;
use crate::target::Target;
use audit::ListAuditArgs;
use balances::BalancesCommand;
use batches::BatchesCommand;
use console::ConsoleArgs;
use dead_letters::DeadLettersCommand;
use doctor::DoctorArgs;
use due::DueArgs;
use events::EventsCommand;
use fynapse::FynapseCommand;
use person::PersonCommand;
use quarantine::QuarantineCommand;
use schedules::SchedulesCommand;
use send::SendArgs;
use submissions::SubmissionsCommand;
use timeline::TimelineArgs;
use url::UrlCommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the inbox to a browser on this machine: events, timelines, quarantine, replay.
    ///
    /// Prints an address with a token that signs in; keep it to yourself. It listens on 127.0.0.1 only, until Ctrl-C.
    Console(ConsoleArgs),
    /// Mint webhook URLs for Rightfoot.
    #[command(subcommand)]
    Url(UrlCommand),
    /// Send a test delivery as a provider would, and check the response.
    Send(SendArgs),
    /// Show the timeline of an event, batch, schedule or submission, and its status.
    Timeline(TimelineArgs),
    /// List, show and replay recorded events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Tracked batches.
    #[command(subcommand)]
    Batches(BatchesCommand),
    /// Stored balances.
    #[command(subcommand)]
    Balances(BalancesCommand),
    /// Tracked schedules.
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Submissions through rightfoot-requests.
    #[command(subcommand)]
    Submissions(SubmissionsCommand),
    /// Verified deliveries that could not be processed.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Messages in the dead-letter queue.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Signing secret, subscription and missed deliveries of Fynapse.
    #[command(subcommand)]
    Fynapse(FynapseCommand),
    /// What is stored of a person.
    #[command(subcommand)]
    Person(PersonCommand),
    /// List what operators have done, newest first.
    Audit(ListAuditArgs),
    /// List what is due for the relay, the poller and an operator, with its times.
    Due(DueArgs),
    /// Check for stuck items and wrong settings. Changes nothing.
    ///
    /// Exits with 0 if no check fails, with 1 if one fails (an open item in quarantine is a failure), and with 2 if none is known
    /// to fail but one could not be made.
    Doctor(DoctorArgs),
}

impl Command {
    /// Exit code if the command fails. If `doctor` cannot start, nothing is known to fail.
    pub(crate) fn failure_code(&self) -> u8 {
        if matches!(self, Self::Doctor(_)) { doctor::EXIT_UNKNOWN } else { 1 }
    }

    pub(crate) async fn run(self, target: &Arc<Target>) -> anyhow::Result<Rendered> {
        // Boxed: with the SDK's calls inside, the futures are too large to be moved about.
        match self {
            Self::Console(args) => Box::pin(console::serve(target, args)).await,
            Self::Url(command) => Box::pin(command.run(target)).await,
            Self::Send(args) => target.render(&Box::pin(send::send(target, args)).await?),
            Self::Timeline(args) => target.render(&Box::pin(timeline::show(target, args)).await?),
            Self::Events(command) => Box::pin(command.run(target)).await,
            Self::Batches(command) => Box::pin(command.run(target)).await,
            Self::Balances(command) => Box::pin(command.run(target)).await,
            Self::Schedules(command) => Box::pin(command.run(target)).await,
            Self::Submissions(command) => Box::pin(command.run(target)).await,
            Self::Quarantine(command) => Box::pin(command.run(target)).await,
            Self::DeadLetters(command) => Box::pin(command.run(target)).await,
            Self::Fynapse(command) => Box::pin(command.run(target)).await,
            Self::Person(command) => Box::pin(command.run(target)).await,
            Self::Audit(args) => target.render(&Box::pin(audit::list(target, args)).await?),
            Self::Due(args) => target.render(&Box::pin(due::list(target, args)).await?),
            Self::Doctor(args) => target.render(&Box::pin(doctor::run(target, args)).await?),
        }
    }
}
