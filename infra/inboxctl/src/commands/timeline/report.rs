//! What is known of a batch, event, schedule or submission, as it is printed.

use inbox_aws::items::{AlertEffectItem, EventRecord, QuarantinedItem, ScheduleItem, SubmissionItem};
use inbox_aws::stores::Timeline;
use inbox_console::event_text::{self, Step, claimed_alert_text};
use inbox_console::tracked_text::{results_text, schedule_status, submission_status, timeline_steps};
use inbox_core::batch_results::BatchResults;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{SubmissionState, SubmissionStatus};
use serde::Serialize;

use crate::audit::AuditLine;
use crate::commands::batches::BatchOutput;
use crate::commands::events::show::EventDetails;
use crate::output::poll_problem::PollProblemOutput;
use crate::output::{Timestamp, timestamp};

/// Timelines of all that has the given id.
#[derive(Serialize)]
pub(crate) struct TimelineReport {
    pub(crate) timelines: Vec<TimelineOutput>,
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
    /// Its steps, the earliest first.
    #[serde(skip)]
    pub(crate) steps: Vec<Step>,
    /// The results of the batch in words.
    #[serde(skip)]
    pub(crate) results: Option<String>,
    /// Alerts that are claimed and not on the bus.
    #[serde(skip)]
    pub(crate) claimed_alerts: Vec<String>,
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
    polls: u64,
    due_at: Option<Timestamp>,
    pub(crate) settled_at: Option<Timestamp>,
    /// Problem of its polls, if the last one failed.
    problem: Option<PollProblemOutput>,
    #[serde(skip)]
    pub(crate) status: String,
}

/// A submission.
#[derive(Serialize)]
pub(crate) struct SubmissionOutput {
    pub(crate) submission_id: String,
    state: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) written_at: Timestamp,
    pub(crate) attempts: u64,
    due_at: Option<Timestamp>,
    pub(crate) concluded_at: Option<Timestamp>,
    pub(crate) declined_at: Option<Timestamp>,
    pub(crate) abandoned_at: Option<Timestamp>,
    pub(crate) created_id: Option<String>,
    /// Status of the batch or schedule that it created.
    pub(crate) created_status: Option<String>,
    pub(crate) audit_entries: Vec<AuditLine>,
    #[serde(skip)]
    pub(crate) status: SubmissionStatus,
    #[serde(skip)]
    pub(crate) status_text: String,
}

impl TimelineOutput {
    /// The timeline of these items. `results` are those of the batch, and `events` its events with their status.
    pub(crate) fn new(
        title: String,
        view: Timeline,
        results: Option<BatchResults>,
        events: Vec<EventWithStatus>,
        now: UnixMillis,
    ) -> Self {
        Self {
            title,
            steps: timeline_steps(&view),
            results: results.map(|results| results_text(&results, now)),
            claimed_alerts: view.alerts.iter().filter_map(claimed_alert_text).collect(),
            schedule: view.schedule.as_ref().map(|it| ScheduleOutput::new(it, now)),
            batch: view.batch.as_ref().zip(results).map(|(it, results)| BatchOutput::new(it, &results, now)),
            submission: view.submission.map(|it| SubmissionOutput::new(it, now)),
            events,
            alerts: view.alerts.iter().map(AlertOutput::from).collect(),
            unreadable: view.unreadable,
        }
    }

    /// Status of the batch or schedule; `None` for the timeline of anything else.
    pub(crate) fn status_text(&self) -> Option<String> {
        let batch = self.batch.as_ref().map(|batch| &batch.status);
        batch.or(self.schedule.as_ref().map(|schedule| &schedule.status)).cloned()
    }
}

impl SubmissionOutput {
    pub(crate) fn new(it: SubmissionItem, now: UnixMillis) -> Self {
        let status = it.status();
        Self {
            status_text: submission_status(&it, now),
            state: SubmissionState::from(status).as_str(),
            submission_id: it.submission_id.to_string(),
            kind: it.kind.as_str(),
            written_at: Timestamp(it.written_at),
            attempts: it.attempts,
            due_at: timestamp(it.tracking.due_at),
            concluded_at: timestamp(it.done_at),
            declined_at: timestamp(it.declined_at),
            abandoned_at: timestamp(it.abandoned_at),
            created_id: it.created_id.map(|id| id.as_str().to_owned()),
            created_status: None,
            audit_entries: AuditLine::from_entries(&it.audit_entries),
            status,
        }
    }

    /// Kind and id of the batch or schedule that it created.
    pub(crate) fn created_item(&self) -> Option<(&'static str, Id)> {
        Some((self.kind, self.created_id.as_ref().and_then(Id::new)?))
    }
}

impl ScheduleOutput {
    pub(crate) fn new(it: &ScheduleItem, now: UnixMillis) -> Self {
        let schedule = &it.schedule;
        Self {
            schedule_id: schedule.schedule_id.as_str().to_owned(),
            subject: schedule.subject.as_ref().map(ToString::to_string),
            probes: schedule.probes.iter().map(|probe| probe.as_str().to_owned()).collect(),
            since: timestamp(Some(schedule.since)),
            last_run_seen: timestamp(schedule.last_run_seen),
            expires_at: timestamp(Some(schedule.expires_at)),
            polls: schedule.polls,
            due_at: timestamp(it.tracking.due_at),
            settled_at: timestamp(it.done_at),
            problem: PollProblemOutput::from_record(it.tracking.problem.as_ref(), schedule.polls),
            status: schedule_status(it, now),
        }
    }
}

impl ScheduleOutput {
    /// `problem` if its polls or runs have one, otherwise `polled` or `ended`.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.problem, self.due_at) {
            (Some(_), _) => "problem",
            (None, Some(_)) => "polled",
            (None, None) => "ended",
        }
    }

    /// The status in a few words: the next poll or the end, and the reason of a problem.
    pub(crate) fn short_status(&self, now: UnixMillis) -> String {
        let status = match (self.due_at, self.settled_at) {
            (Some(at), _) => format!("next poll {}", at.age(now)),
            (None, Some(at)) => format!("ended {}", at.age(now)),
            (None, None) => "no longer polled".to_owned(),
        };
        let problem = self.problem.as_ref().map(|problem| format!(", {}", problem.reason()));
        status + &problem.unwrap_or_default()
    }
}

impl From<&AlertEffectItem> for AlertOutput {
    fn from(it: &AlertEffectItem) -> Self {
        Self {
            authorizer: it.authorizer.as_str().to_owned(),
            event: it.event_id.clone(),
            published_at: timestamp(it.published_at),
            replay: it.replay,
        }
    }
}

impl EventWithStatus {
    pub(crate) fn new(event: &EventRecord, item: Option<&QuarantinedItem>, now: UnixMillis) -> Self {
        Self {
            details: EventDetails::new(event, item, now),
            status: event_text::status_text(event, item, now),
        }
    }
}
