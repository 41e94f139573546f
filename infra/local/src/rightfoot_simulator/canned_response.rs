//! Canned responses: failures and undocumented forms.

use std::io::{self, Write};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use inbox_core::time::UnixMillis;

use super::api_reply::ApiReply;
use super::behaviour::CannedResponse;

const CHUNK: &[u8] = &[b' '; 64 * 1024];
const CHUNKS: usize = 1024;

/// Responds in place of `genuine`, which applies the request only if it is awaited.
pub(super) async fn respond(
    canned: CannedResponse,
    genuine: impl Future<Output = Response>,
    now: UnixMillis,
) -> Response {
    match canned {
        CannedResponse::Status(status) => error_response(status, now),
        CannedResponse::RetryAfter { status, secs } => {
            let mut response = error_response(status, now);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
            response
        }
        CannedResponse::Html => {
            let html = HeaderValue::from_static("text/html");
            ([(header::CONTENT_TYPE, html)], "<html>").into_response()
        }
        CannedResponse::WrongShape => ApiReply::ok(&serde_json::json!({"balances": 7})).into_response(),
        CannedResponse::TooLarge => too_large(),
        CannedResponse::Hang => std::future::pending().await,
        CannedResponse::AppliedThen500 => {
            genuine.await;
            error_response(500, now)
        }
        CannedResponse::Truncated => truncated(genuine.await).await,
        CannedResponse::Gzip => gzip(genuine.await).await,
        CannedResponse::Edited(edits) => edited(genuine.await, edits).await,
    }
}

fn error_response(status: u16, now: UnixMillis) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ApiReply::error(status, "The request could not be served.", now).into_response()
}

/// A list of nothing but blanks: valid JSON, to a client without a size limit.
fn too_large() -> Response {
    let head = std::iter::once(Bytes::from_static(br#"{"balances":["#));
    let pieces = std::iter::repeat_n(Bytes::from_static(CHUNK), CHUNKS);
    let tail = std::iter::once(Bytes::from_static(b"]}"));
    let body = head.chain(pieces).chain(tail).map(Ok::<_, io::Error>);
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], Body::from_stream(stream::iter(body))).into_response()
}

/// Declares the full length, sends half of the body, and breaks the connection.
async fn truncated(genuine: Response) -> Response {
    let (mut parts, body) = genuine.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = body.slice(..body.len() / 2);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let pieces = [Ok(half), Err(io::Error::from(io::ErrorKind::BrokenPipe))];
    Response::from_parts(parts, Body::from_stream(stream::iter(pieces)))
}

async fn gzip(genuine: Response) -> Response {
    let (mut parts, body) = genuine.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(&body);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(encoder.finish().unwrap_or_default()))
}

async fn edited(genuine: Response, edits: &[(&str, &str)]) -> Response {
    let (parts, body) = genuine.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let text = edits.iter().fold(text, |text, (from, to)| text.replace(from, to));
    Response::from_parts(parts, Body::from(text))
}
