//! `inboxctl`, the operator's command-line tool for a Balance Inbox.
//!
//! ```text
//!  cli (command line) ──▶ target (table, queues, secrets) ──▶ commands/… ──▶ report ──▶ output (text or JSON)
//! ```
//!
//! It is a library, too, so that `local` serves the console with the same checks and test deliveries.

mod audit;
mod aws_account;
mod aws_error;
mod cli;
mod clock_skew;
mod cloudwatch;
mod commands;
mod completions;
mod confirm;
mod console_host;
mod global_args;
mod loopback;
mod output;
mod paging;
mod private_directory;
mod short_id;
mod sigv4_client;
mod stack_parameters;
mod target;
mod terminal;
mod value_parsers;
mod webhook_keys;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use cli::{Cli, CliCommand};
use commands::Command;
use global_args::GlobalArgs;
use target::Target;

pub use console_host::{LocalInbox, bind_local_console};
pub use private_directory::create_private_directory;

/// Runs the command that this process was started with, and returns its exit code.
pub async fn run() -> ExitCode {
    let Cli { global, command } = match cli::parse() {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    match command {
        CliCommand::Inbox(command) => run_command(global, *command).await,
        CliCommand::Completions(args) => print_bytes(Ok(args.script(cli::describe())), global.json),
        CliCommand::Man(args) => print_bytes(args.run(cli::describe()), global.json),
    }
}

/// Runs a command that talks to an inbox.
async fn run_command(global: GlobalArgs, command: Command) -> ExitCode {
    let (is_json, failure_code) = (global.json, command.failure_code());
    let outcome = async {
        let target = Arc::new(Target::resolve(global).await?);
        // A wrong account, region or endpoint looks like a missing resource, so the error names them.
        let rendered = command.run(&target).await.map_err(|error| target.account.with_location(error))?;
        terminal::print(&rendered.text).context("cannot write the output")?;
        anyhow::Ok(rendered.exit_code)
    };
    match outcome.await {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) => {
            terminal::print_error(&format!("{error:#}"), is_json);
            ExitCode::from(failure_code)
        }
    }
}

fn print_bytes(output: anyhow::Result<Vec<u8>>, is_json: bool) -> ExitCode {
    let text = output.and_then(|bytes| String::from_utf8(bytes).context("the output is not UTF-8"));
    match text.and_then(|text| terminal::print(&text).context("cannot write the output")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_error(&format!("{error:#}"), is_json);
            ExitCode::FAILURE
        }
    }
}
