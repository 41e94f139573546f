//! Which subjects are bound: those under which something was submitted or is tracked.
//!
//! Whoever calls a minted URL has shown that he holds its secret, and nothing else. Of a subject that is bound it is known what to
//! expect, so an alert that comes by its URL has to be of a tracked batch; of any other one, the provider's API alone decides.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};

use inbox_core::delivery::Subject;
use inbox_core::inbox::subject_pk;
use inbox_core::time::UnixMillis;

use super::{Inbox, transaction};
use crate::AwsError;
use crate::item::{self, Item, SCHEMA_VERSION, number};

/// The place of the item that binds a subject.
const BOUND_SK: &str = "bound";
/// It never expires: with it would go the knowledge that more is known of this subject than what a webhook says, and its URL, which
/// is good for as long as the key that signed it, would be trusted more than before without anybody's doing.
const BIND_UPDATE: &str = "SET v = if_not_exists(v, :v), bound_at = if_not_exists(bound_at, :now)";

impl Inbox {
    /// Binds a subject, once and for ever. To be called before anything is tracked under it: who dies in between has only made
    /// us stricter. It is no part of the transaction that follows, because many of these may name one subject at the same time,
    /// and DynamoDB cancels all but one.
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

    /// The same as part of a transaction: for a subject that nobody else binds meanwhile.
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

    /// Whether a subject is bound, by strong reads.
    pub async fn is_subject_bound(&self, subject: &Subject) -> Result<bool, AwsError> {
        if self.get_item(subject_key(subject)).await?.is_some() {
            return Ok(true);
        }
        // A submission binds its subject from its own first write on, whatever has become of it since.
        Ok(self.submission_item(subject).await?.is_some())
    }
}

fn subject_key(subject: &Subject) -> Item {
    item::key(&subject_pk(subject), BOUND_SK)
}
