//! The auditor's baseline: saves that it has begun, gets a token, reads the list of deliveries, compares it with the records, and saves
//! its state.

use aws_sdk_dynamodb::types::KeysAndAttributes;
use baseline::{BaselineInbox, key, load_sdk_config, now_ms, number, text, var};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let inbox = BaselineInbox::new(&sdk);
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk);
    let http = reqwest::Client::builder().build()?;
    run(service_fn(async |_: LambdaEvent<Value>| audit(&inbox, &secrets, &http).await)).await
}

async fn audit(
    inbox: &BaselineInbox,
    secrets: &aws_sdk_secretsmanager::Client,
    http: &reqwest::Client,
) -> Result<Value, Error> {
    let (url, subscription) = (var("FYNAPSE_API_URL"), var("FYNAPSE_SUBSCRIPTION_ID"));
    let pk = format!("fynapse#subscription#{subscription}");
    let get = inbox.db.get_item().table_name(&inbox.table).set_key(Some(key(&pk, "check")));
    let state = get.consistent_read(true).send().await?.item;
    let rev = state.as_ref().and_then(|state| state.get("rev")?.as_n().ok()?.parse::<u64>().ok());
    save_state(inbox, &pk, rev, "started_at").await?;
    let secret =
        secrets.get_secret_value().secret_id(var("FYNAPSE_API_CREDENTIALS_SECRET_ID")).send().await?;
    let secret: Value = serde_json::from_str(&secret.secret_string.unwrap_or_default())?;
    let field = |name: &str| secret.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, secret) = (field("client_id"), field("client_secret"));
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let post =
        http.post(format!("{url}/auth/token")).header("content-type", "application/x-www-form-urlencoded");
    let token: Value = json_body(post.body(form)).await?;
    let token = token.get("access_token").and_then(Value::as_str).unwrap_or_default();
    let path = format!("api/v1/event-deliveries/subscriptions/{subscription}/deliveries?page=0&limit=100");
    let list: Value = json_body(http.get(format!("{url}/{path}")).bearer_auth(token)).await?;
    let deliveries = list.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
    let ids = deliveries.iter().filter_map(|delivery| delivery.get("eventId")?.as_str());
    let keys: Vec<_> = ids.map(|id| key(&format!("fynapse#event#{id}"), "event")).collect();
    let records = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()?;
    inbox.db.batch_get_item().request_items(&inbox.table, records).send().await?;
    save_state(inbox, &pk, Some(rev.unwrap_or(0) + 1), "checked_at").await?;
    Ok(json!({"listed": deliveries.len()}))
}

/// Saves the state that follows `rev`, with the current time under this name.
async fn save_state(inbox: &BaselineInbox, pk: &str, rev: Option<u64>, time: &str) -> Result<(), Error> {
    let put = inbox.db.put_item().table_name(&inbox.table).set_item(Some(key(pk, "check")));
    let put = put.item("v", number(1)).item("rev", number(rev.unwrap_or(0) + 1)).item(time, number(now_ms()));
    let put = match rev {
        Some(rev) => put.condition_expression("rev = :rev").expression_attribute_values(":rev", number(rev)),
        None => put.condition_expression("attribute_not_exists(pk)"),
    };
    put.item("problem", text("none")).send().await?;
    Ok(())
}

async fn json_body(request: reqwest::RequestBuilder) -> Result<Value, Error> {
    let answer = request.send().await?.error_for_status()?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}
