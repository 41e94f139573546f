//! Text form of a timeline: its steps in chronological order, and the status.

use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::SubmissionStatus;

use super::report::{EventWithStatus, ScheduleOutput, SubmissionOutput, TimelineOutput, TimelineReport};
use crate::audit::AuditLine;
use crate::output::{Render, Timestamp, colours, line, pluralize, render_table, render_wrapped_table};
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
    let mut lines = Vec::new();
    if let Some(submission) = &timeline.submission {
        lines.extend(submission_steps(submission));
    }
    if let Some(schedule) = &timeline.schedule {
        lines.extend(schedule_steps(schedule));
    }
    if let Some(batch) = &timeline.batch {
        let step = format!("batch is tracked: {}", pluralize(batch.expected, "authorizer", "authorizers"));
        lines.extend(batch.tracked_at.map(|at| (at, step)));
        lines.extend(batch.settled_at.map(|at| (at, "batch is settled".to_owned())));
        lines.extend(batch.overdue_at.map(|at| (at, "batch is overdue".to_owned())));
    }
    lines.extend(timeline.events.iter().flat_map(event_steps));
    for alert in &timeline.alerts {
        let replay = if alert.replay > 0 { format!(", replay {}", alert.replay) } else { String::new() };
        let step = format!("alert of {} is on the bus{replay}", alert.authorizer);
        lines.extend(alert.published_at.map(|at| (at, step)));
    }
    lines.sort_by_key(|line| line.0);
    let rows = lines.into_iter().map(|(at, step)| [at.0.rfc3339(), format!("({})", at.age(now)), step]);
    let (headers, if_empty) = (["WHEN", "", "EVENT"], "nothing has happened yet");
    let table = match terminal::stdout_width() {
        Some(width) => render_wrapped_table(headers, rows.collect(), if_empty, width),
        None => render_table(headers, rows.collect(), if_empty),
    };
    let mut text = format!("{}\n\n{table}", line(&timeline.title));
    text += &format!("\n{STATUS_HEADING}");
    text.extend(status_lines(timeline, now).into_iter().map(|it| format!("  {}\n", line(&it))));
    text
}

fn submission_steps(it: &SubmissionOutput) -> Vec<(Timestamp, String)> {
    let created_id = it.created_id.clone().unwrap_or_default();
    let mut lines = vec![(it.written_at, format!("submission of a {} is written", it.kind))];
    lines.extend(it.concluded_at.map(|at| (at, format!("submission has created {} {created_id}", it.kind))));
    // Rightfoot or an operator sets `declined_at`; an operator's action has the same time as its audit entry.
    let by_operator = |at: &Timestamp| it.audit_entries.iter().any(|step| step.at() == *at);
    let declined_at = it.declined_at.filter(|at| !by_operator(at));
    lines.extend(declined_at.map(|at| (at, "Rightfoot declined the submission".to_owned())));
    lines.extend(
        it.audit_entries
            .iter()
            .map(AuditLine::timeline_step)
            .map(|(at, step)| (at, format!("submission {step}"))),
    );
    lines
        .extend(it.abandoned_at.map(|at| (at, "submission is abandoned: its outcome is unknown".to_owned())));
    lines
}

fn schedule_steps(it: &ScheduleOutput) -> Vec<(Timestamp, String)> {
    let mut lines = Vec::new();
    lines.extend(it.since.map(|at| (at, format!("schedule is tracked, by {}", it.probes.join(", ")))));
    lines.extend(it.last_run_seen.map(|at| (at, "its last run that the poller saw".to_owned())));
    lines.extend(it.settled_at.map(|at| (at, "schedule has ended".to_owned())));
    lines
}

fn event_steps(it: &EventWithStatus) -> Vec<(Timestamp, String)> {
    let event = &it.details;
    let first = match event.origin() {
        // An event of this origin was quarantined when it came, and recorded only by its replay.
        "replay" => "is received and quarantined".to_owned(),
        origin => format!("is received and recorded, by {origin}"),
    };
    let mut lines = vec![(event.received_at(), format!("{} {first}", event.id()))];
    lines.extend(event.timeline_steps().into_iter().map(|(at, step)| (at, format!("{} {step}", event.id()))));
    lines
}

fn status_lines(timeline: &TimelineOutput, now: UnixMillis) -> Vec<String> {
    let mut lines: Vec<_> =
        timeline.events.iter().map(|it| format!("{}: {}", it.details.id(), it.status)).collect();
    lines.extend(timeline.batch.as_ref().map(|it| format!("batch {}: {}", it.batch_id, it.status)));
    lines.extend(timeline.schedule.as_ref().map(|it| format!("schedule {}: {}", it.schedule_id, it.status)));
    lines.extend(
        timeline
            .submission
            .as_ref()
            .map(|it| format!("submission {}: {}", it.submission_id, submission_status(it, now))),
    );
    let claimed = timeline.alerts.iter().filter(|alert| alert.published_at.is_none());
    lines.extend(claimed.map(|alert| format!("alert of {}: claimed, not published", alert.authorizer)));
    if timeline.unreadable > 0 {
        let items = pluralize(timeline.unreadable as u64, "item", "items");
        lines.push(format!("{items} cannot be read by this version"));
    }
    if timeline.events.is_empty() && timeline.batch.is_some() {
        lines.push("no event is recorded yet".to_owned());
    }
    lines
}

fn submission_status(it: &SubmissionOutput, now: UnixMillis) -> String {
    match it.status {
        SubmissionStatus::Unknown { alarm_at } => format!(
            "its outcome is unknown; alarms from {} on: send the same request again",
            Timestamp(alarm_at).with_age(now)
        ),
        SubmissionStatus::CreatedNothing => "it created nothing, and its name is free".to_owned(),
        SubmissionStatus::Created => {
            let (id, status) = (it.created_id.as_deref(), it.created_status.as_deref());
            format!("it created {} {}: {}", it.kind, id.unwrap_or("?"), status.unwrap_or("?"))
        }
        SubmissionStatus::Abandoned => "abandoned: it is unknown whether it created anything".to_owned(),
        SubmissionStatus::Concluded => "nothing more to do".to_owned(),
    }
}
