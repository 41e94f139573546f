//! What changes something asks first.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::bail;

use crate::cli::Consent;
use crate::place::Place;
use crate::terminal;

/// Whether to do it: `--yes`, or what is answered on the terminal. Fails if this machine's clock is wrong: it decides
/// what is written. Whoever asks has read from AWS before.
pub(crate) fn is_given(at: &Place, consent: &Consent, plan: &str) -> anyhow::Result<bool> {
    at.aws_time.check()?;
    if consent.yes {
        return Ok(true);
    }
    const REFUSAL: &str =
        "this changes something, and there is no terminal to ask on: look at what it would do, and say --yes";
    let has_terminal = stdin().is_terminal() && stderr().is_terminal();
    if at.is_json && !has_terminal {
        bail!("{REFUSAL}\n{}", plan.trim_end());
    }
    terminal::tell(&format!("{}\n", plan.trim_end()));
    if !has_terminal {
        bail!(REFUSAL);
    }
    terminal::tell("Do it? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
