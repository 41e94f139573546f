//! The API's routes.

use std::collections::HashMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use reqwest::Url;
use serde_json::json;

use super::{FynapseSimulator, delivery_list};

/// The endpoints that are simulated.
pub(super) fn router(simulator: FynapseSimulator) -> Router {
    Router::new()
        .route("/auth/token", post(token))
        .route("/api/v1/event-deliveries/subscriptions/{id}/deliveries", get(deliveries))
        .layer(from_fn_with_state(simulator.clone(), log_request))
        .with_state(simulator)
}

async fn log_request(State(simulator): State<FynapseSimulator>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    simulator.with_state(|state, _| state.requests.push(line));
    next.run(request).await
}

/// Begins a session (shared/providers/fynapse.md, "Management API").
async fn token(State(simulator): State<FynapseSimulator>, form: Bytes) -> Response {
    let form = decode_pairs(&String::from_utf8_lossy(&form));
    let field = |name: &str| form.get(name).map(String::as_str);
    simulator.with_state(|state, now| {
        let is_accepted = field("grant_type") == Some("client_credentials")
            && field("client_id") == Some(&state.client_id)
            && field("client_secret") == Some(&state.client_secret);
        if !is_accepted {
            return error(StatusCode::UNAUTHORIZED, "Invalid credentials");
        }
        let token = state.begin_session(now);
        let body =
            json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer", "refresh_token": "none"});
        respond(StatusCode::OK, body.to_string())
    })
}

/// Lists the deliveries of the subscription.
async fn deliveries(
    State(simulator): State<FynapseSimulator>,
    Path(subscription_id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    simulator.with_state(|state, now| {
        if !state.use_session(token, now) {
            return error(StatusCode::UNAUTHORIZED, "The token has expired");
        }
        if let Some((status, body)) = &state.list.scripted {
            return respond(StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
        }
        if subscription_id != *simulator.subscription_id {
            return error(StatusCode::NOT_FOUND, "No such subscription");
        }
        let query = decode_pairs(uri.query().unwrap_or_default());
        match delivery_list::answer(&state.list, &state.deliveries, &query) {
            Ok(body) => respond(StatusCode::OK, body),
            Err(detail) => error(StatusCode::BAD_REQUEST, detail),
        }
    })
}

/// The pairs of a query or a form.
pub(super) fn decode_pairs(encoded: &str) -> HashMap<String, String> {
    let url = Url::parse(&format!("http://query.invalid/?{encoded}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// An error (shared/providers/fynapse.md, "Errors of the API").
pub(super) fn error(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({
        "type": "com.aptitudesoftware.SimulatedError",
        "title": title,
        "detail": detail,
        "reference": "simulated",
        "status": status.as_u16(),
    });
    respond(status, body.to_string())
}

pub(super) fn respond(status: StatusCode, body: String) -> Response {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body)).unwrap_or_default()
}
