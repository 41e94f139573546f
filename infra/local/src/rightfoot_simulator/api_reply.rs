//! The API's responses and its format of times.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use inbox_core::time::UnixMillis;
use serde::Serialize;
use serde_json::{Value, json};

/// A JSON response of the API.
#[derive(Clone, Debug)]
pub(super) struct ApiReply {
    pub(super) status: StatusCode,
    body: String,
}

impl ApiReply {
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self { status, body: serde_json::to_string(body).unwrap_or_default() }
    }

    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// An error response (shared/providers/rightfoot.md, "Errors"). Its body is documented for 401 only; the other statuses follow its form.
    pub(super) fn error(status: StatusCode, message: &str, now: UnixMillis) -> Self {
        Self::error_with(status, message, None, now)
    }

    /// Like [`Self::error`], with `error.details`.
    pub(super) fn error_with(
        status: StatusCode,
        message: &str,
        details: Option<Value>,
        now: UnixMillis,
    ) -> Self {
        // The one documented code, `UNAUTHORIZED`, is the status's reason phrase; the others follow it.
        let reason = status.canonical_reason().unwrap_or("Error");
        let suggestion = match status {
            StatusCode::UNAUTHORIZED => "Please check your API key.",
            _ => "Please check the documentation.",
        };
        let mut error = json!({
            "code": reason.to_ascii_uppercase().replace([' ', '-'], "_"),
            "message": message,
            "timestamp": timestamp_secs(now),
            "suggestion": suggestion,
        });
        if let (Some(details), Some(fields)) = (details, error.as_object_mut()) {
            fields.insert("details".to_owned(), details);
        }
        let body = json!({
            "status": "error",
            "status_code": status.as_u16(),
            "error": error,
            "batch_id": null,
            "documentation_url": "https://api.rightfoot.com/docs",
        });
        Self::json(status, &body)
    }
}

impl IntoResponse for ApiReply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// Formats a time in whole seconds, as in the documents' examples.
pub(super) fn timestamp_secs(at: UnixMillis) -> String {
    timestamp_millis(UnixMillis(at.secs().0.saturating_mul(1_000)))
}

/// Formats a time with its milliseconds, if there are any: two runs on a short simulated day must not share their time.
pub(super) fn timestamp_millis(at: UnixMillis) -> String {
    at.rfc3339().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_the_documents() {
        let at = UnixMillis(1_767_323_045_123);
        assert_eq!(timestamp_secs(at), "2026-01-02T03:04:05Z");
        assert_eq!(timestamp_millis(at), "2026-01-02T03:04:05.123Z");
        assert_eq!(timestamp_millis(UnixMillis(1_767_323_045_000)), "2026-01-02T03:04:05Z");
    }
}
