//! What changes something asks first.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::bail;

use crate::cli::Consent;
use crate::terminal;

/// Whether to do it: `--yes`, or what is answered on the terminal.
pub(crate) fn is_given(consent: &Consent, plan: &str) -> anyhow::Result<bool> {
    if consent.yes {
        return Ok(true);
    }
    terminal::tell(&format!("{}\n", plan.trim_end()));
    if !stdin().is_terminal() || !stderr().is_terminal() {
        bail!(
            "this changes something, and there is no terminal to ask on: look at what it would do, and say --yes"
        );
    }
    terminal::tell("Do it? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
