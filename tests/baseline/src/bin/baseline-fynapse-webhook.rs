//! The baseline of Fynapse's webhook: verifies, records, enqueues, marks.

use baseline::{BaselineInbox, BaselineSecret, is_signed, load_sdk_config};
use lambda_http::{Body, Error, Request, Response, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let (inbox, secret) = (BaselineInbox::new(&sdk), BaselineSecret::new(&sdk, "FYNAPSE_SIGNING_SECRET_ID"));
    run(service_fn(async |request: Request| take_in(&inbox, &secret, request).await)).await
}

async fn take_in(
    inbox: &BaselineInbox,
    secret: &BaselineSecret,
    request: Request,
) -> Result<Response<Body>, Error> {
    let key = secret.value().await?;
    let body: &[u8] = request.body();
    if !is_verified(key, &request, body) {
        return Ok(Response::builder().status(403).body(r#"{"error":"Forbidden"}"#.into())?);
    }
    let event: Value = serde_json::from_slice(body)?;
    let field = |name| event.get(name).and_then(Value::as_str).ok_or("a field is missing");
    let pk = format!("fynapse#event#{}", field("event_id")?);
    inbox.record_and_enqueue("fynapse", &pk, "event", field("event_type")?, body).await?;
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(r#"{"status":"received"}"#.into())?)
}

fn is_verified(key: &str, request: &Request, body: &[u8]) -> bool {
    let header = request.headers().get("webhook-signature").and_then(|header| header.to_str().ok());
    let Some((t, tag)) = header.and_then(|header| header.strip_prefix("t=")?.split_once(",v1=")) else {
        return false;
    };
    hex::decode(tag).is_ok_and(|tag| is_signed(key, &[t.as_bytes(), b".", body], &tag))
}
