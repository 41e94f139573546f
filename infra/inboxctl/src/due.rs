//! `due`.

use inbox_aws::inbox::DueKey;
use inbox_core::event::EventKey;
use inbox_core::inbox::DueQueue;
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::Due;
use crate::place::Place;
use crate::trouble::About;
use crate::view::{At, Found, table};

/// What waits, desk by desk.
#[derive(Serialize)]
pub(crate) struct AllDue {
    desks: Vec<DeskDue>,
}

#[derive(Serialize)]
struct DeskDue {
    desk: &'static str,
    waiting: Vec<Item>,
    /// Whether there is more than what is listed.
    is_cut_off: bool,
}

#[derive(Serialize)]
struct Item {
    what: String,
    due_at: At,
}

pub(crate) async fn due(at: &Place, args: Due) -> anyhow::Result<AllDue> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let mut desks = Vec::new();
    for desk in DueQueue::ALL {
        let (waiting, is_cut_off) = inbox.list_due_keys(desk, None, args.limit.get()).await.about(&table)?;
        let waiting = waiting.iter().map(|it| Item { what: name_of(it), due_at: At(it.due_at) }).collect();
        desks.push(DeskDue { desk: desk.as_str(), waiting, is_cut_off });
    }
    Ok(AllDue { desks })
}

/// What a waiting item is called on this command line.
pub(crate) fn name_of(waiting: &DueKey) -> String {
    let id =
        |kind: &str| waiting.pk.strip_prefix(&format!("rightfoot#{kind}#")).map(|id| format!("{kind} {id}"));
    EventKey::from_table_key(&waiting.pk, &waiting.sk)
        .map(|key| key.event_id())
        .or_else(|| QuarantineId::from_pk(&waiting.pk).map(|id| id.to_string()))
        .or_else(|| ["batch", "schedule", "submission"].into_iter().find_map(id))
        .unwrap_or_else(|| format!("{} {}", waiting.pk, waiting.sk))
}

impl Found for AllDue {
    fn text(&self, now: UnixMillis) -> String {
        let title = |desk: &str| match desk {
            "outbox" => "For the relay: recorded, and not known to be on the queue",
            "poll" => {
                "For the poller: batches, schedules and submissions about which something is not known yet"
            }
            _ => "For an operator: in quarantine since",
        };
        let of_desk = |it: &DeskDue| {
            let rows = it.waiting.iter().map(|item| [item.what.clone(), item.due_at.told(now)]);
            let more = if it.is_cut_off { "There is more: --limit shows more.\n" } else { "" };
            format!("{}\n{}{more}", title(it.desk), table(["WHAT", "DUE"], rows.collect(), "nothing"))
        };
        self.desks.iter().map(of_desk).collect::<Vec<_>>().join("\n")
    }
}
