//! `inboxctl submissions list`.

use clap::Args;
use inbox_aws::stores::SubmissionFilter;
use inbox_core::list_kind::ListKind;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::SubmissionState;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::commands::timeline::report::SubmissionOutput;
use crate::output::{Render, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::{TimeRangeArgs, submission_kind_parser, submission_state_parser};

#[derive(Args)]
pub(crate) struct ListSubmissionsArgs {
    /// Only submissions in this state: unknown, created, created_nothing, abandoned or concluded.
    #[arg(long, value_name = "STATE", value_parser = submission_state_parser())]
    state: Option<SubmissionState>,
    /// Only submissions of a batch, or of a schedule.
    #[arg(long, value_parser = submission_kind_parser())]
    kind: Option<SubmissionKind>,
    #[command(flatten)]
    written: TimeRangeArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// A page of submissions.
#[derive(Serialize)]
pub(crate) struct SubmissionList {
    submissions: Vec<SubmissionOutput>,
    #[serde(flatten)]
    page: PageInfo,
    #[serde(skip)]
    printed: Vec<PrintedCells>,
}

/// The cells of a submission whose form depends on `--wide`.
struct PrintedCells {
    id: String,
    created_id: String,
    time: String,
}

pub(super) async fn list(target: &Target, args: ListSubmissionsArgs) -> anyhow::Result<SubmissionList> {
    let now = target.now();
    let filter = SubmissionFilter { written: args.written.resolve(now)?, kind: args.kind, state: args.state };
    let listed =
        target.stores()?.operator.list_submissions(&filter, &args.page.start(), args.page.limit()).await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let info = PageInfo::new(&page, &args.page);
    let submissions: Vec<_> = page.items.into_iter().map(|it| SubmissionOutput::new(it, now)).collect();
    let ids: Vec<_> = submissions.iter().map(|it| it.submission_id.clone()).collect();
    let printed_cells = |(it, id): (&SubmissionOutput, String)| PrintedCells {
        id,
        created_id: it.created_id.as_ref().map_or("-".to_owned(), |id| args.page.printed_id(id)),
        time: args.page.printed_time(it.written_at, now),
    };
    let printed = submissions
        .iter()
        .zip(args.page.printed_ids(target, ListKind::Submission, &ids))
        .map(printed_cells)
        .collect();
    Ok(SubmissionList { submissions, page: info, printed })
}

impl Render for SubmissionList {
    fn to_text(&self, _: UnixMillis) -> String {
        let rows = self.submissions.iter().zip(&self.printed).map(|(it, printed)| {
            [
                printed.id.clone(),
                it.kind.to_owned(),
                SubmissionState::from(it.status).as_str().to_owned(),
                printed.created_id.clone(),
                it.attempts.to_string(),
                printed.time.clone(),
            ]
        });
        let headers = ["SUBMISSION", "KIND", "STATE", "CREATED", "ATTEMPTS", "WRITTEN"];
        render_table(headers, rows.collect(), "no submission matches") + &self.page.to_text()
    }
}
