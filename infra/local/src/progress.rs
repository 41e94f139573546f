//! Progress of a command on stderr: on a terminal a bar and the finished phases, elsewhere a line for each finished phase.

#![expect(clippy::print_stderr, reason = "progress is printed as lines if stderr is not a terminal")]

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Interval at which the bar is redrawn.
const TICK: Duration = Duration::from_millis(100);

/// Progress of one command. The bar is cleared on drop.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    phase: Mutex<Option<Phase>>,
}

#[derive(Debug)]
struct Phase {
    name: String,
    started: Instant,
}

impl Progress {
    /// Starts with zero steps, in no phase.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner}  {phase_secs}  {wide_msg} {pos}/{len}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let phase_secs = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Writing to the bar's own buffer cannot fail.
                let _ = write!(out, "{}", format_secs(state.elapsed()));
            };
            let bar = ProgressBar::new(0).with_style(style.with_key("phase_secs", phase_secs));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, phase: Mutex::new(None) }
    }

    /// Ends the current phase, and starts another one.
    pub(crate) fn start_phase(&self, name: &str) {
        self.finish_phase();
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
            bar.reset_elapsed();
        }
        *self.lock_phase() = Some(Phase { name: name.to_owned(), started: Instant::now() });
    }

    /// Ends the current phase: it stays on the screen with the time that it took.
    pub(crate) fn finish_phase(&self) {
        let Some(Phase { name, started }) = self.lock_phase().take() else { return };
        let secs = format_secs(started.elapsed());
        match &self.bar {
            Some(bar) => bar.println(format!("{}  {secs}  {name}", green_mark())),
            None => eprintln!("{secs}  {name}"),
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

    fn lock_phase(&self) -> MutexGuard<'_, Option<Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn format_secs(span: Duration) -> String {
    format!("{:4.1} s", span.as_secs_f64())
}

/// Mark of a finished phase, without its colour if NO_COLOR is set.
fn green_mark() -> String {
    let has_colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
    let style = if has_colours { green } else { Style::new() };
    format!("{style}✓{style:#}")
}
