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
use crate::target::Target;

#[derive(Args)]
pub(crate) struct DueArgs {
    /// Maximum number of items of each kind.
    #[arg(long, default_value = "20", value_name = "N")]
    limit: NonZeroUsize,
}

/// Due items of each queue.
#[derive(Serialize)]
pub(crate) struct DueReport {
    queues: Vec<DueQueueOutput>,
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
}

pub(crate) async fn list(target: &Target, args: DueArgs) -> anyhow::Result<DueReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut queues = Vec::new();
    for &queue in DueQueue::ALL {
        let (due_keys, is_truncated) =
            stores.due_index.list_due_keys(queue, None, args.limit.get()).await.with_resource(&table)?;
        let rows = due_keys
            .iter()
            .map(|it| DueRow { item: display_name(it), due_at: Timestamp(it.due_at) })
            .collect();
        queues.push(DueQueueOutput { queue: queue.as_str(), items: rows, is_truncated });
    }
    Ok(DueReport { queues })
}

/// Id of a due item, as the other commands take it.
pub(crate) fn display_name(due_key: &DueKey) -> String {
    let id =
        |kind: &str| due_key.pk.strip_prefix(&format!("rightfoot#{kind}#")).map(|id| format!("{kind} {id}"));
    EventKey::from_table_key(&due_key.pk, &due_key.sk)
        .map(|key| key.event_id())
        .or_else(|| QuarantineId::from_pk(&due_key.pk).map(|id| id.to_string()))
        .or_else(|| ["batch", "schedule", "submission"].into_iter().find_map(id))
        .unwrap_or_else(|| format!("{} {}", due_key.pk, due_key.sk))
}

impl Render for DueReport {
    fn to_text(&self, now: UnixMillis) -> String {
        let title = |queue: &str| match queue {
            "outbox" => {
                "For the relay: events to send to the queue, new or again (replayed, or requeued, for example to wait for Rightfoot)"
            }
            "poll" => "For the poller: batches, schedules and submissions that are not settled",
            _ => "For an operator: in quarantine since",
        };
        let render_queue = |it: &DueQueueOutput| {
            let rows = it.items.iter().map(|row| [row.item.clone(), row.due_at.with_age(now)]);
            let more = if it.is_truncated { "There is more: --limit shows more.\n" } else { "" };
            format!("{}\n{}{more}", title(it.queue), render_table(["ITEM", "DUE"], rows.collect(), "nothing"))
        };
        self.queues.iter().map(render_queue).collect::<Vec<_>>().join("\n")
    }
}
