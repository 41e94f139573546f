//! `inboxctl timeline`: all that is known of a batch, event, schedule or submission.

use anyhow::bail;
use inbox_aws::inbox::{AlertView, EventView, ScheduleView, Timeline};
use inbox_core::audit::message_expiry;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::QuarantineId;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::table_keys::{batch_pk, schedule_pk, submission_pk};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::batches::BatchOutput;
use crate::cli::TimelineArgs;
use crate::events::{EventDetails, quarantine_id_of};
use crate::output::{AuditLine, Render, Timestamp, pluralize, render_timeline, timestamp};
use crate::poll_problem::PollProblemOutput;
use crate::target::Target;

/// Timelines of all that has the given id.
#[derive(Serialize)]
pub(crate) struct TimelineReport {
    timelines: Vec<TimelineOutput>,
}

/// Timeline of a batch, event, schedule or submission.
#[derive(Serialize)]
pub(crate) struct TimelineOutput {
    pub(crate) title: String,
    pub(crate) submission: Option<SubmissionOutput>,
    pub(crate) schedule: Option<ScheduleOutput>,
    pub(crate) batch: Option<BatchOutput>,
    pub(crate) events: Vec<EventWithStatus>,
    pub(crate) alerts: Vec<AlertOutput>,
    /// Number of items under its key that this version cannot read.
    pub(crate) unreadable: usize,
}

/// An event and a description of its status.
#[derive(Serialize)]
pub(crate) struct EventWithStatus {
    #[serde(flatten)]
    pub(crate) details: EventDetails,
    pub(crate) status: String,
}

/// An alert that is claimed or published.
#[derive(Serialize)]
pub(crate) struct AlertOutput {
    pub(crate) authorizer: String,
    pub(crate) event: Option<String>,
    pub(crate) published_at: Option<Timestamp>,
    pub(crate) replay: u64,
}

/// A tracked schedule.
#[derive(Serialize)]
pub(crate) struct ScheduleOutput {
    pub(crate) schedule_id: String,
    pub(crate) subject: Option<String>,
    pub(crate) probes: Vec<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) last_run_seen: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) polls: u64,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) settled_at: Option<Timestamp>,
    /// Problem of its polls, if the last one failed.
    pub(crate) problem: Option<PollProblemOutput>,
}

/// A submission.
#[derive(Serialize)]
pub(crate) struct SubmissionOutput {
    pub(crate) submission_id: String,
    pub(crate) kind: &'static str,
    pub(crate) written_at: Timestamp,
    pub(crate) attempts: u64,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) concluded_at: Option<Timestamp>,
    pub(crate) declined_at: Option<Timestamp>,
    pub(crate) abandoned_at: Option<Timestamp>,
    pub(crate) created_id: Option<String>,
    /// Status of the batch or schedule that it created.
    pub(crate) created_status: Option<String>,
    pub(crate) audit_entries: Vec<AuditLine>,
}

pub(crate) async fn show(target: &Target, args: TimelineArgs) -> anyhow::Result<TimelineReport> {
    let table = target.inbox_table()?;
    if let Some(key) = EventKey::from_event_id(&args.id) {
        let timeline = load_timeline(target, args.id.clone(), &key.pk())
            .await?
            .map(|timeline| only_event(timeline, &args.id));
        let timeline = timeline.filter(|timeline| !timeline.events.is_empty());
        let Some(timeline) = timeline else {
            bail!("{} is not recorded in {table}, or its record has expired", args.id);
        };
        return Ok(TimelineReport { timelines: vec![timeline] });
    }
    let Some(id) = Id::new(args.id.clone()) else { bail!("an id has 1 to 512 bytes") };
    // A bare id does not tell its kind, so every kind is looked up.
    let signed = Provider::ALL.iter().filter_map(|provider| EventKey::signed(*provider, id.clone()));
    let mut candidates = vec![("batch", batch_pk(&id))];
    candidates.extend(signed.map(|key| ("event", key.pk())));
    candidates.extend([("schedule", schedule_pk(&id)), ("submission", submission_pk(id.as_str()))]);
    let mut timelines = Vec::new();
    for (kind, pk) in candidates {
        timelines.extend(load_timeline(target, format!("{kind} {}", args.id), &pk).await?);
    }
    add_created(target, &mut timelines).await?;
    if timelines.is_empty() {
        bail!("nothing is known in {table} of a batch, event, schedule or submission {}", args.id);
    }
    Ok(TimelineReport { timelines })
}

/// Adds the timeline and status of the batch or schedule that a submission created.
async fn add_created(target: &Target, timelines: &mut Vec<TimelineOutput>) -> anyhow::Result<()> {
    let submission = timelines.iter().find_map(|timeline| timeline.submission.as_ref());
    let Some((kind, created_id)) = submission.and_then(|it| it.created_item()) else { return Ok(()) };
    let pk = if kind == "batch" { batch_pk(&created_id) } else { schedule_pk(&created_id) };
    let created = load_timeline(target, format!("{kind} {}", created_id.as_str()), &pk).await?;
    let status = created.as_ref().and_then(|timeline| timeline.status_text(target.now()));
    let status = status.unwrap_or_else(|| "its item has expired".to_owned());
    for submission in timelines.iter_mut().filter_map(|timeline| timeline.submission.as_mut()) {
        submission.created_status = Some(status.clone());
    }
    // With the submission's own id it is in the list already.
    timelines.extend(created.filter(|it| timelines.iter().all(|timeline| timeline.title != it.title)));
    Ok(())
}

/// Loads all items of a partition key; `None` if there are none.
async fn load_timeline(target: &Target, title: String, pk: &str) -> anyhow::Result<Option<TimelineOutput>> {
    let (inbox, table, now) = (target.inbox()?, target.inbox_table()?, target.now());
    let item_collection = inbox.timeline(pk).await.with_resource(&table)?;
    if item_collection.is_empty() {
        return Ok(None);
    }
    let mut events = Vec::new();
    for event in &item_collection.events {
        let item = quarantine_id_of(&inbox, event, now).await.with_resource(&table)?;
        events.push(EventWithStatus::new(event, item.as_ref(), now));
    }
    Ok(Some(TimelineOutput::new(title, item_collection, events)))
}

/// Reduces a batch's timeline to one of its events.
fn only_event(mut timeline: TimelineOutput, event_id: &str) -> TimelineOutput {
    timeline.events.retain(|event| event.details.id() == event_id);
    timeline.alerts.retain(|alert| alert.event.as_deref() == Some(event_id));
    timeline
}

impl SubmissionOutput {
    fn created_item(&self) -> Option<(&'static str, Id)> {
        Some((self.kind, self.created_id.as_ref().and_then(Id::new)?))
    }
}

impl ScheduleOutput {
    /// Description of its next poll and of its problem.
    pub(crate) fn status_text(&self, now: UnixMillis) -> String {
        let next = self
            .due_at
            .map_or_else(|| "no longer polled".to_owned(), |at| format!("polled next {}", at.with_age(now)));
        let problem = self.problem.as_ref().map(|problem| format!("; {}", problem.text(now)));
        next + &problem.unwrap_or_default()
    }
}

impl TimelineOutput {
    /// Status of the batch or schedule; `None` for the timeline of anything else.
    fn status_text(&self, now: UnixMillis) -> Option<String> {
        let batch = self.batch.as_ref().map(|batch| batch.status_text(now));
        batch.or_else(|| self.schedule.as_ref().map(|schedule| schedule.status_text(now)))
    }

    fn new(title: String, view: Timeline, events: Vec<EventWithStatus>) -> Self {
        Self {
            title,
            submission: view.submission.map(|it| SubmissionOutput {
                submission_id: it.submission_id,
                kind: match it.kind {
                    SubmissionKind::Batch => "batch",
                    SubmissionKind::Schedule => "schedule",
                },
                written_at: Timestamp(it.written_at),
                attempts: it.attempts,
                due_at: timestamp(it.due_at),
                concluded_at: timestamp(it.done_at),
                declined_at: timestamp(it.declined_at),
                abandoned_at: timestamp(it.abandoned_at),
                created_id: it.created_id,
                created_status: None,
                audit_entries: AuditLine::from_entries(&it.audit_entries),
            }),
            schedule: view.schedule.as_ref().map(ScheduleOutput::from),
            batch: view.batch.as_ref().map(BatchOutput::from),
            events,
            alerts: view.alerts.iter().map(AlertOutput::from).collect(),
            unreadable: view.unreadable,
        }
    }
}

impl From<&ScheduleView> for ScheduleOutput {
    fn from(it: &ScheduleView) -> Self {
        Self {
            schedule_id: it.schedule_id.clone(),
            subject: it.subject.clone(),
            probes: it.probes.clone(),
            since: timestamp(it.since),
            last_run_seen: timestamp(it.last_run_seen),
            expires_at: timestamp(it.expires_at),
            polls: it.polls,
            due_at: timestamp(it.due_at),
            settled_at: timestamp(it.done_at),
            problem: PollProblemOutput::from_record(it.problem.as_ref(), it.polls),
        }
    }
}

impl EventWithStatus {
    fn new(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> Self {
        Self { details: EventDetails::new(event, item, now), status: event_status_text(event, item, now) }
    }
}

impl From<&AlertView> for AlertOutput {
    fn from(it: &AlertView) -> Self {
        Self {
            authorizer: it.authorizer.clone(),
            event: it.event_id.clone(),
            published_at: timestamp(it.published_at),
            replay: it.replay,
        }
    }
}

/// Describes the status of an event and who takes the next step.
fn event_status_text(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> String {
    let time_text =
        |at: Option<UnixMillis>| at.map_or_else(|| "?".to_owned(), |at| Timestamp(at).with_age(now));
    let lifecycle = &event.lifecycle;
    match lifecycle.state(now) {
        EventState::Recorded => {
            format!(
                "recorded, not known to be on the queue: the relay sends it, due {}",
                time_text(lifecycle.due_at)
            )
        }
        EventState::Sent if is_lost(event, now) => format!(
            "sent {}, and expired from the queues: `events replay --lost` sends it again",
            time_text(lifecycle.sent_at)
        ),
        EventState::Sent => {
            format!(
                "on the queue, sent {}: waits for the worker{}",
                time_text(lifecycle.sent_at),
                requeue_suffix(event)
            )
        }
        EventState::Claimed => {
            format!(
                "a worker is processing it; its claim ends {}{}",
                time_text(lifecycle.claim_until),
                requeue_suffix(event)
            )
        }
        EventState::Waiting => {
            format!("{}: due again {}", requeue_text(event), time_text(lifecycle.due_at))
        }
        EventState::Done => format!("done {}", time_text(lifecycle.done_at)),
        EventState::Quarantined => {
            let item = item.map_or_else(
                || "its item has expired".to_owned(),
                |item| format!("see `quarantine show {item}`"),
            );
            format!("quarantined {}: {item}", time_text(lifecycle.quarantined_at))
        }
    }
}

/// Number of requeues and the reason of the last one.
fn requeue_text(event: &EventView) -> String {
    let times = pluralize(event.lifecycle.requeues, "time", "times");
    let reason = event.retry_reason.as_ref().map(|reason| format!(", last because of {reason}"));
    format!("requeued by the worker, {times} so far{}", reason.unwrap_or_default())
}

/// The same in parentheses; empty if it was never requeued.
fn requeue_suffix(event: &EventView) -> String {
    if event.lifecycle.requeues > 0 { format!(" ({})", requeue_text(event)) } else { String::new() }
}

/// Returns `true` if the queues have dropped its message by their retention.
fn is_lost(event: &EventView, now: UnixMillis) -> bool {
    // A redrive sends the message anew, so it may exist longer than `sent_at` implies.
    event.lifecycle.sent_at.is_some_and(|at| message_expiry(at, &event.audit_entries) <= now)
}

impl Render for TimelineReport {
    fn to_text(&self, now: UnixMillis) -> String {
        self.timelines.iter().map(|it| render_timeline(it, now)).collect::<Vec<_>>().join("\n")
    }
}
