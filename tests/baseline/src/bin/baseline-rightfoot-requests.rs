//! The baseline of `rightfoot-requests`: writes a submission, submits it, and stores what was created.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use baseline::{
    BaselineInbox, BaselineRightfoot, BaselineSecret, Item, key, load_sdk_config, now_ms, number, tag, text,
    var,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

struct BaselineRequests {
    inbox: BaselineInbox,
    rightfoot: BaselineRightfoot,
    url_key: BaselineSecret,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let requests = BaselineRequests {
        inbox: BaselineInbox::new(&sdk),
        rightfoot: BaselineRightfoot::new(&sdk)?,
        url_key: BaselineSecret::new(&sdk, "RIGHTFOOT_URL_KEY_SECRET_ID"),
    };
    run(service_fn(async |event: LambdaEvent<Value>| requests.submit(event.payload).await)).await
}

impl BaselineRequests {
    async fn submit(&self, request: Value) -> Result<Value, Error> {
        let id = request.get("submission_id").and_then(Value::as_str).ok_or("no submission_id")?;
        let url = self.webhook_url(id).await?;
        let submission = key(&format!("rightfoot#submission#{id}"), "submitted");
        let BaselineInbox { db, table, .. } = &self.inbox;
        let put = db.put_item().table_name(table).set_item(Some(submission.clone()));
        put.item("v", number(1))
            .item("webhook_url", text(&url))
            .item("rev", number(1))
            .item("written_at", number(now_ms()))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await?;
        let body = json!({"authorizers": request.get("authorizers"), "webhook_url": url});
        let answer = self.rightfoot.submit(&body).await?;
        let batch_id = answer.get("batch_id").and_then(Value::as_str).ok_or("no batch_id")?;
        let batch = key(&format!("rightfoot#batch#{batch_id}"), "tracked");
        for item_key in [&submission, &batch] {
            let get = db.get_item().table_name(table).set_key(Some(item_key.clone())).consistent_read(true);
            get.send().await?;
        }
        let writes = [
            done_update(table, &submission, batch_id)?,
            bind_update(table, id)?,
            track_put(table, batch, id)?,
        ];
        db.transact_write_items().set_transact_items(Some(writes.into())).send().await?;
        db.get_item().table_name(table).set_key(Some(submission)).consistent_read(true).send().await?;
        Ok(json!({"batch_id": batch_id}))
    }

    async fn webhook_url(&self, subject: &str) -> Result<String, Error> {
        let mac = tag(self.url_key.value().await?, &[b"rightfoot-webhook-url/v1:", subject.as_bytes()]);
        Ok(format!("{}/webhooks/rightfoot/{subject}.{mac}", var("WEBHOOK_BASE_URL")))
    }
}

fn done_update(table: &str, place: &Item, batch_id: &str) -> Result<TransactWriteItem, Error> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(place.clone()))
        .update_expression("SET rev = rev + :one, done_at = :now, batch_id = :id REMOVE webhook_url")
        .condition_expression("rev = :one")
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":now", number(now_ms()))
        .expression_attribute_values(":id", text(batch_id));
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

fn bind_update(table: &str, subject: &str) -> Result<TransactWriteItem, Error> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key(&format!("rightfoot#subject#{subject}"), "bound")))
        .update_expression("SET v = if_not_exists(v, :one), bound_at = if_not_exists(bound_at, :now)")
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":now", number(now_ms()));
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

fn track_put(table: &str, batch: Item, subject: &str) -> Result<TransactWriteItem, Error> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(batch))
        .item("v", number(1))
        .item("rev", number(1))
        .item("subject", text(subject))
        .item("due", text("poll#00"))
        .item("due_at", number(now_ms() + 600_000))
        .item("listed", text("batch#00"))
        .item("listed_at", number(now_ms()))
        .condition_expression("attribute_not_exists(pk)");
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}
