//! An operator's side of the tests: items that older versions or workers would have left, and replays.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::AwsError;
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::quarantine_replay::QuarantineReplayer;
use inbox_aws::queue::EventsQueue;
use inbox_aws::stores::{Erasure, FoundPersonalData, PersonalData, PersonalDataKind, Stores, Table, WhyLeft};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::event::{EventKey, payload_hash};
use inbox_core::expiry::record_expiry;
use inbox_core::id::Id;
use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::quarantine::QuarantineId;
use local::stack::{BALANCES_TABLE, INBOX_TABLE};

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

    /// Finds and erases what is stored of a person, through this process's AWS connector.
    pub fn personal_data(&self) -> PersonalData {
        let db = self.stack.unrestricted_clients().dynamodb;
        PersonalData::new(db, INBOX_TABLE, BALANCES_TABLE, RETENTION_MIN_DAYS)
    }

    /// Finds everything that is stored of a person in both tables, as `inboxctl person show` does.
    pub async fn find_person(&self, person: &str) -> Result<FoundPersonalData, AwsError> {
        let (store, person) = (self.personal_data(), Id::new(person).expect("an id"));
        // On the heap: with the SDK's calls inside, the futures are too large to be moved about.
        let mut found = Box::pin(store.find_in_inbox(&person, self.now(), |_| {})).await?;
        Box::pin(store.add_balances(&person, &mut found)).await?;
        Ok(found)
    }

    /// Erases everything that is found of a person, as `inboxctl person erase` does. Returns what is left.
    pub async fn erase_person(&self, person: &str) -> Result<Vec<(PersonalDataKind, WhyLeft)>, AwsError> {
        let (store, id) = (self.personal_data(), Id::new(person).expect("an id"));
        let mut found = self.find_person(person).await?;
        let entry = test_operator().audit_entry(OperatorAction::Erase, self.now());
        Box::pin(store.record_erasure(&found, &entry)).await?;
        let mut left = Vec::new();
        for at in 0..found.items.len() {
            let kind = found.items[at].kind;
            let erasure = Box::pin(store.erase(&id, &mut found, at, self.now())).await?;
            if let Erasure::Left(why) = erasure {
                left.push((kind, why));
            }
        }
        Ok(left)
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
