//! `inboxctl events list|show|replay`.

use inbox_aws::AwsError;
use inbox_aws::inbox::{EventFilter, EventView, Inbox, PastCycle, ReplayOutcome, ScanCursor};
use inbox_core::audit::OperatorAction;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::QuarantineId;
use inbox_core::table_keys::batch_pk;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::{WithResource, explain};
use crate::cli::{EventRef, ListEventsArgs, ReplayEventsArgs, ShowEventArgs};
use crate::confirm;
use crate::output::{
    AuditLine, Render, RevealedBytes, Timestamp, decode_cursor, encode_cursor, line, next_page_hint,
    pluralize, render_fields, render_table, timestamp,
};
use crate::target::{ResourceRef, Target};

/// A page of recorded events.
#[derive(Serialize)]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
}

#[derive(Serialize)]
struct EventRow {
    event: String,
    #[serde(rename = "type")]
    event_type: String,
    state: &'static str,
    /// Reason of the last requeue, while the event waits for its next attempt.
    retry_reason: Option<String>,
    origin: &'static str,
    replay: u64,
    received_at: Timestamp,
}

pub(crate) async fn list(target: &Target, args: ListEventsArgs) -> anyhow::Result<EventList> {
    let now = target.now();
    let selection = EventFilter {
        provider: args.provider,
        event_type: args.event_type,
        states: args.state.into_iter().collect(),
        since: args.since.map(|since| since.resolve(now)),
        until: args.until.map(|until| until.resolve(now)),
    };
    let cursor = args.page.page.as_deref().map(parse_cursor).transpose()?;
    let page = target
        .inbox()?
        .list_events(&selection, cursor, args.page.limit.get(), now)
        .await
        .with_resource(&target.inbox_table()?)?;
    let row = |event: &EventView| EventRow {
        event: event.key.event_id(),
        event_type: event.event_type.clone(),
        state: event.lifecycle.state(now).as_str(),
        // Once the event has ended, the reason of an earlier requeue would mislead.
        retry_reason: event
            .retry_reason
            .clone()
            .filter(|_| event.lifecycle.done_at.is_none() && event.lifecycle.quarantined_at.is_none()),
        origin: event.origin.as_str(),
        replay: event.replay,
        received_at: Timestamp(event.received_at),
    };
    Ok(EventList {
        events: page.items.iter().map(row).collect(),
        next: page.next.map(|cursor| encode_cursor(&[&cursor.pk, &cursor.sk])),
    })
}

/// Decodes a page token of a table scan.
pub(crate) fn parse_cursor(token: &str) -> anyhow::Result<ScanCursor> {
    let [pk, sk] = decode_cursor(token)?;
    Ok(ScanCursor { pk, sk })
}

impl Render for EventList {
    fn to_text(&self, now: UnixMillis) -> String {
        let rows = self.events.iter().map(|it| {
            let replay = if it.replay > 0 { format!(" (replay {})", it.replay) } else { String::new() };
            [
                it.event.clone(),
                it.event_type.clone(),
                format!("{}{}{replay}", it.state, reason_suffix(it.retry_reason.as_ref())),
                it.origin.to_owned(),
                it.received_at.with_age(now),
            ]
        });
        let headers = ["EVENT", "TYPE", "STATE", "ORIGIN", "RECEIVED"];
        render_table(headers, rows.collect(), "no such event") + &next_page_hint(self.next.as_ref())
    }
}

fn reason_suffix(reason: Option<&String>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// A past cycle of an event, from due to done or quarantined. A replay begins a new one.
#[derive(Serialize)]
struct PastCycleOutput {
    sent_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    quarantined_at: Option<Timestamp>,
    requeues: u64,
    retry_reason: Option<String>,
}

impl From<&PastCycle> for PastCycleOutput {
    fn from(it: &PastCycle) -> Self {
        Self {
            sent_at: timestamp(it.sent_at),
            done_at: timestamp(it.done_at),
            quarantined_at: timestamp(it.quarantined_at),
            requeues: it.requeues,
            retry_reason: it.retry_reason.clone(),
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
    replay: u64,
    /// Cycles before the current one, earliest first.
    past_cycles: Vec<PastCycleOutput>,
    expires_at: Option<Timestamp>,
    payload_bytes: usize,
    payload_sha256: String,
    audit_entries: Vec<AuditLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<RevealedBytes>,
}

impl EventDetails {
    /// Details of `event`, and of the quarantine item that holds it, if any.
    pub(crate) fn new(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> Self {
        let (lifecycle, state) = (&event.lifecycle, event.lifecycle.state(now));
        // The expiry is in seconds, as DynamoDB's TTL needs it; all other times are in milliseconds.
        let expires_at = event.expires_at.map(|at| UnixMillis(at.0.saturating_mul(1_000)));
        Self {
            event: event.key.event_id(),
            event_type: event.event_type.clone(),
            state: state.as_str(),
            origin: event.origin.as_str(),
            subject: event.subject.clone(),
            idempotency_key: event.idempotency_key.clone(),
            received_at: Timestamp(event.received_at),
            enqueue_after: timestamp(event.enqueue_after),
            sent_at: timestamp(lifecycle.sent_at),
            claim_until: timestamp(lifecycle.claim_until),
            due_at: timestamp(lifecycle.due_at),
            done_at: timestamp(lifecycle.done_at),
            quarantined_at: timestamp(lifecycle.quarantined_at),
            quarantine_item: item.map(ToString::to_string),
            requeues: lifecycle.requeues,
            retry_reason: event.retry_reason.clone(),
            attempts: event.attempts,
            undeliverable_count: event.undeliverable_count,
            replay: event.replay,
            past_cycles: event.past_cycles.iter().map(PastCycleOutput::from).collect(),
            expires_at: timestamp(expires_at),
            payload_bytes: event.payload_bytes,
            payload_sha256: event.payload_hash.clone(),
            audit_entries: AuditLine::from_entries(&event.audit_entries),
            payload: None,
        }
    }
}

impl EventDetails {
    pub(crate) fn id(&self) -> &str {
        &self.event
    }

    pub(crate) fn origin(&self) -> &str {
        self.origin
    }

    pub(crate) fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Steps after its recording, unsorted: sendings, ends and operator actions of all cycles.
    pub(crate) fn timeline_steps(&self) -> Vec<(Timestamp, String)> {
        let cycle_steps = |sent_at, done_at, quarantined_at| {
            let times = [
                (sent_at, "is put on the queue"),
                (done_at, "is done: its effect is on the bus"),
                (quarantined_at, "is quarantined"),
            ];
            times.into_iter().filter_map(|(at, step)| Some((at?, step.to_owned())))
        };
        let past = self.past_cycles.iter();
        let past = past.flat_map(|it| cycle_steps(it.sent_at, it.done_at, it.quarantined_at));
        let present = cycle_steps(self.sent_at, self.done_at, self.quarantined_at);
        past.chain(present).chain(self.audit_entries.iter().map(AuditLine::timeline_step)).collect()
    }
}

pub(crate) async fn show(target: &Target, args: ShowEventArgs) -> anyhow::Result<EventDetails> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let key = resolve_key(&inbox, &table, &args.event).await?;
    let Some(event) = inbox.event(&key).await.with_resource(&table)? else {
        anyhow::bail!("{key} is not recorded in {table}, or its record has expired");
    };
    let item = quarantine_id_of(&inbox, &event, target.now()).await.with_resource(&table)?;
    let mut details = EventDetails::new(&event, item.as_ref(), target.now());
    if args.reveal {
        details.payload = Some(RevealedBytes::of(inbox.event_payload(&event).await.with_resource(&table)?));
    }
    Ok(details)
}

/// Quarantine item that holds an event; `None` unless the event is quarantined.
pub(crate) async fn quarantine_id_of(
    inbox: &Inbox,
    event: &EventView,
    now: UnixMillis,
) -> Result<Option<QuarantineId>, AwsError> {
    match event.lifecycle.state(now) {
        EventState::Quarantined => inbox.quarantine_id_of(event).await,
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
            ("quarantined", time(self.quarantined_at)),
            ("quarantine item", self.quarantine_item.clone()),
            (
                "requeued by the worker",
                count(self.requeues).map(|count| count + &reason_suffix(self.retry_reason.as_ref())),
            ),
            ("tries of the relay", count(self.attempts)),
            ("undeliverable (SQS)", count(self.undeliverable_count)),
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
        ]);
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        match &self.payload {
            Some(payload) => text + &payload.to_text(),
            None => text + "\nThe payload is not shown: --reveal shows it.\n",
        }
    }
}

/// Result of replaying events.
#[derive(Serialize)]
pub(crate) struct EventReplayReport {
    replays: Vec<EventReplay>,
    is_done: bool,
}

#[derive(Serialize)]
struct EventReplay {
    event: String,
    outcome: &'static str,
    message: String,
}

pub(crate) async fn replay(target: &Target, args: ReplayEventsArgs) -> anyhow::Result<EventReplayReport> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let operator = args.audit.operator();
    let mut plan = format!(
        "Send{} again, by {}, because: {}\n",
        if args.lost { " what was lost" } else { "" },
        operator.name,
        operator.reason
    );
    let mut keys = Vec::new();
    for event in &args.events {
        keys.push(resolve_key(&inbox, &table, event).await?);
    }
    for key in &keys {
        plan += &format!("  {key}  ({})\n", state_text(&inbox, &table, key, target.now()).await?);
    }
    plan += if args.lost {
        "The effect of each happens once, also if its message turns up after all."
    } else {
        "The effects of those that are done happen again, and carry the number of the replay."
    };
    if !confirm::is_confirmed(target, &args.confirm, &plan)? {
        return Ok(EventReplayReport { replays: Vec::new(), is_done: false });
    }
    let mut replays = Vec::new();
    for key in &keys {
        let replayed = if args.lost {
            inbox
                .replay_lost(
                    key,
                    args.purged,
                    &operator.audit_entry(OperatorAction::DeclareLost, target.now()),
                )
                .await
        } else {
            inbox.replay_done(key, &operator.audit_entry(OperatorAction::Replay, target.now())).await
        };
        let (outcome, message) = match replayed {
            Ok(replayed) => describe_outcome(&replayed, args.lost, target.now()),
            // Reported with the others: one failure does not keep the rest from being replayed.
            Err(fault) => ("failed", explain(&fault, &table)),
        };
        replays.push(EventReplay { event: key.event_id(), outcome, message });
    }
    Ok(EventReplayReport { replays, is_done: true })
}

/// Resolves a full id, or the bare id of a Fynapse event or of a batch with only one event.
async fn resolve_key(inbox: &Inbox, table: &ResourceRef, event: &EventRef) -> anyhow::Result<EventKey> {
    let id = match event {
        EventRef::Key(key) => return Ok(key.clone()),
        EventRef::BareId(id) => id,
    };
    let mut found = inbox.timeline(&batch_pk(id)).await.with_resource(table)?.events;
    // Several providers choose these ids, so the same one may name a batch and a signed event.
    for key in Provider::ALL.iter().filter_map(|provider| EventKey::signed(*provider, id.clone())) {
        found.extend(inbox.event(&key).await.with_resource(table)?);
    }
    let ids: Vec<_> = found.iter().map(|event| event.key.event_id()).collect();
    match (found.as_slice(), ids.as_slice()) {
        ([only], _) => Ok(only.key.clone()),
        ([], _) => anyhow::bail!(
            "no event {} of Fynapse is recorded in {table}, and no event of a batch with that id",
            id.as_str()
        ),
        _ => anyhow::bail!("{} is the id of several events: use one of {}", id.as_str(), ids.join(", ")),
    }
}

async fn state_text(
    inbox: &Inbox,
    table: &ResourceRef,
    key: &EventKey,
    now: UnixMillis,
) -> anyhow::Result<&'static str> {
    let event = inbox.event(key).await.with_resource(table)?;
    Ok(event.map_or("not recorded", |event| event.lifecycle.state(now).as_str()))
}

/// Explains why an event in this state was not sent again, with what to do.
fn why_not_replayed(state: EventState, as_lost: bool) -> String {
    match state {
        EventState::Quarantined => "is quarantined: `inboxctl quarantine replay ITEM --by NAME --why '…'` requeues it; `inboxctl events show` names the item".to_owned(),
        EventState::Done if as_lost => {
            "is done, so its message was not lost: replay it without --lost to repeat its effect".to_owned()
        }
        EventState::Sent => {
            "is sent, not done: it may still be processed. If its message is lost (after 14 days, or by a purge), use --lost".to_owned()
        }
        EventState::Claimed => "is claimed, not done: a worker is processing it".to_owned(),
        EventState::Recorded | EventState::Waiting | EventState::Done => {
            format!("is {}, not done: the relay will send it", state.as_str())
        }
    }
}

fn describe_outcome(replayed: &ReplayOutcome, as_lost: bool, now: UnixMillis) -> (&'static str, String) {
    match replayed {
        ReplayOutcome::Due { .. } if as_lost => ("due", "due: the relay sends it".to_owned()),
        ReplayOutcome::Due { replay } => ("due", format!("due: the relay sends it, as replay {replay}")),
        ReplayOutcome::WrongState(state) => ("not_done", why_not_replayed(*state, as_lost)),
        ReplayOutcome::MayStillBeQueued { until } => (
            "may_still_come",
            format!(
                "its message may still be on a queue until {}; if the queue was purged, use --purged",
                Timestamp(*until).with_age(now)
            ),
        ),
        ReplayOutcome::Conflict => {
            ("overtaken", "it was changed at the same time; nothing was done: try again".to_owned())
        }
        ReplayOutcome::NotFound => ("unknown", "is not recorded, or its record has expired".to_owned()),
    }
}

impl Render for EventReplayReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.replays.iter().map(|it| [it.event.clone(), it.message.clone()]);
        render_table(["EVENT", "OUTCOME"], rows.collect(), "nothing")
    }

    fn is_success(&self) -> bool {
        self.is_done && self.replays.iter().all(|it| it.outcome == "due")
    }
}
