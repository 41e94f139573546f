//! Deliveries that Fynapse did not make, or whose event is missing here: the list, and the page of one of them.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::MissedDeliveryItem;
use inbox_aws::stores::MissedFilter;
use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use crate::app::App;
use crate::event_list::short_id;
use crate::event_page::StepView;
use crate::event_text::audit_step;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::list_params::{PAGE_ITEMS, PageLinks, filters, page_start, parse, time_range};
use crate::time_text::TimeTag;

const PATH: &str = "/missed";

type Pairs = Vec<(String, String)>;

/// A missed delivery in the list.
struct MissedRow {
    id: String,
    short_id: String,
    link: String,
    reason: &'static str,
    is_open: bool,
    event: String,
    created: Option<TimeTag>,
    found: TimeTag,
}

/// A choice of a filter.
struct Choice {
    value: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "missed.html")]
struct MissedPage {
    layout: Layout,
    states: Vec<Choice>,
    reasons: Vec<Choice>,
    rows: Vec<MissedRow>,
    pages: PageLinks,
}

#[derive(Template)]
#[template(path = "missed_item.html")]
struct MissedItemPage {
    layout: Layout,
    id: String,
    reason: &'static str,
    is_open: bool,
    advice: &'static str,
    facts: Vec<(&'static str, String)>,
    steps: Vec<StepView>,
}

/// `GET /missed`
pub(crate) async fn list(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let (params, now) = (Params::new(query), app.now());
    let is_open = parse(&params, "state", |state| match state {
        "open" => Some(true),
        "resolved" => Some(false),
        _ => None,
    })?;
    let reason = parse(&params, "reason", MissedReason::from_name)?;
    let filter = MissedFilter { found: time_range(&params, now)?, reason, is_open };
    let page =
        app.stores().operator.list_missed_deliveries(&filter, &page_start(&params)?, PAGE_ITEMS).await?;
    let words = filters(&params).words();
    let title = if words.is_empty() { "Missed".to_owned() } else { format!("Missed: {words}") };
    let states = [("open", Some(true)), ("resolved", Some(false))];
    let reasons = MissedReason::ALL.iter();
    Ok(html(&MissedPage {
        layout: Layout::new(&app, Section::Missed, title),
        states: states.map(|(value, state)| Choice { value, is_chosen: is_open == state }).into(),
        reasons: reasons.map(|it| Choice { value: it.as_str(), is_chosen: reason == Some(*it) }).collect(),
        rows: page.items.iter().map(|item| MissedRow::new(item, now)).collect(),
        pages: PageLinks::new(PATH, &params, &page),
    }))
}

/// `GET /missed/item?id=…`
pub(crate) async fn show(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let id = Params::new(query).get("id").and_then(Id::new);
    let id = id.ok_or_else(|| PageError::BadRequest("The address has no id of a delivery.".to_owned()))?;
    let item = app.stores().operator.missed_delivery(&id).await?;
    let Some(item) = item else {
        let text = format!("{} is not a missed delivery, or its item has expired.", id.as_str());
        return Err(PageError::NotFound(text));
    };
    let facts = [
        ("event", item.event.as_ref().map(|key| key.event_id())),
        ("type", item.event_type.clone()),
        ("idempotency key", item.idempotency_key.as_ref().map(|key| key.as_str().to_owned())),
        ("created at Fynapse", item.created_at.map(UnixMillis::rfc3339)),
        ("found", Some(item.found_at.rfc3339())),
        ("resolved", item.resolved_at.map(UnixMillis::rfc3339)),
    ];
    Ok(html(&MissedItemPage {
        layout: Layout::new(&app, Section::Missed, format!("Missed delivery {}", id.as_str())),
        id: id.as_str().to_owned(),
        reason: item.reason.as_str(),
        is_open: item.resolved_at.is_none(),
        advice: item.reason.advice(),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        steps: StepView::list(item.audit_entries.iter().map(audit_step).collect(), app.now()),
    }))
}

impl MissedRow {
    fn new(item: &MissedDeliveryItem, now: UnixMillis) -> Self {
        let id = item.reference.as_str().to_owned();
        Self {
            short_id: short_id(&id),
            link: href("/missed/item", "id", &id),
            reason: item.reason.as_str(),
            is_open: item.resolved_at.is_none(),
            event: item.event.as_ref().map(|key| key.event_id()).unwrap_or_default(),
            created: item.created_at.map(|at| TimeTag::new(at, now)),
            found: TimeTag::new(item.found_at, now),
            id,
        }
    }
}
