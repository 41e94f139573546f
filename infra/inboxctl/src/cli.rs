//! Command line of `inboxctl`. Empty variables count as unset, and an error about a variable's value names the variable.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use inbox_aws::config::{redact_userinfo, restart_without_empty_variables};

use crate::commands::Command;
use crate::completions::{CompletionsArgs, ManArgs};
use crate::global_args::GlobalArgs;
use crate::terminal;

const EXAMPLES: &str = "\
Examples against a deployed stack; its outputs name the resources:
  export INBOXCTL_STACK=balance-inbox INBOXCTL_BY=ada
  inboxctl doctor
  inboxctl timeline 5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83
  inboxctl quarantine list --reason unknown_type
  inboxctl quarantine replay --reason unknown_type --why 'known since 1.4'
  inboxctl dead-letters redrive --dry-run

Examples against `cargo run -p local`, which needs no names and credentials:
  export AWS_ENDPOINT_URL=http://127.0.0.1:9001
  inboxctl send fynapse --duplicate
  inboxctl due

Credentials, region, endpoint and AWS_CA_BUNDLE come from where the AWS CLI
takes them: an option overrides the environment, which overrides the profile.
An empty variable counts as unset.
Commands that change something, or send to another machine, ask first unless
--yes is given.
Exit code: 0 on success; 1 if something failed, was refused or has an unexpected
result; 2 for an invalid command line. Of doctor: 0 if no check fails, 1 if one
fails, 2 if none is known to fail but one could not be made.";

/// Inspect a Balance Inbox, find what is stuck, and replay or repair it.
#[derive(Parser)]
#[command(name = "inboxctl", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Subcommand)]
pub(crate) enum CliCommand {
    #[command(flatten)]
    Inbox(Box<Command>),
    /// Print the script with which a shell completes commands and options.
    Completions(CompletionsArgs),
    /// Print the manual page, or write a page for each command.
    Man(ManArgs),
}

/// Description of the command line, for completions and manual pages.
pub(crate) fn describe() -> clap::Command {
    // Otherwise the pages would lack the help of options that `-h` hides.
    Cli::command().mut_args(|arg| arg.hide_short_help(false))
}

/// Parses the command line of this process. `Err` is the code to exit with, after the error or the help text is printed.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let command = Cli::command();
    // Known before the arguments are parsed, since an error of parsing is printed as JSON, too.
    let is_json = std::env::args_os().any(|word| word == "--json");
    if let Err(error) = restart_without_empty_variables(&env_variables(&command)) {
        terminal::print_error(&format!("cannot start again without the empty variables: {error}"), is_json);
        return Err(ExitCode::FAILURE);
    }
    try_parse(&command).map_err(|mut error| {
        name_env_variable(&mut error, &command);
        redact_urls(&mut error);
        if is_json && error.use_stderr() {
            let text = error.to_string();
            // The error ends at the first empty line; clap's hints at the usage follow.
            let summary = text.split("\n\n").next().unwrap_or_default();
            terminal::print_error(summary.trim_start_matches("error: "), true);
        } else {
            // Without stderr, there is nowhere else to report it.
            let _ = error.print();
        }
        // clap reports --help and --version as errors, too, but not on stderr.
        if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
    })
}

fn try_parse(command: &clap::Command) -> Result<Cli, clap::Error> {
    let matches = command.clone().try_get_matches()?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if matches.value_source("stack") == Some(ValueSource::CommandLine) {
        ignore_exported_names(&mut cli.global, &matches);
    }
    Ok(cli)
}

/// Drops names that come from variables: `--stack` as an option overrides them (as INBOXCTL_STACK it does not).
fn ignore_exported_names(global: &mut GlobalArgs, matches: &ArgMatches) {
    let is_exported = |id| matches.value_source(id) == Some(ValueSource::EnvVariable);
    for (id, name) in [
        ("table", &mut global.table),
        ("balances_table", &mut global.balances_table),
        ("queue_url", &mut global.queue_url),
        ("dead_letter_queue_url", &mut global.dead_letter_queue_url),
        ("bus", &mut global.bus),
        ("fynapse_secret", &mut global.fynapse_secret),
        ("rightfoot_url_key", &mut global.rightfoot_url_key),
        ("rightfoot_api_key", &mut global.rightfoot_api_key),
        ("base_url", &mut global.base_url),
    ] {
        if is_exported(id) {
            *name = None;
        }
    }
    if is_exported("retention_days") {
        global.retention_days = None;
    }
}

/// Environment variables that the command and its subcommands read.
fn env_variables(command: &clap::Command) -> Vec<OsString> {
    let own_variables = command.get_arguments().filter_map(|it| it.get_env()).map(OsString::from);
    own_variables.chain(command.get_subcommands().flat_map(env_variables)).collect()
}

/// Names the variable in an error about its value; clap itself names only the option.
fn name_env_variable(error: &mut clap::Error, command: &clap::Command) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (option, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let flag = option.split(' ').next().unwrap_or_default();
    // A value on the command line overrides the variable, so then the option is at fault.
    let is_on_command_line = std::env::args_os().any(|word| {
        word.to_string_lossy().strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let has_this_value =
        |name: &OsString| std::env::var_os(name).is_some_and(|it| it.to_string_lossy() == value);
    let variable = env_variable_of(command, flag).filter(|name| !is_on_command_line && has_this_value(name));
    if let Some(name) = variable {
        let argument = format!("{} ({flag})", name.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(argument));
    }
}

/// Hides user name and password of URLs in an error's text (P8).
fn redact_urls(error: &mut clap::Error) {
    let redact = |(kind, value): (ContextKind, &ContextValue)| {
        let ContextValue::String(text) = value else { return None };
        Some((kind, ContextValue::String(redact_userinfo(text))))
    };
    let redacted: Vec<_> = error.context().filter_map(redact).collect();
    for (kind, value) in redacted {
        error.insert(kind, value);
    }
}

fn env_variable_of(command: &clap::Command, flag: &str) -> Option<OsString> {
    let has_flag = |it: &&Arg| it.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
    let own_variable = command.get_arguments().find(has_flag).and_then(Arg::get_env).map(OsString::from);
    own_variable.or_else(|| command.get_subcommands().find_map(|it| env_variable_of(it, flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
