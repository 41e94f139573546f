//! Bound subjects: those that something was submitted or is tracked under.
//!
//! A call of a minted URL proves that the caller has the URL's secret, and nothing else. For a bound subject it is known
//! what to expect, so an alert by its URL must belong to a tracked batch; for any other subject, the provider's API alone
//! decides.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};

use inbox_core::subject::Subject;
use inbox_core::table_keys::subject_pk;
use inbox_core::time::UnixMillis;

use super::{Inbox, transaction};
use crate::AwsError;
use crate::item::{self, Item, SCHEMA_VERSION, number};

/// The sort key of the item that binds a subject.
const BOUND_SK: &str = "bound";
/// The item has no expiry: if it were gone, the subject would count as unbound, and its URL, which is valid as
/// long as the key that signed it, would be trusted more than before.
const BIND_UPDATE: &str = "SET v = if_not_exists(v, :v), bound_at = if_not_exists(bound_at, :now)";

impl Inbox {
    /// Binds a subject for ever. Must be called before anything is tracked under it: a crash in between only
    /// makes us stricter.
    ///
    /// It is not part of the transaction that follows, because many of these may name one subject at the same
    /// time, and DynamoDB would cancel all but one.
    pub(super) async fn bind_subject(&self, subject: &Subject, now: UnixMillis) -> Result<(), AwsError> {
        self.db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(subject_key(subject)))
            .update_expression(BIND_UPDATE)
            .expression_attribute_values(":v", number(SCHEMA_VERSION))
            .expression_attribute_values(":now", number(now.0))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk_error("dynamodb:UpdateItem", &error))
    }

    /// The binding as part of a transaction, for a subject that no other writer binds at the same time.
    pub(super) fn bind_subject_write(
        &self,
        subject: &Subject,
        now: UnixMillis,
    ) -> Result<TransactWriteItem, AwsError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(subject_key(subject)))
            .update_expression(BIND_UPDATE)
            .expression_attribute_values(":v", number(SCHEMA_VERSION))
            .expression_attribute_values(":now", number(now.0))
            .build();
        Ok(TransactWriteItem::builder()
            .update(update.map_err(|_| AwsError::unreadable_item(transaction::WRITE))?)
            .build())
    }

    /// Returns `true` if a subject is bound. Strongly consistent reads.
    pub async fn is_subject_bound(&self, subject: &Subject) -> Result<bool, AwsError> {
        if self.get_item(subject_key(subject)).await?.is_some() {
            return Ok(true);
        }
        // A submission binds its subject from its first write on, whatever its outcome.
        Ok(self.submission_item(subject).await?.is_some())
    }
}

fn subject_key(subject: &Subject) -> Item {
    item::key(&subject_pk(subject), BOUND_SK)
}
