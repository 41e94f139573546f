//! What the routes share: the token of a session, queries, and answers.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use reqwest::Url;
use serde_json::json;

use super::FynapseSimulator;
use super::state::SimulatorState;

impl FynapseSimulator {
    /// Answers a request with the token of a session.
    pub(super) fn with_session(
        &self,
        headers: &HeaderMap,
        answer: impl FnOnce(&mut SimulatorState) -> Response,
    ) -> Response {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        self.with_state(|state, now| match state.use_session(token, now) {
            true => answer(state),
            false => error(StatusCode::UNAUTHORIZED, "The token has expired"),
        })
    }
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
