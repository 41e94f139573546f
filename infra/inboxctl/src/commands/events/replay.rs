//! `inboxctl events replay`.

use anyhow::bail;
use clap::Args;
use inbox_aws::stores::{OperatorStore, ReplayOutcome, Stores};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::bulk_replay::{self, BulkReplayArgs, REPUBLISHED};
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
    /// The events' ids, the bare ids of Fynapse events or of batches, or short ids of the last `events list`.
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
    if args.bulk.selects_batches() {
        bail!(
            "--batch, --schedule and --authorizer need --since: they restrict a bulk replay, not the events that are named"
        );
    }
    target.render(&replay(target, args, operator).await?)
}

async fn replay(
    target: &Target,
    args: ReplayEventsArgs,
    operator: Operator,
) -> anyhow::Result<EventReplayReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut keys = Vec::new();
    for event in &args.events {
        keys.push(key_to_change(target, &stores, &table, event).await?);
    }
    let order: Vec<_> = keys.iter().map(EventKey::event_id).collect();
    let (mut planned, mut rows, mut replays) = (Vec::new(), String::new(), Vec::new());
    for key in keys {
        match planned_change(target, &stores, &table, &key, &args).await? {
            Ok(change) => {
                rows += &format!("  {key}  ({change})\n");
                planned.push(key);
            }
            Err(refusal) => replays.push(EventReplay::new(&key, &refusal, args.lost, target.now())),
        }
    }
    // Nobody is asked about what will not be done.
    if !planned.is_empty()
        && !is_confirmed(target, &args.confirm, &plan_text(&args, &operator, &rows, &replays))?
    {
        return Ok(EventReplayReport { replays: Vec::new(), is_done: false });
    }
    for key in &planned {
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
        replays.push(match replayed {
            Ok(outcome) => EventReplay::new(key, &outcome, args.lost, target.now()),
            // Reported with the others: one failure does not keep the rest from being replayed.
            Err(fault) => {
                EventReplay { event: key.event_id(), outcome: "failed", message: explain(&fault, &table) }
            }
        });
    }
    replays.sort_by_key(|it| order.iter().position(|id| *id == it.event));
    Ok(EventReplayReport { replays, is_done: true })
}

/// Reads an event, and describes its state and what it becomes; or the outcome, if nothing will be done.
async fn planned_change(
    target: &Target,
    stores: &Stores,
    table: &ResourceRef,
    key: &EventKey,
    args: &ReplayEventsArgs,
) -> anyhow::Result<Result<String, ReplayOutcome>> {
    let now = target.now();
    let Some(event) = stores.operator.event(key).await.with_resource(table)? else {
        return Ok(Err(ReplayOutcome::NotFound));
    };
    let refusal = if args.lost {
        OperatorStore::refusal_to_replay_lost(&event, args.purged, now)
    } else {
        OperatorStore::refusal_to_replay_done(&event, now)
    };
    Ok(match refusal {
        Some(refusal) => Err(refusal),
        None if args.lost => Ok(event.lifecycle.state(now).as_str().to_owned()),
        None => Ok(format!("done; becomes replay {}", event.replay + 1)),
    })
}

/// Describes what will be done, a line for each event.
fn plan_text(args: &ReplayEventsArgs, operator: &Operator, rows: &str, refused: &[EventReplay]) -> String {
    let what = if args.lost { " what was lost" } else { "" };
    let mut plan = format!("Send{what} again, by {}, because: {}\n{rows}", operator.name, operator.reason);
    for EventReplay { event, message, .. } in refused {
        plan += &format!("  left out: {event}: {message}\n");
    }
    plan + if args.lost {
        "The effect of each happens once, also if its message turns up after all."
    } else {
        REPUBLISHED
    }
}

impl EventReplay {
    fn new(key: &EventKey, outcome: &ReplayOutcome, as_lost: bool, now: UnixMillis) -> Self {
        let (outcome, message) = describe_outcome(outcome, as_lost, now);
        Self { event: key.event_id(), outcome, message }
    }
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
