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

use inbox_core::expiry::open_events_expiry;
use inbox_core::limits::UNTRACKED_OPEN_MAX;
use inbox_core::table_keys::short_hash;
use inbox_core::time::UnixMillis;

use super::{ClaimedEvent, Processing};
use crate::AwsError;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::FORMAT_VERSION;

impl Processing {
    /// Counts a claimed event among the open ones of its subject and day. Returns `false` if there are
    /// [`UNTRACKED_OPEN_MAX`] others. An event that came by no URL is not limited.
    pub async fn acquire_untracked_slot(
        &self,
        event: &ClaimedEvent,
        now: UnixMillis,
    ) -> Result<bool, AwsError> {
        let Some(key) = open_events_key(event) else { return Ok(true) };
        // Set before the write: if its response is lost, the event may be counted.
        event.set_may_hold_slot(true);
        let tag = event_tag(event);
        let has_room = Attribute::OpenEvents
            .is_missing()
            .or(Attribute::OpenEvents.has_fewer_than(UNTRACKED_OPEN_MAX))
            // An event that has a slot already keeps it, even if all are taken.
            .or(Attribute::OpenEvents.contains(&tag));
        let update = Update::without_rev(key)
            .only_if(has_room)
            .set(Attribute::V, &FORMAT_VERSION)
            .set(Attribute::ExpiresAt, &open_events_expiry(now))
            .add_tag(Attribute::OpenEvents, &tag);
        let is_acquired = self.table.update_if(update).await? == WriteOutcome::Applied;
        event.set_may_hold_slot(is_acquired);
        Ok(is_acquired)
    }

    /// Removes an event that has ended from the open ones, if it may be counted.
    pub async fn release_untracked_slot(&self, event: &ClaimedEvent) -> Result<(), AwsError> {
        let Some(key) = open_events_key(event).filter(|_| event.may_hold_slot()) else { return Ok(()) };
        let tag = event_tag(event);
        let update = Update::without_rev(key)
            .only_if(Attribute::OpenEvents.contains(&tag))
            .delete_tag(Attribute::OpenEvents, &tag);
        self.table.update_if(update).await.map(drop)
    }
}

fn open_events_key(event: &ClaimedEvent) -> Option<Key> {
    // Not the present day: a later attempt must find the tag of an earlier one.
    Some(Key::open_events(event.subject.as_ref()?, event.processing_since()))
}

fn event_tag(event: &ClaimedEvent) -> String {
    short_hash(&event.key.event_id())
}
