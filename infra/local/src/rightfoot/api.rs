//! The API's routes: the log, the scripted answers and the key come first, for every request.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::behaviour::Canned;
use super::canned;
use super::paging::Query;
use super::reply::Reply;
use super::{Simulator, seen};

/// Largest body it takes (not documented).
const BODY_MAX_BYTES: usize = 10 * 1024 * 1024;

/// The endpoints that are simulated.
pub(super) fn routes(sim: Simulator) -> Router {
    Router::new()
        .route("/v1/balance_requests", post(submit))
        .route("/v1/balances", get(balances))
        .route("/v1/monitoring/scheduled_balance_request", post(create_schedule))
        .route("/v1/monitoring/schedules/{id}", get(schedule))
        .route("/v1/monitoring/authorizers/{id}/history", get(history))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(sim.clone(), gate))
        .with_state(sim)
}

async fn gate(State(sim): State<Simulator>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.ok();
    let (number, canned) = sim.take_note(&parts, body.as_ref());
    let refusal = sim.refusal(&parts, body.is_some());
    let honest = async {
        match refusal {
            Some(reply) => reply.into_response(),
            None => next.run(Request::from_parts(parts, Body::from(body.unwrap_or_default()))).await,
        }
    };
    let response = match canned {
        Some(canned) => canned::answer(canned, honest, sim.clock.now()).await,
        None => honest.await,
    };
    sim.now(|world, _| world.note_status(number, response.status().as_u16()));
    response
}

impl Simulator {
    fn take_note(&self, parts: &Parts, body: Option<&Bytes>) -> (u64, Option<Canned>) {
        let path_and_query = parts.uri.path_and_query().map(|it| it.as_str()).unwrap_or_default();
        self.now(|world, now| {
            if let Some(body) = body.filter(|_| parts.method == Method::POST) {
                world.note_body(body.clone());
            }
            let number = world.note_request(seen::Request {
                at: now,
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                status: None,
            });
            (number, world.scripted(path_and_query))
        })
    }

    fn refusal(&self, parts: &Parts, has_body: bool) -> Option<Reply> {
        let now = self.clock.now();
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if authorization.and_then(|value| value.strip_prefix("Bearer ")) != Some(&*self.api_key) {
            return Some(Reply::error(StatusCode::UNAUTHORIZED, "Invalid API key provided.", now));
        }
        (!has_body).then(|| Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.", now))
    }
}

async fn submit(State(sim): State<Simulator>, body: Bytes) -> Reply {
    sim.now(|world, now| world.submit(now, &body))
}

async fn balances(State(sim): State<Simulator>, uri: Uri) -> Reply {
    sim.now(|world, now| world.balances(now, &Query::of(&uri)))
}

async fn create_schedule(State(sim): State<Simulator>, body: Bytes) -> Reply {
    sim.now(|world, now| world.create_schedule(now, &body))
}

async fn schedule(State(sim): State<Simulator>, Path(id): Path<String>) -> Reply {
    sim.now(|world, now| world.schedule(now, &id))
}

async fn history(State(sim): State<Simulator>, Path(id): Path<String>, uri: Uri) -> Reply {
    sim.now(|world, now| world.history(now, &id, &Query::of(&uri)))
}

async fn not_found(State(sim): State<Simulator>) -> Reply {
    Reply::error(StatusCode::NOT_FOUND, "There is nothing here.", sim.clock.now())
}

async fn method_not_allowed(State(sim): State<Simulator>) -> Reply {
    Reply::error(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed.", sim.clock.now())
}
