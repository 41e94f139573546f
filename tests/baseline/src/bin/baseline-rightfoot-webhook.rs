//! The baseline of Rightfoot's webhook: verifies, reads the batch's owner, records, enqueues, marks.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baseline::{BaselineInbox, BaselineSecret, is_signed, key, load_sdk_config};
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let (inbox, secret) =
        (BaselineInbox::new(&sdk), BaselineSecret::new(&sdk, "RIGHTFOOT_URL_KEY_SECRET_ID"));
    run(service_fn(async |request: Request| take_in(&inbox, &secret, request).await)).await
}

async fn take_in(
    inbox: &BaselineInbox,
    secret: &BaselineSecret,
    request: Request,
) -> Result<Response<Body>, Error> {
    let url_key = secret.value().await?;
    if !is_verified(url_key, &request) {
        return Ok(Response::builder().status(403).body(r#"{"error":"Forbidden"}"#.into())?);
    }
    let body: &[u8] = request.body();
    let event: Value = serde_json::from_slice(body)?;
    let field = |name| event.get(name).and_then(Value::as_str).ok_or("a field is missing");
    let pk = format!("rightfoot#batch#{}", field("batch_id")?);
    let get = inbox.db.get_item().table_name(&inbox.table).set_key(Some(key(&pk, "tracked")));
    get.consistent_read(true).send().await?;
    inbox.record_and_enqueue("rightfoot", &pk, "completed", field("type")?, body).await?;
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(r#"{"status":"received"}"#.into())?)
}

fn is_verified(url_key: &str, request: &Request) -> bool {
    let parameters = request.path_parameters();
    let Some((subject, tag)) = parameters.first("token").and_then(|token| token.split_once('.')) else {
        return false;
    };
    let tag = URL_SAFE_NO_PAD.decode(tag);
    tag.is_ok_and(|tag| is_signed(url_key, &[b"rightfoot-webhook-url/v1:", subject.as_bytes()], &tag))
}
