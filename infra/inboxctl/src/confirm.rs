//! Confirmation of commands that change something.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::bail;
use clap::Args;

use crate::target::Target;
use crate::terminal;

/// Confirmation of a change.
#[derive(Args)]
pub(crate) struct ConfirmArgs {
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Returns `true` if the user agrees, with `--yes` or at the prompt.
///
/// # Errors
///
/// This machine's clock is wrong (it decides what is written), or there is no terminal to ask on. Call it after a read from
/// AWS: the clock is compared with the last response.
pub(crate) fn is_confirmed(target: &Target, confirm: &ConfirmArgs, plan: &str) -> anyhow::Result<bool> {
    // Checked even with --yes: a wrong clock would store wrong times.
    target.clock_skew.check()?;
    if confirm.yes {
        return Ok(true);
    }
    const NO_TERMINAL: &str =
        "this changes something, and there is no terminal to ask on: check the plan and add --yes";
    // Stdout does not matter: the question goes to stderr, and the output may be piped.
    let has_terminal = stdin().is_terminal() && stderr().is_terminal();
    // With --json, stderr holds the error and nothing else, so the plan is a part of it.
    if target.is_json && !has_terminal {
        bail!("{NO_TERMINAL}\n{}", plan.trim_end());
    }
    terminal::print_notice(&format!("{}\n", plan.trim_end()));
    if !has_terminal {
        bail!(NO_TERMINAL);
    }
    terminal::print_notice("Do it? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
