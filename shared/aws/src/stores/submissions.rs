//! Submissions, and the start of tracking what they created.
//!
//! ```text
//!  requests  put(rev 1, due +15min) ── POST ── transaction: put tracked if not there, submission: done if rev=seen, call=seen; bind
//!  retry     rev+1, attempts+1 if rev=seen and due ── POST ── the same
//!  poller            alarm: due_at=+15min if rev=seen and due      (outcome unknown: retry it)
//! ```
//!
//! A retry is recorded before it is sent. Without that, an earlier caller whose POST hears that the schedule's name is
//! taken would take the retry's schedule for somebody else's, and the submission for void.
//!
//! A name that is free again (see [`release`]) may be used for another submission, which begins at the first `rev`
//! again. So every write also names the `call_id` that began the submission: the result of an earlier one is never recorded
//! for this one.
//!
//! Until the outcome is known the submission holds the webhook URL that it was sent with, so that a retry sends the same
//! bytes. The request itself is not stored: a keyed fingerprint shows if a retry is the same request.

mod release;
mod track;

use serde_json::Value;

use inbox_core::expiry::{parts_expiry, record_expiry};
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;

use super::bound_subjects::bind_update;
use crate::AwsError;
use crate::items::submission::created_id_attribute;
use crate::items::{StoredPayload, SubmissionItem};
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::{GET, PUT, TRANSACT, Table, WriteOutcome, Written};

pub use release::ReleaseOutcome;
pub use track::{Created, TrackOutcome};

/// Attempts at a write before it fails as a conflict.
const WRITE_ATTEMPTS_MAX: usize = 4;

/// Writes submissions, and starts to track what they created.
#[derive(Clone, Debug)]
pub struct Submissions {
    table: Table,
}

/// Outcome of beginning a submission.
#[derive(Debug)]
pub enum BeginOutcome {
    /// The submission is new: nothing was ever sent under its name.
    New(SubmissionItem),
    /// A submission of this name exists.
    Existing(SubmissionItem),
}

/// Outcome of completing a submission.
#[derive(Debug)]
pub enum CompleteOutcome {
    /// The submission is complete, with this result.
    Completed(Box<SubmissionItem>),
    /// It was completed with another result. Nothing was written.
    Mismatch,
    /// Its name was released meanwhile, and may be used by another submission by now. Nothing was written.
    Superseded,
}

impl Submissions {
    /// The actions of this store. Its transactions need no permission besides those of the writes in them.
    pub const ACTIONS: Actions =
        &[(Resource::InboxTable, &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Writes a submission before anything is sent, unless one of its name exists. One whose name is free is
    /// replaced, and its audit entries are kept.
    pub async fn begin_submission(&self, new: &SubmissionItem) -> Result<BeginOutcome, AwsError> {
        let mut free = None;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let existing = self.put_submission(new.clone(), free.as_ref()).await?;
            // Also if this call's put was applied, its response lost, and the SDK's repetition failed.
            if existing.is_same_call(new) {
                return Ok(BeginOutcome::New(existing));
            }
            if !existing.is_name_free() {
                return Ok(BeginOutcome::Existing(existing));
            }
            free = Some(existing);
        }
        Err(AwsError::write_conflict(PUT))
    }

    /// Puts a submission where there is none, or only `free`. Returns the one that is there afterwards.
    async fn put_submission(
        &self,
        mut new: SubmissionItem,
        free: Option<&SubmissionItem>,
    ) -> Result<SubmissionItem, AwsError> {
        let condition = match free {
            None => Attribute::Pk.is_missing(),
            Some(free) => {
                new.audit_entries.clone_from(&free.audit_entries);
                Attribute::Rev
                    .equals(&free.tracking.rev())
                    .and(Attribute::CallId.equals(&free.call_id))
                    .and(Attribute::DeclinedAt.exists())
            }
        };
        let existing = match self.table.put(new.to_item(), &condition).await? {
            Written::Applied => return Ok(new),
            Written::ConditionFailed(Some(item)) => SubmissionItem::from_item(&item),
            // An older DynamoDB endpoint does not return the existing item.
            Written::ConditionFailed(None) => self.submission(&new.submission_id).await?,
        };
        existing.ok_or(AwsError::unreadable_item(PUT))
    }

    /// Reads a submission by its name. One strongly consistent read.
    pub async fn submission(&self, submission_id: &Subject) -> Result<Option<SubmissionItem>, AwsError> {
        self.table.get_as(&Key::submission(submission_id), SubmissionItem::from_item).await
    }

    /// Loads the response that was given when the outcome became known.
    pub async fn response_of(&self, submission: &SubmissionItem) -> Result<Value, AwsError> {
        let response = submission.response.as_ref().ok_or(AwsError::unreadable_item(GET))?;
        self.table.load_json(response).await
    }

    /// Records that a submission is about to be posted again. `None` if another writer was first.
    pub async fn begin_retry(
        &self,
        mut submission: SubmissionItem,
    ) -> Result<Option<SubmissionItem>, AwsError> {
        let update = submission.update().increment(Attribute::Attempts);
        if self.table.update_once(update).await? == WriteOutcome::Conflict {
            return Ok(None);
        }
        submission.tracking.increment_rev();
        submission.attempts += 1;
        Ok(Some(submission))
    }

    /// Records the result of a submission and starts to track it, both or neither. If another caller completed
    /// it before, that result stays.
    pub async fn complete_submission(
        &self,
        submission: &SubmissionItem,
        created: Created<'_>,
        response: &Value,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<CompleteOutcome, AwsError> {
        // Stored first, because the transaction must not name parts that do not exist.
        let response = self.table.store_json(response, parts_expiry(now, self.table.retention_days)).await?;
        let tracked = self.tracked_item(&created, due_at, now).await?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            // Read in each round, because the poller may have moved its due time.
            let Some(existing) = self.submission(&submission.submission_id).await? else {
                return Ok(CompleteOutcome::Superseded);
            };
            // Checked first: the same result is a success, whoever has written it.
            if existing.created_id.as_ref() == Some(created.id()) {
                return Ok(CompleteOutcome::Completed(existing.into()));
            }
            match (existing.is_same_call(submission), existing.is_completed()) {
                (false, _) => return Ok(CompleteOutcome::Superseded),
                (true, true) => return Ok(CompleteOutcome::Mismatch),
                (true, false) => {}
            }
            let update = self.complete_update(&existing, &created, &response, now);
            let mut writes = vec![
                self.table.transact_update(update)?,
                self.table.transact_update(bind_update(&submission.submission_id, now))?,
            ];
            writes.extend(self.track_write(&tracked, self.existing(&created).await?.as_ref())?);
            if self.table.transact(writes).await? == WriteOutcome::Applied {
                let completed = self.submission(&submission.submission_id).await?;
                return completed
                    .map(|it| CompleteOutcome::Completed(it.into()))
                    .ok_or(AwsError::unreadable_item(GET));
            }
        }
        Err(AwsError::write_conflict(TRANSACT))
    }

    fn complete_update(
        &self,
        submission: &SubmissionItem,
        created: &Created<'_>,
        response: &StoredPayload,
        now: UnixMillis,
    ) -> Update {
        let tracking = &submission.tracking;
        // Not only while it is due: an abandoned submission may turn out to have created something after all.
        Update::at_rev(tracking.key().clone(), tracking.rev())
            .only_if(Attribute::CallId.equals(&submission.call_id))
            .increment(Attribute::Rev)
            .set(Attribute::DoneAt, &now)
            .set(Attribute::ExpiresAt, &record_expiry(now, self.table.retention_days))
            .set(created_id_attribute(created.kind()), created.id())
            .set_all(response.attributes())
            .end_due()
            // A name that was released meanwhile is taken again, because something was created under it.
            .remove(&[Attribute::WebhookUrl, Attribute::DeclinedAt])
    }
}

impl SubmissionItem {
    /// An update of a due submission, as it was read.
    fn update(&self) -> Update {
        self.tracking.update().only_if(Attribute::CallId.equals(&self.call_id)).increment(Attribute::Rev)
    }
}
