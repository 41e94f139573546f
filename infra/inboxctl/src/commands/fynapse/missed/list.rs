//! `inboxctl fynapse missed list`.

use clap::{Args, ValueEnum};
use inbox_aws::stores::MissedFilter;
use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::list_kind::ListKind;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::show::MissedDetails;
use crate::aws_error::WithResource;
use crate::output::{Render, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::{TimeRangeArgs, missed_reason_parser};

#[derive(Args)]
pub(crate) struct ListMissedArgs {
    /// Only deliveries in this state.
    #[arg(long, value_enum, default_value_t = MissedState::Open)]
    state: MissedState,
    /// Only deliveries that were missed for this reason.
    #[arg(long, value_parser = missed_reason_parser())]
    reason: Option<MissedReason>,
    #[command(flatten)]
    found: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// State of a missed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MissedState {
    /// Not resolved.
    Open,
    /// Resolved by an operator.
    Resolved,
    /// Either.
    Any,
}

/// A page of missed deliveries.
#[derive(Serialize)]
pub(crate) struct MissedList {
    missed: Vec<MissedDetails>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    printed: Vec<PrintedCells>,
}

/// The cells of a delivery whose form depends on `--wide`.
struct PrintedCells {
    id: String,
    event: String,
    created: String,
    found: String,
}

pub(super) async fn list(target: &Target, args: ListMissedArgs) -> anyhow::Result<MissedList> {
    let now = target.now();
    let filter = MissedFilter {
        found: args.found.resolve(now)?,
        reason: args.reason,
        is_open: match args.state {
            MissedState::Open => Some(true),
            MissedState::Resolved => Some(false),
            MissedState::Any => None,
        },
    };
    let (start, limit) = (args.page.start(), args.page.limit());
    let listed = target.stores()?.operator.list_missed_deliveries(&filter, &start, limit).await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let missed: Vec<_> = page.items.iter().map(MissedDetails::from).collect();
    let ids: Vec<_> = missed.iter().map(|it| it.delivery.clone()).collect();
    let printed_cells = |(it, id): (&MissedDetails, String)| PrintedCells {
        id,
        event: it.event.as_ref().map_or("-".to_owned(), |event| args.page.printed_id(event)),
        created: it.created_at.map_or("-".to_owned(), |at| args.page.printed_time(at, now)),
        found: args.page.printed_time(it.found_at, now),
    };
    let printed_ids = args.page.printed_ids(target, ListKind::MissedDelivery, &ids);
    let printed = missed.iter().zip(printed_ids).map(printed_cells).collect();
    Ok(MissedList { missed, page: PageInfo::new(&page, &args.page), printed })
}

impl Render for MissedList {
    fn to_text(&self, _: UnixMillis) -> String {
        let rows = self.missed.iter().zip(&self.printed).map(|(it, printed)| {
            [
                printed.id.clone(),
                it.resolved_at.map_or(it.reason.to_owned(), |_| format!("{} (resolved)", it.reason)),
                printed.event.clone(),
                printed.created.clone(),
                printed.found.clone(),
            ]
        });
        let headers = ["DELIVERY", "REASON", "EVENT", "CREATED", "FOUND"];
        render_table(headers, rows.collect(), "no missed delivery matches") + &self.page.to_text()
    }
}
