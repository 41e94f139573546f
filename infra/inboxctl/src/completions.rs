//! `inboxctl completions` and `inboxctl man`: scripts and pages that are made of the command line itself. They need no AWS.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that is to read the script.
    shell: Shell,
}

#[derive(Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory, for example `~/.local/share/man/man1`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl CompletionsArgs {
    /// The script with which the shell completes commands and options.
    pub(crate) fn script(&self, mut command: Command) -> Vec<u8> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        script
    }
}

impl ManArgs {
    /// The page of `inboxctl` itself, or a note of the pages that were written.
    ///
    /// # Errors
    ///
    /// The pages cannot be written.
    pub(crate) fn run(&self, command: Command) -> anyhow::Result<Vec<u8>> {
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return Ok(page);
        };
        let shown = dir.display();
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {shown}"))?;
        clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write to {shown}"))?;
        Ok(format!("The manual pages are in {shown}. Read them with `man inboxctl`.\n").into_bytes())
    }
}
