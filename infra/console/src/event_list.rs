//! The list of events: newest first, filtered by the address, and a button that says how many have come since.

use std::collections::BTreeSet;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::{BatchSelector, EventFilter, ListCursor, PageStart, SelectedBatches};
use inbox_core::delivery::Provider;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::origin::Origin;
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::balances::stored_balances;
use crate::event_text::state_class;
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::links::{Params, href};
use crate::list_params::{PAGE_ITEMS, PageLinks, filters, page_start, parse, time_range};
use crate::time_text::TimeTag;

const PATH: &str = "/events";
/// New events that the button counts.
const NEW_MAX: usize = 100;
/// Age up to which the count of new events is used for other tabs, too.
const NEW_MAX_AGE: Duration = Duration::from_secs(2);

/// Longest part of an id that is shown whole: a name that somebody chose, and no UUID or hash.
const WHOLE_MAX: usize = 24;

type Pairs = Vec<(String, String)>;

/// An event in a list.
pub(crate) struct EventRow {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) link: String,
    pub(crate) state: &'static str,
    pub(crate) state_class: &'static str,
    pub(crate) event_type: String,
    pub(crate) origin: &'static str,
    pub(crate) replay: u64,
    pub(crate) received: TimeTag,
}

impl EventRow {
    pub(crate) fn new(event: &EventRecord, now: UnixMillis) -> Self {
        let (id, state) = (event.key.event_id(), event.lifecycle.state(now));
        Self {
            short_id: short_id(&id),
            link: href("/event", "id", &id),
            state: state.as_str(),
            state_class: state_class(state),
            event_type: event.event_type.clone(),
            origin: event.origin.as_str(),
            replay: event.replay,
            received: TimeTag::new(event.received_at, now),
            id,
        }
    }
}

/// A tab of the list.
struct StateTab {
    name: &'static str,
    link: String,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    layout: Layout,
    tabs: Vec<StateTab>,
    params: Params,
    rows: Vec<EventRow>,
    pages: PageLinks,
    /// Plan of a replay of all events of the filter; only with a time range.
    replay_all_link: Option<String>,
    /// Fragment that says how many have come since; only on the first page.
    new_link: Option<String>,
    is_filtered: bool,
}

impl EventsPage {
    fn value(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "new_events.html")]
struct NewEvents {
    count: usize,
    plus: &'static str,
    link: String,
}

/// `GET /events`
pub(crate) async fn list(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let params = Params::new(query);
    let now = app.now();
    let filter = event_filter(&app, &params, now).await?;
    let page = app.stores().operator.list_events(&filter, &page_start(&params)?, PAGE_ITEMS, now).await?;
    let newest = match page.items.first() {
        Some(event) => ListCursor { at: event.received_at, pk: event.key.pk(), sk: event.key.sk() },
        None => ListCursor { at: now, pk: String::new(), sk: String::new() },
    };
    let own_filters = filters(&params);
    // To find the batches of a schedule or an authorizer costs too much to be repeated every few seconds.
    let is_live = ["schedule", "authorizer"].iter().all(|name| own_filters.get(name).is_none());
    let new_link = (is_live && page.newer.is_none())
        .then(|| own_filters.clone().with("newer", newest.to_string()).href("/events/new"));
    Ok(html(&EventsPage {
        layout: Layout::new(&app, Section::Events, title(&params)),
        tabs: tabs(&own_filters),
        rows: page.items.iter().map(|event| EventRow::new(event, now)).collect(),
        pages: PageLinks::new(PATH, &params, &page),
        replay_all_link: (!app.facts.is_read_only && own_filters.get("since").is_some())
            .then(|| own_filters.href("/events/replay-all")),
        new_link,
        is_filtered: own_filters.pairs().next().is_some(),
        params,
    }))
}

/// `GET /events/new?newer=…`: how many events of the same filter have come since.
pub(crate) async fn count_new(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let params = Params::new(query);
    let name = params.href("/events/new");
    let text = app.snapshots.get(&name, NEW_MAX_AGE, Box::pin(render_new(&app, &params))).await?;
    Ok(fragment(&app, text))
}

async fn render_new(app: &AppParts, params: &Params) -> Result<String, PageError> {
    let (now, start) = (app.now(), page_start(params)?);
    if start == PageStart::Newest {
        return Err(PageError::BadRequest("The address names no event.".to_owned()));
    }
    let filter = event_filter(app, params, now).await?;
    let page = app.stores().operator.list_events(&filter, &start, NEW_MAX, now).await?;
    let plus = if page.items.len() == NEW_MAX { "+" } else { "" };
    render(&NewEvents { count: page.items.len(), plus, link: filters(params).href(PATH) })
}

/// The filter that the parameters describe. Batches of a schedule or an authorizer are looked up for it.
pub(crate) async fn event_filter(
    app: &AppParts,
    params: &Params,
    now: UnixMillis,
) -> Result<EventFilter, PageError> {
    Ok(EventFilter {
        received: time_range(params, now)?,
        provider: parse(params, "provider", Provider::from_name)?,
        event_type: params.get("type").map(str::to_owned),
        origin: parse(params, "origin", Origin::from_name)?,
        subject: parse(params, "subject", |text| text.parse().ok())?,
        idempotency_key: params.get("key").map(str::to_owned),
        states: parse(params, "state", EventState::from_name)?.into_iter().collect::<BTreeSet<_>>(),
        batches: selected_batches(app, params).await?,
    })
}

async fn selected_batches(app: &AppParts, params: &Params) -> Result<Option<SelectedBatches>, PageError> {
    let id = |name| parse(params, name, |text| Id::new(text));
    let selector = BatchSelector {
        batch_id: id("batch")?,
        schedule_id: id("schedule")?,
        authorizer: id("authorizer")?
            .map(|id| Ok::<_, PageError>((id, stored_balances(app)?)))
            .transpose()?,
    };
    Ok(app.stores().operator.select_batches(&selector).await?)
}

fn tabs(filters: &Params) -> Vec<StateTab> {
    let current = filters.get("state");
    let others = filters.without(&["state"]);
    let all = StateTab { name: "all", link: others.href(PATH), is_current: current.is_none() };
    let of_state = |state: &EventState| StateTab {
        name: state.as_str(),
        link: others.clone().with("state", state.as_str()).href(PATH),
        is_current: current == Some(state.as_str()),
    };
    std::iter::once(all).chain(EventState::ALL.iter().map(of_state)).collect()
}

/// A title that names the filters, so that the tabs of a browser differ.
fn title(params: &Params) -> String {
    let filters: Vec<_> = filters(params).pairs().map(|(name, value)| format!("{name} {value}")).collect();
    if filters.is_empty() { "Events".to_owned() } else { format!("Events: {}", filters.join(", ")) }
}

/// The id without its provider, and a long id of a batch by its beginning.
pub(crate) fn short_id(id: &str) -> String {
    let own = id.split_once('/').map_or(id, |(_, own)| own);
    let parts = own.split('/').map(|part| match part.char_indices().nth(13) {
        Some((end, _)) if part.len() > WHOLE_MAX => format!("{}…", part.get(..end).unwrap_or(part)),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_keeps_what_the_event_is_about() {
        assert_eq!(short_id("fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96"), "event/a3efc743-ac6c…");
        assert_eq!(
            short_id("rightfoot/batch/5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83/completed"),
            "batch/5d3c6bbb-fc1a…/completed"
        );
        assert_eq!(short_id("fynapse/event/e-1"), "event/e-1");
        assert_eq!(short_id("payroll-2026-11-25"), "payroll-2026-11-25", "the day tells it from others");
    }
}
