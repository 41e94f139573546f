//! `quarantine replay`.

use inbox_aws::queue::EventsQueue;
use inbox_aws::ingest::Ingestor;
use inbox_aws::quarantine_replay::{QuarantineReplayOutcome, QuarantineReplayer};
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::plan::{self, Asked};
use crate::cli::ReplayKept;
use crate::place::Place;
use crate::trouble::{About, explain};
use crate::view::{At, Found, table};
use crate::{consent, terminal};

/// What became of replaying items.
#[derive(Serialize)]
pub(crate) struct Replays {
    replays: Vec<Replay>,
    is_done: bool,
}

#[derive(Serialize)]
struct Replay {
    item: String,
    outcome: &'static str,
    event: Option<String>,
    told: String,
}

pub(crate) async fn replay(at: &Place, args: ReplayKept) -> anyhow::Result<Replays> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let (items, is_cut_off) = match args.reason {
        Some(reason) => {
            let open = inbox.list_quarantine(Some(reason), None, args.limit.get()).await;
            let (open, next) = open.about(&table)?;
            (Asked::found(open), next.is_some())
        }
        None => (Asked::named(&inbox, args.items).await.about(&table)?, false),
    };
    let operator = args.who.operator();
    let mut plan = String::new();
    // By force is only done what was shown.
    if !args.consent.yes || args.force {
        let force = if args.force { ", however old" } else { "" };
        let rows = plan::rows(&inbox, &items, at.now()).await;
        plan =
            format!("Replay out of quarantine{force}, by {}, because: {}\n{rows}", operator.by, operator.why);
        if is_cut_off {
            plan += &format!("(There are more for this reason: --limit {}.)\n", args.limit);
        }
    }
    if args.consent.yes {
        terminal::tell(&plan);
    }
    if items.is_empty() || !consent::is_given(at, &args.consent, &plan)? {
        return Ok(Replays { replays: Vec::new(), is_done: items.is_empty() });
    }
    let queue = EventsQueue::new(at.sqs(), at.queue().await?.name);
    let replayer = QuarantineReplayer::new(Ingestor::new(inbox, queue, at.clock.clone()));
    let replayer = if args.force { replayer.force() } else { replayer };
    let mut replays = Vec::new();
    for Asked { id, .. } in &items {
        let replay = match replayer.replay(id, &operator).await {
            Ok(outcome) => in_words(id, &outcome, at.now()),
            Err(fault) => replay_of(id, "failed", None, explain(&fault, &table)),
        };
        replays.push(replay);
    }
    Ok(Replays { replays, is_done: true })
}

fn replay_of(id: &QuarantineId, outcome: &'static str, event: Option<String>, told: String) -> Replay {
    Replay { item: id.to_string(), outcome, event, told }
}

fn in_words(id: &QuarantineId, outcome: &QuarantineReplayOutcome, now: UnixMillis) -> Replay {
    match outcome {
        QuarantineReplayOutcome::Closed { resolution: how, key, is_reopened: is_open_again, enqueue_error: left_to_relay } => {
            let mut told = format!("{}: {key}", how.as_str());
            if let Some(fault) = left_to_relay {
                told += &format!(" (left to the relay: {fault})");
            }
            if *is_open_again {
                told += " (the same bytes have come again, and are in quarantine)";
            }
            replay_of(id, how.as_str(), Some(key.event_id()), told)
        }
        QuarantineReplayOutcome::StillUnusable(reason) => replay_of(id, "stays", None, format!("stays: still {}", reason.as_str())),
        QuarantineReplayOutcome::Unverified => {
            replay_of(id, "stays", None, "stays: the item does not say how its bytes were proven".to_owned())
        }
        QuarantineReplayOutcome::TooOld { signed_at } => {
            let signed_at = At(UnixMillis(signed_at.0.saturating_mul(1_000)));
            let told = format!(
                "stays: signed {}. If it was recorded then, its record may have expired, and it would be published \
                 again as new; --force replays it",
                signed_at.told(now)
            );
            replay_of(id, "too_old", None, told)
        }
        QuarantineReplayOutcome::AlreadyClosed(how) => {
            replay_of(id, "was_closed", None, format!("was closed before: {}", how.as_str()))
        }
        QuarantineReplayOutcome::Conflict => replay_of(
            id,
            "overtaken",
            None,
            "its event is on its way, or somebody else is at it; nothing was done".to_owned(),
        ),
        QuarantineReplayOutcome::EventExpired(key) => {
            replay_of(id, "event_gone", Some(key.event_id()), format!("the record of {key} has expired"))
        }
        QuarantineReplayOutcome::NotFound => replay_of(id, "unknown", None, "is not in quarantine".to_owned()),
    }
}

impl Found for Replays {
    fn text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.replays.iter().map(|it| [it.item.clone(), it.told.clone()]);
        table(["ITEM", "OUTCOME"], rows.collect(), "nothing is open for that reason")
    }

    fn is_fine(&self) -> bool {
        let fine = ["recorded", "duplicate", "requeued", "was_closed"];
        self.is_done && self.replays.iter().all(|it| fine.contains(&it.outcome))
    }
}
