//! Check for batches that Rightfoot did not complete by their deadline. They are polled no more.

use std::time::Duration;

use inbox_aws::items::BatchItem;
use inbox_aws::stores::{BatchFilter, ListPage, PageStart};
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::BatchStatus;

use super::check_result::CheckResult;
use crate::output::{Timestamp, pluralize};
use crate::target::Target;

pub(super) const CHECK: &str = "overdue batches";
/// Age from which an overdue batch is no longer reported.
const REPORTED_DAYS: u64 = 7;
/// Longest time from tracking to the deadline: the greatest value of `PollDeadlineSecs`.
const DEADLINE_DAYS_MAX: u64 = 14;
/// Number of overdue batches that are counted.
const COUNTED_MAX: usize = 100;

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let mut filter = BatchFilter { status: Some(BatchStatus::Overdue), ..BatchFilter::default() };
    filter.tracked.since = Some(now.minus(days(REPORTED_DAYS + DEADLINE_DAYS_MAX)));
    Ok(match stores.operator.list_batches(&filter, &PageStart::Newest, COUNTED_MAX).await {
        Ok(page) => check_page(&page, now),
        Err(fault) => CheckResult::from_error(target, CHECK, &fault, &table),
    })
}

fn check_page(page: &ListPage<BatchItem>, now: UnixMillis) -> CheckResult {
    let since = now.minus(days(REPORTED_DAYS));
    let overdue = page.items.iter().filter_map(|it| Some((it.overdue_at?, it.tracked.batch_id.as_str())));
    let overdue: Vec<_> = overdue.filter(|(at, _)| *at >= since).collect();
    let is_partial = page.older.is_some();
    let examined = if is_partial {
        format!(" (of the newest {} checked)", pluralize(page.examined as u64, "batch", "batches"))
    } else {
        String::new()
    };
    match overdue.iter().min() {
        // It is final: no later check finds it repaired, so it warns. Its alarm was raised when it happened.
        Some((at, batch_id)) => CheckResult::warn(
            CHECK,
            format!(
                "overdue in the last {REPORTED_DAYS} days: {}{}{examined}; the oldest is {batch_id}, overdue since {}",
                pluralize(overdue.len() as u64, "batch", "batches"),
                if is_partial { " or more" } else { "" },
                Timestamp(*at).with_age(now)
            ),
            format!(
                "`inboxctl batches list --state overdue` shows them: ask Rightfoot. They are polled no more; a late webhook is still \
                 processed; `inboxctl timeline {batch_id}`"
            ),
        ),
        None => CheckResult::ok(
            CHECK,
            format!("no batch became overdue in the last {REPORTED_DAYS} days{examined}"),
        ),
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
