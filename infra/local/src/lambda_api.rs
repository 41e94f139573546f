//! Lambda API emulator: the operation `Invoke`, for every function.

use std::sync::LazyLock;

use aws_lambda_events::sqs::SqsEvent;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use inbox_aws::iam::ROLES;
use inbox_core::delivery::Provider;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::connector::until_crash;
use crate::stack::{INVOCATION_TIMEOUT, Stack};

/// Names of the functions, as in AWS without the stack's name.
pub static FUNCTION_NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut names: Vec<_> = ROLES.iter().map(|role| role.function).collect();
    names.sort_unstable();
    names
});
/// Largest payload of a synchronous invocation: Lambda's limit.
const PAYLOAD_MAX_BYTES: usize = 6 * 1024 * 1024;

/// Response payload of the function, or the error that Lambda reports.
type InvocationResult = Result<Value, Diagnostic>;

/// AWS endpoint for any client: the emulated services and `Invoke`. `base_url` is the address of the endpoint.
pub fn aws_endpoint(stack: &Stack, base_url: String) -> Router {
    let invoke = Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .layer(DefaultBodyLimit::max(PAYLOAD_MAX_BYTES))
        .with_state(stack.clone());
    invoke.merge(stack.connector.emulator().router(base_url))
}

async fn invoke(
    State(stack): State<Stack>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    // Clients may pass an ARN, with or without a version, instead of the name.
    let name =
        name.rsplit("function:").next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    if !FUNCTION_NAMES.contains(&name.as_str()) {
        let message = format!("Function not found: {name}; available: {}", FUNCTION_NAMES.join(", "));
        return error_response(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    }
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    let Ok(payload) = serde_json::from_slice::<Box<RawValue>>(&payload) else {
        let message = "Could not parse request body into json";
        return error_response(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message);
    };
    match headers.get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok()) {
        Some("DryRun") => empty_response(StatusCode::NO_CONTENT),
        Some("Event") => {
            // Asynchronous invocation: the response does not wait for the function.
            tokio::spawn(async move { run_function(&stack, &name, &payload).await });
            empty_response(StatusCode::ACCEPTED)
        }
        _ => invoke_response(run_function(&stack, &name, &payload).await),
    }
}

async fn run_function(stack: &Stack, name: &str, payload: &RawValue) -> InvocationResult {
    // `Runtime.ExitError` is Lambda's error type for a process that ends during an invocation.
    let result = until_crash(call_function(stack, name, payload)).await;
    result.unwrap_or_else(|| Err(diagnostic("Runtime.ExitError", "the process crashed")))
}

async fn call_function(stack: &Stack, name: &str, payload: &RawValue) -> InvocationResult {
    match name {
        // These three are started by a schedule, whose payload they do not read.
        "event-relay" => stack.relay.handle(INVOCATION_TIMEOUT).await.map_err(Into::into),
        "event-worker" => {
            let event: SqsEvent = serde_json::from_str(payload.get())
                .map_err(|_| diagnostic("InvalidEvent", "not an SQS event"))?;
            to_payload(&stack.worker.handle(event).await)
        }
        "fynapse-auditor" => stack.auditor.handle(INVOCATION_TIMEOUT).await,
        "rightfoot-poller" => stack.poller.handle(INVOCATION_TIMEOUT).await,
        "rightfoot-requests" => Ok(stack.requests.handle(payload).await?),
        _ => {
            // The webhook functions turn each error into an HTTP response, so their invocations cannot fail.
            let provider = name.strip_suffix("-webhook").and_then(Provider::from_name);
            let function = provider.and_then(|provider| stack.webhooks.get(&provider));
            let function = function.ok_or_else(|| diagnostic("InvalidFunction", "no such function"))?;
            to_payload(&function.handle(payload.to_owned()).await)
        }
    }
}

fn to_payload(response: &impl Serialize) -> InvocationResult {
    serde_json::to_value(response).map_err(|_| diagnostic("InvalidResponse", "the response is not JSON"))
}

fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}

/// Lambda's HTTP response: 200 also for a function that failed, with the header `x-amz-function-error`.
fn invoke_response(result: InvocationResult) -> Response {
    let (error, payload) = match result {
        Ok(payload) => (None, payload),
        Err(error) => {
            (Some("Unhandled"), json!({"errorType": error.error_type, "errorMessage": error.error_message}))
        }
    };
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("x-amz-executed-version", "$LATEST");
    if let Some(error) = error {
        response = response.header("x-amz-function-error", error);
    }
    response.body(Body::from(payload.to_string())).unwrap_or_default()
}

fn error_response(status: StatusCode, error: &str, message: &str) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", error)
        .body(Body::from(json!({"Type": "User", "Message": message}).to_string()))
        .unwrap_or_default()
}

fn empty_response(status: StatusCode) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap_or_default()
}
