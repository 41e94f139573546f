//! The quarantine: open items by reason, with what to do, and the page of one item.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::QuarantinedItem;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::event_list::short_id;
use crate::event_page::StepView;
use crate::event_text::audit_step;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::payload::{RevealedPayload, download};
use crate::prose::Prose;
use crate::quarantine_text::{advice, meaning};
use crate::time_text::{TimeTag, pluralize, size};

/// Most open items that the page counts and lists.
const LISTED_MAX: usize = 200;
/// Items of one reason that the page lists.
const SHOWN_PER_REASON: usize = 20;

type Pairs = Vec<(String, String)>;

/// An item in a list.
pub(crate) struct ItemRow {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) link: String,
    pub(crate) deliveries: u64,
    pub(crate) size: String,
    pub(crate) event: Option<(String, String)>,
    pub(crate) received: TimeTag,
}

impl ItemRow {
    pub(crate) fn new(item: &QuarantinedItem, now: UnixMillis) -> Self {
        let id = item.id.to_string();
        let event = item.event.as_ref().map(|key| key.event_id());
        Self {
            short_id: short_id(&id),
            link: href("/quarantine/item", "id", &id),
            deliveries: item.deliveries,
            size: size(item.payload.bytes),
            event: event.map(|event| (href("/event", "id", &event), event)),
            received: TimeTag::new(item.first_received_at, now),
            id,
        }
    }
}

/// The open items of one reason.
struct ReasonGroup {
    reason: &'static str,
    meaning: &'static str,
    advice: Prose,
    count: String,
    oldest: TimeTag,
    rows: Vec<ItemRow>,
    hidden: usize,
    replay_link: Option<String>,
}

#[derive(Template)]
#[template(path = "quarantine.html")]
struct QuarantinePage {
    layout: Layout,
    summary: String,
    groups: Vec<ReasonGroup>,
}

#[derive(Template)]
#[template(path = "quarantine_item.html")]
struct ItemPage {
    layout: Layout,
    id: String,
    reason: &'static str,
    meaning: &'static str,
    advice: Prose,
    resolution: Option<String>,
    facts: Vec<(&'static str, String)>,
    event: Option<(String, String)>,
    steps: Vec<StepView>,
    replay_link: Option<String>,
    payload: Option<RevealedPayload>,
    payload_size: String,
    payload_hash: String,
}

/// `GET /quarantine`
pub(crate) async fn list(State(app): State<App>) -> Result<Response, PageError> {
    // Oldest first, by the index of open items.
    let (items, more) = app.stores().operator.list_quarantine(None, None, LISTED_MAX).await?;
    let is_partial = more.is_some();
    let mut by_reason: BTreeMap<QuarantineReason, Vec<QuarantinedItem>> = BTreeMap::new();
    for item in &items {
        by_reason.entry(item.reason).or_default().push(item.clone());
    }
    let now = app.now();
    let groups =
        by_reason.into_iter().filter_map(|(reason, items)| group(&app, reason, &items, is_partial, now));
    let summary = match (items.len(), is_partial) {
        (0, _) => "Nothing is open: every verified delivery could be processed.".to_owned(),
        (count, false) => format!("{} open.", pluralize(count as u64, "item is", "items are")),
        (_, true) => format!("More than {LISTED_MAX} items are open; these are the oldest {LISTED_MAX}."),
    };
    Ok(html(&QuarantinePage {
        layout: Layout::new(&app, Section::Quarantine, "Quarantine"),
        summary,
        groups: groups.collect(),
    }))
}

fn group(
    app: &AppParts,
    reason: QuarantineReason,
    items: &[QuarantinedItem],
    is_partial: bool,
    now: UnixMillis,
) -> Option<ReasonGroup> {
    let oldest = items.first()?;
    let plus = if is_partial { "+" } else { "" };
    Some(ReasonGroup {
        reason: reason.as_str(),
        meaning: meaning(reason),
        advice: Prose::new(advice(reason)),
        count: format!("{}{plus}", items.len()),
        oldest: TimeTag::new(oldest.first_received_at, now),
        rows: items.iter().take(SHOWN_PER_REASON).map(|item| ItemRow::new(item, now)).collect(),
        hidden: items.len().saturating_sub(SHOWN_PER_REASON),
        replay_link: (!app.facts.is_read_only).then(|| href("/quarantine/replay", "reason", reason.as_str())),
    })
}

/// `GET /quarantine/item?id=…`
pub(crate) async fn show(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let item = load(&app, &Params::new(query)).await?;
    Ok(html(&page(&app, item, None)))
}

/// `POST /quarantine/payload`: the page with the bytes.
pub(crate) async fn reveal(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let item = load(&app, &Params::new(form)).await?;
    let bytes = app.stores().operator.quarantined_payload(&item).await?;
    Ok(html(&page(&app, item, Some(RevealedPayload::new(&bytes)))))
}

/// `POST /quarantine/download`: the bytes as received.
pub(crate) async fn download_payload(
    State(app): State<App>,
    Form(form): Form<Pairs>,
) -> Result<Response, PageError> {
    let item = load(&app, &Params::new(form)).await?;
    let bytes = app.stores().operator.quarantined_payload(&item).await?;
    Ok(download(bytes, &format!("{}.payload", item.id)))
}

async fn load(app: &AppParts, params: &Params) -> Result<QuarantinedItem, PageError> {
    let id = params.get("id").and_then(QuarantineId::from_name).ok_or_else(|| {
        PageError::BadRequest("The address has no id of a quarantined item, such as fynapse/….".to_owned())
    })?;
    let item = app.stores().operator.quarantined_item(&id).await?;
    item.ok_or_else(|| PageError::NotFound(format!("{id} is not in quarantine, or its item has expired.")))
}

fn page(app: &AppParts, item: QuarantinedItem, payload: Option<RevealedPayload>) -> ItemPage {
    let (id, now) = (item.id.to_string(), app.now());
    let signed_at = item.signed_at.map(|at| UnixMillis(at.0.saturating_mul(1_000)).rfc3339());
    let facts = [
        ("first received", Some(item.first_received_at.rfc3339())),
        ("last received", Some(item.last_received_at.rfc3339())),
        ("deliveries", Some(item.deliveries.to_string())),
        ("signed", signed_at),
        ("subject", item.subject.as_ref().map(ToString::to_string)),
    ];
    let event = item.event.as_ref().map(|key| key.event_id());
    let can_replay = item.resolution.is_none() && !app.facts.is_read_only;
    ItemPage {
        layout: Layout::new(app, Section::Quarantine, format!("Quarantined item {id}")),
        reason: item.reason.as_str(),
        meaning: meaning(item.reason),
        advice: Prose::new(advice(item.reason)),
        resolution: item.resolution.map(|(at, how)| format!("closed {}: {}", at.rfc3339(), how.as_str())),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        event: event.map(|event| (href("/event", "id", &event), event)),
        steps: StepView::list(item.audit_entries.iter().map(audit_step).collect(), now),
        replay_link: can_replay.then(|| href("/quarantine/replay", "id", &id)),
        payload,
        payload_size: size(item.payload.bytes),
        payload_hash: item.payload.hash.clone(),
        id,
    }
}
