//! `inboxctl quarantine show`.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use inbox_aws::items::QuarantinedItem;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::item_ref;
use crate::audit::AuditLine;
use crate::aws_error::WithResource;
use crate::output::{Render, RevealedBytes, Timestamp, line, render_fields};
use crate::target::Target;
use crate::value_parsers::{QuarantineRef, parse_quarantine_ref};

#[derive(Args)]
pub(crate) struct ShowQuarantinedArgs {
    /// Item: `<provider>/<sha256>`, `<provider>/<subject>/<sha256>` if it came by a minted URL, or a short id as `list` prints it.
    #[arg(value_parser = parse_quarantine_ref)]
    item: QuarantineRef,
    /// Print the bytes, which may hold personal data.
    #[arg(long)]
    reveal: bool,
}

/// Details of a quarantined delivery.
#[derive(Serialize)]
pub(crate) struct QuarantineDetails {
    pub(crate) item: String,
    pub(crate) reason: &'static str,
    pub(crate) deliveries: u64,
    pub(crate) bytes: usize,
    pub(crate) first_received_at: Timestamp,
    last_received_at: Timestamp,
    /// Event of the delivery, if it was recorded before it was quarantined.
    pub(crate) event: Option<String>,
    subject: Option<String>,
    signed_at: Option<Timestamp>,
    headers: BTreeMap<String, String>,
    resolved_at: Option<Timestamp>,
    pub(crate) resolution: Option<&'static str>,
    /// Time at which the bytes were erased with a person that they named.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<Timestamp>,
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
            bytes: delivery.payload.bytes,
            first_received_at: Timestamp(delivery.first_received_at),
            last_received_at: Timestamp(delivery.last_received_at),
            event: delivery.event.as_ref().map(|key| key.event_id()),
            subject: delivery.subject.as_ref().map(ToString::to_string),
            signed_at: delivery.signed_at.map(|at| Timestamp(UnixMillis(at.0.saturating_mul(1_000)))),
            headers: delivery.headers.clone(),
            resolved_at: delivery.resolution.map(|(at, _)| Timestamp(at)),
            resolution: delivery.resolution.map(|(_, how)| how.as_str()),
            erased_at: delivery.payload.erased_at().map(Timestamp),
            audit_entries: AuditLine::from_entries(&delivery.audit_entries),
            payload: None,
        }
    }
}

pub(crate) async fn show(target: &Target, args: ShowQuarantinedArgs) -> anyhow::Result<QuarantineDetails> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let id = item_ref::find_id(&stores, &table, args.item).await?;
    let Some(delivery) = stores.operator.quarantined_item(&id).await.with_resource(&table)? else {
        bail!("{id} is not in quarantine in {table}");
    };
    let mut details = QuarantineDetails::from(&delivery);
    if args.reveal && details.erased_at.is_none() {
        details.payload = Some(RevealedBytes::of(
            stores.operator.quarantined_payload(&delivery).await.with_resource(&table)?,
        ));
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
            ("bytes erased", self.erased_at.map(|at| at.with_age(now))),
        ]);
        text.extend(self.headers.iter().map(|(name, value)| format!("header {name}: {}\n", line(value))));
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        match &self.payload {
            Some(payload) => text + &payload.to_text(),
            None if self.erased_at.is_some() => text,
            None => text + "\nThe bytes are not shown: --reveal shows them.\n",
        }
    }
}
