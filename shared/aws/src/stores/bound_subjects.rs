//! Bound subjects: those that something was submitted or is tracked under.
//!
//! A call of a minted URL proves that the caller has the URL's secret, and nothing else. For a bound subject it is known
//! what to expect, so an alert by its URL must belong to a tracked batch; for any other subject, the provider's API alone
//! decides.

use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::table::Table;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::FORMAT_VERSION;

impl Table {
    /// Binds a subject for ever. Must be called before anything is tracked under it: a crash in between only
    /// makes us stricter.
    ///
    /// It is not part of the transaction that follows, because many of these may name one subject at the same
    /// time, and DynamoDB would cancel all but one.
    pub(super) async fn bind_subject(&self, subject: &Subject, now: UnixMillis) -> Result<(), AwsError> {
        self.update_if(bind_update(subject, now)).await.map(drop)
    }

    /// Returns `true` if a subject is bound. Strongly consistent reads.
    pub(super) async fn is_subject_bound(&self, subject: &Subject) -> Result<bool, AwsError> {
        if self.get(&Key::bound_subject(subject)).await?.is_some() {
            return Ok(true);
        }
        // A submission binds its subject from its first write on, whatever its outcome.
        Ok(self.get(&Key::submission(subject)).await?.is_some())
    }
}

/// The update that binds a subject. Its item has no expiry: if it were gone, the subject would count as unbound, and its URL,
/// which is valid as long as the key that signed it, would be trusted more than before.
pub(super) fn bind_update(subject: &Subject, now: UnixMillis) -> Update {
    Update::without_rev(Key::bound_subject(subject))
        .set_first(Attribute::V, Attribute::V, &FORMAT_VERSION)
        .set_first(Attribute::BoundAt, Attribute::BoundAt, &now)
}
