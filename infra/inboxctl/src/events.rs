//! `events list|show|replay`.

use inbox_aws::AwsError;
use inbox_aws::inbox::{EventFilter, EventView, Inbox, PastCycle, ReplayOutcome, ScanCursor as Spot};
use inbox_core::audit::OperatorAction;
use inbox_core::event::{EventKey, batch_pk};
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::{WithResource, explain};
use crate::cli::{EventRef, ListEventsArgs, ReplayEventsArgs, ShowEventArgs};
use crate::confirm;
use crate::output::{
    AuditLine, Render, RevealedBytes, Timestamp, decode_cursor, encode_cursor, line, next_page_hint,
    pluralize, render_fields, render_table, timestamp as at_time,
};
use crate::target::{ResourceRef, Target};

/// A part of the recorded events.
#[derive(Serialize)]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    /// For `--page`.
    next: Option<String>,
}

#[derive(Serialize)]
struct EventRow {
    event: String,
    #[serde(rename = "type")]
    event_type: String,
    state: &'static str,
    /// Why a worker put it back last, while it waits on that account.
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

/// A place in the table, out of a token.
pub(crate) fn parse_cursor(token: &str) -> anyhow::Result<Spot> {
    let [pk, sk] = decode_cursor(token)?;
    Ok(Spot { pk, sk })
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

/// An earlier cycle of an event: from when it was due to its end.
#[derive(Serialize)]
struct PastCycleOutput {
    sent_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    quarantined_at: Option<Timestamp>,
    works: u64,
    retry_reason: Option<String>,
}

impl From<&PastCycle> for PastCycleOutput {
    fn from(it: &PastCycle) -> Self {
        Self {
            sent_at: at_time(it.sent_at),
            done_at: at_time(it.done_at),
            quarantined_at: at_time(it.quarantined_at),
            works: it.requeues,
            retry_reason: it.retry_reason.clone(),
        }
    }
}

/// One event.
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
    wanted_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    claim_until: Option<Timestamp>,
    due_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    quarantined_at: Option<Timestamp>,
    /// Where its bytes are kept while it is given up.
    quarantine_item: Option<String>,
    works: u64,
    /// Why a worker put it back last.
    retry_reason: Option<String>,
    attempts: u64,
    refusals: u64,
    replay: u64,
    /// Its cycles before the present one, the earliest first.
    past_cycles: Vec<PastCycleOutput>,
    expires_at: Option<Timestamp>,
    payload_bytes: usize,
    payload_sha256: String,
    interventions: Vec<AuditLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<RevealedBytes>,
}

impl EventDetails {
    /// An event, and the item of quarantine that it is kept in.
    pub(crate) fn new(event: &EventView, item: Option<&QuarantineId>, now: UnixMillis) -> Self {
        let (lifecycle, state) = (&event.lifecycle, event.lifecycle.state(now));
        let expires_at = event.expires_at.map(|at| UnixMillis(at.0.saturating_mul(1_000)));
        Self {
            event: event.key.event_id(),
            event_type: event.event_type.clone(),
            state: state.as_str(),
            origin: event.origin.as_str(),
            subject: event.subject.clone(),
            idempotency_key: event.idempotency_key.clone(),
            received_at: Timestamp(event.received_at),
            wanted_at: at_time(event.enqueue_after),
            sent_at: at_time(lifecycle.sent_at),
            claim_until: at_time(lifecycle.claim_until),
            due_at: at_time(lifecycle.due_at),
            done_at: at_time(lifecycle.done_at),
            quarantined_at: at_time(lifecycle.quarantined_at),
            quarantine_item: item.map(ToString::to_string),
            works: lifecycle.requeues,
            retry_reason: event.retry_reason.clone(),
            attempts: event.attempts,
            refusals: event.undeliverable_count,
            replay: event.replay,
            past_cycles: event.past_cycles.iter().map(PastCycleOutput::from).collect(),
            expires_at: at_time(expires_at),
            payload_bytes: event.payload_bytes,
            payload_sha256: event.payload_hash.clone(),
            interventions: AuditLine::from_entries(&event.audit_entries),
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

    /// What happened to it since it was recorded.
    pub(crate) fn timeline_steps(&self) -> Vec<(Timestamp, String)> {
        let cycle_steps = |sent_at, done_at, quarantined_at| {
            let times = [
                (sent_at, "is put on the queue"),
                (done_at, "is done: its effect is on the bus"),
                (quarantined_at, "is given up"),
            ];
            times.into_iter().filter_map(|(at, what)| Some((at?, what.to_owned())))
        };
        let past = self.past_cycles.iter();
        let past = past.flat_map(|it| cycle_steps(it.sent_at, it.done_at, it.quarantined_at));
        let present = cycle_steps(self.sent_at, self.done_at, self.quarantined_at);
        past.chain(present).chain(self.interventions.iter().map(AuditLine::timeline_step)).collect()
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

/// The item of quarantine that an event is kept in, while it is given up.
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
            ("wanted on the queue", time(self.wanted_at)),
            ("sent", time(self.sent_at)),
            ("claimed until", time(self.claim_until)),
            ("due", time(self.due_at)),
            ("done", time(self.done_at)),
            ("given up", time(self.quarantined_at)),
            ("quarantine item", self.quarantine_item.clone()),
            (
                "put back by the worker",
                count(self.works).map(|works| works + &reason_suffix(self.retry_reason.as_ref())),
            ),
            ("tries of the relay", count(self.attempts)),
            ("refused by SQS", count(self.refusals)),
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
        text.extend(self.interventions.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        match &self.payload {
            Some(payload) => text + &payload.to_text(),
            None => text + "\nThe payload is not shown: --reveal shows it.\n",
        }
    }
}

/// What became of replaying events.
#[derive(Serialize)]
pub(crate) struct EventReplayReport {
    replays: Vec<EventReplay>,
    is_done: bool,
}

#[derive(Serialize)]
struct EventReplay {
    event: String,
    outcome: &'static str,
    told: String,
}

pub(crate) async fn replay(target: &Target, args: ReplayEventsArgs) -> anyhow::Result<EventReplayReport> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let operator = args.audit.operator();
    let mut plan = format!(
        "Send{} again, by {}, because: {}\n",
        if args.lost { " what is lost" } else { "" },
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
            Err(fault) => ("failed", explain(&fault, &table)),
        };
        replays.push(EventReplay { event: key.event_id(), outcome, told: message });
    }
    Ok(EventReplayReport { replays, is_done: true })
}

/// The event that is meant: by its whole id, or by the bare id of a Fynapse event or of a batch with one event.
async fn resolve_key(inbox: &Inbox, table: &ResourceRef, event: &EventRef) -> anyhow::Result<EventKey> {
    let id = match event {
        EventRef::Key(key) => return Ok(key.clone()),
        EventRef::BareId(id) => id,
    };
    let mut found = inbox.timeline(&batch_pk(id)).await.with_resource(table)?.events;
    found.extend(inbox.event(&EventKey::Fynapse { event_id: id.clone() }).await.with_resource(table)?);
    let ids: Vec<_> = found.iter().map(|event| event.key.event_id()).collect();
    match (found.as_slice(), ids.as_slice()) {
        ([only], _) => Ok(only.key.clone()),
        ([], _) => anyhow::bail!(
            "no event {} of Fynapse's is recorded in {table}, and none of a batch of that id",
            id.as_str()
        ),
        _ => anyhow::bail!("{} is the id of several events: say which of {}", id.as_str(), ids.join(", ")),
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

/// Why an event was not sent again that is in this state.
fn why_not_replayed(state: EventState, as_lost: bool) -> String {
    match state {
        EventState::Quarantined => "was given up: `inboxctl quarantine replay ITEM --by NAME --why '…'` puts it on its way again; `inboxctl events show` names the item".to_owned(),
        EventState::Done if as_lost => {
            "is done, so its message was not lost: without --lost its effect happens again".to_owned()
        }
        EventState::Sent => {
            "is sent, not done: it is still on its way. If its message is gone (after 14 days, or by a purge): --lost".to_owned()
        }
        EventState::Claimed => "is claimed, not done: a worker is at it".to_owned(),
        EventState::Recorded | EventState::Waiting | EventState::Done => {
            format!("is {}, not done: it is still on its way, and the relay sends it", state.as_str())
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
                "its message may still be on a queue, until {}; if that was purged: --purged",
                Timestamp(*until).with_age(now)
            ),
        ),
        ReplayOutcome::Conflict => {
            ("overtaken", "somebody else has changed it meanwhile; nothing was done".to_owned())
        }
        ReplayOutcome::NotFound => ("unknown", "is not recorded, or its record has expired".to_owned()),
    }
}

impl Render for EventReplayReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.replays.iter().map(|it| [it.event.clone(), it.told.clone()]);
        render_table(["EVENT", "OUTCOME"], rows.collect(), "nothing")
    }

    fn is_success(&self) -> bool {
        self.is_done && self.replays.iter().all(|it| it.outcome == "due")
    }
}
