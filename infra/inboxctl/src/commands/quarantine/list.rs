//! `inboxctl quarantine list`.

use anyhow::bail;
use clap::Args;
use inbox_aws::stores::DueKey;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::show::QuarantineDetails;
use crate::aws_error::WithResource;
use crate::output::{Render, render_table};
use crate::paging::{PageArgs, decode_cursor, encode_cursor, next_page_hint};
use crate::target::Target;
use crate::value_parsers::parse_reason;

#[derive(Args)]
pub(crate) struct ListQuarantineArgs {
    /// Only items quarantined for this reason.
    #[arg(long, value_parser = parse_reason)]
    reason: Option<QuarantineReason>,
    #[command(flatten)]
    page: PageArgs,
}

/// A page of open items.
#[derive(Serialize)]
pub(crate) struct QuarantineList {
    items: Vec<QuarantineDetails>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
    #[serde(skip)]
    is_filtered: bool,
}

pub(crate) async fn list(target: &Target, args: ListQuarantineArgs) -> anyhow::Result<QuarantineList> {
    let cursor = args.page.page.as_deref().map(parse_cursor).transpose()?;
    let open = target
        .stores()?
        .operator
        .list_quarantine_newest_first(args.reason, cursor, args.page.limit.get())
        .await;
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
