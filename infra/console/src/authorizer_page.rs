//! The page of an authorizer: its checks, the newest first, what was published about it, and the events of its batches.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::{AlertEffectItem, BalanceItem};
use inbox_aws::stores::{EventFilter, ListPage, PageStart, SelectedBatches};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::balances::{amount_text, status_text, stored_balances};
use crate::event_list::EventRow;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::list_params::{PAGE_ITEMS, PageLinks, PageTokens, page_start};
use crate::time_text::TimeTag;

const PATH: &str = "/authorizer";
/// Events of its batches that the page lists.
const EVENTS_MAX: usize = 10;

type Pairs = Vec<(String, String)>;

/// A check of the authorizer.
struct CheckRow {
    checked_at: TimeTag,
    batch_id: String,
    batch_link: String,
    /// Id and link.
    schedule: Option<(String, String)>,
    status: String,
    alert: Option<AlertView>,
    amount: String,
}

/// The alert of the authorizer in the batch.
struct AlertView {
    /// `None` if a worker has claimed the alert, and not published it.
    published_at: Option<TimeTag>,
    /// Page of the event that it was last published for.
    link: Option<String>,
}

#[derive(Template)]
#[template(path = "authorizer.html")]
struct AuthorizerPage {
    layout: Layout,
    id: String,
    checks: Vec<CheckRow>,
    pages: PageLinks,
    /// Tokens of the page itself and of those beside it, to reveal them.
    shown: Params,
    tokens: PageTokens,
    is_revealed: bool,
    events_link: String,
    rows: Vec<EventRow>,
}

impl AuthorizerPage {
    fn shown(&self, name: &str) -> Option<&str> {
        self.shown.get(name)
    }
}

/// `GET /authorizer?id=…`
pub(crate) async fn show(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    Ok(html(&page(&app, Params::new(query), false).await?))
}

/// `POST /authorizer/balances`: the same page with the amounts.
pub(crate) async fn reveal_balances(
    State(app): State<App>,
    Form(form): Form<Pairs>,
) -> Result<Response, PageError> {
    Ok(html(&page(&app, Params::new(form), true).await?))
}

async fn page(app: &AppParts, params: Params, is_revealed: bool) -> Result<AuthorizerPage, PageError> {
    let authorizer = params.get("id").and_then(Id::new);
    let authorizer = authorizer
        .ok_or_else(|| PageError::BadRequest("The address has no id of an authorizer.".to_owned()))?;
    let start = page_start(&params)?;
    let page = stored_balances(app)?.list_of_authorizer(&authorizer, &start, PAGE_ITEMS).await?;
    if page.items.is_empty() && start == PageStart::Newest {
        return Err(PageError::NotFound(format!(
            "No balance of an authorizer {} is stored, or it has expired.",
            authorizer.as_str()
        )));
    }
    let batch_ids = distinct_batches(&page);
    let alerts = app.stores().operator.alerts_of(&authorizer, &batch_ids).await?;
    let now = app.now();
    let id = authorizer.as_str().to_owned();
    Ok(AuthorizerPage {
        layout: Layout::new(app, Section::None, format!("Authorizer {id}")),
        checks: page.items.iter().map(|check| CheckRow::new(check, &alerts, is_revealed, now)).collect(),
        pages: PageLinks::new(PATH, &params, &page),
        tokens: PageTokens::new(&page),
        is_revealed,
        events_link: href("/events", "authorizer", &id),
        rows: newest_events(app, batch_ids, now).await?,
        shown: params,
        id,
    })
}

/// The batches of a page's checks, in its order.
fn distinct_batches(page: &ListPage<BalanceItem>) -> Vec<Id> {
    let mut seen = BTreeSet::new();
    let ids = page.items.iter().map(|check| &check.batch_id);
    ids.filter(|id| seen.insert(*id)).cloned().collect()
}

async fn newest_events(app: &AppParts, ids: Vec<Id>, now: UnixMillis) -> Result<Vec<EventRow>, PageError> {
    let batches = SelectedBatches { ids, is_truncated: false };
    let filter = EventFilter { batches: Some(batches), ..EventFilter::default() };
    let listed = app.stores().operator.list_events(&filter, &PageStart::Newest, EVENTS_MAX, now);
    let page = Box::pin(listed).await?;
    Ok(page.items.iter().map(|event| EventRow::new(event, now)).collect())
}

impl CheckRow {
    fn new(
        check: &BalanceItem,
        alerts: &BTreeMap<Id, AlertEffectItem>,
        is_revealed: bool,
        now: UnixMillis,
    ) -> Self {
        let schedule = check.schedule_id.as_ref();
        Self {
            checked_at: TimeTag::new(check.checked_at, now),
            batch_id: check.batch_id.as_str().to_owned(),
            batch_link: href("/batch", "id", check.batch_id.as_str()),
            schedule: schedule.map(|id| (id.as_str().to_owned(), href("/schedule", "id", id.as_str()))),
            status: status_text(check),
            alert: alerts.get(&check.batch_id).map(|alert| AlertView::new(alert, now)),
            amount: if is_revealed { amount_text(check) } else { String::new() },
        }
    }
}

impl AlertView {
    fn new(alert: &AlertEffectItem, now: UnixMillis) -> Self {
        Self {
            published_at: TimeTag::optional(alert.published_at, now),
            link: alert.event_id.as_ref().map(|id| href("/event", "id", id)),
        }
    }
}
