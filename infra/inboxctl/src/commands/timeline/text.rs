//! Text form of a timeline: its steps in chronological order, and the status.

use inbox_console::time_text::age;
use inbox_core::time::UnixMillis;

use super::report::{TimelineOutput, TimelineReport};
use crate::output::{Render, colours, line, pluralize, render_table, render_wrapped_table};
use crate::terminal;

/// Line above the statuses.
const STATUS_HEADING: &str = "Status:\n";

impl Render for TimelineReport {
    fn to_text(&self, now: UnixMillis) -> String {
        self.timelines.iter().map(|it| render_timeline(it, now)).collect::<Vec<_>>().join("\n")
    }

    fn paint(&self, text: &str) -> String {
        let mut is_status = false;
        let paint_line = |line: &str| {
            is_status = line == STATUS_HEADING || is_status && line.starts_with("  ");
            match line.split_once(": ") {
                Some((name, status)) if is_status => {
                    format!("{name}: {}", colours::paint_first_word(status, colours::style_of_state))
                }
                Some(_) | None => line.to_owned(),
            }
        };
        colours::paint_states(&text.split_inclusive('\n').map(paint_line).collect::<String>())
    }
}

/// Renders the steps of a timeline, oldest first, and its status.
fn render_timeline(timeline: &TimelineOutput, now: UnixMillis) -> String {
    let rows = timeline.steps.iter();
    let rows = rows.map(|(at, step)| [at.rfc3339(), format!("({})", age(*at, now)), step.clone()]);
    let (headers, if_empty) = (["WHEN", "", "EVENT"], "nothing has happened yet");
    let table = match terminal::stdout_width() {
        Some(width) => render_wrapped_table(headers, rows.collect(), if_empty, width),
        None => render_table(headers, rows.collect(), if_empty),
    };
    let mut text = format!("{}\n\n{table}", line(&timeline.title));
    text += &format!("\n{STATUS_HEADING}");
    text.extend(status_lines(timeline).into_iter().map(|it| format!("  {}\n", line(&it))));
    text
}

fn status_lines(timeline: &TimelineOutput) -> Vec<String> {
    let mut lines: Vec<_> =
        timeline.events.iter().map(|it| format!("{}: {}", it.details.id(), it.status)).collect();
    lines.extend(timeline.batch.as_ref().map(|it| format!("batch {}: {}", it.batch_id, it.status)));
    lines.extend(timeline.results.as_ref().map(|results| format!("results: {results}")));
    lines.extend(timeline.schedule.as_ref().map(|it| format!("schedule {}: {}", it.schedule_id, it.status)));
    lines.extend(timeline.submission.as_ref().map(|it| {
        // The status of what it created stands beside it.
        let created = it.created_status.as_ref().map(|status| format!(": {status}")).unwrap_or_default();
        format!("submission {}: {}{created}", it.submission_id, it.status_text)
    }));
    lines.extend(timeline.claimed_alerts.iter().cloned());
    if timeline.unreadable > 0 {
        let items = pluralize(timeline.unreadable as u64, "item", "items");
        lines.push(format!("{items} cannot be read by this version"));
    }
    if timeline.events.is_empty() && timeline.batch.is_some() {
        lines.push("no event is recorded yet".to_owned());
    }
    lines
}
