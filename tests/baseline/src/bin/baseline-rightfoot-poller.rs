//! The poller's baseline: finds due batches, reads their balances, and records, enqueues and marks the completions.

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use baseline::{BaselineInbox, BaselineRightfoot, load_sdk_config, now_ms, number, required_string};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let (inbox, rightfoot) = (BaselineInbox::new(&sdk), BaselineRightfoot::new(&sdk)?);
    run(service_fn(async |_: LambdaEvent<Value>| poll(&inbox, &rightfoot).await)).await
}

async fn poll(inbox: &BaselineInbox, rightfoot: &BaselineRightfoot) -> Result<Value, Error> {
    let due = inbox.query_due("poll").await?;
    for item in &due {
        let pk = required_string(item, "pk")?;
        let key = |sk: &str| {
            [("pk", pk), ("sk", sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())))
        };
        let keys = ["tracked", "completed"].map(|sk| key(sk).into());
        let both = KeysAndAttributes::builder().set_keys(Some(keys.into())).consistent_read(true).build()?;
        inbox.db.batch_get_item().request_items(&inbox.table, both).send().await?;
        let values = [("one", number(1)), ("later", number(now_ms() + 300_000)), ("seen", number(1))];
        let later = "SET rev = rev + :one, polls = :one, due_at = :later";
        inbox.update(pk, "tracked", later, "rev = :seen AND attribute_exists(due)", values).await?;
        let batch_id = pk.rsplit('#').next().unwrap_or_default();
        rightfoot.balances(batch_id).await?;
        let payload = json!({"type": "BALANCE_BATCH_COMPLETED", "batch_id": batch_id}).to_string();
        inbox
            .record_and_enqueue("rightfoot", pk, "completed", "BALANCE_BATCH_COMPLETED", payload.as_bytes())
            .await?;
        let values = [
            ("one", number(1)),
            ("now", number(now_ms())),
            ("at", number(now_ms() / 1_000 + 2_592_000)),
            ("seen", number(2)),
        ];
        let done = "SET rev = rev + :one, done_at = :now, expires_at = :at REMOVE due, due_at";
        inbox.update(pk, "tracked", done, "rev = :seen AND attribute_exists(due)", values).await?;
    }
    Ok(json!({"found": due.len()}))
}
