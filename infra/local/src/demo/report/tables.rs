//! Details of a report: what was sent and answered, recorded, found and published, in four tables.

use std::fmt;

use super::DemoReport;

const ANSWER_TITLE: &str = "Deliveries of the simulated senders: requests by response.";
const ANSWER_HEADINGS: [&str; 6] =
    ["sent", "received", "duplicate", "quarantined", "rejected", "5xx or no answer"];
const RECORD_TITLE: &str = "Their records in the inbox, and their messages on the queue.";
const RECORD_HEADINGS: [&str; 5] = ["recorded", "quarantined", "queued", "relayed", "repeated"];
const ORIGIN_TITLE: &str = "Batches and schedule runs submitted to Rightfoot: their completions and alerts, by\n\
     origin. One event carries all alerts of a webhook or poll.";
const EFFECT_TITLE: &str = "Effects: events on the bus, and rows in the balances table.";
const EFFECT_HEADINGS: [&str; 3] = ["expected", "present", "repeated"];
const ORIGIN_HEADINGS: [&str; 7] =
    ["expected", "by webhook", "by poll", "events", "repeated", "webhooks", "lost"];

/// The details of a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportDetails<'a>(pub(super) &'a DemoReport);

impl fmt::Display for ReportDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let rows = || report.rows.iter();
        write_table(f, ANSWER_TITLE, ANSWER_HEADINGS, rows().map(|row| (row.provider, row.answer_cells())))?;
        write_table(f, RECORD_TITLE, RECORD_HEADINGS, rows().map(|row| (row.provider, row.record_cells())))?;
        let submitted = report.submitted.iter().map(|row| (row.kind, row.cells()));
        write_table(f, ORIGIN_TITLE, ORIGIN_HEADINGS, submitted)?;
        let effects = report.effects.iter().map(|row| (row.kind, row.cells()));
        write_table(f, EFFECT_TITLE, EFFECT_HEADINGS, effects)?;
        writeln!(
            f,
            "{} submissions took {} calls. {} webhooks arrived after the poller had found\n\
             the completion. {} events were delivered to two workers at once, and events\n\
             were requeued {} times. Rightfoot's API did not confirm {} alert events.\n",
            report.submissions,
            report.submission_calls,
            report.late_webhooks,
            report.twice,
            report.requeued,
            report.unconfirmed
        )
    }
}

fn write_table<'a, const N: usize>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    headings: [&str; N],
    rows: impl Iterator<Item = (&'a str, [usize; N])>,
) -> fmt::Result {
    // Room for six digits, and two spaces between columns.
    let widths = headings.map(|heading| heading.len().max(6) + 2);
    writeln!(f, "{title}")?;
    // As wide as the longest name, `completions`.
    write!(f, "{:11}", "")?;
    for (heading, width) in headings.iter().zip(widths) {
        write!(f, "{heading:>width$}")?;
    }
    writeln!(f)?;
    for (name, cells) in rows {
        write!(f, "{name:11}")?;
        for (cell, width) in cells.iter().zip(widths) {
            write!(f, "{cell:>width$}")?;
        }
        writeln!(f)?;
    }
    writeln!(f)
}
