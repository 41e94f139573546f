//! The relay's baseline: finds due events, claims them, enqueues them and marks them.

use aws_sdk_dynamodb::types::KeysAndAttributes;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use baseline::{
    BaselineInbox, Item, load_sdk_config, message, now_ms, number, required_string, string_attribute,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let inbox = BaselineInbox::new(&load_sdk_config().await);
    run(service_fn(async |_: LambdaEvent<Value>| relay(&inbox).await)).await
}

async fn relay(inbox: &BaselineInbox) -> Result<Value, Error> {
    let due = inbox.query_due("outbox").await?;
    let keys = KeysAndAttributes::builder().set_keys(Some(due)).consistent_read(true).build()?;
    let read = inbox.db.batch_get_item().request_items(&inbox.table, keys).send().await?;
    let records = read.responses.unwrap_or_default().remove(&inbox.table).unwrap_or_default();
    let mut entries = Vec::new();
    for (index, record) in records.iter().enumerate() {
        claim(inbox, record).await?;
        let payload = record.get("payload").and_then(|payload| payload.as_b().ok()).ok_or("no payload")?;
        let (pk, kind) = (required_string(record, "pk")?, required_string(record, "type")?);
        let entry = SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(message(pk, kind, &serde_json::from_slice(payload.as_ref())?))
            .message_attributes("provider", string_attribute("fynapse")?)
            .message_attributes("type", string_attribute(kind)?);
        entries.push(entry.build()?);
    }
    let send = inbox.sqs.send_message_batch().queue_url(&inbox.queue_url).set_entries(Some(entries));
    send.send().await?;
    for record in &records {
        inbox.mark_sent(required_string(record, "pk")?, required_string(record, "sk")?, 2, now_ms()).await?;
    }
    Ok(json!({"sent": records.len()}))
}

async fn claim(inbox: &BaselineInbox, record: &Item) -> Result<(), Error> {
    let values = [("one", number(1)), ("later", number(now_ms() + 30_000)), ("seen", number(1))];
    let set = "SET rev = rev + :one, attempts = :one, due_at = :later";
    inbox
        .update(
            required_string(record, "pk")?,
            required_string(record, "sk")?,
            set,
            "rev = :seen AND attribute_exists(due)",
            values,
        )
        .await
}
