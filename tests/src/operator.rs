//! An operator's side of the tests: items that older versions or workers would have left, and replays.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::quarantine_replay::QuarantineReplayer;
use inbox_aws::queue::EventsQueue;
use inbox_aws::stores::{Stores, Table};
use inbox_core::audit::Operator;
use inbox_core::event::{EventKey, payload_hash};
use inbox_core::expiry::record_expiry;
use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::quarantine::QuarantineId;
use local::stack::INBOX_TABLE;

use crate::{World, text};

impl World {
    /// Quarantines a body that the present code can parse, as older code that could not would have left it. It
    /// replaces the quarantined delivery of `original`, with all its other attributes.
    pub async fn quarantine_as_older_version(&self, original: &str, body: &str) -> QuarantineId {
        let hash = payload_hash(original.as_bytes());
        let quarantined = self.items().await.into_iter().find(|item| text(item, "payload_hash") == hash);
        let mut item = quarantined.expect("it was just kept");
        let delete = self.stack.inspector.dynamodb.delete_item().table_name(INBOX_TABLE);
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
        let pk = text(&item, "pk").replace(&hash, &payload_hash(body.as_bytes()));
        let id = QuarantineId::from_pk(&pk).expect("an item of quarantine");
        item.insert("payload".to_owned(), AttributeValue::B(Blob::new(body)));
        item.insert("payload_bytes".to_owned(), AttributeValue::N(body.len().to_string()));
        item.insert("payload_hash".to_owned(), AttributeValue::S(payload_hash(body.as_bytes())));
        item.insert("pk".to_owned(), AttributeValue::S(pk));
        self.put_item(item).await;
        id
    }

    /// Marks an event done, with the attributes that a worker would write.
    pub async fn mark_done(&self, event_id: &str) {
        let key = EventKey::from_event_id(event_id).expect("an event's id");
        let mut item = self.item(&key.pk(), &key.sk()).await.expect("it is recorded");
        let number = |value: i64| AttributeValue::N(value.to_string());
        for name in ["due", "due_at"] {
            item.remove(name);
        }
        item.insert("done_at".to_owned(), number(self.now().0));
        let expires_at = record_expiry(self.now(), RETENTION_MIN_DAYS);
        item.insert("expires_at".to_owned(), number(expires_at.0));
        self.put_item(item).await;
    }

    /// The stores, through this process's AWS connector.
    pub fn stores(&self) -> Stores {
        let db = self.stack.unrestricted_clients().dynamodb;
        Stores::new(Table::new(db, INBOX_TABLE, RETENTION_MIN_DAYS))
    }

    /// The quarantine's replayer, through this process's AWS connector.
    pub fn replayer(&self) -> QuarantineReplayer {
        let queue = EventsQueue::new(self.stack.unrestricted_clients().sqs, &self.stack.events_queue_url);
        let Stores { events, operator, .. } = self.stores();
        QuarantineReplayer::new(operator, EventRecorder::new(events, queue, self.stack.clock.clone()))
    }
}

/// An operator with a name and a reason.
pub fn test_operator() -> Operator {
    Operator { name: "ada".to_owned(), reason: "fixed in 1.4".to_owned() }
}
