//! `inboxctl quarantine list|show|replay|discard`.

mod discard;
mod preview;
mod replay;

use std::collections::BTreeMap;

use anyhow::bail;
use inbox_aws::inbox::{DueKey, QuarantinedItem};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::cli::{ListQuarantineArgs, ShowQuarantinedArgs};
use crate::output::{
    AuditLine, Render, RevealedBytes, Timestamp, decode_cursor, encode_cursor, line, next_page_hint,
    render_fields, render_table,
};
use crate::target::Target;

pub(crate) use discard::discard;
pub(crate) use replay::replay;

/// A page of open items.
#[derive(Serialize)]
pub(crate) struct QuarantineList {
    items: Vec<QuarantineDetails>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
    #[serde(skip)]
    is_filtered: bool,
}

/// Details of a quarantined delivery.
#[derive(Serialize)]
pub(crate) struct QuarantineDetails {
    item: String,
    reason: &'static str,
    deliveries: u64,
    bytes: usize,
    first_received_at: Timestamp,
    last_received_at: Timestamp,
    /// Event of the delivery, if it was recorded before it was quarantined.
    event: Option<String>,
    subject: Option<String>,
    signed_at: Option<Timestamp>,
    headers: BTreeMap<String, String>,
    resolved_at: Option<Timestamp>,
    resolution: Option<&'static str>,
    audit_entries: Vec<AuditLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<RevealedBytes>,
}

impl From<&QuarantinedItem> for QuarantineDetails {
    fn from(delivery: &QuarantinedItem) -> Self {
        Self {
            item: delivery.id.to_string(),
            reason: delivery.reason.as_str(),
            deliveries: delivery.deliveries,
            bytes: delivery.payload_bytes,
            first_received_at: Timestamp(delivery.first_received_at),
            last_received_at: Timestamp(delivery.last_received_at),
            event: delivery.event.as_ref().map(|key| key.event_id()),
            subject: delivery.subject.as_ref().map(ToString::to_string),
            signed_at: delivery.signed_at.map(|at| Timestamp(UnixMillis(at.0.saturating_mul(1_000)))),
            headers: delivery.headers.clone(),
            resolved_at: delivery.resolution.map(|(at, _)| Timestamp(at)),
            resolution: delivery.resolution.map(|(_, how)| how.as_str()),
            audit_entries: AuditLine::from_entries(&delivery.audit_entries),
            payload: None,
        }
    }
}

pub(crate) async fn list(target: &Target, args: ListQuarantineArgs) -> anyhow::Result<QuarantineList> {
    let cursor = args.page.page.as_deref().map(parse_cursor).transpose()?;
    let open = target.inbox()?.list_quarantine_newest_first(args.reason, cursor, args.page.limit.get()).await;
    let (deliveries, next) = open.with_resource(&target.inbox_table()?)?;
    let next = next.map(|it| encode_cursor(&[&it.due_at.0.to_string(), &it.pk, &it.sk]));
    Ok(QuarantineList {
        items: deliveries.iter().map(QuarantineDetails::from).collect(),
        next,
        is_filtered: args.reason.is_some(),
    })
}

/// Decodes a page token of the list of open items.
fn parse_cursor(token: &str) -> anyhow::Result<DueKey> {
    let [due_at, pk, sk] = decode_cursor(token)?;
    let Ok(due_at) = due_at.parse() else { bail!("--page: not a token of this list") };
    Ok(DueKey { due_at: UnixMillis(due_at), pk, sk })
}

impl Render for QuarantineList {
    fn to_text(&self, now: UnixMillis) -> String {
        let rows = self.items.iter().map(|it| {
            [
                it.item.clone(),
                it.reason.to_owned(),
                it.deliveries.to_string(),
                it.bytes.to_string(),
                it.event.clone().unwrap_or_else(|| "-".to_owned()),
                it.first_received_at.with_age(now),
            ]
        });
        let headers = ["ITEM", "REASON", "DELIVERIES", "BYTES", "EVENT", "FIRST RECEIVED"];
        let if_empty = if self.is_filtered { "nothing is open for that reason" } else { "nothing is open" };
        render_table(headers, rows.collect(), if_empty) + &next_page_hint(self.next.as_ref())
    }
}

pub(crate) async fn show(target: &Target, args: ShowQuarantinedArgs) -> anyhow::Result<QuarantineDetails> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let Some(delivery) = inbox.quarantined_item(&args.item).await.with_resource(&table)? else {
        bail!("{} is not in quarantine in {table}", args.item);
    };
    let mut details = QuarantineDetails::from(&delivery);
    if args.reveal {
        details.payload =
            Some(RevealedBytes::of(inbox.quarantined_payload(&delivery).await.with_resource(&table)?));
    }
    Ok(details)
}

impl Render for QuarantineDetails {
    fn to_text(&self, now: UnixMillis) -> String {
        let closed = self.resolution.zip(self.resolved_at);
        let mut text = render_fields([
            ("item", Some(self.item.clone())),
            ("reason", Some(self.reason.to_owned())),
            (
                "closed",
                Some(closed.map_or("no".to_owned(), |(how, at)| format!("{how}, {}", at.with_age(now)))),
            ),
            ("event", self.event.clone()),
            ("deliveries", Some(self.deliveries.to_string())),
            ("first received", Some(self.first_received_at.with_age(now))),
            ("last received", Some(self.last_received_at.with_age(now))),
            ("verified by the URL of", self.subject.clone()),
            ("signed at", self.signed_at.map(|at| at.with_age(now))),
            ("bytes", Some(self.bytes.to_string())),
        ]);
        text.extend(self.headers.iter().map(|(name, value)| format!("header {name}: {}\n", line(value))));
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        match &self.payload {
            Some(payload) => text + &payload.to_text(),
            None => text + "\nThe bytes are not shown: --reveal shows them.\n",
        }
    }
}
