//! The worker's baseline: claims the event of a message, stores its batch's balances, publishes the event, and ends the
//! claim.

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ReturnValue, WriteRequest};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use baseline::{BaselineInbox, BaselineRightfoot, key, load_sdk_config, now_ms, number, text, var};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

struct BaselineWorker {
    inbox: BaselineInbox,
    rightfoot: BaselineRightfoot,
    bus: aws_sdk_eventbridge::Client,
    bus_name: String,
    balances: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sdk = load_sdk_config().await;
    let worker = BaselineWorker {
        inbox: BaselineInbox::new(&sdk),
        rightfoot: BaselineRightfoot::new(&sdk)?,
        bus: aws_sdk_eventbridge::Client::new(&sdk),
        bus_name: var("EVENT_BUS_NAME"),
        balances: var("BALANCES_TABLE"),
    };
    run(service_fn(async |event: LambdaEvent<Value>| worker.process(event.payload).await)).await
}

impl BaselineWorker {
    async fn process(&self, event: Value) -> Result<Value, Error> {
        for record in event.get("Records").and_then(Value::as_array).into_iter().flatten() {
            let body = record.get("body").and_then(Value::as_str).unwrap_or_default();
            let message: Value = serde_json::from_str(body)?;
            let batch_id = message.pointer("/data/batch_id").and_then(Value::as_str).ok_or("no batch")?;
            self.complete_batch(batch_id).await?;
        }
        Ok(json!({"batchItemFailures": []}))
    }

    async fn complete_batch(&self, batch_id: &str) -> Result<(), Error> {
        let pk = format!("rightfoot#batch#{batch_id}");
        let BaselineInbox { db, table, .. } = &self.inbox;
        let claim = db.update_item().table_name(table).set_key(Some(key(&pk, "completed")));
        claim
            .update_expression("SET claim_by = :mine, claim_until = :until")
            .condition_expression("attribute_exists(delivery_id) AND attribute_not_exists(done_at)")
            .expression_attribute_values(":mine", text(batch_id))
            .expression_attribute_values(":until", number(now_ms() + 300_000))
            .return_values(ReturnValue::AllNew)
            .send()
            .await?;
        let get = db.get_item().table_name(table).set_key(Some(key(&pk, "tracked"))).consistent_read(true);
        get.send().await?;
        let answer = self.rightfoot.balances(batch_id).await?;
        let rows = answer.get("balances").and_then(Value::as_array).ok_or("no balances")?;
        let puts = rows.iter().map(|row| balance_put(row, batch_id)).collect::<Result<Vec<_>, _>>()?;
        db.batch_write_item().request_items(&self.balances, puts).send().await?;
        self.publish(batch_id, rows.len()).await?;
        let values = [
            ("now", number(now_ms())),
            ("at", number(now_ms() / 1_000 + 2_592_000)),
            ("mine", text(batch_id)),
        ];
        let done = "SET done_at = :now, expires_at = :at REMOVE claim_by, claim_until";
        self.inbox.update(&pk, "completed", done, "claim_by = :mine", values).await
    }

    async fn publish(&self, batch_id: &str, found: usize) -> Result<(), Error> {
        let detail = json!({"id": batch_id, "batch_id": batch_id, "found": found}).to_string();
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus_name)
            .source("balance-inbox")
            .detail_type("BalanceBatchCompleted")
            .detail(detail)
            .build();
        self.bus.put_events().entries(entry).send().await?;
        Ok(())
    }
}

fn balance_put(row: &Value, batch_id: &str) -> Result<WriteRequest, Error> {
    let whose = row.get("authorizer_unique_id").and_then(Value::as_str).ok_or("nobody's balance")?;
    let balance = row.get("balance").map(Value::to_string).unwrap_or_default();
    let put = PutRequest::builder()
        .item("pk", text(whose))
        .item("sk", text(batch_id))
        .item("balance", AttributeValue::N(balance))
        .item("batch_id", text(batch_id));
    Ok(WriteRequest::builder().put_request(put.build()?).build())
}
