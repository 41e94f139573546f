//! `inboxctl audit`: what operators have done, the newest first.

use clap::Args;
use inbox_aws::stores::AuditFilter;
use inbox_core::audit::OperatorAction;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::output::{Render, Timestamp, render_table, render_table_with_texts, render_wrapped_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::terminal;
use crate::value_parsers::{TimeRangeArgs, action_parser};

#[derive(Args)]
pub(crate) struct ListAuditArgs {
    /// Only this action.
    #[arg(long, value_parser = action_parser())]
    action: Option<OperatorAction>,
    /// Only actions of this operator, by the name that was given with --by.
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    #[command(flatten)]
    acted: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// A page of audit entries.
#[derive(Serialize)]
pub(crate) struct AuditList {
    entries: Vec<AuditRow>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    if_empty: &'static str,
}

#[derive(Serialize)]
struct AuditRow {
    at: Timestamp,
    by: String,
    action: &'static str,
    /// What the action was on.
    subject: String,
    why: String,
    #[serde(skip)]
    printed_time: String,
    #[serde(skip)]
    printed_subject: String,
}

pub(crate) async fn list(target: &Target, args: ListAuditArgs) -> anyhow::Result<AuditList> {
    let now = target.now();
    let is_filtered = args.action.is_some()
        || args.operator.is_some()
        || args.acted.since.is_some()
        || args.acted.until.is_some();
    let if_empty = if is_filtered { "no audit entry matches" } else { "no operator has done anything" };
    let filter =
        AuditFilter { acted: args.acted.resolve(now)?, action: args.action, operator: args.operator };
    let listed = target.stores()?.operator.list_audit(&filter, &args.page.start(), args.page.limit()).await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let info = PageInfo::new(&page, &args.page);
    let entries = page.items.into_iter().map(|it| AuditRow {
        at: Timestamp(it.entry.at),
        by: it.entry.operator,
        action: it.entry.action.as_str(),
        printed_subject: match it.subject.split_once(' ') {
            // Numbers follow, and no id.
            Some(("person", _)) => it.subject.clone(),
            Some((kind, id)) => format!("{kind} {}", args.page.printed_id(id)),
            None => it.subject.clone(),
        },
        subject: it.subject,
        why: it.entry.reason,
        printed_time: args.page.printed_time(Timestamp(it.entry.at), now),
    });
    Ok(AuditList { entries: entries.collect(), page: info, if_empty })
}

impl Render for AuditList {
    fn to_text(&self, _: UnixMillis) -> String {
        let cells = |it: &AuditRow| {
            [it.printed_time.clone(), it.by.clone(), it.action.to_owned(), it.printed_subject.clone()]
        };
        let table = match terminal::stdout_width() {
            // Beside the other columns, a reason would have a word on each line.
            Some(width @ ..WIDTH_MIN_BESIDE) => {
                let rows = self.entries.iter().map(|it| (cells(it), it.why.clone()));
                render_table_with_texts(["WHEN", "BY", "ACTION", "ON"], rows.collect(), self.if_empty, width)
            }
            width => {
                let headers = ["WHEN", "BY", "ACTION", "ON", "WHY"];
                let rows = self.entries.iter().map(|it| {
                    let [time, by, action, subject] = cells(it);
                    [time, by, action, subject, it.why.clone()]
                });
                match width {
                    Some(width) => render_wrapped_table(headers, rows.collect(), self.if_empty, width),
                    None => render_table(headers, rows.collect(), self.if_empty),
                }
            }
        };
        table + &self.page.to_text()
    }
}

/// Width of a terminal from which on reasons stand beside the other columns.
const WIDTH_MIN_BESIDE: usize = 120;
