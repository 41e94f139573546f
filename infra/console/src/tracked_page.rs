//! The pages of a batch, a schedule and a submission.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::{EventRecord, QuarantinedItem, ScheduleItem};
use inbox_aws::stores::Timeline;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::table_keys::{batch_pk, schedule_pk, submission_pk};
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::BatchStatus;

use crate::app::{App, AppParts};
use crate::balances::{RevealedBalances, balances_of_batch};
use crate::event_page::StepView;
use crate::event_text::{state_class, status_text};
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::links::{Params, href};
use crate::prose::{Prose, without_word};
use crate::time_text::{duration, pluralize};
use crate::tracked_text::{
    batch_class, batch_status, deadline_text, results_text, schedule_status, submission_mark,
    submission_status, timeline_steps,
};

/// Events of a batch that its page lists, the earliest ones. A leaked URL can add any number.
const EVENTS_MAX: usize = 100;

type Pairs = Vec<(String, String)>;

/// An event of a batch.
struct BatchEvent {
    id: String,
    link: String,
    state: &'static str,
    state_class: &'static str,
    status: Prose,
}

/// What changes while a batch, schedule or submission is at work.
#[derive(Template)]
#[template(path = "tracked_status.html")]
struct TrackedStatusView {
    state: String,
    state_class: &'static str,
    status: Prose,
    facts: Vec<(&'static str, String)>,
    links: Vec<(&'static str, String, String)>,
    events: Vec<BatchEvent>,
    /// Number of events that are not listed.
    hidden_events: usize,
    steps: Vec<StepView>,
    unreadable: Option<String>,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for TrackedStatusView {}

#[derive(Template)]
#[template(path = "tracked.html")]
struct TrackedPage {
    layout: Layout,
    kind: &'static str,
    id: String,
    view: TrackedStatusView,
    live_link: String,
    /// Text and link of a list of events.
    events_link: Option<(&'static str, String)>,
    /// Form that reveals the balances; only of a batch.
    has_balances: bool,
    balances: Option<RevealedBalances>,
    track_link: Option<String>,
}

/// A kind of thing that is tracked, or written before it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Batch,
    Schedule,
    Submission,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Schedule => "schedule",
            Self::Submission => "submission",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Batch => "Batch",
            Self::Schedule => "Schedule",
            Self::Submission => "Submission",
        }
    }

    /// Text of the link to the events; the filter's name is that of the kind.
    const fn events_text(self) -> Option<&'static str> {
        match self {
            Self::Batch => Some("Events of this batch"),
            Self::Schedule => Some("Events of its runs"),
            Self::Submission => None,
        }
    }

    const fn section(self) -> Section {
        match self {
            Self::Batch => Section::Batches,
            Self::Schedule => Section::Schedules,
            Self::Submission => Section::Submissions,
        }
    }
}

/// `GET /batch?id=…`
pub(crate) async fn show_batch(State(app): State<App>, query: Query<Pairs>) -> Result<Response, PageError> {
    show(&app, Kind::Batch, query).await
}

/// `GET /schedule?id=…`
pub(crate) async fn show_schedule(
    State(app): State<App>,
    query: Query<Pairs>,
) -> Result<Response, PageError> {
    show(&app, Kind::Schedule, query).await
}

/// `GET /submission?id=…`
pub(crate) async fn show_submission(
    State(app): State<App>,
    query: Query<Pairs>,
) -> Result<Response, PageError> {
    show(&app, Kind::Submission, query).await
}

/// `GET /batch/live?id=…`, and the same of schedules and submissions.
pub(crate) async fn show_batch_live(
    State(app): State<App>,
    query: Query<Pairs>,
) -> Result<Response, PageError> {
    show_live(&app, Kind::Batch, query).await
}

/// `GET /schedule/live?id=…`
pub(crate) async fn show_schedule_live(
    State(app): State<App>,
    query: Query<Pairs>,
) -> Result<Response, PageError> {
    show_live(&app, Kind::Schedule, query).await
}

/// `GET /submission/live?id=…`
pub(crate) async fn show_submission_live(
    State(app): State<App>,
    query: Query<Pairs>,
) -> Result<Response, PageError> {
    show_live(&app, Kind::Submission, query).await
}

/// `POST /batch/balances`: the page of a batch with a page of its stored balances.
pub(crate) async fn reveal_balances(
    State(app): State<App>,
    Form(form): Form<Pairs>,
) -> Result<Response, PageError> {
    let params = Params::new(form);
    let (id, timeline) = load(&app, Kind::Batch, &params).await?;
    let batch_id = Id::new(id.clone()).ok_or_else(|| no_id(Kind::Batch))?;
    let balances = balances_of_batch(&app, &batch_id, &params).await?;
    let mut page = page(&app, Kind::Batch, id, &timeline).await?;
    page.balances = Some(balances);
    Ok(html(&page))
}

async fn show(app: &App, kind: Kind, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let params = Params::new(query);
    let (id, timeline) = load(app, kind, &params).await?;
    let mut page = page(app, kind, id, &timeline).await?;
    let notice =
        params.get("done").map(|_| "It is tracked: the poller asks Rightfoot for its results.".to_owned());
    page.layout = page.layout.with_notice(notice);
    Ok(html(&page))
}

async fn show_live(app: &App, kind: Kind, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let (_, timeline) = load(app, kind, &Params::new(query)).await?;
    let events = batch_events(app, &timeline).await?;
    Ok(fragment(app, render(&TrackedStatusView::new(kind, &timeline, events, app.now()))?))
}

/// Reads all items about the batch, schedule or submission that the parameter `id` names.
async fn load(app: &AppParts, kind: Kind, params: &Params) -> Result<(String, Timeline), PageError> {
    let id = params.get("id").and_then(Id::new).ok_or_else(|| no_id(kind))?;
    let pk = match kind {
        Kind::Batch => batch_pk(&id),
        Kind::Schedule => schedule_pk(&id),
        Kind::Submission => submission_pk(id.as_str()),
    };
    let timeline = app.stores().operator.timeline(&pk).await?;
    if timeline.is_empty() {
        return Err(PageError::NotFound(format!(
            "Nothing is known of a {} {}, or its record has expired.",
            kind.name(),
            id.as_str()
        )));
    }
    Ok((id.as_str().to_owned(), timeline))
}

fn no_id(kind: Kind) -> PageError {
    PageError::BadRequest(format!("The address has no id of a {}.", kind.name()))
}

async fn page(app: &AppParts, kind: Kind, id: String, timeline: &Timeline) -> Result<TrackedPage, PageError> {
    let events = batch_events(app, timeline).await?;
    let is_untracked = kind == Kind::Batch && timeline.batch.is_none() && !app.facts.is_read_only;
    Ok(TrackedPage {
        layout: Layout::new(app, kind.section(), format!("{} {id}", kind.title())),
        kind: kind.title(),
        view: TrackedStatusView::new(kind, timeline, events, app.now()),
        live_link: href(&format!("/{}/live", kind.name()), "id", &id),
        events_link: kind.events_text().map(|text| (text, href("/events", kind.name(), &id))),
        has_balances: kind == Kind::Batch && app.inbox.balances.is_some(),
        balances: None,
        track_link: is_untracked.then(|| href("/batches/track", "id", &id)),
        id,
    })
}

/// The events of a batch, each quarantined one with its item.
async fn batch_events(app: &AppParts, timeline: &Timeline) -> Result<Vec<BatchEvent>, PageError> {
    let (mut events, now) = (Vec::new(), app.now());
    for event in timeline.events.iter().take(EVENTS_MAX) {
        let is_quarantined = event.lifecycle.state(now) == EventState::Quarantined;
        let item =
            if is_quarantined { app.stores().operator.quarantined_item_of(event).await? } else { None };
        events.push(BatchEvent::new(event, item.as_ref(), now));
    }
    Ok(events)
}

impl TrackedStatusView {
    fn new(kind: Kind, timeline: &Timeline, events: Vec<BatchEvent>, now: UnixMillis) -> Self {
        let (state_class, state, status) = status(kind, timeline, now);
        let unreadable = timeline.unreadable as u64;
        Self {
            state_class,
            status: Prose::new(without_word(&status, &state)),
            state,
            facts: facts(timeline, now),
            links: links(timeline),
            events,
            hidden_events: timeline.events.len().saturating_sub(EVENTS_MAX),
            steps: StepView::list(timeline_steps(timeline), now),
            unreadable: (unreadable > 0).then(|| {
                format!("{} cannot be read by this version", pluralize(unreadable, "item", "items"))
            }),
        }
    }
}

impl BatchEvent {
    fn new(event: &EventRecord, item: Option<&QuarantinedItem>, now: UnixMillis) -> Self {
        let (id, state) = (event.key.event_id(), event.lifecycle.state(now));
        Self {
            link: href("/event", "id", &id),
            state: state.as_str(),
            state_class: state_class(state),
            status: Prose::new(without_word(&status_text(event, item, now), state.as_str())),
            id,
        }
    }
}

/// Class and word of the mark, and the sentence.
fn status(kind: Kind, timeline: &Timeline, now: UnixMillis) -> (&'static str, String, String) {
    if let Some(submission) = timeline.submission.as_ref().filter(|_| kind == Kind::Submission) {
        let (class, name) = submission_mark(submission);
        return (class, name.to_owned(), submission_status(submission, now));
    }
    if let Some(schedule) = timeline.schedule.as_ref().filter(|_| kind == Kind::Schedule) {
        let (class, name) = schedule_mark(schedule);
        return (class, name.to_owned(), schedule_status(schedule, now));
    }
    match &timeline.batch {
        Some(batch) => {
            let status = BatchStatus::of(batch.done_at, batch.overdue_at);
            (batch_class(status), status.as_str().to_owned(), batch_status(batch, now))
        }
        None => (
            "warn",
            "not tracked".to_owned(),
            "its webhooks are processed, but a lost one is not found by polling".to_owned(),
        ),
    }
}

/// Class and word of the mark of a schedule.
pub(crate) fn schedule_mark(schedule: &ScheduleItem) -> (&'static str, &'static str) {
    match (&schedule.tracking.problem, schedule.tracking.due_at) {
        (_, None) => ("good", "ended"),
        (Some(_), Some(_)) => ("bad", "problem"),
        (None, Some(_)) => ("busy", "tracked"),
    }
}

fn facts(timeline: &Timeline, now: UnixMillis) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(timeline.batch_results().map(|results| ("results", results_text(&results, now))));
    if let Some(batch) = &timeline.batch {
        let tracked = &batch.tracked;
        if batch.excluded_count > 0 {
            let authorizers = pluralize(batch.excluded_count, "authorizer", "authorizers");
            facts.push((
                "excluded",
                format!("Rightfoot did not accept {authorizers}: no result comes for them"),
            ));
        }
        facts.extend(tracked.subject.as_ref().map(|subject| ("subject", subject.to_string())));
        facts.push(("polls", tracked.polls.to_string()));
        facts.push(("deadline", deadline_text(batch, now)));
        facts.extend(batch.run_at.map(|at| ("run at", at.rfc3339())));
    }
    if let Some(schedule) = &timeline.schedule {
        let tracked = &schedule.schedule;
        facts.extend(tracked.subject.as_ref().map(|subject| ("subject", subject.to_string())));
        facts.push(("time between runs", duration(tracked.interval)));
        facts.push(("expires", tracked.expires_at.rfc3339()));
        facts.push(("polls since a run was found", tracked.polls.to_string()));
    }
    if let Some(submission) = &timeline.submission {
        facts.push(("of a", submission.kind.as_str().to_owned()));
        facts.push(("attempts", submission.attempts.to_string()));
    }
    facts
}

/// Kind, id and link of what belongs to it.
fn links(timeline: &Timeline) -> Vec<(&'static str, String, String)> {
    let mut links = Vec::new();
    let schedule_id = timeline.batch.as_ref().and_then(|batch| batch.tracked.schedule_id.as_ref());
    links.extend(
        schedule_id.map(|id| ("schedule", id.as_str().to_owned(), href("/schedule", "id", id.as_str()))),
    );
    if let Some(schedule) = &timeline.schedule {
        let id = schedule.schedule.schedule_id.as_str();
        links.push(("its runs", "batches of this schedule".to_owned(), href("/batches", "schedule", id)));
    }
    let created =
        timeline.submission.as_ref().and_then(|it| Some((it.kind.as_str(), it.created_id.as_ref()?)));
    links.extend(
        created
            .map(|(kind, id)| (kind, id.as_str().to_owned(), href(&format!("/{kind}"), "id", id.as_str()))),
    );
    links
}
