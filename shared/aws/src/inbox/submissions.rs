//! Submissions, and the beginning of watching what they made.
//!
//! ```text
//!  requests  put(rev 1, due +15min) ── POST ── transaction: put tracked if not there, submission: done if rev=seen, call=seen; bind
//!  again     rev+1, attempts+1 if rev=seen and due ── POST ── the same
//!  poller            alarm: due_at=+15min if rev=seen and due      (outcome unknown: repeat it)
//! ```
//!
//! Who repeats it says so first: then whoever set out before, and hears that the name of a schedule is taken, does
//! not take it for somebody else's and the submission for void.
//!
//! A name that is free again (see `released`) may be used for another submission, which begins at the first `rev` again. So
//! every write names the call that began the submission, too: what an earlier one made is not written down as what this one
//! made.
//!
//! Until the outcome is known the submission holds the URL that it was sent with, so that a repetition sends the
//! same bytes. What was sent is not kept: a keyed fingerprint tells whether a repetition is one.

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde_json::Value;

use inbox_core::audit::AuditEntry;
use inbox_core::delivery::Subject;
use inbox_core::event::Id;
use inbox_core::inbox::{DueQueue, parts_expiry, record_expiry, submission_pk};
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::poll::batch::{Thresholds, TrackedBatch};
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
use inbox_core::time::UnixMillis;

use super::submission_release::AUDIT_ENTRIES;
use super::tracking::{TRACKED_SK, TrackingState};
use super::transaction::{self, TransactionOutcome};
use super::{INITIAL_REV, Inbox, WriteOutcome};
use crate::AwsError;
use crate::conditional::{condition_failed, existing_item};
use crate::item::{self, Item, SCHEMA_VERSION, number, text};

pub(super) const SUBMITTED_SK: &str = "submitted";
/// Attempts at a write that others get in the way of.
pub(super) const WRITE_ATTEMPTS_MAX: usize = 4;
const PUT: &str = "dynamodb:PutItem";

/// A submission, as it is about to be written.
#[derive(Clone)]
pub struct NewSubmission {
    /// The caller's name of it, and the subject of its URL.
    pub submission_id: Subject,
    /// What is asked for.
    pub kind: SubmissionKind,
    /// The URL that Rightfoot is given.
    pub webhook_url: String,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The random id of this invocation.
    pub call_id: String,
}

/// A submission, as it stands.
#[derive(Clone)]
pub struct StoredSubmission {
    /// What is asked for.
    pub kind: SubmissionKind,
    /// The URL that it was sent with; `None` once the outcome is known.
    pub webhook_url: Option<String>,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// When it was first written.
    pub written_at: UnixMillis,
    /// How far it has come: due while the outcome is unknown.
    pub tracking: TrackingState,
    /// How often it was looked at since.
    pub polls: u64,
    /// How many callers have set out to post it, as far as this one has seen.
    pub attempts: u64,
    /// Whether it is known what it made.
    pub is_completed: bool,
    /// Whether it made nothing, so that its name is free for another one.
    pub is_name_free: bool,
    pub(super) submission_id: Subject,
    pub(super) call_id: String,
    item: Item,
}

/// What became of writing a submission.
#[derive(Debug)]
pub enum BeginOutcome {
    /// It is new: nothing was ever sent under its name.
    New(StoredSubmission),
    /// One of that name stands.
    Existing(StoredSubmission),
}

/// What became of writing down what a submission made.
#[derive(Debug)]
pub enum CompleteOutcome {
    /// The submission says that it made this.
    Completed(Box<StoredSubmission>),
    /// It says that it made something else. Nothing was written.
    Mismatch,
    /// Its name was freed meanwhile, and is another submission's by now, or nobody's. Nothing was written.
    Superseded,
}

/// What became of beginning to watch something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackOutcome {
    /// It is watched from now on.
    Started,
    /// It was watched before.
    AlreadyTracked,
    /// It was watched before, with another value of this field.
    Mismatch(&'static str),
}

/// What a submission made, to be watched.
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
            Self::Schedule(watched, _) => ("schedule_id", &watched.schedule_id),
        }
    }

    fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Batch(tracked) => tracked.subject.as_ref(),
            Self::Schedule(watched, _) => watched.subject.as_ref(),
        }
    }
}

impl Inbox {
    /// Writes a submission before anything is sent, unless one of its name stands. One that made nothing makes way, and
    /// leaves what operators did with it.
    pub async fn begin_submission(
        &self,
        new: &NewSubmission,
        now: UnixMillis,
    ) -> Result<BeginOutcome, AwsError> {
        let mut free = None;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let existing = self.put_submission(new, free.as_ref(), now).await?;
            let submission = StoredSubmission::from_item(existing).ok_or(AwsError::unreadable_item(PUT))?;
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

    /// Puts a submission where none stands, or none but this free one. Returns what stands then.
    async fn put_submission(
        &self,
        new: &NewSubmission,
        free: Option<&StoredSubmission>,
        now: UnixMillis,
    ) -> Result<Item, AwsError> {
        let mut item = new_submission_item(new, now);
        let audit_entries = free.and_then(|free| free.item.get(AUDIT_ENTRIES));
        item.extend(audit_entries.map(|traces| (AUDIT_ENTRIES.to_owned(), traces.clone())));
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
                // An older endpoint does not send it along.
                None => self.submission_item(&new.submission_id).await?.ok_or(AwsError::unreadable_item(PUT)),
            },
            Err(error) => Err(AwsError::from_sdk_error(PUT, &error)),
        }
    }

    /// A submission by its name, by one strong read.
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

    /// What was answered when the outcome became known.
    pub async fn response_of(&self, submission: &StoredSubmission) -> Result<Value, AwsError> {
        let json = self.load_blob(&submission.item).await?;
        serde_json::from_slice(&json).map_err(|_| AwsError::unreadable_item("dynamodb:GetItem"))
    }

    /// Sets out to post a submission once more. `None` if somebody else has written in between.
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

    /// Writes down what this submission made and begins to watch it, both or neither. If somebody concluded it before,
    /// theirs stands.
    pub async fn complete_submission(
        &self,
        submission: &StoredSubmission,
        created: Created<'_>,
        response: &Value,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<CompleteOutcome, AwsError> {
        let response = self.store_blob(response, parts_expiry(now, self.retention_days)).await?;
        let item = self.tracked_item(&created, due_at, now).await?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let Some(existing) = self.submission(&submission.submission_id).await? else {
                return Ok(CompleteOutcome::Superseded);
            };
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
                let concluded = self.submission(&submission.submission_id).await?;
                return concluded
                    .map(|it| CompleteOutcome::Completed(it.into()))
                    .ok_or(AwsError::unreadable_item("dynamodb:GetItem"));
            }
        }
        Err(AwsError::write_conflict(transaction::WRITE))
    }

    /// Begins to watch what was not submitted here.
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
            // Also if it is watched already: an earlier version has not done so.
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
            Created::Schedule(watched, thresholds) => self.schedule_item(watched, thresholds, due_at).await,
        }
    }

    /// The write that begins to watch something; `None` if it is watched. A batch that the poller took for a
    /// schedule's run, before it was known that it was submitted by itself, is one no longer.
    fn track_write(
        &self,
        mut item: Item,
        existing: Option<&Item>,
    ) -> Result<Option<TransactWriteItem>, AwsError> {
        let Some(stands) = existing else { return self.put_if_absent(item).map(Some) };
        let is_mistaken_run = stands.contains_key("schedule_id") && !item.contains_key("schedule_id");
        if !is_mistaken_run {
            return Ok(None);
        }
        let seen: u64 =
            item::parsed_number(stands, "rev").ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
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

    /// Whether it is still the one that was seen, and not another one under its name.
    pub(super) fn is_same_call(&self, seen: &Self) -> bool {
        self.call_id == seen.call_id
    }

    /// Whether it is still the one that was seen, and nobody has set out to post it since.
    pub(super) fn is_unresolved_since(&self, seen: &Self) -> bool {
        self.is_same_call(seen) && self.attempts == seen.attempts && self.tracking.due_at.is_some()
    }

    /// What operators did with it.
    pub(super) fn audit_entries(&self) -> Vec<AuditEntry> {
        item::audit_entries(&self.item)
    }

    /// What it made, once that is known.
    pub fn created_id(&self) -> Option<Id> {
        let name = match self.kind {
            SubmissionKind::Batch => "batch_id",
            SubmissionKind::Schedule => "schedule_id",
        };
        item::string(&self.item, name).and_then(Id::new)
    }
}

/// The URL is a credential.
impl std::fmt::Debug for NewSubmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSubmission({:?})", self.kind)
    }
}

/// The URL is a credential.
impl std::fmt::Debug for StoredSubmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Submission({:?}, concluded: {})", self.kind, self.is_completed)
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
        ("due", text(DueQueue::Poll.shard(&pk))),
        ("due_at", number(due_at.0)),
    ];
    item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
    item
}

fn tracked_key(item: &Item) -> Item {
    item::key(item::string(item, "pk").unwrap_or_default(), TRACKED_SK)
}

/// Whether what stands is what was asked for, as far as that was said; if not, which field of the request differs.
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
