//! A story in the order in which it happened.

use inbox_core::time::UnixMillis;

use super::{AuditLine, Timestamp, line, pluralize, render_table};
use crate::timeline::{EventWithStatus, ScheduleOutput, SubmissionOutput, TimelineOutput};

/// What happened, when, and where it stands.
pub(crate) fn render_timeline(timeline: &TimelineOutput, now: UnixMillis) -> String {
    let mut lines = Vec::new();
    if let Some(submission) = &timeline.submission {
        lines.extend(submission_steps(submission));
    }
    if let Some(schedule) = &timeline.schedule {
        lines.extend(schedule_steps(schedule));
    }
    if let Some(batch) = &timeline.batch {
        let what = format!("batch is watched: {}", pluralize(batch.expected, "authorizer", "authorizers"));
        lines.extend(batch.tracked_at.map(|at| (at, what)));
        lines.extend(batch.settled_at.map(|at| (at, "batch is settled".to_owned())));
        lines.extend(batch.overdue_at.map(|at| (at, "batch is overdue".to_owned())));
    }
    lines.extend(timeline.events.iter().flat_map(event_steps));
    for effect in &timeline.effects {
        let replay = if effect.replay > 0 { format!(", replay {}", effect.replay) } else { String::new() };
        let what = format!("alert of {} is on the bus{replay}", effect.authorizer);
        lines.extend(effect.published_at.map(|at| (at, what)));
    }
    lines.sort_by_key(|line| line.0);
    let rows = lines.into_iter().map(|(at, what)| [at.0.rfc3339(), format!("({})", at.age(now)), what]);
    let mut text = format!(
        "{}\n\n{}",
        line(&timeline.about),
        render_table(["WHEN", "", "WHAT"], rows.collect(), "nothing has happened yet")
    );
    text += "\nWhere it stands:\n";
    text.extend(status_lines(timeline, now).into_iter().map(|it| format!("  {}\n", line(&it))));
    text
}

fn submission_steps(it: &SubmissionOutput) -> Vec<(Timestamp, String)> {
    let made = it.made.clone().unwrap_or_default();
    let mut lines = vec![(it.written_at, format!("submission of a {} is written", it.kind))];
    lines.extend(it.concluded_at.map(|at| (at, format!("submission has made {} {made}", it.kind))));
    // It says that it made nothing because Rightfoot or an operator said so.
    let by_operator = |at: &Timestamp| it.interventions.iter().any(|step| step.at() == *at);
    let refused_at = it.refused_at.filter(|at| !by_operator(at));
    lines.extend(refused_at.map(|at| (at, "Rightfoot refused the submission".to_owned())));
    lines.extend(
        it.interventions
            .iter()
            .map(AuditLine::timeline_step)
            .map(|(at, what)| (at, format!("submission {what}"))),
    );
    lines.extend(
        it.given_up_at.map(|at| (at, "submission is given up: it is not known what became of it".to_owned())),
    );
    lines
}

fn schedule_steps(it: &ScheduleOutput) -> Vec<(Timestamp, String)> {
    let mut lines = Vec::new();
    lines.extend(it.since.map(|at| (at, format!("schedule is watched, by {}", it.probes.join(", ")))));
    lines.extend(it.last_run_seen.map(|at| (at, "its last run that was seen".to_owned())));
    lines.extend(it.settled_at.map(|at| (at, "schedule has ended".to_owned())));
    lines
}

fn event_steps(it: &EventWithStatus) -> Vec<(Timestamp, String)> {
    let event = &it.details;
    let first = match event.origin() {
        "replay" => "is received, and kept in quarantine".to_owned(),
        origin => format!("is received and recorded, by {origin}"),
    };
    let mut lines = vec![(event.received_at(), format!("{} {first}", event.id()))];
    lines.extend(event.timeline_steps().into_iter().map(|(at, what)| (at, format!("{} {what}", event.id()))));
    lines
}

fn status_lines(timeline: &TimelineOutput, now: UnixMillis) -> Vec<String> {
    let mut lines: Vec<_> =
        timeline.events.iter().map(|it| format!("{}: {}", it.details.id(), it.stands)).collect();
    lines.extend(
        timeline.batch.as_ref().map(|batch| format!("batch {}: {}", batch.batch_id, batch.status_text(now))),
    );
    lines.extend(
        timeline.schedule.as_ref().map(|it| format!("schedule {}: {}", it.schedule_id, it.status_text(now))),
    );
    lines.extend(timeline.submission.as_ref().map(|it| {
        let open = it
            .due_at
            .map(|at| format!("its outcome is unknown; alarms from {} on: repeat it", at.with_age(now)));
        let free = it.refused_at.map(|_| "it made nothing, and its name is free".to_owned());
        let made = it.made.as_ref().zip(it.made_stands.as_ref());
        let made = made.map(|(made, stands)| format!("it made {} {made}: {stands}", it.kind));
        let given_up =
            it.given_up_at.map(|_| "given up: it is not known whether it made anything".to_owned());
        format!(
            "submission {}: {}",
            it.submission_id,
            open.or(free)
                .or(made)
                .or(given_up)
                .unwrap_or_else(|| "nothing more is to be done with it".to_owned())
        )
    }));
    let claimed = timeline.effects.iter().filter(|effect| effect.published_at.is_none());
    lines.extend(claimed.map(|effect| format!("alert of {}: claimed, not published", effect.authorizer)));
    if timeline.unreadable > 0 {
        let items = pluralize(timeline.unreadable as u64, "item", "items");
        lines.push(format!("{items} cannot be read by this version"));
    }
    if timeline.events.is_empty() && timeline.batch.is_some() {
        lines.push("no event of it is recorded yet".to_owned());
    }
    lines
}
