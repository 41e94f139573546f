//! What changes something asks first.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::bail;

use crate::cli::ConfirmArgs;
use crate::target::Target;
use crate::terminal;

/// Whether to do it: `--yes`, or what is answered on the terminal. Fails if this machine's clock is wrong: it decides
/// what is written. Whoever asks has read from AWS before.
pub(crate) fn is_confirmed(target: &Target, confirm: &ConfirmArgs, plan: &str) -> anyhow::Result<bool> {
    target.clock_skew.check()?;
    if confirm.yes {
        return Ok(true);
    }
    const NO_TERMINAL: &str =
        "this changes something, and there is no terminal to ask on: look at what it would do, and say --yes";
    let has_terminal = stdin().is_terminal() && stderr().is_terminal();
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
