//! The API's routes.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use super::http::{decode_pairs, error, respond};
use super::{FynapseSimulator, delivery_list, management};

/// The endpoints that are simulated.
pub(super) fn router(simulator: FynapseSimulator) -> Router {
    Router::new()
        .route("/auth/token", post(token))
        .route("/api/v1/event-deliveries/subscriptions/{id}/deliveries", get(deliveries))
        .merge(management::router())
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

/// Lists the deliveries of a subscription. Every subscription gets every event, and all their deliveries of it end alike.
async fn deliveries(
    State(simulator): State<FynapseSimulator>,
    Path(subscription_id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    simulator.with_session(&headers, |state| {
        if let Some((status, body)) = &state.list.scripted {
            return respond(StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
        }
        if !state.subscriptions.iter().any(|it| it.id == subscription_id) {
            return error(StatusCode::NOT_FOUND, "No such subscription");
        }
        let query = decode_pairs(uri.query().unwrap_or_default());
        match delivery_list::answer(&state.list, &state.deliveries, &query) {
            Ok(body) => respond(StatusCode::OK, body),
            Err(detail) => error(StatusCode::BAD_REQUEST, detail),
        }
    })
}
