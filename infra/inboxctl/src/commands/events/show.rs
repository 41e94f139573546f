//! `inboxctl events show`.

use clap::Args;
use inbox_aws::AwsError;
use inbox_aws::items::{EventRecord, PastCycle, QuarantinedItem};
use inbox_aws::stores::Stores;
use inbox_console::event_text::{done_effect_text, duplicates_text, results_found_text};
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::event_ref::{EventRef, find_key, parse_event_ref};
use crate::audit::AuditLine;
use crate::aws_error::WithResource;
use crate::output::{Render, RevealedBytes, Timestamp, line, pluralize, render_fields, timestamp};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct ShowEventArgs {
    /// The event's id, the bare id of a Fynapse event or of a batch, or the beginning of one.
    #[arg(value_parser = parse_event_ref)]
    event: EventRef,
    /// Print the payload, which may hold personal data.
    #[arg(long)]
    reveal: bool,
}

/// A past cycle of an event, from due to done or quarantined. A replay begins a new one.
#[derive(Serialize)]
struct PastCycleOutput {
    sent_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    quarantined_at: Option<Timestamp>,
    requeues: u64,
    retry_reason: Option<String>,
    published_count: Option<u64>,
}

impl From<&PastCycle> for PastCycleOutput {
    fn from(it: &PastCycle) -> Self {
        Self {
            sent_at: timestamp(it.sent_at),
            done_at: timestamp(it.done_at),
            quarantined_at: timestamp(it.quarantined_at),
            requeues: it.requeues,
            retry_reason: it.retry_reason.clone(),
            published_count: it.published_count,
        }
    }
}

/// Details of an event.
#[derive(Serialize)]
pub(crate) struct EventDetails {
    event: String,
    #[serde(rename = "type")]
    event_type: String,
    state: &'static str,
    origin: &'static str,
    subject: Option<String>,
    idempotency_key: Option<String>,
    received_at: Timestamp,
    enqueue_after: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    claim_until: Option<Timestamp>,
    due_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    quarantined_at: Option<Timestamp>,
    /// Item that holds its bytes while it is quarantined.
    quarantine_item: Option<String>,
    requeues: u64,
    /// Reason of the last requeue by the worker.
    retry_reason: Option<String>,
    attempts: u64,
    undeliverable_count: u64,
    /// Deliveries after the recorded one, as far as they were counted.
    duplicates: u64,
    /// Those whose payload differed from the recorded one.
    differing_duplicates: u64,
    last_duplicate_at: Option<Timestamp>,
    /// Number of results of its batch when a worker last read that, and requeued the event.
    results_found: Option<u64>,
    /// Number of results in its completion, or of its alerts on the bus.
    published_count: Option<u64>,
    replay: u64,
    /// Cycles before the current one, earliest first.
    past_cycles: Vec<PastCycleOutput>,
    expires_at: Option<Timestamp>,
    payload_bytes: usize,
    payload_sha256: String,
    /// Time at which the payload was erased with a person that it named.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_erased_at: Option<Timestamp>,
    audit_entries: Vec<AuditLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<RevealedBytes>,
    #[serde(skip)]
    in_words: EventWords,
}

/// Facts of an event in words.
struct EventWords {
    effect: Option<String>,
    duplicates: Option<String>,
    results_found: Option<String>,
}

impl EventDetails {
    /// Details of `event`, and of the quarantine item that holds it, if any.
    pub(crate) fn new(event: &EventRecord, item: Option<&QuarantinedItem>, now: UnixMillis) -> Self {
        let (lifecycle, state) = (&event.lifecycle, event.lifecycle.state(now));
        // The expiry is in seconds, as DynamoDB's TTL needs it; all other times are in milliseconds.
        let expires_at = event.expires_at.map(|at| UnixMillis(at.0.saturating_mul(1_000)));
        Self {
            event: event.key.event_id(),
            event_type: event.event_type.clone(),
            state: state.as_str(),
            origin: event.origin.as_str(),
            subject: event.subject.as_ref().map(ToString::to_string),
            idempotency_key: event.idempotency_key.clone(),
            received_at: Timestamp(event.received_at),
            enqueue_after: timestamp(event.enqueue_after),
            sent_at: timestamp(lifecycle.sent_at),
            claim_until: timestamp(lifecycle.claim_until),
            due_at: timestamp(lifecycle.due_at),
            done_at: timestamp(lifecycle.done_at),
            quarantined_at: timestamp(lifecycle.quarantined_at),
            quarantine_item: item.map(|item| item.id.to_string()),
            requeues: lifecycle.requeues,
            retry_reason: event.retry_reason.clone(),
            attempts: event.attempts,
            undeliverable_count: event.undeliverable_count,
            duplicates: event.duplicates.total,
            differing_duplicates: event.duplicates.differing,
            last_duplicate_at: timestamp(event.duplicates.last_at),
            results_found: event.results_found.map(|found| found.count),
            published_count: event.published_count,
            replay: event.replay,
            past_cycles: event.past_cycles.iter().map(PastCycleOutput::from).collect(),
            expires_at: timestamp(expires_at),
            payload_bytes: event.payload.bytes,
            payload_sha256: event.payload.hash.clone(),
            payload_erased_at: timestamp(event.payload.erased_at()),
            audit_entries: AuditLine::from_entries(&event.audit_entries),
            payload: None,
            in_words: EventWords {
                effect: done_effect_text(event),
                duplicates: duplicates_text(event.duplicates, now),
                results_found: results_found_text(event, now),
            },
        }
    }
}

impl EventDetails {
    pub(crate) fn id(&self) -> &str {
        &self.event
    }
}

pub(crate) async fn show(target: &Target, args: ShowEventArgs) -> anyhow::Result<EventDetails> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let key = find_key(&stores, &table, &args.event).await?;
    let Some(event) = stores.operator.event(&key).await.with_resource(&table)? else {
        anyhow::bail!("{key} is not recorded in {table}, or its record has expired");
    };
    let item = quarantined_item_of(&stores, &event, target.now()).await.with_resource(&table)?;
    let mut details = EventDetails::new(&event, item.as_ref(), target.now());
    if args.reveal && details.payload_erased_at.is_none() {
        details.payload =
            Some(RevealedBytes::of(stores.events.event_payload(&event).await.with_resource(&table)?));
    }
    Ok(details)
}

/// Quarantine item that holds an event; `None` unless the event is quarantined.
pub(crate) async fn quarantined_item_of(
    stores: &Stores,
    event: &EventRecord,
    now: UnixMillis,
) -> Result<Option<QuarantinedItem>, AwsError> {
    match event.lifecycle.state(now) {
        EventState::Quarantined => stores.operator.quarantined_item_of(event).await,
        EventState::Recorded
        | EventState::Sent
        | EventState::Claimed
        | EventState::Waiting
        | EventState::Done => Ok(None),
    }
}

impl Render for EventDetails {
    fn to_text(&self, now: UnixMillis) -> String {
        let time = |at: Option<Timestamp>| at.map(|at| at.with_age(now));
        let count = |count: u64| (count > 0).then(|| count.to_string());
        let mut text = render_fields([
            ("event", Some(self.event.clone())),
            ("type", Some(self.event_type.clone())),
            ("state", Some(self.state.to_owned())),
            ("origin", Some(self.origin.to_owned())),
            ("subject", self.subject.clone()),
            ("idempotency key", self.idempotency_key.clone()),
            ("received", Some(self.received_at.with_age(now))),
            ("enqueue after", time(self.enqueue_after)),
            ("sent", time(self.sent_at)),
            ("claimed until", time(self.claim_until)),
            ("due", time(self.due_at)),
            ("done", time(self.done_at)),
            ("effect", self.in_words.effect.clone()),
            ("quarantined", time(self.quarantined_at)),
            ("quarantine item", self.quarantine_item.clone()),
            (
                "requeued by the worker",
                count(self.requeues).map(|count| count + &reason_suffix(self.retry_reason.as_ref())),
            ),
            ("results found", self.in_words.results_found.clone()),
            ("tries of the relay", count(self.attempts)),
            ("undeliverable (SQS)", count(self.undeliverable_count)),
            ("duplicates", self.in_words.duplicates.clone()),
            ("replays", count(self.replay)),
            ("record expires", time(self.expires_at)),
            (
                "payload",
                Some(format!(
                    "{}, sha256 {}",
                    pluralize(self.payload_bytes as u64, "byte", "bytes"),
                    self.payload_sha256
                )),
            ),
            ("payload erased", time(self.payload_erased_at)),
        ]);
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        match &self.payload {
            Some(payload) => text + &payload.to_text(),
            None if self.payload_erased_at.is_some() => text,
            None => text + "\nThe payload is not shown: --reveal shows it.\n",
        }
    }
}

pub(crate) fn reason_suffix(reason: Option<&String>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}
