//! Claims on alerts: the item `effect#alert#<authorizer>` of a batch.
//!
//! ```text
//!  worker    claim if no other event has a live claim, and not published as this replay of this event
//!              ── publish ── mark: published_at, published_by + tag, claim dropped
//! ```
//!
//! Several events may name the same authorizer: a redelivery under another uuid, or a webhook that comes after the poll.
//! The first one publishes. Each replay publishes once more, so the item remembers every replay that did, as a tag in the
//! set `published_by`: if it recorded only the last one, two replayed events could take turns for ever.

use std::fmt;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::effect::publisher_tag;
use inbox_core::expiry::parts_expiry;
use inbox_core::id::Id;
use inbox_core::limits::ALERT_PUBLISHERS_MAX;
use inbox_core::rightfoot_api::Amount;
use inbox_core::table_keys::batch_pk;
use inbox_core::time::UnixMillis;

use super::Inbox;
use super::processing::{ClaimedEvent, UPDATE, claim_expiry};
use super::tracking::ALERT_EFFECT_SK_PREFIX;
use crate::AwsError;
use crate::conditional::{condition_failed, existing_item};
use crate::item::{self, Item, number, text};

/// No other event has a live claim. A worker that holds the claim on an event is alone with it, so an earlier
/// alert claim of the same event is void. A request that arrives late is recognised by its time: it must not
/// replace a younger claim.
const NOT_TAKEN: &str = "(attribute_not_exists(claim_by) OR claim_until < :now OR claim_by = :mine \
     OR (claim_event = :event AND claim_until <= :until))";
/// An event that was not replayed publishes only an alert that was never published.
const NOT_PUBLISHED: &str = "attribute_not_exists(published_at)";
/// A replay publishes unless it has already. An item of the first version is migrated before: see
/// [`is_v1_alert_item`].
const NOT_PUBLISHED_BY_REPLAY: &str = "NOT contains(published_by, :tag) \
     AND (attribute_not_exists(published_by) OR size(published_by) < :most) \
     AND (attribute_exists(published_by) OR attribute_not_exists(event_id))";

/// Outcome of claiming the alert of one authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertClaim {
    /// This event may publish the alert.
    Acquired(AcquiredAlert),
    /// The alert was published: by any event, or, for a replayed event, by this replay.
    Published {
        /// The threshold of its last publication; `None` if an earlier version published it.
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

impl Inbox {
    /// Claims the alert of one authorizer in one batch for this event.
    pub async fn claim_alert(
        &self,
        event: &ClaimedEvent,
        crossing: &ThresholdCrossing,
        now: UnixMillis,
    ) -> Result<AlertClaim, AwsError> {
        let mut claimed = self.try_claim_alert(event, crossing, now).await?;
        // Only a replay needs the set of publishers.
        if let Err(Some(item)) = &claimed
            && event.replay() > 0
            && is_v1_alert_item(item)
            && !is_held(item, now)
        {
            self.migrate_alert_item(event, &crossing.authorizer, item).await?;
            claimed = self.try_claim_alert(event, crossing, now).await?;
        }
        Ok(match claimed {
            Ok(acquired) => AlertClaim::Acquired(acquired),
            // If no item came back, nothing is known, so the event must wait.
            Err(existing) => existing.map_or(AlertClaim::HeldByOther, |item| claim_failure(&item, event)),
        })
    }

    /// Tries to claim once. The error is the existing item, as far as DynamoDB returned it.
    async fn try_claim_alert(
        &self,
        event: &ClaimedEvent,
        crossing: &ThresholdCrossing,
        now: UnixMillis,
    ) -> Result<Result<AcquiredAlert, Option<Item>>, AwsError> {
        let mut update = self
            .update_alert(event, &crossing.authorizer)?
            .update_expression(
                "SET claim_by = :mine, claim_event = :event, claim_until = :until, expires_at = :at",
            )
            // The item must outlive every event that may name it again, also one that an operator takes out of
            // quarantine.
            .expression_attribute_values(":at", number(parts_expiry(now, self.retention_days).0))
            .expression_attribute_values(":until", number(claim_expiry(now).0))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":event", text(event.key().event_id()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        update = match event.replay() {
            0 => update.condition_expression(format!("{NOT_TAKEN} AND {NOT_PUBLISHED}")),
            replay => update
                .condition_expression(format!("{NOT_TAKEN} AND {NOT_PUBLISHED_BY_REPLAY}"))
                .expression_attribute_values(":tag", text(publisher_tag(&event.key().event_id(), replay)))
                .expression_attribute_values(":most", number(ALERT_PUBLISHERS_MAX)),
        };
        match update.send().await {
            Ok(_) => Ok(Ok(AcquiredAlert {
                authorizer: crossing.authorizer.clone(),
                threshold: crossing.threshold,
                threshold_source: crossing.threshold_source,
            })),
            Err(error) if !condition_failed(&error) => Err(AwsError::from_sdk_error(UPDATE, &error)),
            Err(error) => Ok(Err(existing_item(&error).cloned())),
        }
    }

    /// Migrates an item of the first version to the present form, if it has not changed since it was read.
    async fn migrate_alert_item(
        &self,
        event: &ClaimedEvent,
        authorizer: &Id,
        item: &Item,
    ) -> Result<(), AwsError> {
        let attribute = |name: &str| item.get(name).cloned().ok_or(AwsError::unreadable_item(UPDATE));
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.alert_key(event, authorizer)?))
            .condition_expression(
                "event_id = :event AND replay = :replay AND attribute_not_exists(published_by)",
            )
            .expression_attribute_values(":event", attribute("event_id")?)
            .expression_attribute_values(":replay", attribute("replay")?);
        let update = match v1_publisher(item) {
            Some(tag) => update
                .update_expression("REMOVE event_id, replay ADD published_by :tags")
                .expression_attribute_values(":tags", AttributeValue::Ss(vec![tag])),
            None => update.update_expression("REMOVE event_id, replay"),
        };
        match update.send().await {
            // Another worker has changed the item meanwhile: the next claim shows how.
            Err(error) if condition_failed(&error) => Ok(()),
            rewritten => rewritten.map(drop).map_err(|error| AwsError::from_sdk_error(UPDATE, &error)),
        }
    }

    /// Records that an alert is on the bus, and by which threshold. It is recorded even if the claim was lost
    /// meanwhile: other workers must know that it was published.
    pub async fn mark_alert_published(
        &self,
        event: &ClaimedEvent,
        acquired: &AcquiredAlert,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let tags = AttributeValue::Ss(vec![publisher_tag(&event.key().event_id(), event.replay())]);
        let marked = self
            .update_alert(event, &acquired.authorizer)?
            .update_expression(
                "SET published_at = :now, event_id = :event, replay = :replay, threshold = :threshold, \
                 threshold_source = :source REMOVE claim_by, claim_event, claim_until ADD published_by :tags",
            )
            .condition_expression("claim_by = :mine")
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":event", text(event.key().event_id()))
            .expression_attribute_values(":replay", number(event.replay()))
            .expression_attribute_values(":threshold", text(acquired.threshold.to_string()))
            .expression_attribute_values(":source", text(acquired.threshold_source.as_str()))
            .expression_attribute_values(":tags", tags.clone())
            .send()
            .await;
        match marked {
            Ok(_) => return Ok(()),
            Err(error) if condition_failed(&error) => {}
            Err(error) => return Err(AwsError::from_sdk_error(UPDATE, &error)),
        }
        // The claim was lost: only add to what another worker has recorded.
        let key = self.alert_key(event, &acquired.authorizer)?;
        let update = self.db.update_item().table_name(&self.table).set_key(Some(key));
        let recorded = update
            .update_expression("SET published_at = if_not_exists(published_at, :now) ADD published_by :tags")
            // The update must not create the item again after its expiry.
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":tags", tags)
            .send()
            .await;
        match recorded {
            // The item has expired, and so has every event that could name it.
            Err(error) if condition_failed(&error) => Ok(()),
            recorded => recorded.map(drop).map_err(|error| AwsError::from_sdk_error(UPDATE, &error)),
        }
    }

    fn update_alert(
        &self,
        event: &ClaimedEvent,
        authorizer: &Id,
    ) -> Result<UpdateItemFluentBuilder, AwsError> {
        let key = self.alert_key(event, authorizer)?;
        let update = self.db.update_item().table_name(&self.table).set_key(Some(key));
        Ok(update.expression_attribute_values(":mine", text(event.claim_id())))
    }

    fn alert_key(&self, event: &ClaimedEvent, authorizer: &Id) -> Result<Item, AwsError> {
        let batch_id = event.key().batch_id().ok_or(AwsError::unreadable_item(UPDATE))?;
        Ok(item::key(&batch_pk(batch_id), &format!("{ALERT_EFFECT_SK_PREFIX}{}", authorizer.as_str())))
    }
}

fn published_by(item: &Item) -> Option<&Vec<String>> {
    item.get("published_by")?.as_ss().ok()
}

/// Returns `true` if an item has the form of the first version, which remembered only the last publisher, in
/// `event_id` and `replay`. In the present form, that one is also in the set.
fn is_v1_alert_item(item: &Item) -> bool {
    item.contains_key("event_id") && published_by(item).is_none()
}

/// The last publisher in an item of the first version, if it is known.
fn v1_publisher(item: &Item) -> Option<String> {
    // A claim of the first version overwrote the publisher.
    let is_overwritten = item.contains_key("claim_by") && !item.contains_key("claim_event");
    let is_known = item.contains_key("published_at") && !is_overwritten;
    let (event_id, replay) = item::string(item, "event_id").zip(item::parsed_number(item, "replay"))?;
    is_known.then(|| publisher_tag(event_id, replay))
}

fn is_held(item: &Item, now: UnixMillis) -> bool {
    item::millis(item, "claim_until").is_some_and(|until| until >= now)
}

/// Classifies a failed claim.
fn claim_failure(item: &Item, event: &ClaimedEvent) -> AlertClaim {
    let own = publisher_tag(&event.key().event_id(), event.replay());
    let tags = published_by(item);
    let has_published = match event.replay() {
        0 => item.contains_key("published_at"),
        _ => tags.is_some_and(|tags| tags.contains(&own)),
    };
    // This counts first, even beside a claim: a replay that could not publish leaves its claim behind.
    if has_published {
        let threshold = item::string(item, "threshold").and_then(|text| text.parse().ok());
        AlertClaim::Published { threshold }
    } else if tags.is_some_and(|tags| tags.len() >= ALERT_PUBLISHERS_MAX) {
        AlertClaim::ReplayLimitReached
    } else {
        AlertClaim::HeldByOther
    }
}
