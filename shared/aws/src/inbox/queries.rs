//! Reads events, timelines and lists, for operators.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::audit::{AuditEntry, message_expiry};
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::lifecycle::{EventState, Lifecycle};
use inbox_core::limits::QUEUE_RETENTION_DAYS;
use inbox_core::origin::Origin;
use inbox_core::poll::problem::PollProblem;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::poller_requeue::PUBLISHED_UNTRACKED;
use super::processing::RETRY_REASON;
use super::submissions::SUBMITTED_SK;
use super::table_scan::{ScanCursor, ScanFilter, ScanPage};
use super::tracking::{ALERT_EFFECT_SK_PREFIX, TRACKED_SK};
use super::{Inbox, PastCycle, json_blobs, past_cycles, poll_problem};
use crate::AwsError;
use crate::item::{self, EventRecord, Item, millis, number, parsed_number, string, text};

/// The state of an event, as recorded.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The key of the event.
    pub key: EventKey,
    /// The type, as the provider names it.
    pub event_type: String,
    /// The origin: webhook, poll or replay.
    pub origin: Origin,
    /// Time at which it was received, or found by a poll.
    pub received_at: UnixMillis,
    /// SHA-256 of its payload.
    pub payload_hash: String,
    /// Size of its payload, in bytes.
    pub payload_bytes: usize,
    /// The subject of the webhook URL that it came by.
    pub subject: Option<String>,
    /// The `Idempotency-Key` header of its delivery.
    pub idempotency_key: Option<String>,
    /// The times from which its state follows.
    pub lifecycle: Lifecycle,
    /// Time at which it should be on the queue, if that is not its receipt.
    pub enqueue_after: Option<UnixMillis>,
    /// Number of attempts of the relay to enqueue it since it was due.
    pub attempts: u64,
    /// Number of times that SQS rejected the message itself.
    pub undeliverable_count: u64,
    /// Number of times that it was replayed on purpose.
    pub replay: u64,
    /// Reason for the last requeue by a worker.
    pub retry_reason: Option<String>,
    /// Its cycles before the current one, the earliest first.
    pub past_cycles: Vec<PastCycle>,
    /// Number of results of its batch when that was published untracked.
    pub published_untracked: Option<u64>,
    /// Audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
    /// Time from which DynamoDB may delete its record.
    pub expires_at: Option<UnixSecs>,
    pub(super) rev: u64,
    record: EventRecord,
}

/// An alert that was published, or that a worker has claimed.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// The authorizer that it is about.
    pub authorizer: String,
    /// The event that it was published for.
    pub event_id: Option<String>,
    /// Time of its publication; `None` if it is only claimed.
    pub published_at: Option<UnixMillis>,
    /// The replay of that event; 0 for the event itself.
    pub replay: u64,
}

/// The state of a tracked batch.
#[derive(Clone, Debug)]
pub struct BatchView {
    /// The batch.
    pub batch_id: String,
    /// The subject of its URL.
    pub subject: Option<String>,
    /// The schedule that the batch is a run of.
    pub schedule_id: Option<String>,
    /// Number of submitted authorizers.
    pub expected: u64,
    /// True if Rightfoot excluded some of them at once.
    pub has_excluded: bool,
    /// Time at which tracking began.
    pub tracked_at: Option<UnixMillis>,
    /// Time at which it becomes overdue if it is not complete.
    pub deadline_at: Option<UnixMillis>,
    /// Number of polls so far.
    pub polls: u64,
    /// Time of the next poll; `None` if tracking has ended.
    pub due_at: Option<UnixMillis>,
    /// Time at which tracking ended because everything was known.
    pub done_at: Option<UnixMillis>,
    /// Time at which it became overdue.
    pub overdue_at: Option<UnixMillis>,
    /// Current problem of its polls.
    pub problem: Option<PollProblem>,
}

/// The state of a tracked schedule.
#[derive(Clone, Debug)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule_id: String,
    /// The subject of its URL.
    pub subject: Option<String>,
    /// The authorizers whose history is polled for its runs.
    pub probes: Vec<String>,
    /// Runs from this time on are tracked.
    pub since: Option<UnixMillis>,
    /// The time of the latest run that was found.
    pub last_run_seen: Option<UnixMillis>,
    /// Time at which it ends at Rightfoot.
    pub expires_at: Option<UnixMillis>,
    /// Number of polls since its last run was found.
    pub polls: u64,
    /// Time of the next poll; `None` if tracking has ended.
    pub due_at: Option<UnixMillis>,
    /// Time at which tracking ended because everything was known.
    pub done_at: Option<UnixMillis>,
    /// Current problem of its polls.
    pub problem: Option<PollProblem>,
}

/// The state of a submission.
#[derive(Clone, Debug)]
pub struct SubmissionView {
    /// The caller's id of it.
    pub submission_id: String,
    /// Batch or schedule.
    pub kind: SubmissionKind,
    /// Time at which it was written: before anything was sent to Rightfoot.
    pub written_at: UnixMillis,
    /// Number of times that its `POST` was begun.
    pub attempts: u64,
    /// Time of the next alarm about its unknown outcome; `None` once it is known.
    pub due_at: Option<UnixMillis>,
    /// Time at which its outcome became known.
    pub done_at: Option<UnixMillis>,
    /// Time at which it was declined by Rightfoot, or released by an operator.
    pub declined_at: Option<UnixMillis>,
    /// Time at which it was abandoned, its outcome unknown.
    pub abandoned_at: Option<UnixMillis>,
    /// The id of the batch or schedule that it created.
    pub created_id: Option<String>,
    /// The audit entries of operators, also of earlier submissions under this name.
    pub audit_entries: Vec<AuditEntry>,
}

/// The timeline of one batch, event, schedule or submission: all items under its partition key.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The submission.
    pub submission: Option<SubmissionView>,
    /// The schedule.
    pub schedule: Option<ScheduleView>,
    /// The batch.
    pub batch: Option<BatchView>,
    /// The events, the earliest first.
    pub events: Vec<EventView>,
    /// The published alerts of the batch.
    pub alerts: Vec<AlertView>,
    /// Number of items that could not be read.
    pub unreadable: usize,
}

impl Timeline {
    /// Returns `true` if there is no item.
    pub fn is_empty(&self) -> bool {
        self.submission.is_none()
            && self.schedule.is_none()
            && self.batch.is_none()
            && self.events.is_empty()
            && self.alerts.is_empty()
            && self.unreadable == 0
    }
}

/// A filter of events; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only events of this provider.
    pub provider: Option<Provider>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events in one of these states; empty for any.
    pub states: BTreeSet<EventState>,
    /// Only events received at this time or later.
    pub since: Option<UnixMillis>,
    /// Only events received before this time.
    pub until: Option<UnixMillis>,
}

impl Inbox {
    /// Reads an event. One strongly consistent read.
    pub async fn event(&self, key: &EventKey) -> Result<Option<EventView>, AwsError> {
        let item = self.get_item(item::key(&key.pk(), &key.sk())).await?;
        item.map(|item| EventView::read(&item).ok_or(AwsError::unreadable_item("dynamodb:GetItem")))
            .transpose()
    }

    /// Loads the payload of an event.
    pub async fn event_payload(&self, event: &EventView) -> Result<Vec<u8>, AwsError> {
        self.payload_of(&event.record).await
    }

    /// Reads all items under one partition key. One strongly consistent query.
    pub async fn timeline(&self, pk: &str) -> Result<Timeline, AwsError> {
        let mut pages = self
            .db
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut timeline = Timeline::default();
        while let Some(item) = pages.next().await {
            timeline.add_item(&item.map_err(|error| AwsError::from_sdk_error("dynamodb:Query", &error))?);
        }
        // Sort keys are not in the order of time.
        timeline.events.sort_by_key(|event| event.received_at);
        Ok(timeline)
    }

    /// Lists recorded events in no order, at most `limit`. Reads the table, a few dozen megabytes per call at
    /// most; [`ScanPage::next`] says where to go on.
    pub async fn list_events(
        &self,
        event_filter: &EventFilter,
        after: Option<ScanCursor>,
        limit: usize,
        now: UnixMillis,
    ) -> Result<ScanPage<EventView>, AwsError> {
        let mut filter = ScanFilter::new("attribute_exists(delivery_id)");
        if let Some(provider) = event_filter.provider {
            filter.and("begins_with(pk, :provider)", ":provider", text(format!("{}#", provider.as_str())));
        }
        if let Some(event_type) = &event_filter.event_type {
            // `type` is a reserved word of DynamoDB.
            filter.names.insert("#type".to_owned(), "type".to_owned());
            filter.and("#type = :type", ":type", text(event_type));
        }
        if let Some(since) = event_filter.since {
            filter.and("received_at >= :since", ":since", number(since.0));
        }
        if let Some(until) = event_filter.until {
            filter.and("received_at < :until", ":until", number(until.0));
        }
        // The state is derived from times and never stored, so DynamoDB cannot filter by it.
        let matches = |event: &EventView| {
            event_filter.states.is_empty() || event_filter.states.contains(&event.lifecycle.state(now))
        };
        self.scan(filter, after, limit, |item| EventView::read(item).filter(matches)).await
    }

    /// Lists events that are not done although no queue can hold their message any more. Reads a part of the
    /// table, as [`Self::list_events`] does: `next` is `None` if that was all.
    pub async fn list_lost_events(
        &self,
        limit: usize,
        now: UnixMillis,
    ) -> Result<ScanPage<EventView>, AwsError> {
        let mut filter = ScanFilter::new(
            "attribute_exists(delivery_id) AND attribute_not_exists(done_at) AND attribute_not_exists(quarantined_at)",
        );
        let sent_before = now.minus(Duration::from_secs(QUEUE_RETENTION_DAYS * 86_400));
        filter.and("sent_at <= :sent_before", ":sent_before", number(sent_before.0));
        // A redrive sends the message anew, so it may exist longer than `sent_at` implies.
        let is_lost = |event: &EventView| {
            let sent_at = event.lifecycle.sent_at.filter(|_| event.lifecycle.state(now) == EventState::Sent);
            sent_at.is_some_and(|at| message_expiry(at, &event.audit_entries) <= now)
        };
        self.scan(filter, None, limit, |item| EventView::read(item).filter(is_lost)).await
    }

    /// Lists batches that are or were tracked, in no order, as [`Self::list_events`] does.
    pub async fn list_batches(
        &self,
        after: Option<ScanCursor>,
        limit: usize,
        matches: impl Fn(&BatchView) -> bool,
    ) -> Result<ScanPage<BatchView>, AwsError> {
        let mut filter = ScanFilter::new("sk = :tracked");
        filter.values.insert(":tracked".to_owned(), text(TRACKED_SK));
        filter.and("begins_with(pk, :batch)", ":batch", text("rightfoot#batch#"));
        self.scan(filter, after, limit, |item| BatchView::read(item).filter(&matches)).await
    }
}

impl Timeline {
    fn add_item(&mut self, item: &Item) {
        let sk = string(item, "sk").unwrap_or_default();
        let is_readable = match (sk, sk.strip_prefix(ALERT_EFFECT_SK_PREFIX)) {
            (_, Some(authorizer)) => {
                self.alerts.push(AlertView::read(authorizer, item));
                true
            }
            (TRACKED_SK, None) => {
                // Batches and schedules have the same sort key. Each view reads only items of its own
                // partitions.
                self.batch = BatchView::read(item);
                self.schedule = ScheduleView::read(item);
                self.batch.is_some() || self.schedule.is_some()
            }
            (SUBMITTED_SK, None) => {
                self.submission = SubmissionView::read(item);
                self.submission.is_some()
            }
            (_, None) => {
                let event = EventView::read(item);
                let is_readable = event.is_some();
                self.events.extend(event);
                is_readable
            }
        };
        self.unreadable += usize::from(!is_readable);
    }
}

fn due_at(item: &Item) -> Option<UnixMillis> {
    item.contains_key("due").then(|| millis(item, "due_at")).flatten()
}

impl EventView {
    fn read(item: &Item) -> Option<Self> {
        let record = EventRecord::from_item(item)?;
        Some(Self {
            key: record.key.clone(),
            event_type: record.event_type.clone(),
            origin: record.identity.origin,
            received_at: record.received_at,
            payload_hash: record.identity.payload_hash.clone(),
            payload_bytes: record.payload_bytes,
            subject: string(item, "subject").map(str::to_owned),
            idempotency_key: record.identity.idempotency_key.clone(),
            lifecycle: Lifecycle {
                due_at: record.due_at,
                sent_at: millis(item, "sent_at"),
                claim_until: millis(item, "claim_until"),
                done_at: millis(item, "done_at"),
                quarantined_at: millis(item, "quarantined_at"),
                requeues: parsed_number(item, "works").unwrap_or(0),
            },
            enqueue_after: millis(item, "enqueue_after"),
            attempts: record.attempts,
            undeliverable_count: record.undeliverable_count,
            replay: record.replay,
            retry_reason: string(item, RETRY_REASON).map(str::to_owned),
            past_cycles: past_cycles::read(item),
            published_untracked: parsed_number(item, PUBLISHED_UNTRACKED),
            audit_entries: item::audit_entries(item),
            expires_at: parsed_number(item, "expires_at").map(UnixSecs),
            rev: record.rev,
            record,
        })
    }
}

impl AlertView {
    fn read(authorizer: &str, item: &Item) -> Self {
        Self {
            authorizer: authorizer.to_owned(),
            event_id: string(item, "event_id").map(str::to_owned),
            published_at: millis(item, "published_at"),
            replay: parsed_number(item, "replay").unwrap_or(0),
        }
    }
}

impl BatchView {
    pub(super) fn read(item: &Item) -> Option<Self> {
        Some(Self {
            batch_id: string(item, "pk")?.strip_prefix("rightfoot#batch#")?.to_owned(),
            subject: string(item, "subject").map(str::to_owned),
            schedule_id: string(item, "schedule_id").map(str::to_owned),
            expected: parsed_number(item, "expected")?,
            has_excluded: json_blobs::has_blob(item),
            tracked_at: millis(item, "tracked_at"),
            deadline_at: millis(item, "deadline_at"),
            polls: parsed_number(item, "polls").unwrap_or(0),
            due_at: due_at(item),
            done_at: millis(item, "done_at"),
            overdue_at: millis(item, "overdue_at"),
            problem: poll_problem::read(item),
        })
    }
}

impl ScheduleView {
    pub(super) fn read(item: &Item) -> Option<Self> {
        Some(Self {
            schedule_id: string(item, "pk")?.strip_prefix("rightfoot#schedule#")?.to_owned(),
            subject: string(item, "subject").map(str::to_owned),
            probes: item::strings(item, "probes").unwrap_or_default(),
            since: millis(item, "since"),
            last_run_seen: millis(item, "last_run_seen"),
            expires_at: millis(item, "schedule_expires_at"),
            polls: parsed_number(item, "polls").unwrap_or(0),
            due_at: due_at(item),
            done_at: millis(item, "done_at"),
            problem: poll_problem::read(item),
        })
    }
}

impl SubmissionView {
    fn read(item: &Item) -> Option<Self> {
        let created_id = ["batch_id", "schedule_id"].into_iter().find_map(|name| string(item, name));
        Some(Self {
            submission_id: string(item, "subject")?.to_owned(),
            kind: SubmissionKind::from_name(string(item, "kind")?)?,
            written_at: millis(item, "written_at")?,
            attempts: parsed_number(item, "attempts").unwrap_or(0),
            due_at: due_at(item),
            done_at: millis(item, "done_at"),
            declined_at: millis(item, "refused_at"),
            abandoned_at: millis(item, "given_up_at"),
            created_id: created_id.and_then(Id::new).map(|id| id.as_str().to_owned()),
            audit_entries: item::audit_entries(item),
        })
    }
}
