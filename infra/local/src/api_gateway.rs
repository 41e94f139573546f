//! Emulator of API Gateway's HTTP API: turns HTTP requests into invocations of payload format 2.0, and results into HTTP
//! responses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use inbox_aws::webhook_function::WebhookFunction;
use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;

use crate::connector::until_crash;

/// Largest body that API Gateway accepts.
const BODY_MAX_BYTES: usize = 10 * 1024 * 1024;
/// Largest invocation payload that Lambda accepts.
const INVOCATION_MAX_BYTES: usize = 6 * 1024 * 1024;

/// Router with the webhook routes. Any other route or method gets 404, as from API Gateway.
pub fn webhook_routes(functions: BTreeMap<Provider, WebhookFunction>) -> Router {
    // Without these fallbacks, axum answers other methods with 405, which ends a delivery at Fynapse for good
    // (shared/providers/fynapse.md, "Effect of an answer").
    let routes = Router::new().fallback(not_found);
    functions.into_iter().fold(routes, |routes, (provider, function)| {
        let route = ProviderSpec::of(provider).route;
        let deliver =
            move |path_parameters: RawPathParams, source: ConnectInfo<SocketAddr>, request: Request| {
                deliver(route, function, path_parameters, source.0, request)
            };
        routes.route(route, post(deliver).fallback(not_found))
    })
}

async fn deliver(
    route: &str,
    function: WebhookFunction,
    path_parameters: RawPathParams,
    source: SocketAddr,
    request: Request,
) -> Response {
    let path_parameters =
        path_parameters.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    match build_invocation(&format!("POST {route}"), path_parameters, source, request).await {
        Ok(invocation) => http_response(until_crash(function.handle(invocation)).await),
        Err(response) => response,
    }
}

async fn not_found() -> Response {
    error_response(StatusCode::NOT_FOUND, "Not Found")
}

/// Builds the invocation payload. Bodies over the limit of API Gateway or Lambda get the gateway's own 413, without an
/// invocation.
async fn build_invocation(
    route_key: &str,
    path_parameters: Map<String, Value>,
    source: SocketAddr,
    request: Request,
) -> Result<Box<RawValue>, Response> {
    let too_large = || error_response(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX_BYTES).await.map_err(|_| too_large())?;
    let (body, is_base64) = encode_body(&parts.headers, &body);
    let path = parts.uri.path();
    let mut invocation = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": join_headers(&parts.headers),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "routeKey": route_key,
            "stage": "$default",
            "timeEpoch": 0,
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source.ip().to_string(),
                "userAgent": "",
            },
        },
        "body": body,
        "isBase64Encoded": is_base64,
    });
    if let Some(fields) = invocation.as_object_mut().filter(|_| !path_parameters.is_empty()) {
        fields.insert("pathParameters".to_owned(), path_parameters.into());
    }
    let invocation = to_raw_value(&invocation)
        .map_err(|_| error_response(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))?;
    // Base64 and JSON make the invocation larger than the body: both limits apply.
    if invocation.get().len() > INVOCATION_MAX_BYTES { Err(too_large()) } else { Ok(invocation) }
}

/// Encodes a body as API Gateway does; the flag is `isBase64Encoded`. Bodies without a textual content type are base64.
fn encode_body(headers: &HeaderMap, body: &Bytes) -> (String, bool) {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type.as_str());
    // Text that is not UTF-8 cannot be a JSON string, so it is base64 as well.
    match std::str::from_utf8(body).ok().filter(|_| is_text) {
        Some(text) => (text.to_owned(), false),
        None => (STANDARD.encode(body), true),
    }
}

/// Joins the values of repeated headers by commas, as API Gateway does.
fn join_headers(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (name.as_str().to_owned(), Value::String(values.join(",")))
        })
        .collect()
}

/// The HTTP response to a function's result; `None` is a crashed function, for which API Gateway responds 500.
fn http_response(result: Option<ApiGatewayV2httpResponse>) -> Response {
    let Some(response) = result else {
        return error_response(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let body = response.body.map(|body| body.to_vec()).unwrap_or_default();
    let mut http_response = Response::new(Body::from(body));
    *http_response.status_mut() = u16::try_from(response.status_code)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::BAD_GATEWAY);
    *http_response.headers_mut() = response.headers;
    http_response
}

fn error_response(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(json!({"message": message}).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
