//! `inboxctl schedules list`.

use clap::{Args, ValueEnum};
use inbox_aws::stores::ScheduleFilter;
use inbox_core::list_kind::ListKind;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::commands::timeline::report::ScheduleOutput;
use crate::output::{Render, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::TimeRangeArgs;

#[derive(Args)]
pub(crate) struct ListSchedulesArgs {
    /// Only schedules in this state.
    #[arg(long, value_enum)]
    state: Option<ScheduleState>,
    /// Only schedules of this subject.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    #[command(flatten)]
    tracked: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// State of a tracked schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScheduleState {
    /// The poller looks for its runs.
    Polled,
    /// No longer polled: it has ended, or was untracked.
    Ended,
}

/// The cells of a schedule whose form depends on `--wide`.
struct PrintedCells {
    id: String,
    since: String,
    status: String,
}

/// A page of schedules that are or were tracked.
#[derive(Serialize)]
pub(crate) struct ScheduleList {
    schedules: Vec<ScheduleOutput>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    printed: Vec<PrintedCells>,
}

pub(super) async fn list(target: &Target, args: ListSchedulesArgs) -> anyhow::Result<ScheduleList> {
    let now = target.now();
    let filter = ScheduleFilter {
        tracked: args.tracked.resolve(now)?,
        subject: args.subject,
        is_polled: args.state.map(|state| state == ScheduleState::Polled),
    };
    let listed =
        target.stores()?.operator.list_schedules(&filter, &args.page.start(), args.page.limit()).await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let schedules: Vec<_> = page.items.iter().map(|it| ScheduleOutput::new(it, now)).collect();
    let ids: Vec<_> = schedules.iter().map(|it| it.schedule_id.clone()).collect();
    let printed_cells = |(it, id): (&ScheduleOutput, String)| PrintedCells {
        id,
        since: it.since.map(|at| args.page.printed_time(at, now)).unwrap_or_default(),
        status: if args.page.is_wide() { it.status.clone() } else { it.short_status(now) },
    };
    let ids = args.page.printed_ids(target, ListKind::Schedule, &ids);
    let printed = schedules.iter().zip(ids).map(printed_cells).collect();
    Ok(ScheduleList { schedules, page: PageInfo::new(&page, &args.page), printed })
}

impl Render for ScheduleList {
    fn to_text(&self, now: UnixMillis) -> String {
        let rows = self.schedules.iter().zip(&self.printed).map(|(it, printed)| {
            let last_run = it.last_run_seen.map_or("-".to_owned(), |at| at.age(now));
            [
                printed.id.clone(),
                it.state().to_owned(),
                it.subject.clone().unwrap_or_else(|| "-".to_owned()),
                printed.since.clone(),
                last_run,
                printed.status.clone(),
            ]
        });
        let headers = ["SCHEDULE", "STATE", "SUBJECT", "TRACKED", "LAST RUN", "STATUS"];
        render_table(headers, rows.collect(), "no schedule matches") + &self.page.to_text()
    }
}
