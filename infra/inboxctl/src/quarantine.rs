//! `quarantine list|show|replay|discard`.

mod discard;
mod plan;
mod replay;

use std::collections::BTreeMap;

use anyhow::bail;
use inbox_aws::inbox::{QuarantinedItem, DueKey};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::{ListKept, ShowKept};
use crate::place::Place;
use crate::trouble::About;
use crate::view::{At, Found, Revealed, Trace, facts, line, more, table, token, untoken};

pub(crate) use discard::discard;
pub(crate) use replay::replay;

/// The open items.
#[derive(Serialize)]
pub(crate) struct Listed {
    items: Vec<Item>,
    /// For `--page`.
    next: Option<String>,
    #[serde(skip)]
    is_of_one_reason: bool,
}

/// A quarantined item.
#[derive(Serialize)]
pub(crate) struct Item {
    item: String,
    reason: &'static str,
    deliveries: u64,
    bytes: usize,
    first_received_at: At,
    last_received_at: At,
    /// The event that it was, if it was recorded and given up.
    event: Option<String>,
    subject: Option<String>,
    signed_at: Option<At>,
    headers: BTreeMap<String, String>,
    closed_at: Option<At>,
    closed_as: Option<&'static str>,
    interventions: Vec<Trace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Revealed>,
}

impl From<&QuarantinedItem> for Item {
    fn from(kept: &QuarantinedItem) -> Self {
        Self {
            item: kept.id.to_string(),
            reason: kept.reason.as_str(),
            deliveries: kept.deliveries,
            bytes: kept.payload_bytes,
            first_received_at: At(kept.first_received_at),
            last_received_at: At(kept.last_received_at),
            event: kept.event.as_ref().map(|key| key.event_id()),
            subject: kept.subject.as_ref().map(ToString::to_string),
            signed_at: kept.signed_at.map(|at| At(UnixMillis(at.0.saturating_mul(1_000)))),
            headers: kept.headers.clone(),
            closed_at: kept.resolution.map(|(at, _)| At(at)),
            closed_as: kept.resolution.map(|(_, how)| how.as_str()),
            interventions: Trace::of(&kept.audit_entries),
            payload: None,
        }
    }
}

pub(crate) async fn list(at: &Place, args: ListKept) -> anyhow::Result<Listed> {
    let after = args.page.page.as_deref().map(waiting).transpose()?;
    let open = at.inbox()?.list_quarantine_newest_first(args.reason, after, args.page.limit.get()).await;
    let (open, next) = open.about(&at.table()?)?;
    let next = next.map(|it| token(&[&it.due_at.0.to_string(), &it.pk, &it.sk]));
    let is_of_one_reason = args.reason.is_some();
    Ok(Listed { items: open.iter().map(Item::from).collect(), next, is_of_one_reason })
}

/// A place in the list of open items, out of a token.
fn waiting(token: &str) -> anyhow::Result<DueKey> {
    let [due_at, pk, sk] = untoken(token)?;
    let Ok(due_at) = due_at.parse() else { bail!("--page: not a token of this list") };
    Ok(DueKey { due_at: UnixMillis(due_at), pk, sk })
}

impl Found for Listed {
    fn text(&self, now: UnixMillis) -> String {
        let rows = self.items.iter().map(|it| {
            [
                it.item.clone(),
                it.reason.to_owned(),
                it.deliveries.to_string(),
                it.bytes.to_string(),
                it.event.clone().unwrap_or_else(|| "-".to_owned()),
                it.first_received_at.told(now),
            ]
        });
        let names = ["ITEM", "REASON", "DELIVERIES", "BYTES", "EVENT", "FIRST RECEIVED"];
        let none = if self.is_of_one_reason { "nothing is open for that reason" } else { "nothing is open" };
        table(names, rows.collect(), none) + &more(self.next.as_ref())
    }
}

pub(crate) async fn show(at: &Place, args: ShowKept) -> anyhow::Result<Item> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let Some(kept) = inbox.quarantined_item(&args.item).await.about(&table)? else {
        bail!("{} is not in quarantine in {table}", args.item);
    };
    let mut item = Item::from(&kept);
    if args.reveal {
        item.payload = Some(Revealed::of(inbox.quarantined_payload(&kept).await.about(&table)?));
    }
    Ok(item)
}

impl Found for Item {
    fn text(&self, now: UnixMillis) -> String {
        let closed = self.closed_as.zip(self.closed_at);
        let mut text = facts([
            ("item", Some(self.item.clone())),
            ("reason", Some(self.reason.to_owned())),
            ("closed", Some(closed.map_or("no".to_owned(), |(how, at)| format!("{how}, {}", at.told(now))))),
            ("event", self.event.clone()),
            ("deliveries", Some(self.deliveries.to_string())),
            ("first received", Some(self.first_received_at.told(now))),
            ("last received", Some(self.last_received_at.told(now))),
            ("proven by the URL of", self.subject.clone()),
            ("proven by a signature of", self.signed_at.map(|at| at.told(now))),
            ("bytes", Some(self.bytes.to_string())),
        ]);
        text.extend(self.headers.iter().map(|(name, value)| format!("header {name}: {}\n", line(value))));
        text.extend(self.interventions.iter().map(|it| format!("operator: {}\n", line(&it.told(now)))));
        match &self.payload {
            Some(payload) => text + &payload.told(),
            None => text + "\nThe bytes are not shown: --reveal shows them.\n",
        }
    }
}
