//! Reading what is known, to be told to an operator: single events, whole stories, and lists.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::audit::{AuditEntry, message_expiry};
use inbox_core::delivery::Provider;
use inbox_core::event::{EventKey, Id, Origin};
use inbox_core::lifecycle::{EventState, Lifecycle};
use inbox_core::limits::QUEUE_RETENTION_DAYS;
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

/// An event, as far as its record tells.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The event.
    pub key: EventKey,
    /// The provider's own name of its type.
    pub event_type: String,
    /// How it came to be recorded.
    pub origin: Origin,
    /// When it was received, or found.
    pub received_at: UnixMillis,
    /// SHA-256 of its payload.
    pub payload_hash: String,
    /// How large that is.
    pub payload_bytes: usize,
    /// The subject of the URL that it came by.
    pub subject: Option<String>,
    /// The `Idempotency-Key` that it came under.
    pub idempotency_key: Option<String>,
    /// How far it has come.
    pub lifecycle: Lifecycle,
    /// From when on it is wanted on the queue, if not since it was received.
    pub enqueue_after: Option<UnixMillis>,
    /// How often the relay has tried to send it since it was due.
    pub attempts: u64,
    /// How often SQS has refused it for what it is.
    pub undeliverable_count: u64,
    /// How often it was sent again on purpose.
    pub replay: u64,
    /// Why a worker put it back last.
    pub retry_reason: Option<String>,
    /// Its cycles before the present one, the earliest first.
    pub past_cycles: Vec<PastCycle>,
    /// How many results a batch had when it was published while nobody tracked it.
    pub published_untracked: Option<u64>,
    /// What operators did with it.
    pub audit_entries: Vec<AuditEntry>,
    /// When its record may be deleted.
    pub expires_at: Option<UnixSecs>,
    pub(super) rev: u64,
    record: EventRecord,
}

/// An alert that was published, or is about to be.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// Whose alert.
    pub authorizer: String,
    /// By which event.
    pub event_id: Option<String>,
    /// When it was published.
    pub published_at: Option<UnixMillis>,
    /// As which replay of the event.
    pub replay: u64,
}

/// A batch that is watched.
#[derive(Clone, Debug)]
pub struct BatchView {
    /// The batch.
    pub batch_id: String,
    /// The subject of its URL.
    pub subject: Option<String>,
    /// The schedule whose run it is.
    pub schedule_id: Option<String>,
    /// How many authorizers were submitted.
    pub expected: u64,
    /// Whether some of them were refused at once.
    pub has_excluded: bool,
    /// When it was tracked.
    pub tracked_at: Option<UnixMillis>,
    /// From when on it is overdue.
    pub deadline_at: Option<UnixMillis>,
    /// How often it was polled.
    pub polls: u64,
    /// When it is polled next.
    pub due_at: Option<UnixMillis>,
    /// When nothing more was to be known.
    pub done_at: Option<UnixMillis>,
    /// When it was given up.
    pub overdue_at: Option<UnixMillis>,
    /// What is wrong with its polls.
    pub problem: Option<PollProblem>,
}

/// A schedule that is watched.
#[derive(Clone, Debug)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule_id: String,
    /// The subject of its URL.
    pub subject: Option<String>,
    /// Whose history shows its runs.
    pub probes: Vec<String>,
    /// From when on runs count.
    pub since: Option<UnixMillis>,
    /// The last run that was seen.
    pub last_run_seen: Option<UnixMillis>,
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
    /// How often it was polled since its last run.
    pub polls: u64,
    /// When it is polled next.
    pub due_at: Option<UnixMillis>,
    /// When nothing more was to be known.
    pub done_at: Option<UnixMillis>,
    /// What is wrong with its polls.
    pub problem: Option<PollProblem>,
}

/// A submission.
#[derive(Clone, Debug)]
pub struct SubmissionView {
    /// Its name.
    pub submission_id: String,
    /// What was asked for.
    pub kind: SubmissionKind,
    /// When it was written, before anything was sent.
    pub written_at: UnixMillis,
    /// How many callers have set out to post it.
    pub attempts: u64,
    /// From when on its unknown outcome alarms.
    pub due_at: Option<UnixMillis>,
    /// When its outcome was known.
    pub done_at: Option<UnixMillis>,
    /// When Rightfoot refused it.
    pub declined_at: Option<UnixMillis>,
    /// When it was given up.
    pub abandoned_at: Option<UnixMillis>,
    /// The batch or schedule that it made.
    pub created_id: Option<String>,
    /// What operators did with it, or with earlier ones of its name.
    pub audit_entries: Vec<AuditEntry>,
}

/// All that is known about one batch, event, schedule or submission.
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
    /// The alerts of the batch that were published.
    pub alerts: Vec<AlertView>,
    /// Items that cannot be read.
    pub unreadable: usize,
}

impl Timeline {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.submission.is_none()
            && self.schedule.is_none()
            && self.batch.is_none()
            && self.events.is_empty()
            && self.alerts.is_empty()
            && self.unreadable == 0
    }
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this provider.
    pub provider: Option<Provider>,
    /// Of this type.
    pub event_type: Option<String>,
    /// In one of these states; empty for any.
    pub states: BTreeSet<EventState>,
    /// Received at this time or later.
    pub since: Option<UnixMillis>,
    /// Received before this time.
    pub until: Option<UnixMillis>,
}

impl Inbox {
    /// An event by its id, by one strong read.
    pub async fn event(&self, key: &EventKey) -> Result<Option<EventView>, AwsError> {
        let item = self.get_item(item::key(&key.pk(), &key.sk())).await?;
        item.map(|item| EventView::read(&item).ok_or(AwsError::unreadable_item("dynamodb:GetItem")))
            .transpose()
    }

    /// The bytes of an event.
    pub async fn event_payload(&self, event: &EventView) -> Result<Vec<u8>, AwsError> {
        self.payload_of(&event.record).await
    }

    /// All items under one partition key, by one strong query.
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
        timeline.events.sort_by_key(|event| event.received_at);
        Ok(timeline)
    }

    /// A part of the recorded events, in no order: reads the table, a few dozen megabytes at most.
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
            filter.names.insert("#type".to_owned(), "type".to_owned());
            filter.and("#type = :type", ":type", text(event_type));
        }
        if let Some(since) = event_filter.since {
            filter.and("received_at >= :since", ":since", number(since.0));
        }
        if let Some(until) = event_filter.until {
            filter.and("received_at < :until", ":until", number(until.0));
        }
        let is_wanted = |event: &EventView| {
            event_filter.states.is_empty() || event_filter.states.contains(&event.lifecycle.state(now))
        };
        self.scan(filter, after, limit, |item| EventView::read(item).filter(is_wanted)).await
    }

    /// Events that were sent so long ago that no queue holds their message any more, and that are not done. Reads a
    /// part of the table, as [`Self::events`] does: `next` says whether there is more of it.
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
        let is_lost = |event: &EventView| {
            let sent_at = event.lifecycle.sent_at.filter(|_| event.lifecycle.state(now) == EventState::Sent);
            sent_at.is_some_and(|at| message_expiry(at, &event.audit_entries) <= now)
        };
        self.scan(filter, None, limit, |item| EventView::read(item).filter(is_lost)).await
    }

    /// A part of the batches that are, or were, watched; in no order.
    pub async fn list_batches(
        &self,
        after: Option<ScanCursor>,
        limit: usize,
        is_wanted: impl Fn(&BatchView) -> bool,
    ) -> Result<ScanPage<BatchView>, AwsError> {
        let mut filter = ScanFilter::new("sk = :tracked");
        filter.values.insert(":tracked".to_owned(), text(TRACKED_SK));
        filter.and("begins_with(pk, :batch)", ":batch", text("rightfoot#batch#"));
        self.scan(filter, after, limit, |item| BatchView::read(item).filter(&is_wanted)).await
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

/// When an item is due, if it is.
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
            enqueue_after: millis(item, "wanted_at"),
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
        let made = ["batch_id", "schedule_id"].into_iter().find_map(|name| string(item, name));
        Some(Self {
            submission_id: string(item, "subject")?.to_owned(),
            kind: SubmissionKind::from_name(string(item, "kind")?)?,
            written_at: millis(item, "written_at")?,
            attempts: parsed_number(item, "attempts").unwrap_or(0),
            due_at: due_at(item),
            done_at: millis(item, "done_at"),
            declined_at: millis(item, "refused_at"),
            abandoned_at: millis(item, "given_up_at"),
            created_id: made.and_then(Id::new).map(|id| id.as_str().to_owned()),
            audit_entries: item::audit_entries(item),
        })
    }
}
