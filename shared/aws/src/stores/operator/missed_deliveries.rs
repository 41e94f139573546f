//! Missed deliveries of Fynapse's: read, and resolved.
//!
//! ```text
//!  operator  resolve: closed_at  if the item exists and is open
//! ```

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::id::Id;

use super::OperatorStore;
use crate::AwsError;
use crate::items::MissedDeliveryItem;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;

impl OperatorStore {
    /// Reads a missed delivery by what identifies it. One strongly consistent read.
    pub async fn missed_delivery(&self, reference: &Id) -> Result<Option<MissedDeliveryItem>, AwsError> {
        self.table.get_as(&Key::missed_delivery(reference), MissedDeliveryItem::from_item).await
    }

    /// Declares that nothing is left to do about a missed delivery. Conflicts if that was declared before.
    pub async fn resolve_missed_delivery(
        &self,
        seen: &MissedDeliveryItem,
        by: &AuditEntry,
    ) -> Result<WriteOutcome, AwsError> {
        // Nothing else ever changes the item, so it is as it was read while it is open.
        let update = Update::without_rev(Key::missed_delivery(&seen.reference))
            .only_if(Attribute::Reason.exists())
            .only_if(Attribute::ClosedAt.is_missing())
            .set(Attribute::ClosedAt, &by.at);
        let is_own =
            |item: &_| MissedDeliveryItem::from_item(item).is_some_and(|it| it.audit_entries.contains(by));
        let subject = AuditSubject::MissedDelivery(seen.reference.clone());
        self.table.update_audited(update, &subject, by, is_own).await
    }
}
