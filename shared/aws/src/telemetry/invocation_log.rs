//! The log of a function that runs on Lambda: one line for its last event and its metrics.
//!
//! During an invocation, the newest line is held back until the next one comes, a second has passed, or the invocation
//! ends. At the end the metrics are merged into it. So an invocation that logs one line writes one, and not one more for
//! each set of dimensions. A process that is killed (out of memory, or its time is up) loses at most the line of its last
//! second, and its metrics. A panic is no such end: the invocation ends with the line of the panic.
//!
//! Outside of an invocation, each line is written at once.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;

use super::metric_lines::merge;

/// Longest time that a line is held back.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// Writes the lines of the log and the metrics to `W`. Copies share it.
#[derive(Debug)]
pub struct InvocationLog<W>(Arc<Mutex<State<W>>>);

impl<W> Clone for InvocationLog<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct State<W> {
    writer: W,
    in_invocation: bool,
    /// The newest line. Empty outside of invocations.
    held: String,
}

impl<W: Write> InvocationLog<W> {
    /// Creates a log that writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self(Arc::new(Mutex::new(State { writer, in_invocation: false, held: String::new() })))
    }

    /// Runs an invocation. All its lines are written when this returns, or panics, and with them the metrics that
    /// `flush_metrics` returns then, as lines of EMF.
    pub async fn run<T>(&self, flush_metrics: impl Fn() -> String, handled: impl Future<Output = T>) -> T {
        self.state().in_invocation = true;
        let _end = InvocationEnd { log: self, flush_metrics };
        let mut handled = pin!(handled);
        loop {
            match timeout(HOLD_MAX, &mut handled).await {
                Ok(result) => return result,
                Err(_) => self.state().write_held(),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        // A panic of a writer must not end the log.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> State<W> {
    fn write_held(&mut self) {
        let line = std::mem::take(&mut self.held);
        self.write(&line);
    }

    /// A failed write loses the lines: there is nowhere to report it.
    fn write(&mut self, lines: &str) {
        if !lines.is_empty() {
            let _ = self.writer.write_all(lines.as_bytes()).and_then(|()| self.writer.flush());
        }
    }

    fn end_invocation(&mut self, metrics: &str) {
        self.in_invocation = false;
        let last_line = std::mem::take(&mut self.held);
        let last_line = Some(last_line.as_str()).filter(|line| !line.is_empty());
        self.write(&merge(last_line, metrics));
    }
}

/// Ends the invocation when it is dropped, so after a panic, too.
struct InvocationEnd<'a, W: Write, F: Fn() -> String> {
    log: &'a InvocationLog<W>,
    flush_metrics: F,
}

impl<W: Write, F: Fn() -> String> Drop for InvocationEnd<'_, W, F> {
    fn drop(&mut self) {
        // Not inside of the lock: it may log.
        let metrics = (self.flush_metrics)();
        self.log.state().end_invocation(&metrics);
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for InvocationLog<W> {
    type Writer = LineWriter<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self)
    }
}

/// Writes lines of the log. Each write must hold whole lines.
#[derive(Debug)]
pub struct LineWriter<'a, W>(&'a InvocationLog<W>);

impl<W: Write> Write for LineWriter<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        state.write_held();
        let text = String::from_utf8_lossy(line);
        if state.in_invocation {
            state.held = text.into_owned();
        } else {
            state.write(&text);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::panic::AssertUnwindSafe;

    const POLLED: &str = concat!(
        r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":[{"Namespace":"N","Dimensions":[[]],"Metrics":[{"Name":"polled"}]}]},"#,
        r#""polled":2}"#,
        "\n",
    );

    #[derive(Clone, Debug, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn new_log() -> (InvocationLog<Output>, Output) {
        let output = Output::default();
        (InvocationLog::new(output.clone()), output)
    }

    fn write_line(log: &InvocationLog<Output>, name: &str) {
        log.make_writer().write_all(format!("{{\"name\":\"{name}\"}}\n").as_bytes()).unwrap();
    }

    /// The line of this name, with the metrics.
    fn with_polled(name: &str) -> String {
        POLLED.replacen('{', &format!("{{\"name\":\"{name}\","), 1)
    }

    #[tokio::test]
    async fn the_last_line_of_an_invocation_has_its_metrics() {
        let (log, output) = new_log();
        for _ in 0..2 {
            let handled = async {
                write_line(&log, "first");
                assert!(output.text().ends_with(&with_polled("last")) || output.text().is_empty());
                write_line(&log, "last");
                assert!(output.text().ends_with("{\"name\":\"first\"}\n"), "{}", output.text());
                7
            };
            assert_eq!(log.run(|| POLLED.to_owned(), handled).await, 7);
        }
        let of_one = format!("{{\"name\":\"first\"}}\n{}", with_polled("last"));
        assert_eq!(output.text(), of_one.repeat(2));
    }

    #[tokio::test]
    async fn an_invocation_without_lines_writes_its_metrics() {
        let (log, output) = new_log();
        log.run(|| POLLED.to_owned(), async {}).await;
        log.run(String::new, async {}).await;
        assert_eq!(output.text(), POLLED);
    }

    #[tokio::test]
    async fn outside_of_an_invocation_a_line_is_written_at_once() {
        let (log, output) = new_log();
        write_line(&log, "start");
        assert_eq!(output.text(), "{\"name\":\"start\"}\n");
        log.run(String::new, async {}).await;
        write_line(&log, "after");
        assert!(output.text().ends_with("{\"name\":\"after\"}\n"), "{}", output.text());
    }

    #[tokio::test]
    async fn a_line_is_held_for_a_second_at_most() {
        let (log, output) = new_log();
        let handled = async {
            write_line(&log, "waits");
            tokio::time::sleep(HOLD_MAX / 10).await;
            assert_eq!(output.text(), "");
            tokio::time::sleep(HOLD_MAX).await;
            assert_eq!(output.text(), "{\"name\":\"waits\"}\n");
        };
        log.run(|| POLLED.to_owned(), handled).await;
        assert_eq!(output.text(), format!("{{\"name\":\"waits\"}}\n{POLLED}"));
    }

    #[tokio::test]
    async fn a_panic_loses_neither_lines_nor_metrics() {
        let (log, output) = new_log();
        let handled = async {
            write_line(&log, "panicked");
            panic!("of the test");
        };
        let result = AssertUnwindSafe(log.run(|| POLLED.to_owned(), handled)).catch_unwind().await;
        assert!(result.is_err());
        assert_eq!(output.text(), with_polled("panicked"));
    }

    #[tokio::test]
    async fn a_cancelled_invocation_writes_what_it_has() {
        let (log, output) = new_log();
        let handled = async {
            write_line(&log, "cancelled");
            std::future::pending::<()>().await;
        };
        assert_eq!(log.run(|| POLLED.to_owned(), handled).now_or_never(), None);
        assert_eq!(output.text(), with_polled("cancelled"));
    }
}
