//! Text form of a timeline: its steps in chronological order, and the status.

use inbox_core::time::UnixMillis;

use super::{AuditLine, Timestamp, line, pluralize, render_table};
use crate::timeline::{EventWithStatus, ScheduleOutput, SubmissionOutput, TimelineOutput};

/// Renders the steps of a timeline, oldest first, and its status.
pub(crate) fn render_timeline(timeline: &TimelineOutput, now: UnixMillis) -> String {
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
    let mut text = format!(
        "{}\n\n{}",
        line(&timeline.title),
        render_table(["WHEN", "", "EVENT"], rows.collect(), "nothing has happened yet")
    );
    text += "\nStatus:\n";
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
    lines.extend(
        timeline.batch.as_ref().map(|batch| format!("batch {}: {}", batch.batch_id, batch.status_text(now))),
    );
    lines.extend(
        timeline.schedule.as_ref().map(|it| format!("schedule {}: {}", it.schedule_id, it.status_text(now))),
    );
    lines.extend(timeline.submission.as_ref().map(|it| {
        let open = it.due_at.map(|at| {
            format!(
                "its outcome is unknown; alarms from {} on: send the same request again",
                at.with_age(now)
            )
        });
        let free = it.declined_at.map(|_| "it created nothing, and its name is free".to_owned());
        let created = it.created_id.as_ref().zip(it.created_status.as_ref());
        let created = created.map(|(id, status)| format!("it created {} {id}: {status}", it.kind));
        let abandoned =
            it.abandoned_at.map(|_| "abandoned: it is unknown whether it created anything".to_owned());
        format!(
            "submission {}: {}",
            it.submission_id,
            open.or(free).or(created).or(abandoned).unwrap_or_else(|| "nothing more to do".to_owned())
        )
    }));
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
