//! Whether Rightfoot is asked, too, for what its webhooks tell.

use std::collections::BTreeSet;

use inbox_aws::AwsError;
use inbox_aws::inbox::{Inbox, EventFilter};
use inbox_core::delivery::Provider;
use inbox_core::time::UnixMillis;

use super::Check;
use crate::place::Place;
use crate::view::counted;

const CHECK: &str = "tracking";
/// Events that are looked at.
const SAMPLE: usize = 20;

pub(super) async fn check(at: &Place) -> anyhow::Result<Check> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    Ok(match tracked_of(&inbox, at.now()).await {
        Ok((0, 0)) => Check::skipped(CHECK, "the inbox has no event of Rightfoot's"),
        Ok((tracked, all)) if tracked == all => {
            Check::ok(CHECK, "every batch that was looked at is tracked: what no webhook tells is asked for")
        }
        Ok((tracked, all)) => Check::warn(
            CHECK,
            format!(
                "tracked by nobody: {} of {} looked at",
                all - tracked,
                counted(all as u64, "batch", "batches")
            ),
            "their webhooks have their effects, but if one is lost, nobody asks for it, and of a threshold there is only the \
             webhook's word: submit through rightfoot-requests, or invoke it with track_batch and track_schedule",
        ),
        Err(fault) => Check::unanswered(at, CHECK, &fault, &table),
    })
}

/// How many batches are tracked, and of how many, as far as a sample of the events tells.
async fn tracked_of(inbox: &Inbox, now: UnixMillis) -> Result<(usize, usize), AwsError> {
    let which = EventFilter { provider: Some(Provider::Rightfoot), ..EventFilter::default() };
    let events = inbox.list_events(&which, None, SAMPLE, now).await?.items;
    let batches: BTreeSet<_> = events.iter().filter_map(|event| event.key.batch_id()).collect();
    let mut tracked = 0;
    for batch_id in &batches {
        tracked += usize::from(inbox.tracked_batch(batch_id).await?.is_some());
    }
    Ok((tracked, batches.len()))
}
