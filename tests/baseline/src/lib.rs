//! Shared by the baselines: clients configured as in the SDK's guide, and the calls that more than one baseline makes.

#![expect(missing_docs, reason = "for the bench alone")]

use std::collections::HashMap;
use std::env;
use std::time::SystemTime;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, StreamExt, TryStreamExt};
use hmac::{Hmac, KeyInit, Mac};
use lambda_runtime::Error;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

pub type Item = HashMap<String, AttributeValue>;

pub async fn load_sdk_config() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::latest()).await
}

pub fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

pub fn now_ms() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()
}

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn required_string<'a>(item: &'a Item, name: &str) -> Result<&'a str, Error> {
    Ok(item.get(name).and_then(|value| value.as_s().ok()).ok_or("an attribute is missing")?)
}

pub fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

pub fn is_signed(key: &str, parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(key, parts).is_some_and(|mac| mac.verify_slice(tag).is_ok())
}

pub fn tag(key: &str, parts: &[&[u8]]) -> String {
    let mac = mac(key, parts);
    URL_SAFE_NO_PAD.encode(mac.map(|mac| mac.finalize().into_bytes()).unwrap_or_default())
}

fn mac(key: &str, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

/// A secret, fetched on first use and cached.
pub struct BaselineSecret {
    client: aws_sdk_secretsmanager::Client,
    id: String,
    value: OnceCell<String>,
}

impl BaselineSecret {
    pub fn new(sdk: &SdkConfig, variable: &str) -> Self {
        let client = aws_sdk_secretsmanager::Client::new(sdk);
        Self { client, id: var(variable), value: OnceCell::new() }
    }

    pub async fn value(&self) -> Result<&str, Error> {
        let fetch = async || {
            let answer = self.client.get_secret_value().secret_id(&self.id).send().await?;
            Ok::<_, Error>(answer.secret_string.unwrap_or_default())
        };
        Ok(self.value.get_or_try_init(fetch).await?)
    }
}

pub struct BaselineRightfoot {
    http: reqwest::Client,
    /// Client without pooled connections, for requests that must not be sent twice: a pooled connection may be dead.
    fresh: reqwest::Client,
    url: String,
    key: BaselineSecret,
}

impl BaselineRightfoot {
    pub fn new(sdk: &SdkConfig) -> Result<Self, Error> {
        let key = BaselineSecret::new(sdk, "RIGHTFOOT_API_KEY_SECRET_ID");
        let http = reqwest::Client::builder().build()?;
        let fresh = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { http, fresh, url: var("RIGHTFOOT_API_URL"), key })
    }

    pub async fn balances(&self, batch_id: &str) -> Result<Value, Error> {
        self.send(self.http.get(format!("{}/v1/balances?batchId={batch_id}&limit=100", self.url))).await
    }

    pub async fn submit(&self, request: &Value) -> Result<Value, Error> {
        let post = self.fresh.post(format!("{}/v1/balance_requests", self.url));
        self.send(post.header("content-type", "application/json").body(request.to_string())).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Error> {
        let answer = request.bearer_auth(self.key.value().await?).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

/// Table and queue of the inbox.
pub struct BaselineInbox {
    pub db: aws_sdk_dynamodb::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub table: String,
    pub queue_url: String,
}

impl BaselineInbox {
    pub fn new(sdk: &SdkConfig) -> Self {
        let (db, sqs) = (aws_sdk_dynamodb::Client::new(sdk), aws_sdk_sqs::Client::new(sdk));
        Self { db, sqs, table: var("INBOX_TABLE"), queue_url: var("EVENTS_QUEUE_URL") }
    }

    /// Records an event, enqueues it, and marks it sent.
    pub async fn record_and_enqueue(
        &self,
        provider: &str,
        pk: &str,
        sk: &str,
        kind: &str,
        payload: &[u8],
    ) -> Result<(), Error> {
        let now = now_ms();
        let put = self.db.put_item().table_name(&self.table).set_item(Some(key(pk, sk)));
        put.item("v", number(1))
            .item("type", text(kind))
            .item("origin", text("webhook"))
            .item("received_at", number(now))
            .item("payload", AttributeValue::B(Blob::new(payload)))
            .item("payload_hash", text(hex::encode(Sha256::digest(payload))))
            .item("payload_bytes", number(payload.len()))
            .item("rev", number(1))
            .item("attempts", number(0))
            .item("due", text("outbox#00"))
            .item("due_at", number(now + 30_000))
            .item("listed", text("event#00"))
            .item("listed_at", number(now))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await?;
        let message = message(pk, kind, &serde_json::from_slice(payload)?);
        let send = self.sqs.send_message().queue_url(&self.queue_url).message_body(message);
        send.message_attributes("provider", string_attribute(provider)?)
            .message_attributes("type", string_attribute(kind)?)
            .send()
            .await?;
        self.mark_sent(pk, sk, 1, now).await
    }

    pub async fn mark_sent(&self, pk: &str, sk: &str, rev: u64, now: u128) -> Result<(), Error> {
        let until = now / 1_000 + 30 * 86_400;
        let values = [("now", number(now)), ("at", number(until)), ("rev", number(rev))];
        let sent = "SET sent_at = :now, expires_at = :at REMOVE due, due_at";
        self.update(pk, sk, sent, "rev = :rev AND attribute_exists(due)", values).await
    }

    pub async fn update<const N: usize>(
        &self,
        pk: &str,
        sk: &str,
        expression: &str,
        condition: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<(), Error> {
        let update = self.db.update_item().table_name(&self.table).set_key(Some(key(pk, sk)));
        let update = update.update_expression(expression).condition_expression(condition);
        let set =
            |update: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder,
             (name, value)| { update.expression_attribute_values(format!(":{name}"), value) };
        values.into_iter().fold(update, set).send().await?;
        Ok(())
    }

    /// Returns the keys of due items of a queue. Ten of its sixteen partitions are queried at a time.
    pub async fn query_due(&self, queue: &str) -> Result<Vec<Item>, Error> {
        let pages: Vec<_> = stream::iter(0..16)
            .map(async |shard| {
                let query = self.db.query().table_name(&self.table).index_name("due").limit(100);
                let query = query.key_condition_expression("due = :shard AND due_at <= :until");
                let query = query.expression_attribute_values(":shard", text(format!("{queue}#{shard:02}")));
                let answer = query.expression_attribute_values(":until", number(now_ms())).send().await?;
                Ok::<_, Error>(answer.items.unwrap_or_default())
            })
            .buffered(10)
            .try_collect()
            .await?;
        let place = |item: Item| item.into_iter().filter(|(name, _)| name == "pk" || name == "sk").collect();
        Ok(pages.into_iter().flatten().map(place).collect())
    }
}

pub fn message(id: &str, kind: &str, data: &Value) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/webhook", "type": kind,
           "datacontenttype": "application/json", "origin": "webhook", "data": data})
    .to_string()
}

pub fn string_attribute(value: &str) -> Result<MessageAttributeValue, Error> {
    Ok(MessageAttributeValue::builder().data_type("String").string_value(value).build()?)
}
