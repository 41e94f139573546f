//! Log of `local`: lines for people on a terminal, JSON elsewhere.

use std::io::{IsTerminal, stderr, stdout};

use inbox_aws::telemetry;
use tracing::Level;

use super::log_line::TextLines;

/// Targets of the lines that `local` itself logs.
const OWN_TARGETS: [&str; 2] = ["bus", "forward"];

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line for each thing that happened.
    Text,
    /// One JSON object per line, as the deployed functions write them.
    Json,
}

/// Amount of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// All that happened.
    #[default]
    Normal,
    /// Also runs of the relay and the poller that had nothing to do, whole ids, and request ids.
    Verbose,
}

impl LogFormat {
    /// Text if a person reads the output: if stdout and stderr are terminals.
    pub fn detect() -> Self {
        if stdout().is_terminal() && stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Starts logging to stderr.
pub(super) fn init(format: LogFormat, verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => Level::WARN,
        Verbosity::Normal => Level::INFO,
        Verbosity::Verbose => Level::DEBUG,
    };
    match format {
        LogFormat::Text => {
            // Drops the colours if stderr is no terminal, or NO_COLOR is set.
            let lines = TextLines::new(anstream::stderr, verbosity == Verbosity::Verbose);
            telemetry::init_log_layer(level, &OWN_TARGETS, lines);
        }
        LogFormat::Json => {
            telemetry::init_log_layer(level, &OWN_TARGETS, telemetry::json_lines(stderr));
        }
    }
}
