//! `inboxctl due`.

use std::num::NonZeroUsize;

use clap::Args;
use inbox_aws::stores::DueKey;
use inbox_core::due_queue::DueQueue;
use inbox_core::event::EventKey;
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::output::{Render, Timestamp, render_table};
use crate::short_id::shorten;
use crate::target::Target;

#[derive(Args)]
pub(crate) struct DueArgs {
    /// Maximum number of items of each kind.
    #[arg(long, default_value = "20", value_name = "N")]
    limit: NonZeroUsize,
    /// Print whole ids and times.
    #[arg(long)]
    wide: bool,
}

/// Due items of each queue.
#[derive(Serialize)]
pub(crate) struct DueReport {
    queues: Vec<DueQueueOutput>,
    #[serde(skip)]
    is_wide: bool,
}

#[derive(Serialize)]
struct DueQueueOutput {
    queue: &'static str,
    items: Vec<DueRow>,
    /// True if there are more items than are listed.
    is_truncated: bool,
}

#[derive(Serialize)]
struct DueRow {
    item: String,
    due_at: Timestamp,
    /// Kind of the item, and its id as lists print it.
    #[serde(skip)]
    short_name: String,
}

pub(crate) async fn list(target: &Target, args: DueArgs) -> anyhow::Result<DueReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut queues = Vec::new();
    for &queue in DueQueue::ALL {
        let (due_keys, is_truncated) =
            stores.due_index.list_due_keys(queue, None, args.limit.get()).await.with_resource(&table)?;
        queues.push(DueQueueOutput { queue: queue.as_str(), items: rows(&due_keys), is_truncated });
    }
    Ok(DueReport { queues, is_wide: args.wide })
}

fn rows(due_keys: &[DueKey]) -> Vec<DueRow> {
    let kinds_and_ids: Vec<_> = due_keys.iter().map(kind_and_id).collect();
    // A batch and its completion have the same short id, behind different kinds.
    let ids_of = |kind: &str| {
        let of_kind = kinds_and_ids.iter().filter(|it| it.0 == kind);
        of_kind.map(|it| it.1.clone()).collect::<Vec<_>>()
    };
    let short_name = |kind: &str, id: &String| {
        let ids = ids_of(kind);
        let short = ids.iter().zip(shorten(&ids)).find(|it| it.0 == id).map(|it| it.1);
        format!("{kind} {}", short.unwrap_or_else(|| id.clone()))
    };
    let rows = due_keys.iter().zip(&kinds_and_ids);
    rows.map(|(due_key, (kind, id))| DueRow {
        item: display_name(due_key),
        due_at: Timestamp(due_key.due_at),
        short_name: short_name(kind, id),
    })
    .collect()
}

/// Id of a due item, as the other commands take it; behind its kind if it does not tell it.
pub(crate) fn display_name(due_key: &DueKey) -> String {
    match kind_and_id(due_key) {
        ("event" | "quarantine", id) => id,
        (kind, id) => format!("{kind} {id}"),
    }
}

/// The command that takes a due item, and the item's id.
fn kind_and_id(due_key: &DueKey) -> (&'static str, String) {
    let DueKey { pk, sk, .. } = due_key;
    let tracked =
        |kind: &'static str| Some((kind, pk.strip_prefix(&format!("rightfoot#{kind}#"))?.to_owned()));
    EventKey::from_table_key(pk, sk)
        .map(|key| ("event", key.event_id()))
        .or_else(|| QuarantineId::from_pk(pk).map(|id| ("quarantine", id.to_string())))
        .or_else(|| ["batch", "schedule", "submission"].into_iter().find_map(tracked))
        .unwrap_or_else(|| ("key", format!("{pk} {sk}")))
}

impl Render for DueReport {
    fn to_text(&self, now: UnixMillis) -> String {
        let title = |queue: &str| match queue {
            "outbox" => "For the relay: events to put on the queue, new ones or again",
            "poll" => "For the poller: batches, schedules and submissions that are not settled",
            _ => "For an operator: in quarantine since",
        };
        let render_queue = |it: &DueQueueOutput| {
            let rows = it.items.iter().map(|row| match self.is_wide {
                true => [row.item.clone(), row.due_at.with_age(now)],
                false => {
                    let due = format!("{} ({})", row.due_at.to_short_text(now), row.due_at.age(now));
                    [row.short_name.clone(), due]
                }
            });
            let more = if it.is_truncated { "There is more: --limit shows more.\n" } else { "" };
            format!("{}\n{}{more}", title(it.queue), render_table(["ITEM", "DUE"], rows.collect(), "nothing"))
        };
        self.queues.iter().map(render_queue).collect::<Vec<_>>().join("\n")
    }
}
