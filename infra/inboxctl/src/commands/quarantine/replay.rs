//! `inboxctl quarantine replay`.

use std::num::NonZeroUsize;

use clap::Args;
use inbox_aws::event_recorder::EventRecorder;
use inbox_aws::quarantine_replay::{QuarantineReplayOutcome, QuarantineReplayer};
use inbox_aws::queue::EventsQueue;
use inbox_core::quarantine::QuarantineId;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::item_ref;
use super::preview::{self, RequestedItem};
use crate::audit::AuditArgs;
use crate::aws_error::{WithResource, explain};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Timestamp, render_table};
use crate::target::Target;
use crate::terminal;
use crate::value_parsers::{QuarantineRef, parse_quarantine_ref, reason_parser};

#[derive(Args)]
pub(crate) struct ReplayQuarantinedArgs {
    /// Items, or short ids of the last `quarantine list`.
    #[arg(value_parser = parse_quarantine_ref, required_unless_present = "reason", conflicts_with = "reason")]
    items: Vec<QuarantineRef>,
    /// All open items of this reason, oldest first.
    #[arg(long, value_parser = reason_parser())]
    reason: Option<QuarantineReason>,
    /// With --reason: maximum number of items.
    #[arg(long, default_value = "100", value_name = "N")]
    limit: NonZeroUsize,
    /// Also replay deliveries older than the retention of records; if one was recorded then, it may be published again as new.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of replaying items.
#[derive(Serialize)]
pub(crate) struct QuarantineReplayReport {
    replays: Vec<QuarantineReplay>,
    is_done: bool,
}

#[derive(Serialize)]
struct QuarantineReplay {
    item: String,
    outcome: &'static str,
    event: Option<String>,
    message: String,
}

pub(crate) async fn replay(
    target: &Target,
    args: ReplayQuarantinedArgs,
) -> anyhow::Result<QuarantineReplayReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let (items, is_truncated) = match args.reason {
        Some(reason) => {
            let open = stores.operator.list_quarantine(Some(reason), None, args.limit.get()).await;
            let (open, next) = open.with_resource(&table)?;
            (RequestedItem::from_deliveries(open), next.is_some())
        }
        None => {
            let ids = item_ref::ids_to_change(target, args.items)?;
            (RequestedItem::load(&stores, ids).await.with_resource(&table)?, false)
        }
    };
    let operator = args.audit.operator();
    let mut plan = String::new();
    // With --force the plan is always printed, even with --yes.
    if !args.confirm.yes || args.force {
        let force = if args.force { ", however old" } else { "" };
        let rows = preview::render_items(&stores, &items, target.now()).await;
        plan = format!(
            "Replay out of quarantine{force}, by {}, because: {}\n{rows}",
            operator.name, operator.reason
        );
        if is_truncated {
            plan += &format!("(There are more for this reason: --limit {}.)\n", args.limit);
        }
    }
    if args.confirm.yes {
        terminal::print_notice(&plan);
    }
    if items.is_empty() || !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(QuarantineReplayReport { replays: Vec::new(), is_done: items.is_empty() });
    }
    // The queue is looked up only now: a plan that is not confirmed does not need it.
    let queue = EventsQueue::new(target.sqs(), target.events_queue().await?.name);
    let replayer = QuarantineReplayer::new(
        stores.operator,
        EventRecorder::new(stores.events, queue, target.clock.clone()),
    );
    let replayer = if args.force { replayer.force() } else { replayer };
    let mut replays = Vec::new();
    for RequestedItem { id, .. } in &items {
        let replay = match replayer.replay(id, &operator).await {
            Ok(outcome) => describe_outcome(id, &outcome, target.now()),
            Err(fault) => new_replay(id, "failed", None, explain(&fault, &table)),
        };
        replays.push(replay);
    }
    Ok(QuarantineReplayReport { replays, is_done: true })
}

fn new_replay(
    id: &QuarantineId,
    outcome: &'static str,
    event: Option<String>,
    message: String,
) -> QuarantineReplay {
    QuarantineReplay { item: id.to_string(), outcome, event, message }
}

fn describe_outcome(
    id: &QuarantineId,
    outcome: &QuarantineReplayOutcome,
    now: UnixMillis,
) -> QuarantineReplay {
    match outcome {
        QuarantineReplayOutcome::Closed { resolution: how, key, is_reopened, enqueue_error } => {
            let mut message = format!("{}: {key}", how.as_str());
            if let Some(fault) = enqueue_error {
                message += &format!(" (the relay sends it: {fault})");
            }
            if *is_reopened {
                message += " (the same bytes were delivered again and are in quarantine)";
            }
            new_replay(id, how.as_str(), Some(key.event_id()), message)
        }
        QuarantineReplayOutcome::StillUnusable(reason) => {
            new_replay(id, "stays", None, format!("stays: still {}", reason.as_str()))
        }
        QuarantineReplayOutcome::Unverified => new_replay(
            id,
            "stays",
            None,
            "stays: the item does not say how its bytes were verified".to_owned(),
        ),
        QuarantineReplayOutcome::TooOld { signed_at } => {
            let signed_at = Timestamp(UnixMillis(signed_at.0.saturating_mul(1_000)));
            let message = format!(
                "stays: signed {}. If it was recorded then, its record may have expired, and it would be published \
                 again as new; --force replays it",
                signed_at.with_age(now)
            );
            new_replay(id, "too_old", None, message)
        }
        QuarantineReplayOutcome::AlreadyClosed(how) => {
            new_replay(id, "was_closed", None, format!("was closed before: {}", how.as_str()))
        }
        QuarantineReplayOutcome::Conflict => new_replay(
            id,
            "overtaken",
            None,
            "its event is being processed, or the item was changed at the same time; nothing was done"
                .to_owned(),
        ),
        QuarantineReplayOutcome::EventExpired(key) => {
            new_replay(id, "event_gone", Some(key.event_id()), format!("the record of {key} has expired"))
        }
        QuarantineReplayOutcome::NotFound => {
            new_replay(id, "unknown", None, "is not in quarantine".to_owned())
        }
    }
}

impl Render for QuarantineReplayReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.replays.iter().map(|it| [it.item.clone(), it.message.clone()]);
        render_table(["ITEM", "OUTCOME"], rows.collect(), "nothing is open for that reason")
    }

    fn is_success(&self) -> bool {
        let fine = ["recorded", "duplicate", "requeued", "was_closed"];
        self.is_done && self.replays.iter().all(|it| fine.contains(&it.outcome))
    }
}
