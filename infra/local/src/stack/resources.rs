//! AWS resources of a stack: tables, queues, the event bus and secrets.

use std::time::Duration;

use anyhow::Context;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use inbox_aws::clients::Clients;
use inbox_aws::stores::LISTED_ATTRIBUTES;
use inbox_core::delivery::Provider;
use inbox_core::limits::QUEUE_RETENTION_DAYS;
use inbox_core::providers::ProviderSpec;
use serde_json::json;

use super::{
    BALANCES_TABLE, BUS_QUEUE, DEAD_LETTER_QUEUE, EVENT_BUS, EVENTS_QUEUE, FYNAPSE_API_CREDENTIALS_SECRET,
    INBOX_TABLE, RIGHTFOOT_API_KEY_SECRET, StackOptions, webhook_secret_value,
};

/// Creates the tables that do not exist yet.
pub(super) async fn create_tables(clients: &Clients) -> anyhow::Result<()> {
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let create = |name: &str| {
        anyhow::Ok(
            clients
                .dynamodb
                .create_table()
                .table_name(name)
                .billing_mode(BillingMode::PayPerRequest)
                .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
                .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
                .key_schema(key("pk", KeyType::Hash)?)
                .key_schema(key("sk", KeyType::Range)?),
        )
    };
    let exists = async |name| clients.dynamodb.describe_table().table_name(name).send().await.is_ok();
    // Tables in a file exist after a restart; all other resources are in memory and always new.
    // All indexes as in template.yaml.
    let index = |name: &str, hash: &str, range: &str, projection: Projection| {
        anyhow::Ok(
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key(hash, KeyType::Hash)?)
                .key_schema(key(range, KeyType::Range)?)
                .projection(projection)
                .build()?,
        )
    };
    if !exists(INBOX_TABLE).await {
        let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        let listed_attributes = LISTED_ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect();
        let listed_attributes = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(listed_attributes))
            .build();
        create(INBOX_TABLE)?
            .attribute_definitions(attribute("due", ScalarAttributeType::S)?)
            .attribute_definitions(attribute("due_at", ScalarAttributeType::N)?)
            .attribute_definitions(attribute("listed", ScalarAttributeType::S)?)
            .attribute_definitions(attribute("listed_at", ScalarAttributeType::N)?)
            .global_secondary_indexes(index("due", "due", "due_at", keys_only)?)
            .global_secondary_indexes(index("listed", "listed", "listed_at", listed_attributes)?)
            .send()
            .await?;
    }
    if !exists(BALANCES_TABLE).await {
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        create(BALANCES_TABLE)?
            .attribute_definitions(attribute("batch_id", ScalarAttributeType::S)?)
            .global_secondary_indexes(index("batch", "batch_id", "pk", all)?)
            .send()
            .await?;
    }
    Ok(())
}

/// Creates the queues and returns the URL of `events`, which gets this visibility timeout.
pub(super) async fn create_queues(clients: &Clients, visibility_timeout: Duration) -> anyhow::Result<String> {
    let create = |name: &str| {
        clients.sqs.create_queue().queue_name(name).attributes(
            QueueAttributeName::MessageRetentionPeriod,
            (QUEUE_RETENTION_DAYS * 86_400).to_string(),
        )
    };
    // Created first, because the redrive policy of `events` names it.
    create(DEAD_LETTER_QUEUE).send().await?;
    create(BUS_QUEUE).send().await?;
    // As many receives as in template.yaml.
    let redrive = json!({
        "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:123456789012:{DEAD_LETTER_QUEUE}"),
        "maxReceiveCount": 5,
    });
    let events = create(EVENTS_QUEUE)
        .attributes(QueueAttributeName::VisibilityTimeout, visibility_timeout.as_secs().to_string())
        .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
        .send()
        .await?;
    events.queue_url.context("the queue has no URL")
}

/// Creates the bus. The emulator puts its events on [`BUS_QUEUE`].
pub(super) async fn create_bus(clients: &Clients) -> anyhow::Result<()> {
    clients.eventbridge().create_event_bus().name(EVENT_BUS).send().await?;
    Ok(())
}

/// Creates the secrets with the values in the options.
pub(super) async fn create_secrets(clients: &Clients, options: &StackOptions) -> anyhow::Result<()> {
    let webhooks =
        Provider::ALL.iter().map(|&it| (ProviderSpec::of(it).secret_name, webhook_secret_value(it, options)));
    let apis = [
        (RIGHTFOOT_API_KEY_SECRET, options.rightfoot_api_key.clone()),
        (FYNAPSE_API_CREDENTIALS_SECRET, options.fynapse_api.credentials.clone()),
    ];
    for (name, value) in webhooks.chain(apis) {
        clients.secrets.create_secret().name(name).secret_string(value).send().await?;
    }
    Ok(())
}
