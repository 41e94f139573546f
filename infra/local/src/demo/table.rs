//! What the demo prints.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use inbox_core::delivery::Provider;

use super::cast::Expected;
use super::check::{Evidence, Problem, problems};
use crate::senders::{Answer, Attempt};
use crate::wire::Fate;

/// What the demo came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One row for each provider.
    pub rows: Vec<Row>,
    /// Deliveries that were answered 5xx or not at all, and came again.
    pub undecided: usize,
    /// AWS calls that failed or died on the way.
    pub failed_calls: usize,
    /// How many different things were forged.
    pub forgeries: usize,
    /// What is wrong; nothing, if every promise was kept.
    pub problems: Vec<Problem>,
    /// How long it took.
    pub took: Duration,
}

/// What was seen of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub provider: &'static str,
    /// HTTP requests that its senders made.
    pub sent: usize,
    /// Event records in the table.
    pub recorded: usize,
    /// Answers that said so.
    pub duplicate: usize,
    /// Answers 403.
    pub refused: usize,
    /// Quarantined deliveries in the table.
    pub quarantined: usize,
    /// Different events received from the queue.
    pub on_the_queue: usize,
    /// Different events that the relay sent.
    pub relayed: usize,
    /// Messages received beyond the first of their event.
    pub repeated: usize,
}

const HEADINGS: [&str; 8] =
    ["sent", "recorded", "duplicate", "refused", "quarantined", "on the queue", "relayed", "repeated"];

impl Report {
    pub(super) fn of(seen: &Evidence, took: Duration) -> Self {
        let failed = |fate: &Fate| matches!(fate, Fate::Faulted(_));
        let undecided = |attempt: &&Attempt| !attempt.answer.is_decision();
        let is_forged = |part: &super::cast::Part| part.expected == Expected::Refused;
        Self {
            rows: Provider::ALL.into_iter().map(|provider| Row::of(provider, seen)).collect(),
            undecided: all_attempts(seen, None).filter(undecided).count(),
            failed_calls: seen.log.iter().filter(|(_, fate)| failed(fate)).count(),
            forgeries: seen.played.iter().filter(|played| is_forged(&played.part)).count(),
            problems: problems(seen),
            took,
        }
    }

    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    fn sum(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.rows.iter().map(of).sum()
    }
}

impl Row {
    fn of(provider: Provider, seen: &Evidence) -> Self {
        let name = provider.as_str();
        let is_ours = |id: &str| id.split('/').next() == Some(name);
        let answers = |is_counted: &dyn Fn(&Answer) -> bool| {
            all_attempts(seen, Some(provider)).filter(|attempt| is_counted(&attempt.answer)).count()
        };
        let copies: Vec<usize> =
            seen.copies().into_iter().filter(|(id, _)| is_ours(id)).map(|(_, copies)| copies).collect();
        let relayed: BTreeSet<&String> = seen
            .log
            .iter()
            .filter(|(call, fate)| call.operation == "SendMessageBatch" && may_have_been_applied(fate))
            .flat_map(|(call, _)| &call.events)
            .filter(|id| is_ours(id))
            .collect();
        Self {
            provider: name,
            sent: all_attempts(seen, Some(provider)).count(),
            recorded: seen.table.records.keys().filter(|id| is_ours(id)).count(),
            duplicate: answers(&says_duplicate),
            refused: answers(&|answer| answer.status() == Some(403)),
            quarantined: seen.table.quarantined.iter().filter(|kept| kept.provider == name).count(),
            on_the_queue: copies.len(),
            relayed: relayed.len(),
            repeated: copies.iter().map(|copies| copies - 1).sum(),
        }
    }

    fn cells(&self) -> [usize; 8] {
        [
            self.sent,
            self.recorded,
            self.duplicate,
            self.refused,
            self.quarantined,
            self.on_the_queue,
            self.relayed,
            self.repeated,
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = HEADINGS.map(|heading| heading.len().max(6) + 2);
        write!(f, "{:10}", "")?;
        for (heading, width) in HEADINGS.iter().zip(widths) {
            write!(f, "{heading:>width$}")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:10}", row.provider)?;
            for (cell, width) in row.cells().iter().zip(widths) {
                write!(f, "{cell:>width$}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{} AWS calls failed or died on the way; {} deliveries heard 5xx or nothing, and came again.",
            self.failed_calls, self.undecided
        )?;
        self.verdict(f)
    }
}

impl Report {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.holds() {
            writeln!(f, "NOT PROVED, after {:.0} s. What is wrong:", self.took.as_secs_f64())?;
            return self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"));
        }
        writeln!(
            f,
            "Proved in {:.0} s: all {} authentic events are on the queue, byte for byte; {} messages came again, \
             each where an outcome was unknown; {} forgeries left nothing; {} unusable deliveries are kept; no \
             delivery was killed.",
            self.took.as_secs_f64(),
            self.sum(|row| row.on_the_queue),
            self.sum(|row| row.repeated),
            self.forgeries,
            self.sum(|row| row.quarantined),
        )
    }
}

/// The requests that a provider's senders made, or those of all.
fn all_attempts(seen: &Evidence, of: Option<Provider>) -> impl Iterator<Item = &Attempt> {
    seen.played
        .iter()
        .filter(move |played| of.is_none_or(|provider| played.part.provider() == provider))
        .flat_map(|played| &played.deliveries)
        .flat_map(|delivered| &delivered.attempts)
}

fn says_duplicate(answer: &Answer) -> bool {
    matches!(answer, Answer::Heard { status: 200, body, .. } if body == r#"{"status":"duplicate"}"#)
}

fn may_have_been_applied(fate: &Fate) -> bool {
    use crate::wire::Fault::{CrashAfter, MalformedAnswer, TimeoutAfter};
    matches!(
        fate,
        Fate::Open | Fate::Answered(200) | Fate::Faulted(CrashAfter | MalformedAnswer | TimeoutAfter)
    )
}
