//! Routes. Those that change something exist only in a console that is not read-only.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::layout::{PageError, error_page, show_errors};
use crate::{
    assets, audit_page, authorizer_page, dead_letters_page, event_bulk_replay, event_list, event_page,
    event_replay, guard, missed_page, overview, quarantine_page, quarantine_replay, result_page, search,
    send_page, tracked_list, tracked_page,
};

/// Largest form: the ids of a bulk act.
const FORM_MAX_BYTES: usize = 256 * 1024;

/// The whole console, behind its guard. The body of a request must come within `body_timeout`.
pub(crate) fn router(app: App, body_timeout: Duration) -> Router {
    let mut routes = reading_routes();
    if app.facts.is_read_only {
        routes = routes.method_not_allowed_fallback(guard::read_only).fallback(unknown_or_read_only);
    } else {
        routes = routes.merge(acting_routes()).fallback(unknown);
    }
    routes
        // [`read_body`] has its own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state((app.clone(), body_timeout), read_body))
        .layer(from_fn_with_state(app.clone(), show_errors))
        // The outermost layer: nothing is answered before it.
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// Routes that change nothing. A payload or a balance is revealed by `POST`, so that no link and no history reveals one.
fn reading_routes() -> Router<App> {
    Router::new()
        .route("/", get(overview::show))
        .route("/overview/flow", get(overview::show_flow))
        .route("/overview/latest", get(overview::show_latest))
        .route("/overview/charts", get(overview::show_charts))
        .route("/overview/findings", get(overview::show_findings))
        .route("/checks", get(overview::show_checks))
        .route("/last-hour", get(overview::show_last_hour))
        .route("/events", get(event_list::list))
        .route("/events/new", get(event_list::count_new))
        .route("/event", get(event_page::show))
        .route("/event/live", get(event_page::show_live))
        .route("/event/payload", post(event_page::reveal))
        .route("/event/download", post(event_page::download_payload))
        .route("/batches", get(tracked_list::batches))
        .route("/batch", get(tracked_page::show_batch))
        .route("/batch/live", get(tracked_page::show_batch_live))
        .route("/batch/balances", post(tracked_page::reveal_balances))
        .route("/authorizer", get(authorizer_page::show))
        .route("/authorizer/balances", post(authorizer_page::reveal_balances))
        .route("/schedules", get(tracked_list::schedules))
        .route("/schedule", get(tracked_page::show_schedule))
        .route("/schedule/live", get(tracked_page::show_schedule_live))
        .route("/submissions", get(tracked_list::submissions))
        .route("/submission", get(tracked_page::show_submission))
        .route("/submission/live", get(tracked_page::show_submission_live))
        .route("/quarantine", get(quarantine_page::list))
        .route("/quarantine/item", get(quarantine_page::show))
        .route("/quarantine/payload", post(quarantine_page::reveal))
        .route("/quarantine/download", post(quarantine_page::download_payload))
        .route("/dead-letters", get(dead_letters_page::show))
        .route("/missed", get(missed_page::list))
        .route("/missed/item", get(missed_page::show))
        .route("/audit", get(audit_page::list))
        .route("/send", get(send_page::show))
        .route("/search", get(search::search))
        .route("/result", get(result_page::show))
        .route("/result/live", get(result_page::show_live))
        .route("/icon.svg", get(icon))
}

/// Routes that change something, with the pages that ask before.
fn acting_routes() -> Router<App> {
    Router::new()
        .route("/events/replay", get(event_replay::plan).post(event_replay::act))
        .route("/events/replay-all", get(event_bulk_replay::plan).post(event_bulk_replay::act))
        .route("/batches/track", get(tracked_list::plan_tracking).post(tracked_list::track))
        .route("/quarantine/replay", get(quarantine_replay::plan).post(quarantine_replay::act))
        // Looking hides messages for a moment, and counts as a receive.
        .route("/dead-letters/look", post(dead_letters_page::look))
        .route("/dead-letters/redrive", post(dead_letters_page::redrive))
        .route("/send", post(send_page::act))
}

/// Reads the whole body of a request before its route is called: no page waits for a slow one.
async fn read_body(
    State((app, body_timeout)): State<(App, Duration)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(body_timeout, to_bytes(body, FORM_MAX_BYTES)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => {
            let text = "The form is too large, or did not come whole.";
            error_page(&app, StatusCode::PAYLOAD_TOO_LARGE, "Not read", text)
        }
        Err(_) => error_page(&app, StatusCode::REQUEST_TIMEOUT, "Too slow", "The form did not come in time."),
    }
}

async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], assets::ICON).into_response()
}

/// An act has no route in a read-only console.
async fn unknown_or_read_only(State(app): State<App>, method: Method) -> Response {
    if method == Method::GET || method == Method::HEAD {
        return unknown().await.into_response();
    }
    guard::read_only(State(app)).await
}

async fn unknown() -> PageError {
    PageError::NotFound("The console has no such page.".to_owned())
}
