//! `inboxctl quarantine list`.

use clap::{Args, ValueEnum};
use inbox_aws::stores::QuarantineFilter;
use inbox_core::delivery::Provider;
use inbox_core::list_kind::ListKind;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::show::QuarantineDetails;
use crate::aws_error::WithResource;
use crate::output::{Render, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::{TimeRangeArgs, provider_parser, reason_parser};

#[derive(Args)]
pub(crate) struct ListQuarantineArgs {
    /// Only items in this state.
    #[arg(long, value_enum, default_value_t = ItemState::Open)]
    state: ItemState,
    /// Only items quarantined for this reason.
    #[arg(long, value_parser = reason_parser())]
    reason: Option<QuarantineReason>,
    /// Only items of this provider.
    #[arg(long, value_parser = provider_parser())]
    provider: Option<Provider>,
    /// Only items that came by the URL of this subject.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    #[command(flatten)]
    received: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// State of a quarantined item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ItemState {
    /// Not resolved.
    Open,
    /// Replayed or discarded.
    Closed,
    /// Either.
    Any,
}

/// A page of quarantined items.
#[derive(Serialize)]
pub(crate) struct QuarantineList {
    items: Vec<QuarantineDetails>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    printed: Vec<PrintedCells>,
    #[serde(skip)]
    if_empty: &'static str,
}

/// The cells of an item whose form depends on `--wide`.
struct PrintedCells {
    id: String,
    event: String,
    time: String,
}

pub(crate) async fn list(target: &Target, args: ListQuarantineArgs) -> anyhow::Result<QuarantineList> {
    let now = target.now();
    let if_empty = match (args.state, args.reason, args.provider, &args.subject) {
        (ItemState::Open, None, None, None) => "nothing is open",
        (ItemState::Open, Some(_), None, None) => "nothing is open for that reason",
        _ => "no item matches",
    };
    let filter = QuarantineFilter {
        received: args.received.resolve(now)?,
        provider: args.provider,
        reason: args.reason,
        subject: args.subject,
        is_open: match args.state {
            ItemState::Open => Some(true),
            ItemState::Closed => Some(false),
            ItemState::Any => None,
        },
    };
    let listed = target
        .stores()?
        .operator
        .list_quarantined_items(&filter, &args.page.start(), args.page.limit())
        .await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let items: Vec<_> = page.items.iter().map(QuarantineDetails::from).collect();
    let ids: Vec<_> = items.iter().map(|it| it.item.clone()).collect();
    let printed_cells = |(it, id): (&QuarantineDetails, String)| PrintedCells {
        id,
        event: it.event.as_ref().map_or("-".to_owned(), |event| args.page.printed_id(event)),
        time: args.page.printed_time(it.first_received_at, now),
    };
    let printed = items
        .iter()
        .zip(args.page.printed_ids(target, ListKind::Quarantine, &ids))
        .map(printed_cells)
        .collect();
    Ok(QuarantineList { items, page: PageInfo::new(&page, &args.page), printed, if_empty })
}

impl Render for QuarantineList {
    fn to_text(&self, _: UnixMillis) -> String {
        let rows = self.items.iter().zip(&self.printed).map(|(it, printed)| {
            [
                printed.id.clone(),
                it.resolution.map_or(it.reason.to_owned(), |how| format!("{} ({how})", it.reason)),
                it.deliveries.to_string(),
                it.bytes.to_string(),
                printed.event.clone(),
                printed.time.clone(),
            ]
        });
        let headers = ["ITEM", "REASON", "DELIVERIES", "BYTES", "EVENT", "FIRST RECEIVED"];
        render_table(headers, rows.collect(), self.if_empty) + &self.page.to_text()
    }
}
