//! Progress display of a command on stderr: a bar on a terminal, a line for each message elsewhere.

#![expect(clippy::print_stderr, reason = "progress is printed as lines if stderr is not a terminal")]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Interval at which the bar's elapsed time is redrawn.
const TICK: Duration = Duration::from_millis(200);

/// Progress of one command. The bar is cleared on drop.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Starts the clock, with zero steps.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos}/{len} {wide_msg}");
            let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, started: Instant::now() }
    }

    /// Shows the current phase.
    pub(crate) fn set_message(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(message.to_owned()),
            None => eprintln!("{:5.1} s  {message}", self.started.elapsed().as_secs_f64()),
        }
    }

    /// Raises the number of expected steps.
    pub(crate) fn add_steps(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.inc_length(u64::try_from(steps).unwrap_or(u64::MAX));
        }
    }

    /// Counts one step as done.
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
