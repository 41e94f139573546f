//! Writes to stdout and stderr.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::pin::pin;
use std::time::{Duration, Instant};

use inbox_aws::escape;
use terminal_size::{Width, terminal_size_of};

use crate::output::colours::{self, paint};

/// Prints the output of a command.
///
/// # Errors
///
/// Stdout cannot be written for another reason than a closed pipe.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    // Drops the colours if stdout is no terminal, or NO_COLOR is set.
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that stops early (`| head`) is not a failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a notice to stderr. Ignores failures: there is nowhere else to report them.
pub(crate) fn print_notice(text: &str) {
    let mut out = stderr().lock();
    let _ = out.write_all(escape::text(text).as_bytes()).and_then(|()| out.flush());
}

/// Prints the error of a command; with `--json` as one JSON object with the key `error`.
pub(crate) fn print_error(error: &str, is_json: bool) {
    if is_json {
        let object = serde_json::json!({ "error": error }).to_string();
        let mut err = stderr().lock();
        let _ = err.write_all(format!("{}\n", escape::json(&object)).as_bytes()).and_then(|()| err.flush());
    } else {
        let error = paint(colours::bad(), "error:") + &escape::text(&format!(" {error}\n"));
        let mut err = anstream::stderr().lock();
        let _ = err.write_all(error.as_bytes()).and_then(|()| err.flush());
    }
}

/// Width of the terminal in columns; `None` if stdout is no terminal.
pub(crate) fn stdout_width() -> Option<usize> {
    terminal_size_of(stdout()).map(|(Width(columns), _)| usize::from(columns))
}

/// Awaits a future. If it takes longer than a second, prints the awaited endpoint, and again every five seconds.
pub(crate) async fn with_progress<T>(endpoint: &str, is_json: bool, future: impl Future<Output = T>) -> T {
    const FIRST_NOTICE_AFTER: Duration = Duration::from_secs(1);
    const NOTICE_INTERVAL: Duration = Duration::from_secs(5);
    let started = Instant::now();
    let mut future = pin!(future);
    let mut pause = FIRST_NOTICE_AFTER;
    loop {
        tokio::select! {
            done = &mut future => return done,
            () = tokio::time::sleep(pause) => {}
        }
        // With --json, stderr is for errors only.
        if !is_json {
            print_notice(&format!("waiting for {endpoint}, {} s so far\n", started.elapsed().as_secs()));
        }
        pause = NOTICE_INTERVAL;
    }
}
