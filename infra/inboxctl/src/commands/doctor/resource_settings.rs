//! Checks that tables, queues and bus exist, with the settings that the promises need.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    ContinuousBackupsDescription, KeySchemaElement, KeyType, PointInTimeRecoveryStatus, TableDescription,
    TableStatus, TimeToLiveDescription, TimeToLiveStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use inbox_aws::AwsError;
use inbox_core::limits::{QUEUE_RETENTION_DAYS, VISIBILITY_SECS};
use serde::Deserialize;

use super::check_result::CheckResult;
use crate::aws_error::ResourceRef;
use crate::output::pluralize;
use crate::target::Target;

const BALANCES: &str = "table of balances";
const BUS: &str = "event bus";
const DESCRIBE_TABLE: &str = "dynamodb:DescribeTable";
/// Smallest `maxReceiveCount`: with fewer receives, a short outage moves messages to the dead-letter queue.
const MAX_RECEIVE_COUNT_MIN: u64 = 5;

/// The index that a table must have.
struct ExpectedIndex {
    name: &'static str,
    hash: &'static str,
    range: &'static str,
    /// What does not work without it.
    without: &'static str,
    /// True if a promise cannot be kept without it.
    is_vital: bool,
}

const DUE_INDEX: ExpectedIndex = ExpectedIndex {
    name: "due",
    hash: "due",
    range: "due_at",
    without: "due items are never found",
    is_vital: true,
};
const BATCH_INDEX: ExpectedIndex = ExpectedIndex {
    name: "batch",
    hash: "batch_id",
    range: "pk",
    without: "the balances of a batch cannot be listed",
    is_vital: false,
};

pub(super) async fn checks(target: &Target, has_worker: bool) -> anyhow::Result<Vec<CheckResult>> {
    let db = aws_sdk_dynamodb::Client::new(&target.sdk);
    let inbox = target.inbox_table()?;
    let mut checks = vec![
        check_table(target, &db, "table of the inbox", &inbox, &DUE_INDEX).await,
        check_ttl(target, &db, &inbox).await,
        check_backups(target, &db, &inbox).await,
    ];
    checks.extend(check_queues(target).await);
    checks.push(match (has_worker, target.balances_table()) {
        (false, _) => CheckResult::skipped(BALANCES, "there is no worker"),
        (true, Ok(resource)) => check_table(target, &db, BALANCES, &resource, &BATCH_INDEX).await,
        (true, Err(why)) => CheckResult::unresolved(BALANCES, &why),
    });
    checks.push(match (has_worker, target.event_bus()) {
        (false, _) => CheckResult::skipped(BUS, "there is no worker"),
        (true, Ok(resource)) => check_bus(target, &resource).await,
        (true, Err(why)) => CheckResult::unresolved(BUS, &why),
    });
    Ok(checks)
}

async fn check_table(
    target: &Target,
    db: &aws_sdk_dynamodb::Client,
    check: &'static str,
    resource: &ResourceRef,
    index: &ExpectedIndex,
) -> CheckResult {
    match db.describe_table().table_name(&resource.name).send().await {
        Ok(answer) => match answer.table() {
            Some(table) => check_table_schema(check, resource, table, index),
            None => {
                CheckResult::fail(check, format!("{resource} is not described"), "check it in the console")
            }
        },
        Err(error) => CheckResult::from_error(
            target,
            check,
            &AwsError::from_sdk_error(DESCRIBE_TABLE, &error),
            resource,
        ),
    }
}

fn check_table_schema(
    check: &'static str,
    resource: &ResourceRef,
    table: &TableDescription,
    expected: &ExpectedIndex,
) -> CheckResult {
    let advice = "deploy template.yaml: it creates the table as the functions need it";
    if !is_keyed(table.key_schema(), "pk", "sk") {
        return CheckResult::fail(check, format!("{resource} is not keyed by pk and sk"), advice);
    }
    let ExpectedIndex { name, hash, range, without, is_vital } = *expected;
    let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
    if !index.is_some_and(|index| is_keyed(index.key_schema(), hash, range)) {
        let found = format!("{resource} has no index `{name}` over {hash} and {range}: {without}");
        return if is_vital {
            CheckResult::fail(check, found, advice)
        } else {
            CheckResult::warn(check, found, advice)
        };
    }
    match table.table_status() {
        // A table can be used while it is updated.
        None | Some(TableStatus::Active | TableStatus::Updating) => {
            CheckResult::ok(check, format!("{resource}: correct keys and index"))
        }
        Some(status) => CheckResult::fail(
            check,
            format!("{resource} is {}", status.as_str()),
            "wait, or check it in the console",
        ),
    }
}

fn is_keyed(keys: &[KeySchemaElement], hash: &str, range: &str) -> bool {
    let is = |of: &KeyType, name| keys.iter().any(|key| key.key_type() == of && key.attribute_name() == name);
    keys.len() == 2 && is(&KeyType::Hash, hash) && is(&KeyType::Range, range)
}

async fn check_ttl(target: &Target, db: &aws_sdk_dynamodb::Client, resource: &ResourceRef) -> CheckResult {
    const CHECK: &str = "expiry of records";
    let result = db.describe_time_to_live().table_name(&resource.name).send().await;
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let fault = AwsError::from_sdk_error("dynamodb:DescribeTimeToLive", &error);
            return CheckResult::from_error(target, CHECK, &fault, resource);
        }
    };
    let description = answer.time_to_live_description();
    let attribute = description.and_then(TimeToLiveDescription::attribute_name);
    let is_on = description
        .and_then(TimeToLiveDescription::time_to_live_status)
        .is_some_and(|status| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    match attribute {
        Some("expires_at") if is_on => CheckResult::ok(CHECK, "TTL on expires_at"),
        _ if target.has_custom_endpoint() => CheckResult::skipped(CHECK, "no TTL at this endpoint"),
        // Only a warning: expiry is never a condition of a write.
        Some(_) | None => CheckResult::warn(
            CHECK,
            "TTL on expires_at is off: expired records are never deleted",
            "deploy template.yaml, or turn TTL on for expires_at",
        ),
    }
}

async fn check_backups(
    target: &Target,
    db: &aws_sdk_dynamodb::Client,
    resource: &ResourceRef,
) -> CheckResult {
    const CHECK: &str = "backups of the inbox";
    let result = db.describe_continuous_backups().table_name(&resource.name).send().await;
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let fault = AwsError::from_sdk_error("dynamodb:DescribeContinuousBackups", &error);
            return CheckResult::from_error(target, CHECK, &fault, resource);
        }
    };
    let recovery = answer
        .continuous_backups_description()
        .and_then(ContinuousBackupsDescription::point_in_time_recovery_description)
        .and_then(|description| description.point_in_time_recovery_status());
    match recovery {
        Some(PointInTimeRecoveryStatus::Enabled) => CheckResult::ok(CHECK, "point-in-time recovery is on"),
        _ if target.has_custom_endpoint() => CheckResult::skipped(CHECK, "no backups at this endpoint"),
        Some(_) | None => CheckResult::warn(
            CHECK,
            "point-in-time recovery is off: a record deleted by mistake is gone",
            "deploy template.yaml, or turn it on",
        ),
    }
}

/// Attributes of a queue.
struct QueueAttributes(HashMap<QueueAttributeName, String>);

impl QueueAttributes {
    async fn read(target: &Target, resource: &ResourceRef) -> Result<Self, AwsError> {
        let client = aws_sdk_sqs::Client::new(&target.sdk);
        let request =
            client.get_queue_attributes().queue_url(&resource.name).attribute_names(QueueAttributeName::All);
        let answer = request
            .send()
            .await
            .map_err(|error| AwsError::from_sdk_error("sqs:GetQueueAttributes", &error))?;
        Ok(Self(answer.attributes.unwrap_or_default()))
    }

    fn number(&self, name: &QueueAttributeName) -> u64 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn message_counts(&self) -> MessageCounts {
        MessageCounts {
            visible: self.number(&QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: self.number(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: self.number(&QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        }
    }

    fn check_retention(&self, check: &'static str, resource: &ResourceRef) -> Option<CheckResult> {
        let secs = self.number(&QueueAttributeName::MessageRetentionPeriod);
        (secs < QUEUE_RETENTION_DAYS * 86_400).then(|| {
            let found = format!("{resource} keeps a message {}", pluralize(secs / 86_400, "day", "days"));
            CheckResult::fail(
                check,
                found,
                format!("{QUEUE_RETENTION_DAYS} days are needed: a sent event is only on the queue"),
            )
        })
    }
}

/// Number of messages on a queue. Those in flight and delayed ones are still on it.
struct MessageCounts {
    visible: u64,
    in_flight: u64,
    delayed: u64,
}

impl MessageCounts {
    const fn total(&self) -> u64 {
        self.visible.saturating_add(self.in_flight).saturating_add(self.delayed)
    }

    fn text(&self) -> String {
        let mut text = pluralize(self.total(), "message", "messages");
        let hidden = [(self.in_flight, "received and not deleted yet"), (self.delayed, "delayed")];
        let hidden =
            hidden.into_iter().filter(|it| it.0 > 0).map(|(count, what)| format!("{count} of them {what}"));
        let hidden: Vec<_> = hidden.collect();
        if !hidden.is_empty() {
            text += &format!(" ({})", hidden.join(", "));
        }
        text
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    max_receive_count: serde_json::Value,
}

async fn check_queues(target: &Target) -> [CheckResult; 2] {
    const EVENTS: &str = "queue of events";
    const DEAD_LETTERS: &str = "dead-letter queue";
    // The redrive policy of one queue must name the other, so neither is checked without the other's name.
    let (events, dead_letter_queue) = match (target.events_queue().await, target.dead_letter_queue().await) {
        (Ok(events), Ok(dead)) => (events, dead),
        (events, dead) => {
            let named = |check, queue: anyhow::Result<ResourceRef>| match queue {
                Ok(queue) => CheckResult::skipped(check, format!("{queue}: see the other queue")),
                Err(why) => CheckResult::unresolved(check, &why),
            };
            return [named(EVENTS, events), named(DEAD_LETTERS, dead)];
        }
    };
    let of_events = match QueueAttributes::read(target, &events).await {
        Ok(queue) => check_events_queue(EVENTS, &queue, &events, &dead_letter_queue),
        Err(fault) => CheckResult::from_error(target, EVENTS, &fault, &events),
    };
    let of_dead = match QueueAttributes::read(target, &dead_letter_queue).await {
        Ok(queue) => queue
            .check_retention(DEAD_LETTERS, &dead_letter_queue)
            .unwrap_or_else(|| check_dead_letters(DEAD_LETTERS, &queue, &dead_letter_queue)),
        Err(fault) => CheckResult::from_error(target, DEAD_LETTERS, &fault, &dead_letter_queue),
    };
    [of_events, of_dead]
}

fn check_events_queue(
    check: &'static str,
    queue: &QueueAttributes,
    events: &ResourceRef,
    dead_letter_queue: &ResourceRef,
) -> CheckResult {
    if let Some(too_short) = queue.check_retention(check, events) {
        return too_short;
    }
    let visibility = queue.number(&QueueAttributeName::VisibilityTimeout);
    if visibility < VISIBILITY_SECS {
        let found = format!("{events} hides a received message for {visibility} s only");
        return CheckResult::fail(
            check,
            found,
            format!(
                "{VISIBILITY_SECS} s are needed, or a message is received again while the worker processes it"
            ),
        );
    }
    let policy = queue.0.get(&QueueAttributeName::RedrivePolicy);
    let Some(policy) = policy.and_then(|json| serde_json::from_str::<RedrivePolicy>(json).ok()) else {
        let found = format!(
            "{events} has no redrive policy: a message that cannot be processed is received again for ever"
        );
        return CheckResult::fail(
            check,
            found,
            format!("set a redrive policy to {dead_letter_queue} after {MAX_RECEIVE_COUNT_MIN} receives"),
        );
    };
    let name = dead_letter_queue.name.rsplit('/').next().unwrap_or_default();
    if policy.dead_letter_target_arn.rsplit(':').next() != Some(name) {
        let found = format!("dead letters of {events} go to another queue than {dead_letter_queue}");
        return CheckResult::warn(check, found, "name that queue with --dead-letter-queue-url");
    }
    // SQS accepts a number and a string, and returns it in the form in which it was set.
    let receives = policy.max_receive_count.to_string().trim_matches('"').parse().unwrap_or(0);
    if receives < MAX_RECEIVE_COUNT_MIN {
        let receives = pluralize(receives, "receive", "receives");
        let found = format!("a message of {events} is a dead letter after {receives}");
        return CheckResult::warn(
            check,
            found,
            format!(
                "set maxReceiveCount to {MAX_RECEIVE_COUNT_MIN} or more: a short outage would move messages to the dead-letter queue"
            ),
        );
    }
    CheckResult::ok(check, format!("{events}: correct settings; {}", queue.message_counts().text()))
}

fn check_dead_letters(
    check: &'static str,
    queue: &QueueAttributes,
    dead_letter_queue: &ResourceRef,
) -> CheckResult {
    let messages = queue.message_counts();
    match messages.total() {
        0 => CheckResult::ok(check, format!("{dead_letter_queue} is empty")),
        _ => CheckResult::fail(
            check,
            format!("{dead_letter_queue}: {}; not processed", messages.text()),
            "`inboxctl dead-letters list` shows them; after a fix, `inboxctl dead-letters redrive --by NAME --why '…'` moves them back",
        ),
    }
}

async fn check_bus(target: &Target, resource: &ResourceRef) -> CheckResult {
    let client = aws_sdk_eventbridge::Client::new(&target.sdk);
    match client.describe_event_bus().name(&resource.name).send().await {
        Ok(_) => CheckResult::ok(BUS, format!("{resource} exists")),
        Err(error) => CheckResult::from_error(
            target,
            BUS,
            &AwsError::from_sdk_error("events:DescribeEventBus", &error),
            resource,
        ),
    }
}
