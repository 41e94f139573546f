//! Claims on alerts: the item `effect#alert#<authorizer>` of a batch.
//!
//! ```text
//!  worker    claim if no other event has a live claim, and not published as this replay of this event
//!              ── publish ── mark: published_at, published_by + tag, claim dropped
//! ```
//!
//! Several events may name the same authorizer: a redelivery under another uuid, or a webhook that comes after the poll.
//! The first one publishes. Each replay publishes once more, so the item remembers every replay that did, as a tag in the
//! set `published_by`: if it recorded only the last one, two replayed events could take turns for ever. The events of one
//! bulk replay share a tag.
//!
//! The key holds the authorizer, so erasing a person deletes the item. Before that, `effect#erased#<hash>` is written in its place:
//!
//! ```text
//!  operator  put effect#erased#… ── delete effect#alert#… if not claimed
//!  worker    claim ── effect#erased#… is there: published before
//! ```
//!
//! The worker looks after its claim. So a claim that finds the item deleted also finds what was written before.

use std::fmt;

use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::expiry::parts_expiry;
use inbox_core::id::Id;
use inbox_core::limits::ALERT_PUBLISHERS_MAX;
use inbox_core::rightfoot_api::Amount;
use inbox_core::time::UnixMillis;

use super::{ClaimedEvent, Processing, claim_expiry};
use crate::AwsError;
use crate::items::AlertEffectItem;
use crate::table::attribute::Attribute;
use crate::table::expression::Condition;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::FORMAT_VERSION;
use crate::table::{UPDATE, WriteOutcome, Written};

/// Outcome of claiming the alert of one authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertClaim {
    /// This event may publish the alert.
    Acquired(AcquiredAlert),
    /// The alert was published: by any event, or, for a replayed event, by this replay.
    Published {
        /// The threshold of its last publication; `None` if a worker that had lost its claim published it, or its authorizer
        /// was erased.
        threshold: Option<Amount>,
    },
    /// The worker of another event is about to publish it.
    HeldByOther,
    /// It was published [`ALERT_PUBLISHERS_MAX`] times: another replay could not be recorded, so none may
    /// publish.
    ReplayLimitReached,
}

/// An alert that this event has claimed and may publish.
#[derive(Clone, PartialEq, Eq)]
pub struct AcquiredAlert {
    authorizer: Id,
    threshold: Amount,
    threshold_source: ThresholdSource,
}

/// Shows no field: they are personal data (P8).
impl fmt::Debug for AcquiredAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcquiredAlert")
    }
}

impl Processing {
    /// Claims the alert of one authorizer in one batch for this event.
    pub async fn claim_alert(
        &self,
        event: &ClaimedEvent,
        crossing: &ThresholdCrossing,
        now: UnixMillis,
    ) -> Result<AlertClaim, AwsError> {
        let until = claim_expiry(now);
        let update = Update::without_rev(alert_key(event, &crossing.authorizer)?)
            .only_if(is_not_taken(event, until, now))
            .only_if(is_not_published(event))
            .set(Attribute::V, &FORMAT_VERSION)
            .set(Attribute::ClaimBy, &event.claim_id)
            .set(Attribute::ClaimEvent, &event.key.event_id())
            .set(Attribute::ClaimUntil, &until)
            // The item must outlive every event that may name it again, also one that an operator takes out of
            // quarantine.
            .set(Attribute::ExpiresAt, &parts_expiry(now, self.table.retention_days));
        Ok(match self.table.update(update).await? {
            Written::Applied if self.was_erased(event, &crossing.authorizer).await? => {
                AlertClaim::Published { threshold: None }
            }
            Written::Applied => AlertClaim::Acquired(AcquiredAlert {
                authorizer: crossing.authorizer.clone(),
                threshold: crossing.threshold,
                threshold_source: crossing.threshold_source,
            }),
            Written::ConditionFailed(existing) => {
                let existing = existing.as_ref().and_then(AlertEffectItem::from_item);
                // If no item came back, nothing is known, so the event must wait.
                existing.map_or(AlertClaim::HeldByOther, |item| claim_failure(&item, event))
            }
        })
    }

    /// Returns `true` if the alert was published before its authorizer was erased. One strongly consistent read.
    async fn was_erased(&self, event: &ClaimedEvent, authorizer: &Id) -> Result<bool, AwsError> {
        let batch_id = event.key.batch_id().ok_or(AwsError::unreadable_item(UPDATE))?;
        Ok(self.table.get(&Key::erased_alert(batch_id, authorizer)).await?.is_some())
    }

    /// Records that an alert is on the bus, and by which threshold. It is recorded even if the claim was lost
    /// meanwhile: other workers must know that it was published.
    pub async fn mark_alert_published(
        &self,
        event: &ClaimedEvent,
        acquired: &AcquiredAlert,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let key = alert_key(event, &acquired.authorizer)?;
        let marked = Update::at_claim(key.clone(), &event.claim_id)
            .set(Attribute::PublishedAt, &now)
            .set(Attribute::EventId, &event.key.event_id())
            .set(Attribute::Replay, &event.replay)
            .set(Attribute::Threshold, &acquired.threshold)
            .set(Attribute::ThresholdSource, acquired.threshold_source.as_str())
            .drop_claim()
            .remove(&[Attribute::ClaimEvent])
            .add_tag(Attribute::PublishedBy, &event.publisher_tag());
        if self.table.update_if(marked).await? == WriteOutcome::Applied {
            return Ok(());
        }
        // The claim was lost: only add to what another worker has recorded.
        let recorded = Update::without_rev(key)
            // The update must not create the item again after its expiry: then every event that could name it has
            // expired, too.
            .only_if(Attribute::Pk.exists())
            .set_first(Attribute::PublishedAt, Attribute::PublishedAt, &now)
            .add_tag(Attribute::PublishedBy, &event.publisher_tag());
        self.table.update_if(recorded).await.map(drop)
    }
}

/// No other event has a live claim. A worker that holds the claim on an event is alone with it, so an earlier
/// alert claim of the same event is void.
fn is_not_taken(event: &ClaimedEvent, until: UnixMillis, now: UnixMillis) -> Condition {
    // A request that arrives late is recognised by its time: it must not replace a younger claim.
    let is_earlier_of_this_event =
        Attribute::ClaimEvent.equals(&event.key.event_id()).and(Attribute::ClaimUntil.is_at_most(&until));
    Attribute::ClaimBy
        .is_missing()
        .or(Attribute::ClaimUntil.is_below(&now))
        .or(Attribute::ClaimBy.equals(&event.claim_id))
        .or(is_earlier_of_this_event)
}

/// An event that was not replayed publishes only an alert that was never published. A replay publishes unless it has already,
/// or there is no room for its tag.
fn is_not_published(event: &ClaimedEvent) -> Condition {
    if event.replay == 0 {
        return Attribute::PublishedAt.is_missing();
    }
    let has_room =
        Attribute::PublishedBy.is_missing().or(Attribute::PublishedBy.has_fewer_than(ALERT_PUBLISHERS_MAX));
    Attribute::PublishedBy.contains(&event.publisher_tag()).negated().and(has_room)
}

fn alert_key(event: &ClaimedEvent, authorizer: &Id) -> Result<Key, AwsError> {
    let batch_id = event.key.batch_id().ok_or(AwsError::unreadable_item(UPDATE))?;
    Ok(Key::alert_effect(batch_id, authorizer))
}

/// Classifies a failed claim.
fn claim_failure(item: &AlertEffectItem, event: &ClaimedEvent) -> AlertClaim {
    let has_published = match event.replay {
        0 => item.published_at.is_some(),
        _ => item.published_by.contains(&event.publisher_tag()),
    };
    // This counts first, even beside a claim: a replay that could not publish leaves its claim behind.
    if has_published {
        AlertClaim::Published { threshold: item.threshold }
    } else if item.published_by.len() >= ALERT_PUBLISHERS_MAX {
        AlertClaim::ReplayLimitReached
    } else {
        AlertClaim::HeldByOther
    }
}
