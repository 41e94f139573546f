//! `inboxctl balances list`.

use clap::{Args, Subcommand};
use inbox_aws::items::BalanceItem;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::output::{Render, Rendered, Timestamp, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Subcommand)]
pub(crate) enum BalancesCommand {
    /// List the stored balances of a batch, or of an authorizer.
    ///
    /// Those of a batch are in the order of their authorizers: --older is the next page. Those of an authorizer begin with the newest
    /// check.
    List(ListBalancesArgs),
}

impl BalancesCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list(target, args).await?),
        }
    }
}

#[derive(Args)]
pub(crate) struct ListBalancesArgs {
    #[command(flatten)]
    of: BalancesOf,
    /// Print the amounts, which are personal data.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    page: PageArgs,
}

/// Whose balances are listed: exactly one of them is given.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct BalancesOf {
    /// The balances of this batch.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    batch: Option<Id>,
    /// The checks of this authorizer.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    authorizer: Option<Id>,
}

/// A page of stored balances.
#[derive(Serialize)]
struct BalanceList {
    balances: Vec<BalanceRow>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    is_revealed: bool,
}

#[derive(Serialize)]
struct BalanceRow {
    authorizer: String,
    batch_id: String,
    schedule_id: Option<String>,
    status_code: i64,
    status: String,
    checked_at: Timestamp,
    /// Decimal, as stored; `None` if the check failed. Absent unless it is revealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Option<String>>,
    #[serde(skip)]
    printed_batch: String,
    #[serde(skip)]
    printed_schedule: String,
    #[serde(skip)]
    printed_time: String,
}

async fn list(target: &Target, args: ListBalancesArgs) -> anyhow::Result<BalanceList> {
    let (balances, table, now) = (target.stored_balances()?, target.balances_table()?, target.now());
    let (start, limit) = (args.page.start(), args.page.limit());
    let listed = match (&args.of.batch, &args.of.authorizer) {
        (Some(batch_id), _) => balances.list_of_batch(batch_id, &start, limit).await,
        (None, Some(authorizer)) => balances.list_of_authorizer(authorizer, &start, limit).await,
        (None, None) => anyhow::bail!("missing --batch or --authorizer"),
    };
    let page = listed.with_resource(&table)?;
    let row = |it: &BalanceItem| BalanceRow {
        authorizer: it.authorizer.as_str().to_owned(),
        batch_id: it.batch_id.as_str().to_owned(),
        schedule_id: it.schedule_id.as_ref().map(|id| id.as_str().to_owned()),
        status_code: it.status_code,
        status: it.status.clone(),
        checked_at: Timestamp(it.checked_at),
        balance: args.reveal.then(|| it.amount.map(|amount| amount.to_string())),
        printed_batch: args.page.printed_id(it.batch_id.as_str()),
        printed_schedule: it
            .schedule_id
            .as_ref()
            .map_or("-".to_owned(), |id| args.page.printed_id(id.as_str())),
        printed_time: args.page.printed_time(Timestamp(it.checked_at), now),
    };
    let rows = page.items.iter().map(row).collect();
    Ok(BalanceList { balances: rows, page: PageInfo::new(&page, &args.page), is_revealed: args.reveal })
}

impl BalanceRow {
    /// The status, of a failed check with Rightfoot's code.
    fn status_text(&self) -> String {
        match self.status_code {
            0 => self.status.clone(),
            code => format!("{} ({code})", self.status),
        }
    }

    fn balance_text(&self) -> String {
        self.balance.clone().flatten().unwrap_or_else(|| "-".to_owned())
    }
}

impl Render for BalanceList {
    fn to_text(&self, _: UnixMillis) -> String {
        let cells = |it: &BalanceRow| {
            [
                it.authorizer.clone(),
                it.printed_batch.clone(),
                it.printed_schedule.clone(),
                it.status_text(),
                it.printed_time.clone(),
            ]
        };
        let (rows, if_empty) = (self.balances.iter(), "no balance is stored");
        let text = if self.is_revealed {
            let headers = ["AUTHORIZER", "BATCH", "SCHEDULE", "STATUS", "CHECKED", "BALANCE"];
            let rows = rows.map(|it| {
                let [authorizer, batch, schedule, status, checked] = cells(it);
                [authorizer, batch, schedule, status, checked, it.balance_text()]
            });
            render_table(headers, rows.collect(), if_empty)
        } else {
            let headers = ["AUTHORIZER", "BATCH", "SCHEDULE", "STATUS", "CHECKED"];
            render_table(headers, rows.map(cells).collect(), if_empty)
        };
        let is_hidden = !self.is_revealed && !self.balances.is_empty();
        let hint = if is_hidden { "\nThe amounts are not shown: --reveal shows them.\n" } else { "" };
        text + hint + &self.page.to_text()
    }
}
