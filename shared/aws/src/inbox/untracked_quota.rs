//! The limit of open events per subject and day whose batches are not tracked: a caller with a webhook URL can make up any
//! number of batches.
//!
//! ```text
//!  worker    claim event ── add its tag if there is room ── ask ── not yet: due again, the tag stays
//!                             └ no room: to quarantine             └ done, or to quarantine ── remove its tag
//! ```
//!
//! The item holds a set of tags and no counter: after a crash the tag is found again, and adding it again changes nothing.
//! The tag is removed last, so that no call that can fail is between an effect and `done`, and a published event is never
//! turned away when its message comes again. A crash between the two, or a lost claim, leaves a tag without an event: it
//! takes up one place of its day. Each day has its own item, so such a tag goes with its day, however busy the subject is;
//! the item expires two days after the last tag was added.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::expiry::open_events_expiry;
use inbox_core::limits::UNTRACKED_OPEN_MAX;
use inbox_core::table_keys::{open_events_sk, short_hash, subject_pk};
use inbox_core::time::UnixMillis;

use super::{ClaimedEvent, Inbox};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, Item, number, text};

const UPDATE: &str = "dynamodb:UpdateItem";

impl Inbox {
    /// Counts a claimed event among the open ones of its subject and day. Returns `false` if there are
    /// [`UNTRACKED_OPEN_MAX`] others. An event that came by no URL is not limited.
    pub async fn acquire_untracked_slot(
        &self,
        event: &ClaimedEvent,
        now: UnixMillis,
    ) -> Result<bool, AwsError> {
        let Some(key) = quota_key(event) else { return Ok(true) };
        // Set before the write: if its response is lost, the event may be counted.
        event.set_may_hold_slot(true);
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression("SET expires_at = :at ADD open_events :tags")
            .condition_expression(
                // An event that has a slot already keeps it, even if all are taken.
                "attribute_not_exists(open_events) OR size(open_events) < :most OR contains(open_events, :tag)",
            )
            .expression_attribute_values(":at", number(open_events_expiry(now).0))
            .expression_attribute_values(":most", number(UNTRACKED_OPEN_MAX))
            .expression_attribute_values(":tag", text(event_tag(event)))
            .expression_attribute_values(":tags", AttributeValue::Ss(vec![event_tag(event)]));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failed(&error) => {
                event.set_may_hold_slot(false);
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk_error(UPDATE, &error)),
        }
    }

    /// Removes an event that has ended from the open ones, if it may be counted.
    pub async fn release_untracked_slot(&self, event: &ClaimedEvent) -> Result<(), AwsError> {
        let Some(key) = quota_key(event).filter(|_| event.may_hold_slot()) else { return Ok(()) };
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression("DELETE open_events :tags")
            .condition_expression("contains(open_events, :tag)")
            .expression_attribute_values(":tag", text(event_tag(event)))
            .expression_attribute_values(":tags", AttributeValue::Ss(vec![event_tag(event)]));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) => Ok(()),
            Err(error) => Err(AwsError::from_sdk_error(UPDATE, &error)),
        }
    }
}

fn quota_key(event: &ClaimedEvent) -> Option<Item> {
    // Not the present day: a later attempt must find the tag of an earlier one.
    Some(item::key(&subject_pk(event.subject()?), &open_events_sk(event.processing_since)))
}

fn event_tag(event: &ClaimedEvent) -> String {
    short_hash(&event.key().event_id())
}
