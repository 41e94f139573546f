//! Replay of all events that a filter with a time range selects: a plan, then a bulk replay with progress.
//!
//! It is the bulk replay of `inboxctl events replay --since`, which also resumes it by its id if the console stops.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use futures::stream::{self, StreamExt};
use inbox_aws::stores::{BulkReplayPlan, ReplayOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::limits::CONCURRENT_CALLS;
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::event_list::event_filter;
use crate::event_replay::{new_plan_id, plan_id};
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::list_params::{TOO_MUCH, time_range};
use crate::operator_form::operator;
use crate::results::{ActionResult, ResultRow};
use crate::time_text::{TimeTag, pluralize};

/// Most events of one bulk replay from the console.
const EVENTS_MAX: usize = 1_000;
/// Events whose ids a plan names.
const NAMED_MAX: usize = 10;

type Pairs = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "event_bulk_replay.html")]
struct BulkReplayPage {
    layout: Layout,
    plan: BulkReplayPlan,
    times: Option<(TimeTag, TimeTag)>,
    named: Vec<(String, String)>,
    filters: Vec<(String, String)>,
    button: String,
    limit: usize,
    plan_id: String,
    operator_name: String,
}

/// `GET /events/replay-all?since=…`
pub(crate) async fn plan(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let now = app.now();
    let params = bounded(Params::new(query), now)?;
    let plan_id = new_plan_id();
    let plan = make_plan(&app, &plan_id, &params, now).await?;
    let named = plan.events.iter().take(NAMED_MAX).map(EventKey::event_id);
    let button = format!("Replay {}", pluralize(plan.events.len() as u64, "event", "events"));
    Ok(html(&BulkReplayPage {
        layout: Layout::new(&app, Section::Events, format!("{button} of a filter?")),
        named: named.map(|id| (href("/event", "id", &id), id)).collect(),
        times: plan.received.map(|(first, last)| (TimeTag::new(first, now), TimeTag::new(last, now))),
        filters: params.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        button,
        limit: EVENTS_MAX,
        plan_id,
        operator_name: app.operator_name(),
        plan,
    }))
}

/// `POST /events/replay-all`: begins the bulk replay, and leads to its progress.
pub(crate) async fn act(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let (form, now) = (Params::new(form), app.now());
    let plan_id = plan_id(&form)?.to_owned();
    let params = bounded(form.without(&["plan", "by", "why"]), now)?;
    let plan = make_plan(&app, &plan_id, &params, now).await?;
    let operator = operator(&app, &form)?;
    let total = plan.events.len();
    let name = app.results.keep(ActionResult {
        title: "Bulk replay of events".to_owned(),
        summary: progress_text(&plan_id, 0, total, 0),
        rows: Vec::new(),
        back: Some(("/events".to_owned(), "Events")),
        is_running: total > 0,
    });
    tokio::spawn(replay_all(app.clone(), plan, operator, name.clone()));
    Ok(Redirect::to(&href("/result", "id", &name)).into_response())
}

async fn make_plan(
    app: &AppParts,
    plan_id: &str,
    params: &Params,
    now: UnixMillis,
) -> Result<BulkReplayPlan, PageError> {
    let filter = event_filter(app, params, now).await?;
    let plan = app.stores().operator.plan_bulk_replay(plan_id, &filter, EVENTS_MAX, now).await?;
    // A replay of a part would look like a replay of all, and the rest could not be replayed in the same way.
    if plan.is_incomplete {
        return Err(PageError::BadRequest(format!(
            "This filter selects too much for a bulk replay: {TOO_MUCH}. Filter by one batch, or by time alone."
        )));
    }
    Ok(plan)
}

/// The filter of a plan: with a beginning, and with an end that lies in the past, so that the act finds the events of the plan and
/// no newer ones. The state is no part of it: only what is done is replayed.
fn bounded(params: Params, now: UnixMillis) -> Result<Params, PageError> {
    let params = params.without(&["state", "older", "newer"]);
    let times = time_range(&params, now)?;
    let since = times.since.ok_or_else(|| {
        PageError::BadRequest(
            "Filter by “received since” first: a bulk replay needs a time range.".to_owned(),
        )
    })?;
    let until = times.until.unwrap_or(now);
    Ok(params.without(&["since", "until"]).with("since", since.rfc3339()).with("until", until.rfc3339()))
}

async fn replay_all(app: App, plan: BulkReplayPlan, operator: Operator, name: String) {
    let BulkReplayPlan { bulk, events, .. } = plan;
    let (total, mut tried, mut failed) = (events.len(), 0, 0);
    let mut outcomes = stream::iter(events)
        .map(|key| {
            let (app, bulk, operator) = (app.clone(), bulk.clone(), operator.clone());
            async move {
                let by = operator.audit_entry(OperatorAction::Replay, app.now());
                let outcome = Box::pin(app.stores().operator.replay_in_bulk(&key, &bulk, &by)).await;
                (key, outcome)
            }
        })
        .buffer_unordered(CONCURRENT_CALLS);
    while let Some((key, outcome)) = outcomes.next().await {
        tried += 1;
        let problem = match outcome {
            Ok(ReplayOutcome::Due { .. } | ReplayOutcome::AlreadyReplayed) => None,
            Ok(ReplayOutcome::WrongState(state)) => Some(format!("it is {}, not done", state.as_str())),
            Ok(ReplayOutcome::NotFound) => Some("its record has expired".to_owned()),
            Ok(ReplayOutcome::Conflict | ReplayOutcome::MayStillBeQueued { .. }) => {
                Some("it was changed at the same time".to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        failed += usize::from(problem.is_some());
        let row = problem.map(|outcome| ResultRow {
            name: key.event_id(),
            link: Some(href("/event", "id", &key.event_id())),
            outcome,
            is_good: false,
        });
        app.results.update(&name, |result| {
            result.summary = progress_text(&bulk.id, tried, total, failed);
            result.rows.extend(row);
            result.is_running = tried < total;
        });
    }
}

/// The state of a bulk replay in one sentence.
fn progress_text(plan_id: &str, tried: usize, total: usize, failed: usize) -> String {
    let events = pluralize(total as u64, "event", "events");
    let due = tried - failed;
    if tried < total {
        format!(
            "{due} of {events} are due so far. If the console stops, `inboxctl events replay` goes on, with `--resume {plan_id}` \
             and the time range of the plan."
        )
    } else {
        format!("{due} of {events} are due: the relay sends them. The id of this bulk replay is {plan_id}.")
    }
}
