//! The page of one event: facts, timeline, related items, and its payload once it is asked for.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::{EventRecord, QuarantinedItem};
use inbox_aws::stores::Timeline;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::message::build_message;
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::event_outputs::EventOutputs;
use crate::event_text::{
    Step, alert_step, claimed_alert_text, duplicates_text, event_steps, results_found_text, state_class,
    status_text,
};
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::links::{Params, href};
use crate::payload::{RevealedPayload, download};
use crate::prose::{Prose, without_word};
use crate::time_text::{TimeTag, pluralize, size, step_duration};
use crate::tracked_text::batch_status;

type Pairs = Vec<(String, String)>;

/// A step of a timeline on a page.
pub(crate) struct StepView {
    pub(crate) at: TimeTag,
    pub(crate) text: String,
    /// Time since the step before.
    pub(crate) after: Option<String>,
}

impl StepView {
    /// The steps, with the time between them.
    pub(crate) fn list(steps: Vec<Step>, now: UnixMillis) -> Vec<Self> {
        let mut before = None;
        let view = |(at, text): Step| {
            let after = before.replace(at).map(|before| step_duration(at.since(before)));
            Self { at: TimeTag::new(at, now), text, after }
        };
        steps.into_iter().map(view).collect()
    }
}

/// Another item of the same batch.
struct RelatedItem {
    kind: &'static str,
    name: String,
    link: String,
    state: String,
}

/// What changes while an event is processed.
#[derive(Template)]
#[template(path = "event_status.html")]
struct EventStatusView {
    state: &'static str,
    state_class: &'static str,
    status: Prose,
    facts: Vec<(&'static str, String)>,
    steps: Vec<StepView>,
    alerts: Vec<String>,
    outputs: EventOutputs,
    quarantine_link: Option<String>,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for EventStatusView {}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    layout: Layout,
    id: String,
    status: EventStatusView,
    live_link: String,
    replay_link: Option<String>,
    related: Vec<RelatedItem>,
    payload_size: String,
    payload_hash: String,
    is_payload_erased: bool,
    payload: Option<RevealedPayload>,
    /// The message on the queue with its payload; only together with it, and only if it is not too long for a page.
    message: Option<RevealedPayload>,
    unreadable: Option<String>,
}

/// `GET /event?id=…`
pub(crate) async fn show(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let params = Params::new(query);
    let notice = params.get("done").map(|outcome| notice(outcome).to_owned());
    let event = load(&app, &params).await?;
    Ok(html(&page(&app, event, None).await?.with_notice(notice)))
}

/// `GET /event/live?id=…`: the part of the page that changes.
pub(crate) async fn show_live(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let event = load(&app, &Params::new(query)).await?;
    let (timeline, item) = load_related(&app, &event).await?;
    Ok(fragment(&app, render(&EventStatusView::new(&event, &timeline, item.as_ref(), app.now()))?))
}

/// `POST /event/payload`: the page with the payload.
pub(crate) async fn reveal(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let event = load(&app, &Params::new(form)).await?;
    let bytes = app.stores().operator.event_payload(&event).await?;
    Ok(html(&page(&app, event, Some(&bytes)).await?))
}

/// `POST /event/download`: the payload as received.
pub(crate) async fn download_payload(
    State(app): State<App>,
    Form(form): Form<Pairs>,
) -> Result<Response, PageError> {
    let event = load(&app, &Params::new(form)).await?;
    let bytes = app.stores().operator.event_payload(&event).await?;
    Ok(download(bytes, &format!("{}.payload", event.key.event_id())))
}

/// Reads the event that the parameter `id` names.
async fn load(app: &AppParts, params: &Params) -> Result<EventRecord, PageError> {
    let id = params.get("id").unwrap_or_default();
    let key = EventKey::from_event_id(id).ok_or_else(|| {
        PageError::BadRequest("The address has no id of an event, such as fynapse/event/….".to_owned())
    })?;
    let event = app.stores().operator.event(&key).await?;
    event.ok_or_else(|| PageError::NotFound(format!("{key} is not recorded, or its record has expired.")))
}

/// The items that share the event's partition, and its item in quarantine.
async fn load_related(
    app: &AppParts,
    event: &EventRecord,
) -> Result<(Timeline, Option<QuarantinedItem>), PageError> {
    let timeline = app.stores().operator.timeline(&event.key.pk()).await?;
    let is_quarantined = event.lifecycle.state(app.now()) == EventState::Quarantined;
    let item = if is_quarantined { app.stores().operator.quarantined_item_of(event).await? } else { None };
    Ok((timeline, item))
}

async fn page(app: &AppParts, event: EventRecord, payload: Option<&[u8]>) -> Result<EventPage, PageError> {
    let (timeline, item) = load_related(app, &event).await?;
    let (id, now) = (event.key.event_id(), app.now());
    let can_replay = event.lifecycle.state(now) == EventState::Done && !app.facts.is_read_only;
    let unreadable = timeline.unreadable as u64;
    Ok(EventPage {
        layout: Layout::new(app, Section::Events, format!("Event {id}")),
        status: EventStatusView::new(&event, &timeline, item.as_ref(), now),
        live_link: href("/event/live", "id", &id),
        replay_link: can_replay.then(|| href("/events/replay", "id", &id)),
        related: related_items(&event, &timeline, now),
        payload_size: size(event.payload.bytes),
        payload_hash: event.payload.hash.clone(),
        is_payload_erased: event.payload.erased_at().is_some(),
        payload: payload.map(RevealedPayload::new),
        message: payload.map(|bytes| sent_message(&event, bytes)).filter(|message| message.note.is_none()),
        unreadable: (unreadable > 0)
            .then(|| format!("{} cannot be read by this version", pluralize(unreadable, "item", "items"))),
        id,
    })
}

/// The message of the event, as it is sent with this payload.
fn sent_message(event: &EventRecord, payload: &[u8]) -> RevealedPayload {
    RevealedPayload::new(build_message(event.message_meta(), Some(payload)).body.as_bytes())
}

impl EventPage {
    fn with_notice(self, notice: Option<String>) -> Self {
        Self { layout: self.layout.with_notice(notice), ..self }
    }
}

impl EventStatusView {
    fn new(
        event: &EventRecord,
        timeline: &Timeline,
        item: Option<&QuarantinedItem>,
        now: UnixMillis,
    ) -> Self {
        let (id, state) = (event.key.event_id(), event.lifecycle.state(now));
        let mut steps = event_steps(event);
        let own_alerts = timeline.alerts.iter().filter(|alert| alert.event_id.as_deref() == Some(&id));
        let own_alerts: Vec<_> = own_alerts.collect();
        steps.extend(own_alerts.iter().filter_map(|alert| alert_step(alert)));
        let alerts = own_alerts.iter().filter_map(|alert| claimed_alert_text(alert)).collect();
        steps.sort_by_key(|step| step.0);
        Self {
            state: state.as_str(),
            state_class: state_class(state),
            status: Prose::new(without_word(&status_text(event, item, now), state.as_str())),
            facts: facts(event, now),
            steps: StepView::list(steps, now),
            alerts,
            outputs: EventOutputs::new(event, timeline, now),
            quarantine_link: item.map(|item| href("/quarantine/item", "id", &item.id.to_string())),
        }
    }
}

/// Facts of an event, by the names that `inboxctl events show` has for them.
fn facts(event: &EventRecord, now: UnixMillis) -> Vec<(&'static str, String)> {
    let count = |count: u64| (count > 0).then(|| count.to_string());
    let reason = event.retry_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let facts = [
        ("type", Some(event.event_type.clone())),
        ("origin", Some(event.origin.as_str().to_owned())),
        ("subject", event.subject.as_ref().map(ToString::to_string)),
        ("idempotency key", event.idempotency_key.clone()),
        ("duplicates", duplicates_text(event.duplicates, now)),
        ("requeued by the worker", count(event.lifecycle.requeues).map(|count| count + &reason)),
        ("results found", results_found_text(event, now)),
        ("tries of the relay", count(event.attempts)),
        ("undeliverable (SQS)", count(event.undeliverable_count)),
        ("replays", count(event.replay)),
        ("record expires", event.expires_at.map(|at| UnixMillis(at.0.saturating_mul(1_000)).rfc3339())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn related_items(event: &EventRecord, timeline: &Timeline, now: UnixMillis) -> Vec<RelatedItem> {
    let mut related = Vec::new();
    if let Some(batch_id) = event.key.batch_id() {
        let state = match &timeline.batch {
            Some(batch) => batch_status(batch, now),
            None => "not tracked".to_owned(),
        };
        related.push(RelatedItem {
            kind: "batch",
            name: batch_id.as_str().to_owned(),
            link: href("/batch", "id", batch_id.as_str()),
            state,
        });
    }
    let schedule = timeline.batch.as_ref().and_then(|batch| batch.tracked.schedule_id.as_ref());
    related.extend(schedule.map(|id| RelatedItem {
        kind: "schedule",
        name: id.as_str().to_owned(),
        link: href("/schedule", "id", id.as_str()),
        state: "the batch is one of its runs".to_owned(),
    }));
    let others = timeline.events.iter().filter(|other| other.key != event.key);
    related.extend(others.map(|other| RelatedItem {
        kind: "event",
        name: other.key.event_id(),
        link: href("/event", "id", &other.key.event_id()),
        state: other.lifecycle.state(now).as_str().to_owned(),
    }));
    related
}

/// What an action has done, by the name in the address.
fn notice(outcome: &str) -> &'static str {
    match outcome {
        "replayed" => "It is due again: the relay sends it. This page follows it.",
        _ => "Done.",
    }
}
