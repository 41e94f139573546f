//! Check that Rightfoot's batches are tracked, so that lost webhooks are found by polling.

use std::collections::BTreeSet;

use inbox_aws::AwsError;
use inbox_aws::stores::{EventFilter, PageStart, Stores};
use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;

use super::check_result::CheckResult;
use crate::output::pluralize;
use crate::target::Target;

pub(super) const CHECK: &str = "tracking";
/// Number of events that are read.
const SAMPLE_SIZE: usize = 20;

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    Ok(match count_tracked(&stores, target.now()).await {
        Ok((0, 0)) => CheckResult::skipped(CHECK, "the inbox has no event of Rightfoot"),
        Ok((tracked, all)) if tracked == all => {
            CheckResult::ok(CHECK, "every checked batch is tracked: lost webhooks are found by polling")
        }
        Ok((tracked, all)) => CheckResult::warn(
            CHECK,
            format!(
                "not tracked: {} of {} checked",
                all - tracked,
                pluralize(all as u64, "batch", "batches")
            ),
            "their webhooks are processed, but a lost one is not found by polling, and the threshold of an alert is known from \
             the webhook only: submit through rightfoot-requests, or invoke it with track_batch and track_schedule",
        ),
        Err(fault) => CheckResult::from_error(target, CHECK, &fault, &table),
    })
}

/// Counts the tracked batches and all batches of a sample of events.
async fn count_tracked(stores: &Stores, now: UnixMillis) -> Result<(usize, usize), AwsError> {
    let selection = EventFilter { provider: Some(Provider::Rightfoot), ..EventFilter::default() };
    let events = stores.operator.list_events(&selection, &PageStart::Newest, SAMPLE_SIZE, now).await?.items;
    let batches: BTreeSet<_> = events.iter().filter_map(|event| event.key.batch_id()).collect();
    let mut tracked = 0;
    for batch_id in &batches {
        tracked += usize::from(stores.tracking.tracked_batch(batch_id).await?.is_some());
    }
    Ok((tracked, batches.len()))
}
