//! Replay out of quarantine: plan, act, result. Of one item, or of all open items of a reason.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::items::QuarantinedItem;
use inbox_aws::quarantine_replay::{QuarantineReplayOutcome, QuarantineReplayer};
use inbox_aws::queue::EventsQueue;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::reparse::{Reparsed, reparse};
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::operator_form::operator;
use crate::quarantine_page::ItemRow;
use crate::results::{ActionResult, ResultRow};
use crate::time_text::{pluralize, with_age};

/// Most items of one replay, as in `inboxctl quarantine replay`.
const ITEMS_MAX: usize = 100;

type Pairs = Vec<(String, String)>;

/// An item that would be replayed, and what the present code makes of it.
struct PlannedItem {
    row: ItemRow,
    reason: &'static str,
    expected: String,
}

#[derive(Template)]
#[template(path = "quarantine_replay.html")]
struct ReplayPage {
    layout: Layout,
    items: Vec<PlannedItem>,
    note: Option<String>,
    button: String,
    operator_name: String,
}

/// `GET /quarantine/replay?id=…` or `?reason=…`: the dry run.
pub(crate) async fn plan(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let (selected, is_truncated) = select(&app, &Params::new(query)).await?;
    let mut items = Vec::new();
    for item in selected {
        let expected = expected_outcome(&app, &item).await;
        items.push(PlannedItem {
            row: ItemRow::new(&item, app.now()),
            reason: item.reason.as_str(),
            expected,
        });
    }
    let button = format!("Replay {}", pluralize(items.len() as u64, "item", "items"));
    Ok(html(&ReplayPage {
        layout: Layout::new(&app, Section::Quarantine, format!("{button} out of quarantine?")),
        note: is_truncated.then(|| {
            format!(
                "There are more of this reason: these are the oldest {ITEMS_MAX}. Replay the rest afterwards."
            )
        }),
        items,
        button,
        operator_name: app.operator_name(),
    }))
}

/// `POST /quarantine/replay`: replays exactly the items of the plan.
pub(crate) async fn act(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let form = Params::new(form);
    let operator = operator(&app, &form)?;
    let ids: Vec<_> = form.all("id").map(parse_id).collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > ITEMS_MAX {
        return Err(PageError::BadRequest(format!("Replay 1 to {ITEMS_MAX} items at once.")));
    }
    let queue = EventsQueue::new(app.inbox.sqs.clone(), app.inbox.events_queue_url.clone());
    let recorder = EventRecorder::new(app.stores().events.clone(), queue, app.inbox.clock.clone());
    let replayer = QuarantineReplayer::new(app.stores().operator.clone(), recorder);
    let mut rows = Vec::new();
    for id in &ids {
        rows.push(match Box::pin(replayer.replay(id, &operator)).await {
            Ok(outcome) => result_row(id, &outcome, app.now()),
            // One failure does not keep the others from being replayed.
            Err(error) => row(id, false, error.to_string()),
        });
    }
    let good = rows.iter().filter(|row| row.is_good).count();
    let name = app.results.keep(ActionResult {
        title: "Replay out of quarantine".to_owned(),
        summary: format!("{good} of {} closed.", pluralize(rows.len() as u64, "item is", "items are")),
        rows,
        back: Some(("/quarantine".to_owned(), "Quarantine")),
        is_running: false,
    });
    Ok(Redirect::to(&href("/result", "id", &name)).into_response())
}

fn parse_id(name: &str) -> Result<QuarantineId, PageError> {
    QuarantineId::from_name(name)
        .ok_or_else(|| PageError::BadRequest(format!("{name} is not the id of a quarantined item.")))
}

/// The open items that the parameters select, the oldest first, and whether there are more.
async fn select(app: &AppParts, params: &Params) -> Result<(Vec<QuarantinedItem>, bool), PageError> {
    if let Some(name) = params.get("reason") {
        let reason = QuarantineReason::from_name(name)
            .ok_or_else(|| PageError::BadRequest(format!("{name} is not a reason.")))?;
        let (items, more) = app.stores().operator.list_quarantine(Some(reason), None, ITEMS_MAX).await?;
        if items.is_empty() {
            return Err(PageError::NotFound(format!("Nothing is open for the reason {name}.")));
        }
        return Ok((items, more.is_some()));
    }
    let mut items = Vec::new();
    for name in params.up_to(ITEMS_MAX, "id").map_err(PageError::BadRequest)? {
        let id = parse_id(&name)?;
        let item = app.stores().operator.quarantined_item(&id).await?;
        items.push(item.ok_or_else(|| PageError::NotFound(format!("{id} is not in quarantine.")))?);
    }
    if items.is_empty() {
        return Err(PageError::BadRequest("The address names no item and no reason.".to_owned()));
    }
    Ok((items, false))
}

/// What a replay of an item would do now.
async fn expected_outcome(app: &AppParts, item: &QuarantinedItem) -> String {
    if let Some((_, how)) = item.resolution {
        return format!("nothing: it was closed before ({})", how.as_str());
    }
    if let Some(key) = &item.event {
        return format!("the event {key} is due again, and is processed once more");
    }
    let Ok(bytes) = app.stores().operator.quarantined_payload(item).await else {
        return "unknown: its bytes cannot be loaded".to_owned();
    };
    match reparse(item.clone().with_body(bytes)) {
        Reparsed::Event(event) => format!("the event {} is recorded, unless it is already", event.key()),
        Reparsed::StillUnusable(reason) => format!("nothing: it is still {}", reason.as_str()),
        Reparsed::Unverified => "nothing: the item does not say how its bytes were verified".to_owned(),
    }
}

fn row(id: &QuarantineId, is_good: bool, outcome: String) -> ResultRow {
    let name = id.to_string();
    ResultRow { link: Some(href("/quarantine/item", "id", &name)), name, outcome, is_good }
}

fn result_row(id: &QuarantineId, outcome: &QuarantineReplayOutcome, now: UnixMillis) -> ResultRow {
    match outcome {
        QuarantineReplayOutcome::Closed { resolution, key, is_reopened, enqueue_error } => {
            let mut text = format!("{}: {key}", resolution.as_str());
            if let Some(error) = enqueue_error {
                text += &format!(" (the relay sends it: {error})");
            }
            if *is_reopened {
                text += " (the same bytes were delivered again and are in quarantine)";
            }
            row(id, true, text)
        }
        QuarantineReplayOutcome::StillUnusable(reason) => {
            row(id, false, format!("stays: still {}", reason.as_str()))
        }
        QuarantineReplayOutcome::Unverified => {
            row(id, false, "stays: the item does not say how its bytes were verified".to_owned())
        }
        QuarantineReplayOutcome::TooOld { signed_at } => {
            let signed_at = with_age(Some(UnixMillis(signed_at.0.saturating_mul(1_000))), now);
            let text = format!(
                "stays: signed {signed_at}. If it was recorded then, its record may have expired, and it would be published \
                 again as new; `inboxctl quarantine replay --force` replays it"
            );
            row(id, false, text)
        }
        QuarantineReplayOutcome::AlreadyClosed(how) => {
            row(id, true, format!("was closed before: {}", how.as_str()))
        }
        QuarantineReplayOutcome::Conflict => row(
            id,
            false,
            "its event is being processed, or the item was changed at the same time; nothing was done"
                .to_owned(),
        ),
        QuarantineReplayOutcome::EventExpired(key) => {
            row(id, false, format!("the record of {key} has expired"))
        }
        QuarantineReplayOutcome::NotFound => row(id, false, "is not in quarantine".to_owned()),
    }
}
