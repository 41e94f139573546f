//! Whether tables, queues and bus are there, with the settings that the promises need.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    ContinuousBackupsDescription, KeySchemaElement, KeyType, PointInTimeRecoveryStatus, TableDescription,
    TableStatus, TimeToLiveDescription, TimeToLiveStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use inbox_aws::AwsError;
use inbox_core::limits::{QUEUE_RETENTION_DAYS, VISIBILITY_SECS};
use serde::Deserialize;

use super::Check;
use crate::place::{Place, Thing};
use crate::view::counted;

const BALANCES: &str = "table of balances";
const BUS: &str = "event bus";
const DESCRIBE_TABLE: &str = "dynamodb:DescribeTable";
/// Receives after which a message is dead: fewer, and a short outage kills it.
const RECEIVES_MIN: u64 = 5;

pub(super) async fn checks(at: &Place, has_worker: bool) -> anyhow::Result<Vec<Check>> {
    let db = aws_sdk_dynamodb::Client::new(&at.sdk);
    let inbox = at.table()?;
    let mut checks = vec![
        table(at, &db, "table of the inbox", &inbox, true).await,
        expiry(at, &db, &inbox).await,
        backups(at, &db, &inbox).await,
    ];
    checks.extend(queues(at).await);
    checks.push(match (has_worker, at.balances_table()) {
        (false, _) => Check::skipped(BALANCES, "there is no worker"),
        (true, Ok(thing)) => table(at, &db, BALANCES, &thing, false).await,
        (true, Err(why)) => Check::unnamed(BALANCES, &why),
    });
    checks.push(match (has_worker, at.bus()) {
        (false, _) => Check::skipped(BUS, "there is no worker"),
        (true, Ok(thing)) => bus(at, &thing).await,
        (true, Err(why)) => Check::unnamed(BUS, &why),
    });
    Ok(checks)
}

async fn table(
    at: &Place,
    db: &aws_sdk_dynamodb::Client,
    check: &'static str,
    thing: &Thing,
    has_index: bool,
) -> Check {
    match db.describe_table().table_name(&thing.name).send().await {
        Ok(answer) => match answer.table() {
            Some(table) => judge_table(check, thing, table, has_index),
            None => Check::fail(check, format!("{thing} is not described"), "look at it in the console"),
        },
        Err(error) => Check::unanswered(at, check, &AwsError::from_sdk_error(DESCRIBE_TABLE, &error), thing),
    }
}

fn judge_table(check: &'static str, thing: &Thing, table: &TableDescription, has_index: bool) -> Check {
    let as_template = "deploy template.yaml: it makes the table as the functions need it";
    if !is_keyed(table.key_schema(), "pk", "sk") {
        return Check::fail(check, format!("{thing} is not keyed by pk and sk"), as_template);
    }
    let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some("due"));
    if has_index && !index.is_some_and(|index| is_keyed(index.key_schema(), "due", "due_at")) {
        let found =
            format!("{thing} has no index `due` over due and due_at: nothing that is due is ever found");
        return Check::fail(check, found, as_template);
    }
    match table.table_status() {
        None | Some(TableStatus::Active | TableStatus::Updating) => Check::ok(
            check,
            format!("{thing}: keys{} as they should be", if has_index { " and index" } else { "" }),
        ),
        Some(status) => Check::fail(
            check,
            format!("{thing} is {}", status.as_str()),
            "wait, or look at it in the console",
        ),
    }
}

fn is_keyed(keys: &[KeySchemaElement], hash: &str, range: &str) -> bool {
    let is = |of: &KeyType, name| keys.iter().any(|key| key.key_type() == of && key.attribute_name() == name);
    keys.len() == 2 && is(&KeyType::Hash, hash) && is(&KeyType::Range, range)
}

async fn expiry(at: &Place, db: &aws_sdk_dynamodb::Client, thing: &Thing) -> Check {
    const CHECK: &str = "expiry of records";
    let asked = db.describe_time_to_live().table_name(&thing.name).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            let fault = AwsError::from_sdk_error("dynamodb:DescribeTimeToLive", &error);
            return Check::unanswered(at, CHECK, &fault, thing);
        }
    };
    let told = answer.time_to_live_description();
    let attribute = told.and_then(TimeToLiveDescription::attribute_name);
    let is_on = told
        .and_then(TimeToLiveDescription::time_to_live_status)
        .is_some_and(|status| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    match attribute {
        Some("expires_at") if is_on => Check::ok(CHECK, "TTL on expires_at"),
        _ if at.is_own_endpoint() => Check::skipped(CHECK, "no TTL at this endpoint"),
        Some(_) | None => Check::warn(
            CHECK,
            "TTL on expires_at is off: the table only grows",
            "deploy template.yaml, or turn TTL on for expires_at",
        ),
    }
}

async fn backups(at: &Place, db: &aws_sdk_dynamodb::Client, thing: &Thing) -> Check {
    const CHECK: &str = "backups of the inbox";
    let asked = db.describe_continuous_backups().table_name(&thing.name).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            let fault = AwsError::from_sdk_error("dynamodb:DescribeContinuousBackups", &error);
            return Check::unanswered(at, CHECK, &fault, thing);
        }
    };
    let recovery = answer
        .continuous_backups_description()
        .and_then(ContinuousBackupsDescription::point_in_time_recovery_description)
        .and_then(|told| told.point_in_time_recovery_status());
    match recovery {
        Some(PointInTimeRecoveryStatus::Enabled) => Check::ok(CHECK, "point-in-time recovery is on"),
        _ if at.is_own_endpoint() => Check::skipped(CHECK, "no backups at this endpoint"),
        Some(_) | None => Check::warn(
            CHECK,
            "point-in-time recovery is off: a record deleted by mistake is gone",
            "deploy template.yaml, or turn it on",
        ),
    }
}

/// The attributes of a queue that promises rest on.
struct Queue(HashMap<QueueAttributeName, String>);

impl Queue {
    async fn read(at: &Place, thing: &Thing) -> Result<Self, AwsError> {
        let client = aws_sdk_sqs::Client::new(&at.sdk);
        let asked =
            client.get_queue_attributes().queue_url(&thing.name).attribute_names(QueueAttributeName::All);
        let answer = asked.send().await.map_err(|error| AwsError::from_sdk_error("sqs:GetQueueAttributes", &error))?;
        Ok(Self(answer.attributes.unwrap_or_default()))
    }

    fn number(&self, name: &QueueAttributeName) -> u64 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn messages(&self) -> Messages {
        Messages {
            visible: self.number(&QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: self.number(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: self.number(&QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        }
    }

    fn retention(&self, check: &'static str, thing: &Thing) -> Option<Check> {
        let secs = self.number(&QueueAttributeName::MessageRetentionPeriod);
        (secs < QUEUE_RETENTION_DAYS * 86_400).then(|| {
            let found = format!("{thing} keeps a message {}", counted(secs / 86_400, "day", "days"));
            Check::fail(
                check,
                found,
                format!("{QUEUE_RETENTION_DAYS} days are needed: a sent event is nowhere else due"),
            )
        })
    }
}

/// How many messages a queue holds. Of those that somebody has received, or that are delayed, each is there, too.
struct Messages {
    visible: u64,
    in_flight: u64,
    delayed: u64,
}

impl Messages {
    const fn all(&self) -> u64 {
        self.visible.saturating_add(self.in_flight).saturating_add(self.delayed)
    }

    fn text(&self) -> String {
        let mut text = counted(self.all(), "message", "messages");
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

async fn queues(at: &Place) -> [Check; 2] {
    const EVENTS: &str = "queue of events";
    const DEAD: &str = "dead-letter queue";
    let (events, dead) = match (at.queue().await, at.dead_queue().await) {
        (Ok(events), Ok(dead)) => (events, dead),
        (events, dead) => {
            let named = |check, queue: anyhow::Result<Thing>| match queue {
                Ok(queue) => Check::skipped(check, format!("{queue}: see the other queue")),
                Err(why) => Check::unnamed(check, &why),
            };
            return [named(EVENTS, events), named(DEAD, dead)];
        }
    };
    let of_events = match Queue::read(at, &events).await {
        Ok(queue) => judge_events(EVENTS, &queue, &events, &dead),
        Err(fault) => Check::unanswered(at, EVENTS, &fault, &events),
    };
    let of_dead = match Queue::read(at, &dead).await {
        Ok(queue) => queue.retention(DEAD, &dead).unwrap_or_else(|| letters(DEAD, &queue, &dead)),
        Err(fault) => Check::unanswered(at, DEAD, &fault, &dead),
    };
    [of_events, of_dead]
}

fn judge_events(check: &'static str, queue: &Queue, events: &Thing, dead: &Thing) -> Check {
    if let Some(too_short) = queue.retention(check, events) {
        return too_short;
    }
    let visibility = queue.number(&QueueAttributeName::VisibilityTimeout);
    if visibility < VISIBILITY_SECS {
        let found = format!("{events} hides a received message for {visibility} s only");
        return Check::fail(
            check,
            found,
            format!("{VISIBILITY_SECS} s are needed, or a message comes back while the worker is at it"),
        );
    }
    let policy = queue.0.get(&QueueAttributeName::RedrivePolicy);
    let Some(policy) = policy.and_then(|json| serde_json::from_str::<RedrivePolicy>(json).ok()) else {
        let found =
            format!("{events} has no redrive policy: a message that nobody can process comes back for ever");
        return Check::fail(
            check,
            found,
            format!("have messages go to {dead} after {RECEIVES_MIN} receives"),
        );
    };
    let name = dead.name.rsplit('/').next().unwrap_or_default();
    if policy.dead_letter_target_arn.rsplit(':').next() != Some(name) {
        let found = format!("dead messages of {events} go elsewhere than to {dead}");
        return Check::warn(check, found, "name that queue with --dead-queue-url");
    }
    // A number, or a number in quotes: SQS takes both, and gives back what it took.
    let receives = policy.max_receive_count.to_string().trim_matches('"').parse().unwrap_or(0);
    if receives < RECEIVES_MIN {
        let receives = counted(receives, "receive", "receives");
        let found = format!("a message of {events} is dead after {receives}");
        return Check::warn(
            check,
            found,
            format!("set maxReceiveCount to {RECEIVES_MIN} or more: a short outage kills messages"),
        );
    }
    Check::ok(check, format!("{events}: settings as they should be; {}", queue.messages().text()))
}

fn letters(check: &'static str, queue: &Queue, dead: &Thing) -> Check {
    let messages = queue.messages();
    match messages.all() {
        0 => Check::ok(check, format!("{dead} is empty")),
        _ => Check::fail(
            check,
            format!("{dead}: {}; their effects have not happened", messages.text()),
            "`inboxctl dead list` shows them; after a fix, `inboxctl dead redrive --by NAME --why '…'` moves them back",
        ),
    }
}

async fn bus(at: &Place, thing: &Thing) -> Check {
    let client = aws_sdk_eventbridge::Client::new(&at.sdk);
    match client.describe_event_bus().name(&thing.name).send().await {
        Ok(_) => Check::ok(BUS, format!("{thing} is there")),
        Err(error) => Check::unanswered(at, BUS, &AwsError::from_sdk_error("events:DescribeEventBus", &error), thing),
    }
}
