//! The API's routes. Every request is first logged, then checked for a scripted response and for its API key.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::api_reply::ApiReply;
use super::behaviour::CannedResponse;
use super::canned_response;
use super::paging::QueryParams;
use super::{RightfootSimulator, snapshot};

/// Maximum size of a request body (not documented).
const BODY_MAX_BYTES: usize = 10 * 1024 * 1024;

/// The endpoints that are simulated.
pub(super) fn router(sim: RightfootSimulator) -> Router {
    Router::new()
        .route("/v1/balance_requests", post(submit))
        .route("/v1/balances", get(balances))
        .route("/v1/monitoring/scheduled_balance_request", post(create_schedule))
        .route("/v1/monitoring/schedules/{id}", get(schedule))
        .route("/v1/monitoring/authorizers/{id}/history", get(history))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        // Added last, so it sees every request first, also those with an unknown path or method.
        .layer(from_fn_with_state(sim.clone(), intercept))
        .with_state(sim)
}

async fn intercept(State(sim): State<RightfootSimulator>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // `None` for a body over the limit, which is answered only after the API key was checked.
    let body = to_bytes(body, BODY_MAX_BYTES).await.ok();
    let (number, canned) = sim.log_request(&parts, body.as_ref());
    let rejection = sim.rejection_for(&parts, body.is_some());
    // Lazy: a canned response decides if the request is applied at all.
    let genuine = async {
        match rejection {
            Some(reply) => reply.into_response(),
            None => next.run(Request::from_parts(parts, Body::from(body.unwrap_or_default()))).await,
        }
    };
    let response = match canned {
        Some(canned) => canned_response::respond(canned, genuine, sim.clock.now()).await,
        None => genuine.await,
    };
    sim.with_state(|state, _| state.record_status(number, response.status().as_u16()));
    response
}

impl RightfootSimulator {
    fn log_request(&self, parts: &Parts, body: Option<&Bytes>) -> (u64, Option<CannedResponse>) {
        let path_and_query = parts.uri.path_and_query().map(|it| it.as_str()).unwrap_or_default();
        self.with_state(|state, now| {
            if let Some(body) = body.filter(|_| parts.method == Method::POST) {
                state.record_body(body.clone());
            }
            let number = state.record_request(snapshot::LoggedRequest {
                at: now,
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                status: None,
            });
            (number, state.take_scripted_response(path_and_query))
        })
    }

    fn rejection_for(&self, parts: &Parts, has_body: bool) -> Option<ApiReply> {
        let now = self.clock.now();
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if authorization.and_then(|value| value.strip_prefix("Bearer ")) != Some(&*self.api_key) {
            return Some(ApiReply::error(StatusCode::UNAUTHORIZED, "Invalid API key provided.", now));
        }
        (!has_body).then(|| ApiReply::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.", now))
    }
}

async fn submit(State(sim): State<RightfootSimulator>, body: Bytes) -> ApiReply {
    sim.with_state(|state, now| state.submit(now, &body))
}

async fn balances(State(sim): State<RightfootSimulator>, uri: Uri) -> ApiReply {
    sim.with_state(|state, now| state.balances(now, &QueryParams::from_uri(&uri)))
}

async fn create_schedule(State(sim): State<RightfootSimulator>, body: Bytes) -> ApiReply {
    sim.with_state(|state, now| state.create_schedule(now, &body))
}

async fn schedule(State(sim): State<RightfootSimulator>, Path(id): Path<String>) -> ApiReply {
    sim.with_state(|state, now| state.schedule(now, &id))
}

async fn history(State(sim): State<RightfootSimulator>, Path(id): Path<String>, uri: Uri) -> ApiReply {
    sim.with_state(|state, now| state.history(now, &id, &QueryParams::from_uri(&uri)))
}

async fn not_found(State(sim): State<RightfootSimulator>) -> ApiReply {
    ApiReply::error(StatusCode::NOT_FOUND, "There is nothing here.", sim.clock.now())
}

async fn method_not_allowed(State(sim): State<RightfootSimulator>) -> ApiReply {
    ApiReply::error(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed.", sim.clock.now())
}
