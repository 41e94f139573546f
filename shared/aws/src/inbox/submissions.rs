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
//! A name that is free again (see `submission_release`) may be used for another submission, which begins at the first `rev`
//! again. So every write also names the `call_id` that began the submission: the result of an earlier one is never recorded
//! for this one.
//!
//! Until the outcome is known the submission holds the webhook URL that it was sent with, so that a retry sends the same
//! bytes. The request itself is not stored: a keyed fingerprint shows if a retry is the same request.

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde_json::Value;

use inbox_core::audit::AuditEntry;
use inbox_core::due_queue::DueQueue;
use inbox_core::expiry::{parts_expiry, record_expiry};
use inbox_core::id::Id;
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
use inbox_core::subject::Subject;
use inbox_core::table_keys::submission_pk;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

use super::submission_release::AUDIT_ENTRIES;
use super::tracking::{TRACKED_SK, TrackingState};
use super::transaction::{self, TransactionOutcome};
use super::{INITIAL_REV, Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::{condition_failed, existing_item};
use crate::item::{self, Item, SCHEMA_VERSION, number, text};

pub(super) const SUBMITTED_SK: &str = "submitted";
/// Attempts at a write before it fails as a conflict.
pub(super) const WRITE_ATTEMPTS_MAX: usize = 4;
const PUT: &str = "dynamodb:PutItem";

/// A submission that is to be written.
#[derive(Clone)]
pub struct NewSubmission {
    /// The caller's id of it, and the subject of its URL.
    pub submission_id: Subject,
    /// Batch or schedule.
    pub kind: SubmissionKind,
    /// The webhook URL that Rightfoot is given: a credential.
    pub webhook_url: String,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The random id of this invocation.
    pub call_id: String,
}

/// A submission, as read from the table.
#[derive(Clone)]
pub struct StoredSubmission {
    /// Batch or schedule.
    pub kind: SubmissionKind,
    /// The webhook URL that it was sent with; `None` once the outcome is known.
    pub webhook_url: Option<String>,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// Time at which it was first written.
    pub written_at: UnixMillis,
    /// Its `rev` and due time: it is due while the outcome is unknown.
    pub tracking: TrackingState,
    /// Number of checks by the poller since then.
    pub polls: u64,
    /// Number of times that its `POST` was begun, as of this read.
    pub attempts: u64,
    /// True if it is known what it created.
    pub is_completed: bool,
    /// True if it created nothing, so that another submission may use its name.
    pub is_name_free: bool,
    pub(super) submission_id: Subject,
    pub(super) call_id: String,
    item: Item,
}

/// Outcome of beginning a submission.
#[derive(Debug)]
pub enum BeginOutcome {
    /// The submission is new: nothing was ever sent under its name.
    New(StoredSubmission),
    /// A submission of this name exists.
    Existing(StoredSubmission),
}

/// Outcome of completing a submission.
#[derive(Debug)]
pub enum CompleteOutcome {
    /// The submission is complete, with this result.
    Completed(Box<StoredSubmission>),
    /// It was completed with another result. Nothing was written.
    Mismatch,
    /// Its name was released meanwhile, and may be used by another submission by now. Nothing was written.
    Superseded,
}

/// Outcome of starting to track a batch or schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackOutcome {
    /// It is tracked from now on.
    Started,
    /// It was tracked before, with the same values.
    AlreadyTracked,
    /// It was tracked before, with another value of this field of the request.
    Mismatch(&'static str),
}

/// A batch or schedule that was created and is to be tracked.
#[derive(Clone, Debug)]
pub enum Created<'a> {
    /// A batch.
    Batch(&'a TrackedBatch),
    /// A schedule.
    Schedule(&'a TrackedSchedule, &'a Thresholds),
}

impl Created<'_> {
    fn id_attribute(&self) -> (&'static str, &Id) {
        match self {
            Self::Batch(tracked) => ("batch_id", &tracked.batch_id),
            Self::Schedule(schedule, _) => ("schedule_id", &schedule.schedule_id),
        }
    }

    fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Batch(tracked) => tracked.subject.as_ref(),
            Self::Schedule(schedule, _) => schedule.subject.as_ref(),
        }
    }
}

impl Inbox {
    /// Writes a submission before anything is sent, unless one of its name exists. One whose name is free is
    /// replaced, and its audit entries are kept.
    pub async fn begin_submission(
        &self,
        new: &NewSubmission,
        now: UnixMillis,
    ) -> Result<BeginOutcome, AwsError> {
        let mut free = None;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let existing = self.put_submission(new, free.as_ref(), now).await?;
            let submission = StoredSubmission::from_item(existing).ok_or(AwsError::unreadable_item(PUT))?;
            // Also if this call's put was applied, its response lost, and the SDK's repetition failed.
            if submission.call_id == new.call_id {
                return Ok(BeginOutcome::New(submission));
            }
            if !submission.is_name_free {
                return Ok(BeginOutcome::Existing(submission));
            }
            free = Some(submission);
        }
        Err(AwsError::write_conflict(PUT))
    }

    /// Puts a submission where there is none, or only `free`. Returns the item that is there afterwards.
    async fn put_submission(
        &self,
        new: &NewSubmission,
        free: Option<&StoredSubmission>,
        now: UnixMillis,
    ) -> Result<Item, AwsError> {
        let mut item = new_submission_item(new, now);
        let audit_entries = free.and_then(|free| free.item.get(AUDIT_ENTRIES));
        item.extend(audit_entries.map(|entries| (AUDIT_ENTRIES.to_owned(), entries.clone())));
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match free {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(free) => put
                .condition_expression("rev = :seen AND call_id = :call AND attribute_exists(refused_at)")
                .expression_attribute_values(":seen", number(free.tracking.rev()))
                .expression_attribute_values(":call", text(&free.call_id)),
        };
        match put.send().await {
            Ok(_) => Ok(item),
            Err(error) if condition_failed(&error) => match existing_item(&error) {
                Some(old) => Ok(old.clone()),
                // An older DynamoDB endpoint does not return the existing item.
                None => self.submission_item(&new.submission_id).await?.ok_or(AwsError::unreadable_item(PUT)),
            },
            Err(error) => Err(AwsError::from_sdk_error(PUT, &error)),
        }
    }

    /// Reads a submission by its name. One strongly consistent read.
    pub async fn submission(&self, submission_id: &Subject) -> Result<Option<StoredSubmission>, AwsError> {
        let item = self.submission_item(submission_id).await?;
        item.map(|item| {
            StoredSubmission::from_item(item).ok_or(AwsError::unreadable_item("dynamodb:GetItem"))
        })
        .transpose()
    }

    pub(super) async fn submission_item(&self, submission_id: &Subject) -> Result<Option<Item>, AwsError> {
        self.get_item(item::key(&submission_pk(submission_id.as_str()), SUBMITTED_SK)).await
    }

    /// Loads the response that was given when the outcome became known.
    pub async fn response_of(&self, submission: &StoredSubmission) -> Result<Value, AwsError> {
        let json = self.load_blob(&submission.item).await?;
        serde_json::from_slice(&json).map_err(|_| AwsError::unreadable_item("dynamodb:GetItem"))
    }

    /// Records that a submission is about to be posted again. `None` if another writer was first.
    pub async fn begin_retry(
        &self,
        mut submission: StoredSubmission,
    ) -> Result<Option<StoredSubmission>, AwsError> {
        let expression = "rev = rev + :one, attempts = attempts + :one";
        if self.update_submission(&submission, expression, [(":one", number(1))]).await?
            == WriteOutcome::Conflict
        {
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
        submission: &StoredSubmission,
        created: Created<'_>,
        response: &Value,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<CompleteOutcome, AwsError> {
        // Stored first, because the transaction must not name parts that do not exist.
        let response = self.store_blob(response, parts_expiry(now, self.retention_days)).await?;
        let item = self.tracked_item(&created, due_at, now).await?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            // Read in each round, because the poller may have moved its due time.
            let Some(existing) = self.submission(&submission.submission_id).await? else {
                return Ok(CompleteOutcome::Superseded);
            };
            // Checked first: the same result is a success, whoever has written it.
            if existing.created_id().as_ref() == Some(created.id_attribute().1) {
                return Ok(CompleteOutcome::Completed(existing.into()));
            }
            match (existing.is_same_call(submission), existing.is_completed) {
                (false, _) => return Ok(CompleteOutcome::Superseded),
                (true, true) => return Ok(CompleteOutcome::Mismatch),
                (true, false) => {}
            }
            let tracked = self.get_item(tracked_key(&item)).await?;
            let mut writes = vec![
                self.complete_write(&existing, &created, &response, now)?,
                self.bind_subject_write(&submission.submission_id, now)?,
            ];
            writes.extend(self.track_write(item.clone(), tracked.as_ref())?);
            if transaction::write(&self.db, writes).await? == TransactionOutcome::Applied {
                let completed = self.submission(&submission.submission_id).await?;
                return completed
                    .map(|it| CompleteOutcome::Completed(it.into()))
                    .ok_or(AwsError::unreadable_item("dynamodb:GetItem"));
            }
        }
        Err(AwsError::write_conflict(transaction::WRITE))
    }

    /// Starts to track a batch or schedule that was not submitted here.
    pub async fn track(
        &self,
        created: Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<TrackOutcome, AwsError> {
        let item = self.tracked_item(&created, due_at, now).await?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let tracked = self.get_item(tracked_key(&item)).await?;
            let write = self.track_write(item.clone(), tracked.as_ref())?;
            if let (None, Some(existing)) = (&write, &tracked)
                && let differs @ TrackOutcome::Mismatch(_) = compare_tracked(existing, &item)
            {
                return Ok(differs);
            }
            // Also if it is tracked already: an earlier version did not bind subjects.
            if let Some(subject) = created.subject() {
                self.bind_subject(subject, now).await?;
            }
            let Some(write) = write else { return Ok(TrackOutcome::AlreadyTracked) };
            if transaction::write(&self.db, vec![write]).await? == TransactionOutcome::Applied {
                return Ok(TrackOutcome::Started);
            }
        }
        Err(AwsError::write_conflict(transaction::WRITE))
    }

    async fn tracked_item(
        &self,
        created: &Created<'_>,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Item, AwsError> {
        match created {
            Created::Batch(tracked) => self.batch_item(tracked, due_at, now).await,
            Created::Schedule(schedule, thresholds) => self.schedule_item(schedule, thresholds, due_at).await,
        }
    }

    /// The write that starts tracking; `None` if it is tracked. A batch that the poller took for a schedule's
    /// run, before it was known to be submitted by itself, is corrected.
    fn track_write(
        &self,
        mut item: Item,
        existing: Option<&Item>,
    ) -> Result<Option<TransactWriteItem>, AwsError> {
        let Some(existing) = existing else { return self.put_if_absent(item).map(Some) };
        let is_mistaken_run = existing.contains_key("schedule_id") && !item.contains_key("schedule_id");
        if !is_mistaken_run {
            return Ok(None);
        }
        let seen: u64 =
            item::parsed_number(existing, "rev").ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
        // `rev` only grows, also when the whole item is replaced.
        item.insert("rev".to_owned(), number(seen.saturating_add(1)));
        let put = aws_sdk_dynamodb::types::Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("rev = :seen")
            .expression_attribute_values(":seen", number(seen))
            .build();
        Ok(Some(
            TransactWriteItem::builder()
                .put(put.map_err(|_| AwsError::unreadable_item(transaction::WRITE))?)
                .build(),
        ))
    }

    fn complete_write(
        &self,
        submission: &StoredSubmission,
        created: &Created<'_>,
        response: &Item,
        now: UnixMillis,
    ) -> Result<TransactWriteItem, AwsError> {
        let (name, id) = created.id_attribute();
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission.tracking.key().clone()))
            .condition_expression("rev = :seen AND call_id = :call")
            .expression_attribute_values(":seen", number(submission.tracking.rev()))
            .expression_attribute_values(":call", text(&submission.call_id))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":at", number(record_expiry(now, self.retention_days).0))
            .expression_attribute_values(":id", text(id.as_str()));
        let mut sets = format!("SET rev = rev + :one, done_at = :now, expires_at = :at, {name} = :id");
        for (index, (name, value)) in response.iter().enumerate() {
            sets.push_str(&format!(", #a{index} = :a{index}"));
            update = update
                .expression_attribute_names(format!("#a{index}"), name)
                .expression_attribute_values(format!(":a{index}"), value.clone());
        }
        let update =
            // A name that was released meanwhile is taken again, because something was created under it.
            update.update_expression(format!("{sets} REMOVE due, due_at, webhook_url, refused_at")).build();
        Ok(TransactWriteItem::builder()
            .update(update.map_err(|_| AwsError::unreadable_item(transaction::WRITE))?)
            .build())
    }
}

impl StoredSubmission {
    fn from_item(item: Item) -> Option<Self> {
        Some(Self {
            kind: SubmissionKind::from_name(item::string(&item, "kind")?)?,
            webhook_url: item::string(&item, "webhook_url").map(str::to_owned),
            fingerprint: Fingerprint {
                mac: item::string(&item, "fingerprint")?.to_owned(),
                key_tag: item::string(&item, "fingerprint_key")?.to_owned(),
            },
            written_at: UnixMillis(item::parsed_number(&item, "written_at")?),
            tracking: TrackingState::from_item(&item)?,
            polls: item::parsed_number(&item, "polls")?,
            attempts: item::parsed_number(&item, "attempts")?,
            submission_id: item::string(&item, "subject")?.parse().ok()?,
            call_id: item::string(&item, "call_id")?.to_owned(),
            is_completed: item.contains_key("done_at"),
            is_name_free: item.contains_key("refused_at"),
            item,
        })
    }

    /// Returns `true` if it is still the submission that was read, and not another one under its name.
    pub(super) fn is_same_call(&self, seen: &Self) -> bool {
        self.call_id == seen.call_id
    }

    /// Returns `true` if it is still the submission that was read, and its POST was not begun again since.
    pub(super) fn is_unresolved_since(&self, seen: &Self) -> bool {
        self.is_same_call(seen) && self.attempts == seen.attempts && self.tracking.due_at.is_some()
    }

    /// The audit entries of operators.
    pub(super) fn audit_entries(&self) -> Vec<AuditEntry> {
        item::audit_entries(&self.item)
    }

    /// The id of the batch or schedule that it created, once that is known.
    pub fn created_id(&self) -> Option<Id> {
        let name = match self.kind {
            SubmissionKind::Batch => "batch_id",
            SubmissionKind::Schedule => "schedule_id",
        };
        item::string(&self.item, name).and_then(Id::new)
    }
}

/// Shows no URL: it is a credential.
impl std::fmt::Debug for NewSubmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSubmission({:?})", self.kind)
    }
}

/// Shows no URL: it is a credential.
impl std::fmt::Debug for StoredSubmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSubmission({:?}, completed: {})", self.kind, self.is_completed)
    }
}

fn new_submission_item(new: &NewSubmission, now: UnixMillis) -> Item {
    let pk = submission_pk(new.submission_id.as_str());
    let due_at = now.plus(std::time::Duration::from_secs(SUBMISSION_DUE_SECS));
    let mut item = item::key(&pk, SUBMITTED_SK);
    let attributes: [(&str, AttributeValue); 13] = [
        ("v", number(SCHEMA_VERSION)),
        ("kind", text(new.kind.as_str())),
        ("subject", text(new.submission_id.as_str())),
        ("webhook_url", text(&new.webhook_url)),
        ("fingerprint", text(&new.fingerprint.mac)),
        ("fingerprint_key", text(&new.fingerprint.key_tag)),
        ("call_id", text(&new.call_id)),
        ("written_at", number(now.0)),
        ("rev", number(INITIAL_REV)),
        ("polls", number(0)),
        ("attempts", number(1)),
        // Due from the start: if no outcome is ever recorded, the poller raises an alarm.
        ("due", text(DueQueue::Poll.shard(&pk))),
        ("due_at", number(due_at.0)),
    ];
    item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
    item
}

fn tracked_key(item: &Item) -> Item {
    item::key(item::string(item, "pk").unwrap_or_default(), TRACKED_SK)
}

/// Compares what is tracked with what was requested, as far as the request says; names the first field that
/// differs.
fn compare_tracked(existing: &Item, requested: &Item) -> TrackOutcome {
    let document = if requested.contains_key("probes") { "thresholds" } else { "failed_authorizer_ids" };
    let fields = [
        ("expected", "expected"),
        ("subject", "subject"),
        ("probes", "probe_authorizers"),
        ("payload_hash", document),
    ];
    for (attribute, field) in fields {
        let differs = requested.get(attribute).is_some_and(|value| existing.get(attribute) != Some(value));
        if differs {
            return TrackOutcome::Mismatch(field);
        }
    }
    TrackOutcome::AlreadyTracked
}
