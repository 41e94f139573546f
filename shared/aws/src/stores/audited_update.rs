//! Updates by operators: each leaves an audit entry, or is not applied.

use aws_sdk_dynamodb::types::TransactWriteItem;

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::expiry::audit_expiry;

use crate::AwsError;
use crate::items::AuditItem;
use crate::table::attribute::Attribute;
use crate::table::update::Update;
use crate::table::value::Item;
use crate::table::{Table, WriteOutcome};

impl Table {
    /// Updates an item, appends the audit entry to it, and writes the entry as an item of its own, in one transaction.
    ///
    /// If it cannot be applied, `is_own` tells from the item as it is then whether this very request was applied before, and its
    /// response lost.
    pub(super) async fn update_audited(
        &self,
        update: Update,
        subject: &AuditSubject,
        by: &AuditEntry,
        is_own: impl FnOnce(&Item) -> bool,
    ) -> Result<WriteOutcome, AwsError> {
        let key = update.key().clone();
        let writes = vec![
            self.transact_update(update.append(Attribute::AuditEntries, by))?,
            self.audit_write(subject, by)?,
        ];
        if self.transact(writes).await? == WriteOutcome::Applied {
            return Ok(WriteOutcome::Applied);
        }
        let existing = self.get(&key).await?;
        Ok(if existing.as_ref().is_some_and(is_own) { WriteOutcome::Applied } else { WriteOutcome::Conflict })
    }

    /// The write of an audit entry as an item of its own.
    pub(super) fn audit_write(
        &self,
        subject: &AuditSubject,
        by: &AuditEntry,
    ) -> Result<TransactWriteItem, AwsError> {
        let audit = AuditItem { subject: subject.to_string(), entry: by.clone() };
        self.transact_put(
            audit.to_item(audit_expiry(by.at, self.retention_days)),
            &Attribute::Pk.is_missing(),
        )
    }
}
