//! Replay of events: a page that says what will happen, and the act.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use inbox_aws::stores::ReplayOutcome;
use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use uuid::Uuid;

use crate::app::{App, AppParts};
use crate::event_text::{bus_event_type, state_class};
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::operator_form::operator;
use crate::prose::Prose;
use crate::results::{ActionResult, ResultRow};
use crate::time_text::{TimeTag, pluralize, with_age};

/// Most events of one replay.
const EVENTS_MAX: usize = 100;
/// Digits of the id of a bulk replay, as `inboxctl events replay --resume` takes it.
const PLAN_ID_DIGITS: usize = 12;

type Pairs = Vec<(String, String)>;

/// An event that was asked to be replayed.
struct PlannedEvent {
    id: String,
    link: String,
    state: &'static str,
    state_class: &'static str,
    done_at: Option<TimeTag>,
    /// What the replay does; or why it does nothing.
    effect: Prose,
    is_replayed: bool,
}

#[derive(Template)]
#[template(path = "event_replay.html")]
struct ReplayPage {
    layout: Layout,
    events: Vec<PlannedEvent>,
    button: String,
    count: usize,
    /// Id of this plan: it acts once, however often its form is sent.
    plan_id: String,
    operator_name: String,
}

/// `GET /events/replay?id=…&id=…`
pub(crate) async fn plan(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let (keys, plan_id) = (keys(&Params::new(query))?, new_plan_id());
    // All of them get one number, which is new to each.
    let replay = app.stores().operator.plan_bulk_replay_of(&plan_id, &keys, app.now()).await?.bulk.replay;
    let mut events = Vec::new();
    for key in &keys {
        events.push(plan_one(&app, key, replay).await?);
    }
    let count = events.iter().filter(|event| event.is_replayed).count();
    let button = format!("Replay {}", pluralize(count as u64, "event", "events"));
    let title = format!("{button}?");
    Ok(html(&ReplayPage {
        layout: Layout::new(&app, Section::Events, title),
        events,
        button,
        count,
        plan_id,
        operator_name: app.operator_name(),
    }))
}

/// `POST /events/replay`
pub(crate) async fn act(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let form = Params::new(form);
    let (keys, plan_id) = (keys(&form)?, plan_id(&form)?);
    let operator = operator(&app, &form)?;
    let plan = app.stores().operator.plan_bulk_replay_of(plan_id, &keys, app.now()).await?;
    let mut rows = Vec::new();
    for key in &keys {
        let by = operator.audit_entry(OperatorAction::Replay, app.now());
        let outcome = match app.stores().operator.replay_in_bulk(key, &plan.bulk, &by).await {
            Ok(outcome) => outcome_text(&outcome, app.now()),
            // One failure does not keep the others from being replayed.
            Err(error) => (false, error.to_string()),
        };
        rows.push(ResultRow {
            name: key.event_id(),
            link: Some(href("/event", "id", &key.event_id())),
            outcome: outcome.1,
            is_good: outcome.0,
        });
    }
    if let [ResultRow { link: Some(link), is_good: true, .. }] = rows.as_slice() {
        return Ok(Redirect::to(&format!("{link}&done=replayed")).into_response());
    }
    let good = rows.iter().filter(|row| row.is_good).count();
    let name = app.results.keep(ActionResult {
        title: "Replay of events".to_owned(),
        summary: format!("{good} of {} are due again.", pluralize(rows.len() as u64, "event", "events")),
        rows,
        back: Some(("/events".to_owned(), "Events")),
        is_running: false,
    });
    Ok(Redirect::to(&href("/result", "id", &name)).into_response())
}

/// A random id for a plan.
pub(crate) fn new_plan_id() -> String {
    Uuid::new_v4().simple().to_string().chars().take(PLAN_ID_DIGITS).collect()
}

/// The id of the plan that a form belongs to: that of a bulk replay, which publishes each authorizer's alert once.
pub(crate) fn plan_id(form: &Params) -> Result<&str, PageError> {
    let is_id = |text: &&str| text.len() == PLAN_ID_DIGITS && text.bytes().all(|it| it.is_ascii_hexdigit());
    form.get("plan")
        .filter(is_id)
        .ok_or_else(|| PageError::BadRequest("Replay from the page that says what will happen.".to_owned()))
}

/// The events that the parameters name, each once.
fn keys(params: &Params) -> Result<Vec<EventKey>, PageError> {
    let mut keys = Vec::new();
    for id in params.up_to(EVENTS_MAX, "id").map_err(PageError::BadRequest)? {
        let key = EventKey::from_event_id(&id)
            .ok_or_else(|| PageError::BadRequest(format!("{id} is not the id of an event.")))?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(PageError::BadRequest("Check the events to replay in the list.".to_owned()));
    }
    Ok(keys)
}

async fn plan_one(app: &AppParts, key: &EventKey, replay: u64) -> Result<PlannedEvent, PageError> {
    let (id, now) = (key.event_id(), app.now());
    let event = app.stores().operator.event(key).await?;
    let state = event.as_ref().map(|event| event.lifecycle.state(now));
    let effect = match (&event, state) {
        (Some(event), Some(EventState::Done)) => format!(
            "{} is published again, as replay {replay}. Consumers that deduplicate by id and replay act again.",
            bus_event_type(event)
        ),
        (_, state) => format!("Nothing: {}.", why_not(state)),
    };
    Ok(PlannedEvent {
        link: href("/event", "id", &id),
        state: state.map_or("not recorded", EventState::as_str),
        state_class: state.map_or("", state_class),
        done_at: TimeTag::optional(event.and_then(|event| event.lifecycle.done_at), now),
        effect: Prose::new(&effect),
        is_replayed: state == Some(EventState::Done),
        id,
    })
}

/// Why an event is not replayed.
fn why_not(state: Option<EventState>) -> &'static str {
    match state {
        None => "it is not recorded, or its record has expired",
        Some(EventState::Quarantined) => "it is quarantined; replay its item in quarantine",
        Some(EventState::Sent) => {
            "it is sent, not done: it may still be processed. If its message is lost, use `inboxctl events replay --lost`"
        }
        Some(EventState::Claimed) => "it is claimed, not done: a worker is processing it",
        Some(EventState::Recorded | EventState::Waiting) => "it is not done: the relay will send it",
        Some(EventState::Done) => "it is done",
    }
}

/// Whether an event was replayed, and the words for it.
fn outcome_text(outcome: &ReplayOutcome, now: UnixMillis) -> (bool, String) {
    match outcome {
        ReplayOutcome::Due { replay } => (true, format!("due: the relay sends it, as replay {replay}")),
        ReplayOutcome::AlreadyReplayed => (true, "was replayed by this plan before".to_owned()),
        ReplayOutcome::WrongState(state) => (false, format!("not replayed: {}", why_not(Some(*state)))),
        ReplayOutcome::MayStillBeQueued { until } => {
            (false, format!("its message may still be on a queue until {}", with_age(Some(*until), now)))
        }
        ReplayOutcome::Conflict => {
            (false, "it was changed at the same time; nothing was done: try again".to_owned())
        }
        ReplayOutcome::NotFound => (false, "it is not recorded, or its record has expired".to_owned()),
    }
}
