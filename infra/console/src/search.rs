//! The search box: any id leads to its page. An authorizer is found by its whole id only: it is no item of the inbox.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use inbox_aws::stores::PageStart;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::quarantine::QuarantineId;
use inbox_core::table_keys::{batch_pk, schedule_pk, submission_pk};

use crate::app::{App, AppParts};
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};

/// Most things that a search by the beginning of an id lists.
const PREFIX_MATCHES_MAX: usize = 50;

/// A thing that has the id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Match {
    kind: &'static str,
    id: String,
    link: String,
}

impl Match {
    fn new(kind: &'static str, path: &str, id: impl Into<String>) -> Self {
        let id = id.into();
        Self { kind, link: href(path, "id", &id), id }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    layout: Layout,
    query: String,
    matches: Vec<Match>,
}

/// `GET /search?q=…`: leads to the only thing that has the id, or lists them.
pub(crate) async fn search(
    State(app): State<App>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let params = Params::new(query);
    let query = params.get("q").unwrap_or_default().to_owned();
    let matches = find(&app, &query).await?;
    if let [only] = matches.as_slice() {
        return Ok(Redirect::to(&only.link).into_response());
    }
    let mut layout = Layout::new(&app, Section::None, format!("Search for {query}"));
    layout.search.clone_from(&query);
    Ok(html(&SearchPage { layout, query, matches }))
}

async fn find(app: &AppParts, query: &str) -> Result<Vec<Match>, PageError> {
    if let Some(key) = EventKey::from_event_id(query) {
        return Ok(vec![Match::new("event", "/event", key.event_id())]);
    }
    if let Some(id) = QuarantineId::from_name(query) {
        return Ok(vec![Match::new("quarantined item", "/quarantine/item", id.to_string())]);
    }
    let Some(id) = Id::new(query) else { return Ok(Vec::new()) };
    let mut matches = exact(app, &id).await?;
    if matches.is_empty() {
        matches = by_prefix(app, query).await?;
    }
    Ok(matches)
}

/// Everything that has exactly this bare id. It does not tell its kind, so every kind is looked up.
async fn exact(app: &AppParts, id: &Id) -> Result<Vec<Match>, PageError> {
    let mut matches = Vec::new();
    for (kind, path, pk) in [
        ("batch", "/batch", batch_pk(id)),
        ("schedule", "/schedule", schedule_pk(id)),
        ("submission", "/submission", submission_pk(id.as_str())),
    ] {
        if !app.stores().operator.timeline(&pk).await?.is_empty() {
            matches.push(Match::new(kind, path, id.as_str()));
        }
    }
    if let Some(balances) = &app.inbox.balances
        && !balances.list_of_authorizer(id, &PageStart::Newest, 1).await?.items.is_empty()
    {
        matches.push(Match::new("authorizer", "/authorizer", id.as_str()));
    }
    for key in Provider::ALL.iter().filter_map(|provider| EventKey::signed(*provider, id.clone())) {
        if app.stores().operator.event(&key).await?.is_some() {
            matches.push(Match::new("event", "/event", key.event_id()));
        }
    }
    Ok(matches)
}

/// The newest items whose id begins so; at most [`PREFIX_MATCHES_MAX`].
async fn by_prefix(app: &AppParts, prefix: &str) -> Result<Vec<Match>, PageError> {
    let mut matches = Vec::new();
    for kind in ListKind::ALL {
        let places = app.stores().operator.newest_places(*kind).await?;
        let named = places.iter().filter_map(|place| match_of(*kind, kind.item_id(&place.pk, &place.sk)?));
        matches.extend(named.filter(|it| it.id.split('/').any(|part| part.starts_with(prefix))));
    }
    matches.truncate(PREFIX_MATCHES_MAX);
    Ok(matches)
}

/// What the item of this id is, and its page. An audit entry has none.
fn match_of(kind: ListKind, id: String) -> Option<Match> {
    let (name, path) = match kind {
        ListKind::Event => ("event", "/event"),
        ListKind::Batch => ("batch", "/batch"),
        ListKind::Schedule => ("schedule", "/schedule"),
        ListKind::Submission => ("submission", "/submission"),
        ListKind::Quarantine => ("quarantined item", "/quarantine/item"),
        ListKind::MissedDelivery => ("missed delivery", "/missed/item"),
        ListKind::Audit => return None,
    };
    Some(Match::new(name, path, id))
}
