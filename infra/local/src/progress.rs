//! How far a command has come: a bar on a terminal, a line for each step elsewhere.

#![expect(clippy::print_stderr, reason = "where there is no terminal, lines are the progress")]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// So often the bar shows that time passes.
const TICK: Duration = Duration::from_millis(200);

/// The progress of one command, on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Nothing is done, and nothing is to come yet.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos}/{len} {wide_msg}");
            let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, started: Instant::now() }
    }

    /// What happens from now on.
    pub(crate) fn set_message(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(message.to_owned()),
            None => eprintln!("{:5.1} s  {message}", self.started.elapsed().as_secs_f64()),
        }
    }

    /// So many steps more are to come.
    pub(crate) fn add_steps(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.inc_length(u64::try_from(steps).unwrap_or(u64::MAX));
        }
    }

    /// One step more is done.
    pub(crate) fn finish_step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
