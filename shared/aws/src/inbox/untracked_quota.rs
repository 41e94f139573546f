//! How many events are open that came by the URL of one subject and whose batches nobody tracks: whoever holds a URL can
//! make up any number of them.
//!
//! ```text
//!  worker    claim event ── add its tag if there is room ── ask ── not yet: due again, the tag stays
//!                             └ no room: to quarantine             └ done, or to quarantine ── take its tag out
//! ```
//!
//! It is a set of tags and no counter: who died after adding one finds it there, and adding it again changes nothing. The
//! tag goes out last, so that no call that can fail stands between an effect and `done`, and an event that was published is
//! never turned away when its message comes again. Who dies between the two, or is later than its claim, leaves a tag that
//! stands for nobody: it takes up one place of its day. Each day has an item of its own, so that such a tag is gone with
//! the day, however busy the subject is; the item expires two days after something was last added to it.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::inbox::{open_events_expiry, open_events_sk, short_hash, subject_pk};
use inbox_core::limits::UNTRACKED_OPEN_MAX;
use inbox_core::time::UnixMillis;

use super::{ClaimedEvent, Inbox};
use crate::AwsError;
use crate::conditional::condition_failed;
use crate::item::{self, Item, number, text};

const UPDATE: &str = "dynamodb:UpdateItem";

impl Inbox {
    /// Counts a claimed event among the open ones of its subject and day. Says whether it is counted: if not, there are
    /// [`UNTRACKED_OPEN_MAX`] others. An event that came by no URL is not bounded.
    pub async fn acquire_untracked_slot(
        &self,
        event: &ClaimedEvent,
        now: UnixMillis,
    ) -> Result<bool, AwsError> {
        let Some(key) = quota_key(event) else { return Ok(true) };
        // Also where the answer is lost: then it may be counted.
        event.set_may_hold_slot(true);
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression("SET expires_at = :at ADD open_events :tags")
            .condition_expression(
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

    /// Counts an event that has ended as open no longer, if it may be counted.
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
    Some(item::key(&subject_pk(event.subject()?), &open_events_sk(event.processing_since)))
}

fn event_tag(event: &ClaimedEvent) -> String {
    short_hash(&event.key().event_id())
}
