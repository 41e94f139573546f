//! Whether Rightfoot is asked, too, for what its webhooks tell.

use std::collections::BTreeSet;

use inbox_aws::AwsError;
use inbox_aws::inbox::{EventFilter, Inbox};
use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;

use super::CheckResult;
use crate::output::pluralize;
use crate::target::Target;

const CHECK: &str = "tracking";
/// Events that are looked at.
const SAMPLE_SIZE: usize = 20;

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    Ok(match count_tracked(&inbox, target.now()).await {
        Ok((0, 0)) => CheckResult::skipped(CHECK, "the inbox has no event of Rightfoot's"),
        Ok((tracked, all)) if tracked == all => CheckResult::ok(
            CHECK,
            "every batch that was looked at is tracked: what no webhook tells is asked for",
        ),
        Ok((tracked, all)) => CheckResult::warn(
            CHECK,
            format!(
                "tracked by nobody: {} of {} looked at",
                all - tracked,
                pluralize(all as u64, "batch", "batches")
            ),
            "their webhooks have their effects, but if one is lost, nobody asks for it, and of a threshold there is only the \
             webhook's word: submit through rightfoot-requests, or invoke it with track_batch and track_schedule",
        ),
        Err(fault) => CheckResult::from_error(target, CHECK, &fault, &table),
    })
}

/// How many batches are tracked, and of how many, as far as a sample of the events tells.
async fn count_tracked(inbox: &Inbox, now: UnixMillis) -> Result<(usize, usize), AwsError> {
    let selection = EventFilter { provider: Some(Provider::Rightfoot), ..EventFilter::default() };
    let events = inbox.list_events(&selection, None, SAMPLE_SIZE, now).await?.items;
    let batches: BTreeSet<_> = events.iter().filter_map(|event| event.key.batch_id()).collect();
    let mut tracked = 0;
    for batch_id in &batches {
        tracked += usize::from(inbox.tracked_batch(batch_id).await?.is_some());
    }
    Ok((tracked, batches.len()))
}
