//! Submissions to Rightfoot, written before anything is sent.

use std::fmt;
use std::time::Duration;

use inbox_core::audit::AuditEntry;
use inbox_core::id::Id;
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::list_kind::ListKind;
use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{SubmissionOutcome, SubmissionStatus};

use super::{StoredPayload, TrackingState};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, read, read_list};

/// A submission, as stored.
#[derive(Clone)]
pub struct SubmissionItem {
    /// The caller's id of it, and the subject of its URL.
    pub submission_id: Subject,
    /// Batch or schedule.
    pub kind: SubmissionKind,
    /// The webhook URL that Rightfoot is given, a credential; `None` once the outcome is known.
    pub webhook_url: Option<String>,
    /// Keyed hash of the request.
    pub fingerprint: Fingerprint,
    /// Random id of the call that began it. Under a released name, another submission begins at the first `rev` again, so every
    /// write names the call, too.
    pub call_id: String,
    /// Time at which it was first written: before anything was sent to Rightfoot.
    pub written_at: UnixMillis,
    /// Its `rev` and due time: it is due while the outcome is unknown.
    pub tracking: TrackingState,
    /// Number of checks by the poller since then.
    pub polls: u64,
    /// Number of times that its `POST` was begun, as of this read.
    pub attempts: u64,
    /// Time at which its outcome became known.
    pub done_at: Option<UnixMillis>,
    /// Time at which it was declined by Rightfoot, or released by an operator: it created nothing, so its name is free.
    pub declined_at: Option<UnixMillis>,
    /// Time at which it was abandoned, its outcome unknown.
    pub abandoned_at: Option<UnixMillis>,
    /// The id of the batch or schedule that it created.
    pub created_id: Option<Id>,
    /// Location of the response that was given when the outcome became known.
    pub response: Option<StoredPayload>,
    /// The audit entries of operators, also of earlier submissions under this name.
    pub audit_entries: Vec<AuditEntry>,
}

impl SubmissionItem {
    /// A submission that begins at `now`.
    pub fn new(
        submission_id: Subject,
        kind: SubmissionKind,
        webhook_url: String,
        fingerprint: Fingerprint,
        call_id: String,
        now: UnixMillis,
    ) -> Self {
        // Due from the start: if no outcome is ever recorded, the poller raises an alarm.
        let due_at = now.plus(Duration::from_secs(SUBMISSION_DUE_SECS));
        Self {
            tracking: TrackingState::new(Key::submission(&submission_id), due_at),
            submission_id,
            kind,
            webhook_url: Some(webhook_url),
            fingerprint,
            call_id,
            written_at: now,
            polls: 0,
            attempts: 1,
            done_at: None,
            declined_at: None,
            abandoned_at: None,
            created_id: None,
            response: None,
            audit_entries: Vec::new(),
        }
    }

    /// The attributes of a submission that begins.
    pub(crate) fn to_item(&self) -> Item {
        let audit_entries = Some(&self.audit_entries).filter(|entries| !entries.is_empty());
        self.tracking
            .to_new_item()
            .listed(ListKind::Submission, self.tracking.key(), self.written_at)
            .set(Attribute::Kind, &self.kind)
            .set(Attribute::Subject, &self.submission_id)
            .set_some(Attribute::WebhookUrl, self.webhook_url.as_ref())
            .set(Attribute::Fingerprint, &self.fingerprint.mac)
            .set(Attribute::FingerprintKey, &self.fingerprint.key_tag)
            .set(Attribute::CallId, &self.call_id)
            .set(Attribute::WrittenAt, &self.written_at)
            .set(Attribute::Polls, &self.polls)
            .set(Attribute::Attempts, &self.attempts)
            .set_some(Attribute::AuditEntries, audit_entries)
            .build()
    }

    /// Reads a submission; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let kind = read(item, Attribute::Kind)?;
        Some(Self {
            submission_id: read(item, Attribute::Subject)?,
            webhook_url: read(item, Attribute::WebhookUrl),
            fingerprint: Fingerprint {
                mac: read(item, Attribute::Fingerprint)?,
                key_tag: read(item, Attribute::FingerprintKey)?,
            },
            call_id: read(item, Attribute::CallId)?,
            written_at: read(item, Attribute::WrittenAt)?,
            tracking: TrackingState::from_item(item)?,
            polls: read(item, Attribute::Polls)?,
            attempts: read(item, Attribute::Attempts)?,
            done_at: read(item, Attribute::DoneAt),
            declined_at: read(item, Attribute::DeclinedAt),
            abandoned_at: read(item, Attribute::AbandonedAt),
            created_id: read(item, created_id_attribute(kind)),
            response: StoredPayload::from_item(item),
            audit_entries: read_list(item, Attribute::AuditEntries),
            kind,
        })
    }

    /// The status that follows from its times.
    pub fn status(&self) -> SubmissionStatus {
        let outcome = SubmissionOutcome {
            due_at: self.tracking.due_at,
            declined_at: self.declined_at,
            has_created: self.created_id.is_some(),
            abandoned_at: self.abandoned_at,
        };
        outcome.status()
    }

    /// Returns `true` if it is known what it created.
    pub const fn is_completed(&self) -> bool {
        self.done_at.is_some()
    }

    /// Returns `true` if it created nothing, so that another submission may use its name.
    pub const fn is_name_free(&self) -> bool {
        self.declined_at.is_some()
    }

    /// Returns `true` if it is still the submission that was read, and not another one under its name.
    pub(crate) fn is_same_call(&self, seen: &Self) -> bool {
        self.call_id == seen.call_id
    }

    /// Returns `true` if it is still the submission that was read, and its POST was not begun again since.
    pub(crate) fn is_unresolved_since(&self, seen: &Self) -> bool {
        self.is_same_call(seen) && self.attempts == seen.attempts && self.tracking.due_at.is_some()
    }
}

/// The attribute that holds the id of what a submission of this kind created.
pub(crate) const fn created_id_attribute(kind: SubmissionKind) -> Attribute {
    match kind {
        SubmissionKind::Batch => Attribute::BatchId,
        SubmissionKind::Schedule => Attribute::ScheduleId,
    }
}

/// Shows no URL: it is a credential.
impl fmt::Debug for SubmissionItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmissionItem({:?}, completed: {})", self.kind, self.is_completed())
    }
}
