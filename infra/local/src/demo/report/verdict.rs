//! The printed report: the faults, the promises with their counts, and the verdict.

use std::fmt;

use anstyle::{AnsiColor, Style};

use super::DemoReport;
use crate::invariants::{Observed, Tally};

/// Width of the words of a promise: the longest of them.
const WORDS_WIDTH: usize = 43;

/// The meaning of the columns.
const COLUMNS: &str = "\
owed      what was sent, and the simulated Rightfoot, say must exist
there     as much of it as the run has left
repeated  further copies under the same id, each after an unknown outcome
";

/// A promise, and how far it was kept. Several rows may belong to one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseRow {
    /// The promise's id (shared/README.md, "Promises").
    pub promise: &'static str,
    /// What is counted.
    pub words: &'static str,
    /// Number of these that are owed, and number that are there; `None` for repeats alone.
    pub owed_and_there: Option<(usize, usize)>,
    /// Number of repeats; `None` where there can be none.
    pub repeated: Option<usize>,
}

impl PromiseRow {
    pub(super) fn all(run: &Observed) -> Vec<Self> {
        let counted = |promise, words, tally: Tally| Self {
            promise,
            words,
            owed_and_there: Some((tally.owed, tally.there)),
            repeated: None,
        };
        let with_repeats = |promise, words, tally: Tally| Self {
            repeated: Some(tally.repeated),
            ..counted(promise, words, tally)
        };
        let messages = run.queue_tally();
        let repeats = with_repeats("P3", "messages, repeated only where explained", messages);
        vec![
            counted("P1", "events, recorded before they are answered", run.record_tally()),
            counted("P2", "events on the queue", messages),
            Self { owed_and_there: None, ..repeats },
            counted("P4", "forgeries, rejected", run.forgery_tally()),
            counted("P5", "batches and runs with one completion", run.completion_tally()),
            counted("P5", "alerts, each in one event", run.alert_tally()),
            counted("P6", "Fynapse deliveries, none refused for good", run.fynapse_tally()),
            counted("P7", "unusable deliveries in quarantine", run.quarantine_tally()),
            // The demo logs nothing. Of the promises, it is the only one that it cannot show.
            Self {
                promise: "P8",
                words: "no secret in a log: shown by the tests",
                owed_and_there: None,
                repeated: None,
            },
            counted("P9", "batches and runs tracked to their end", run.tracking_tally()),
            with_repeats("P10", "events on the bus", run.bus_tally()),
            with_repeats("P10", "balances in their table", run.balance_tally()),
        ]
    }

    fn is_complete(&self) -> bool {
        self.owed_and_there.is_none_or(|(owed, there)| owed == there)
    }

    fn cells(&self) -> [String; 3] {
        let text = |count: Option<usize>| count.map(|count| count.to_string()).unwrap_or_default();
        let (owed, there) = self.owed_and_there.unzip();
        [owed, there, self.repeated].map(text)
    }
}

impl DemoReport {
    fn is_kept(&self, promise: &str) -> bool {
        let mut rows = self.promises.iter().filter(|row| row.promise == promise);
        rows.all(PromiseRow::is_complete) && !self.violations.iter().any(|it| it.promise == promise)
    }

    /// Number that is there of what has these words.
    fn there(&self, words: &str) -> usize {
        let row = self.promises.iter().find(|row| row.words == words);
        row.and_then(|row| row.owed_and_there).map_or(0, |(_, there)| there)
    }

    fn write_promises(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bold = Style::new().bold();
        let header = format!("{:8}{:WORDS_WIDTH$}{:>8}{:>8}{:>10}", "", "", "owed", "there", "repeated");
        writeln!(f, "{bold}{header}{bold:#}")?;
        let mut previous = "";
        for row in &self.promises {
            let (mark, promise) = match row.promise {
                // One mark for each promise.
                same if same == previous => (" ".to_owned(), ""),
                promise if row.owed_and_there.is_none() && row.repeated.is_none() => {
                    ("–".to_owned(), promise)
                }
                promise => (mark(self.is_kept(promise)), promise),
            };
            previous = row.promise;
            let [owed, there, repeated] = row.cells();
            let line = format!("{promise:5}{:WORDS_WIDTH$}{owed:>8}{there:>8}{repeated:>10}", row.words);
            writeln!(f, "{mark}  {}", line.trim_end())?;
        }
        if self.violations.iter().any(|it| it.promise.is_empty()) {
            writeln!(f, "{}  {:5}every planned fault occurred", mark(false), "")?;
        }
        writeln!(f, "\n{COLUMNS}")
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, bold) = (self.duration.as_secs_f64(), Style::new().bold());
        if !self.is_success() {
            let red = bold.fg_color(Some(AnsiColor::Red.into()));
            writeln!(f, "{red}FAILED after {secs:.0} s.{red:#} Violations:")?;
            return self.violations.iter().try_for_each(|violation| {
                let promise = violation.promise;
                writeln!(f, "  {promise}{}{violation}", if promise.is_empty() { "" } else { " " })
            });
        }
        let green = bold.fg_color(Some(AnsiColor::Green.into()));
        writeln!(
            f,
            "{green}Passed in {secs:.0} s{green:#}: all {} events are recorded and on the queue, {} are on the\n\
             bus, {} balances are stored, {} forgeries were rejected, and each of the {}\n\
             repeats has the id of its first copy.",
            self.there("events on the queue"),
            self.there("events on the bus"),
            self.there("balances in their table"),
            self.there("forgeries, rejected"),
            self.promises.iter().filter_map(|row| row.repeated).sum::<usize>(),
        )
    }
}

fn mark(is_kept: bool) -> String {
    let (colour, mark) = if is_kept { (AnsiColor::Green, "✓") } else { (AnsiColor::Red, "✗") };
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{mark}{style:#}")
}

/// Prints with colours; for a terminal that shows them.
impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} AWS calls failed or crashed, {} submissions and {} workers crashed, {} of {}\n\
             webhooks were lost, and {} requests got 5xx or no answer, and were sent again.\n",
            self.failed_calls,
            self.submission_crashes,
            self.worker_crashes,
            self.submitted.iter().map(|row| row.lost).sum::<usize>(),
            self.submitted.iter().map(|row| row.webhooks).sum::<usize>(),
            self.inconclusive
        )?;
        self.write_promises(f)?;
        self.write_verdict(f)
    }
}
