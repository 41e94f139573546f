//! `inboxctl events replay`.

use clap::Args;
use inbox_aws::stores::{ReplayOutcome, Stores};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::bulk_replay::{self, BulkReplayArgs};
use super::event_ref::{EventRef, key_to_change, parse_event_ref};
use crate::audit::{parse_by, parse_why};
use crate::aws_error::{ResourceRef, WithResource, explain};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Rendered, Timestamp, render_table};
use crate::target::Target;

#[derive(Args)]
#[command(override_usage = "inboxctl events replay [OPTIONS] --by <NAME> --why <TEXT> <EVENTS>...
       inboxctl events replay [OPTIONS] --by <NAME> --why <TEXT> --since <TIME> [--until <TIME>]
       inboxctl events replay [OPTIONS] --since <TIME> [--until <TIME>] --dry-run")]
pub(crate) struct ReplayEventsArgs {
    /// The events' ids, the bare ids of Fynapse events or of batches, or short ids of the last printed list.
    #[arg(required_unless_present = "since", conflicts_with = "since", value_parser = parse_event_ref)]
    events: Vec<EventRef>,
    #[command(flatten)]
    bulk: BulkReplayArgs,
    /// The messages of these events are lost: sent, never done. Refused for 14 days after sending, while the queues may still
    /// hold them. If a message arrives after all, its effect still happens only once.
    #[arg(long, conflicts_with = "since")]
    lost: bool,
    /// With --lost: the queue was purged; skip the 14 days.
    #[arg(long, requires = "lost")]
    purged: bool,
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by, required_unless_present = "dry_run")]
    by: Option<String>,
    /// Reason, for the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = parse_why, required_unless_present = "dry_run")]
    why: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
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

/// Replays the named events, or those of a time range.
pub(super) async fn run(target: &Target, args: ReplayEventsArgs) -> anyhow::Result<Rendered> {
    // A dry run has neither a name nor a reason, and changes nothing.
    let operator =
        Operator { name: args.by.clone().unwrap_or_default(), reason: args.why.clone().unwrap_or_default() };
    if args.bulk.is_given() {
        return target.render(&bulk_replay::replay(target, args.bulk, &operator, &args.confirm).await?);
    }
    target.render(&replay(target, args, operator).await?)
}

async fn replay(
    target: &Target,
    args: ReplayEventsArgs,
    operator: Operator,
) -> anyhow::Result<EventReplayReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut plan = format!(
        "Send{} again, by {}, because: {}\n",
        if args.lost { " what was lost" } else { "" },
        operator.name,
        operator.reason
    );
    let mut keys = Vec::new();
    for event in &args.events {
        keys.push(key_to_change(target, &stores, &table, event).await?);
    }
    for key in &keys {
        plan += &format!("  {key}  ({})\n", state_text(&stores, &table, key, target.now()).await?);
    }
    plan += if args.lost {
        "The effect of each happens once, also if its message turns up after all."
    } else {
        "The effects of those that are done happen again, and carry the number of the replay."
    };
    if !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(EventReplayReport { replays: Vec::new(), is_done: false });
    }
    let mut replays = Vec::new();
    for key in &keys {
        let replayed = if args.lost {
            stores
                .operator
                .replay_lost(
                    key,
                    args.purged,
                    &operator.audit_entry(OperatorAction::DeclareLost, target.now()),
                )
                .await
        } else {
            stores
                .operator
                .replay_done(key, &operator.audit_entry(OperatorAction::Replay, target.now()))
                .await
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

async fn state_text(
    stores: &Stores,
    table: &ResourceRef,
    key: &EventKey,
    now: UnixMillis,
) -> anyhow::Result<&'static str> {
    let event = stores.operator.event(key).await.with_resource(table)?;
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
        ReplayOutcome::AlreadyReplayed => ("due", "was replayed by this bulk replay before".to_owned()),
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
