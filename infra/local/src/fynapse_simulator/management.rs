//! Secrets and subscriptions (shared/providers/fynapse.md, "Secrets", "Subscriptions").

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{error, respond};
use super::{FynapseSimulator, SimulatedSecret, SimulatedSubscription};

/// The routes. Whoever calls them needs the token of a session.
pub(super) fn router() -> Router<FynapseSimulator> {
    Router::new()
        .route("/api/v1/event-deliveries/secrets", get(list_secrets).post(create_secret))
        .route("/api/v1/event-deliveries/secrets/{id}", get(secret))
        .route("/api/v1/event-deliveries/secrets/{id}/rotate", post(rotate_secret))
        .route("/api/v1/event-deliveries/subscriptions", get(list_subscriptions).post(create_subscription))
}

#[derive(Deserialize)]
struct NewSecret {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSubscription {
    name: String,
    endpoint_url: String,
    secret_ref: String,
    #[serde(default)]
    event_types: Vec<String>,
}

async fn list_secrets(State(simulator): State<FynapseSimulator>, headers: HeaderMap) -> Response {
    simulator.with_session(&headers, |state| {
        page(state.secrets.iter().map(|it| json!({"id": it.id, "name": it.name})).collect())
    })
}

async fn create_secret(
    State(simulator): State<FynapseSimulator>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    simulator.with_session(&headers, |state| {
        let Ok(NewSecret { name }) = serde_json::from_slice(&body) else { return invalid_body() };
        if state.secrets.iter().any(|it| it.name == name) {
            return error(StatusCode::CONFLICT, "The name is taken");
        }
        let id = format!("secret-{}", state.secrets.len() + 1);
        let secret = SimulatedSecret { id, name, value: state.make_secret_value() };
        let response = respond(StatusCode::CREATED, with_value(&secret));
        state.secrets.push(secret);
        response
    })
}

async fn secret(
    State(simulator): State<FynapseSimulator>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    simulator.with_session(&headers, |state| match state.secrets.iter().find(|it| it.id == id) {
        Some(secret) => respond(StatusCode::OK, with_value(secret)),
        None => error(StatusCode::NOT_FOUND, "No such secret"),
    })
}

async fn rotate_secret(
    State(simulator): State<FynapseSimulator>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    simulator.with_session(&headers, |state| {
        if !state.has_rotation {
            return error(StatusCode::NOT_FOUND, "No such path");
        }
        let value = state.make_secret_value();
        match state.secrets.iter_mut().find(|it| it.id == id) {
            Some(secret) => {
                secret.value = value;
                respond(StatusCode::OK, with_value(secret))
            }
            None => error(StatusCode::NOT_FOUND, "No such secret"),
        }
    })
}

async fn list_subscriptions(State(simulator): State<FynapseSimulator>, headers: HeaderMap) -> Response {
    simulator.with_session(&headers, |state| page(state.subscriptions.iter().map(shown).collect()))
}

async fn create_subscription(
    State(simulator): State<FynapseSimulator>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    simulator.with_session(&headers, |state| {
        let Ok(new) = serde_json::from_slice::<NewSubscription>(&body) else { return invalid_body() };
        if state.subscriptions.iter().any(|it| it.name == new.name) {
            return error(StatusCode::CONFLICT, "The name is taken");
        }
        if !state.secrets.iter().any(|it| it.name == new.secret_ref) {
            return error(StatusCode::BAD_REQUEST, "No such secret");
        }
        let subscription = SimulatedSubscription {
            id: format!("subscription-{}", state.subscriptions.len() + 1),
            name: new.name,
            endpoint_url: new.endpoint_url,
            secret_ref: new.secret_ref,
            event_types: new.event_types,
        };
        let response = respond(StatusCode::CREATED, shown(&subscription).to_string());
        state.subscriptions.push(subscription);
        response
    })
}

/// A list, in the envelope of Fynapse's other lists.
fn page(listed: Vec<Value>) -> Response {
    let count = listed.len();
    let body = json!({"data": listed, "page": 0, "limit": 100, "totalSize": count, "totalPages": 1});
    respond(StatusCode::OK, body.to_string())
}

/// A secret with its value, which its lists do not have.
fn with_value(secret: &SimulatedSecret) -> String {
    json!({"id": secret.id, "name": secret.name, "value": secret.value}).to_string()
}

fn shown(subscription: &SimulatedSubscription) -> Value {
    json!({
        "id": subscription.id,
        "name": subscription.name,
        "endpointUrl": subscription.endpoint_url,
        "secretRef": subscription.secret_ref,
        "eventTypes": subscription.event_types,
        "active": true,
    })
}

fn invalid_body() -> Response {
    error(StatusCode::BAD_REQUEST, "JSON parsing failed, incorrect structure or schema")
}
