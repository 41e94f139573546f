//! `trace`: the whole story of one thing.

use anyhow::bail;
use inbox_aws::inbox::{AlertView, EventView, ScheduleView, Timeline};
use inbox_core::event::{EventKey, Id, batch_pk};
use inbox_core::inbox::{schedule_pk, submission_pk};
use inbox_core::audit::message_expiry;
use inbox_core::quarantine::QuarantineId;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::batches::Batch;
use crate::cli::Trace as Args;
use crate::events::{Shown, kept_item_of};
use crate::place::Place;
use crate::poll_problem::Problem;
use crate::trouble::About;
use crate::view::{At, Found, Trace as Intervened, at as at_time, counted, story};

/// What is known under one id.
#[derive(Serialize)]
pub(crate) struct Traced {
    stories: Vec<Story>,
}

/// The story of one batch, event, schedule or submission.
#[derive(Serialize)]
pub(crate) struct Story {
    pub(crate) about: String,
    pub(crate) submission: Option<Submission>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) batch: Option<Batch>,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<Effect>,
    /// Items under its key that cannot be read.
    pub(crate) unreadable: usize,
}

/// An event, and where it stands in words.
#[derive(Serialize)]
pub(crate) struct Event {
    #[serde(flatten)]
    pub(crate) shown: Shown,
    pub(crate) stands: String,
}

/// An alert that was published, or is about to be.
#[derive(Serialize)]
pub(crate) struct Effect {
    pub(crate) authorizer: String,
    pub(crate) event: Option<String>,
    pub(crate) published_at: Option<At>,
    pub(crate) replay: u64,
}

/// A schedule that is watched.
#[derive(Serialize)]
pub(crate) struct Schedule {
    pub(crate) schedule_id: String,
    pub(crate) subject: Option<String>,
    pub(crate) probes: Vec<String>,
    pub(crate) since: Option<At>,
    pub(crate) last_run_seen: Option<At>,
    pub(crate) expires_at: Option<At>,
    pub(crate) polls: u64,
    pub(crate) due_at: Option<At>,
    pub(crate) settled_at: Option<At>,
    /// What is wrong with its polls.
    pub(crate) problem: Option<Problem>,
}

/// A submission.
#[derive(Serialize)]
pub(crate) struct Submission {
    pub(crate) submission_id: String,
    pub(crate) kind: &'static str,
    pub(crate) written_at: At,
    pub(crate) attempts: u64,
    pub(crate) due_at: Option<At>,
    pub(crate) concluded_at: Option<At>,
    pub(crate) refused_at: Option<At>,
    pub(crate) given_up_at: Option<At>,
    pub(crate) made: Option<String>,
    /// Where what it made stands.
    pub(crate) made_stands: Option<String>,
    pub(crate) interventions: Vec<Intervened>,
}

pub(crate) async fn trace(at: &Place, args: Args) -> anyhow::Result<Traced> {
    let table = at.table()?;
    if let Some(key) = EventKey::from_event_id(&args.id) {
        let story = story_of(at, args.id.clone(), &key.pk()).await?.map(|story| of_event(story, &args.id));
        let story = story.filter(|story| !story.events.is_empty());
        let Some(story) = story else {
            bail!("{} is not recorded in {table}, or its record has expired", args.id);
        };
        return Ok(Traced { stories: vec![story] });
    }
    let Some(id) = Id::new(args.id.clone()) else { bail!("an id has 1 to 512 bytes") };
    let places = [
        ("batch", batch_pk(&id)),
        ("event", EventKey::Fynapse { event_id: id.clone() }.pk()),
        ("schedule", schedule_pk(&id)),
        ("submission", submission_pk(id.as_str())),
    ];
    let mut stories = Vec::new();
    for (kind, pk) in places {
        stories.extend(story_of(at, format!("{kind} {}", args.id), &pk).await?);
    }
    add_what_was_made(at, &mut stories).await?;
    if stories.is_empty() {
        bail!("nothing is known in {table} of a batch, event, schedule or submission {}", args.id);
    }
    Ok(Traced { stories })
}

/// Adds what became of the batch or schedule that a submission made.
async fn add_what_was_made(at: &Place, stories: &mut Vec<Story>) -> anyhow::Result<()> {
    let submission = stories.iter().find_map(|story| story.submission.as_ref());
    let Some((kind, made)) = submission.and_then(|it| it.kind_and_made()) else { return Ok(()) };
    let pk = if kind == "batch" { batch_pk(&made) } else { schedule_pk(&made) };
    let made = story_of(at, format!("{kind} {}", made.as_str()), &pk).await?;
    let stands = made.as_ref().and_then(|story| story.stands(at.now()));
    let stands = stands.unwrap_or_else(|| "its item has expired".to_owned());
    for submission in stories.iter_mut().filter_map(|story| story.submission.as_mut()) {
        submission.made_stands = Some(stands.clone());
    }
    // It may have the submission's own name, and is there then.
    stories.extend(made.filter(|made| stories.iter().all(|story| story.about != made.about)));
    Ok(())
}

/// What is known under one partition key, if anything is.
async fn story_of(at: &Place, about: String, pk: &str) -> anyhow::Result<Option<Story>> {
    let (inbox, table, now) = (at.inbox()?, at.table()?, at.now());
    let story = inbox.timeline(pk).await.about(&table)?;
    if story.is_empty() {
        return Ok(None);
    }
    let mut events = Vec::new();
    for event in &story.events {
        let item = kept_item_of(&inbox, event, now).await.about(&table)?;
        events.push(Event::of(event, item.as_ref(), now));
    }
    Ok(Some(Story::of(about, story, events)))
}

/// Of a batch's story, what concerns one event of it.
fn of_event(mut story: Story, event_id: &str) -> Story {
    story.events.retain(|event| event.shown.id() == event_id);
    story.effects.retain(|effect| effect.event.as_deref() == Some(event_id));
    story
}

impl Submission {
    fn kind_and_made(&self) -> Option<(&'static str, Id)> {
        Some((self.kind, self.made.as_ref().and_then(Id::new)?))
    }
}

impl Schedule {
    /// Where it stands, in words.
    pub(crate) fn stands(&self, now: UnixMillis) -> String {
        let next = self.due_at.map_or_else(
            || "not asked for any more".to_owned(),
            |at| format!("asked for next {}", at.told(now)),
        );
        let problem = self.problem.as_ref().map(|problem| format!("; {}", problem.text(now)));
        next + &problem.unwrap_or_default()
    }
}

impl Story {
    /// Where the batch or schedule stands, if it is the story of one that is tracked.
    fn stands(&self, now: UnixMillis) -> Option<String> {
        let batch = self.batch.as_ref().map(|batch| batch.stands(now));
        batch.or_else(|| self.schedule.as_ref().map(|schedule| schedule.stands(now)))
    }

    fn of(about: String, told: Timeline, events: Vec<Event>) -> Self {
        Self {
            about,
            submission: told.submission.map(|it| Submission {
                submission_id: it.submission_id,
                kind: match it.kind {
                    SubmissionKind::Batch => "batch",
                    SubmissionKind::Schedule => "schedule",
                },
                written_at: At(it.written_at),
                attempts: it.attempts,
                due_at: at_time(it.due_at),
                concluded_at: at_time(it.done_at),
                refused_at: at_time(it.declined_at),
                given_up_at: at_time(it.abandoned_at),
                made: it.created_id,
                made_stands: None,
                interventions: Intervened::of(&it.audit_entries),
            }),
            schedule: told.schedule.as_ref().map(Schedule::from),
            batch: told.batch.as_ref().map(Batch::from),
            events,
            effects: told.alerts.iter().map(Effect::from).collect(),
            unreadable: told.unreadable,
        }
    }
}

impl From<&ScheduleView> for Schedule {
    fn from(it: &ScheduleView) -> Self {
        Self {
            schedule_id: it.schedule_id.clone(),
            subject: it.subject.clone(),
            probes: it.probes.clone(),
            since: at_time(it.since),
            last_run_seen: at_time(it.last_run_seen),
            expires_at: at_time(it.expires_at),
            polls: it.polls,
            due_at: at_time(it.due_at),
            settled_at: at_time(it.done_at),
            problem: Problem::of(it.problem.as_ref(), it.polls),
        }
    }
}

impl Event {
    fn of(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> Self {
        Self { shown: Shown::of(event, item, now), stands: stands(event, item, now) }
    }
}

impl From<&AlertView> for Effect {
    fn from(it: &AlertView) -> Self {
        Self {
            authorizer: it.authorizer.clone(),
            event: it.event_id.clone(),
            published_at: at_time(it.published_at),
            replay: it.replay,
        }
    }
}

/// Where an event stands, and who has the next step.
fn stands(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> String {
    let told = |at: Option<UnixMillis>| at.map_or_else(|| "?".to_owned(), |at| At(at).told(now));
    let facts = &event.lifecycle;
    match facts.state(now) {
        EventState::Recorded => {
            format!("recorded, and not known to be on the queue: the relay's, due {}", told(facts.due_at))
        }
        EventState::Sent if is_lost(event, now) => format!(
            "sent {}, and on no queue any more: `events replay --lost` sends it again",
            told(facts.sent_at)
        ),
        EventState::Sent => {
            format!("on the queue, sent {}: waits for the worker{}", told(facts.sent_at), before(event))
        }
        EventState::Claimed => {
            format!("a worker is at it; its claim ends {}{}", told(facts.claim_until), before(event))
        }
        EventState::Waiting => {
            format!("{}: due again {}", put_back(event), told(facts.due_at))
        }
        EventState::Done => format!("done {}", told(facts.done_at)),
        EventState::Quarantined => {
            let item = item.map_or_else(
                || "its item has expired".to_owned(),
                |item| format!("see `quarantine show {item}`"),
            );
            format!("given up {}: {item}", told(facts.quarantined_at))
        }
    }
}

/// How often a worker has put it back, and why last.
fn put_back(event: &EventView) -> String {
    let times = counted(event.lifecycle.requeues, "time", "times");
    let reason = event.retry_reason.as_ref().map(|reason| format!(", last because of {reason}"));
    format!("put back by the worker, {times} so far{}", reason.unwrap_or_default())
}

/// The same of an event that is at the worker again.
fn before(event: &EventView) -> String {
    if event.lifecycle.requeues > 0 { format!(" ({})", put_back(event)) } else { String::new() }
}

/// Whether the queues do not keep a message for so long.
fn is_lost(event: &EventView, now: UnixMillis) -> bool {
    event.lifecycle.sent_at.is_some_and(|at| message_expiry(at, &event.audit_entries) <= now)
}

impl Found for Traced {
    fn text(&self, now: UnixMillis) -> String {
        self.stories.iter().map(|it| story(it, now)).collect::<Vec<_>>().join("\n")
    }
}
