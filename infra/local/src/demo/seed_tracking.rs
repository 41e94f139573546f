//! Tracking state for the runs in the senders' alerts.
//!
//! These runs belong to no schedule of the simulated Rightfoot. A schedule and its runs are therefore stored here, as if
//! the poller had found and finished them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use inbox_aws::stores::{Created, Stores};
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::thresholds::Thresholds;
use inbox_core::time::UnixMillis;

/// The `schedule_id` in the senders' alerts.
const SCHEDULE: &str = "6ddd3761";
/// Their `threshold_amount`, in dollars.
const THRESHOLD: &str = "100.00";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Tracks the schedule of the senders' alerts, finished.
pub(super) async fn track_alert_schedule(stores: &Stores, now: UnixMillis) -> anyhow::Result<()> {
    let schedule_id = Id::new(SCHEDULE).context("an id")?;
    let tracked = TrackedSchedule {
        schedule_id: schedule_id.clone(),
        subject: None,
        probes: Vec::new(),
        since: now,
        last_run_seen: None,
        interval: YEAR,
        expires_at: now.plus(YEAR),
        polls: 0,
    };
    let thresholds = Thresholds { default: Some(THRESHOLD.parse()?), authorizers: BTreeMap::new() };
    stores.submissions.track(Created::Schedule(&tracked, &thresholds), now.plus(YEAR), now).await?;
    // Finished at once, so that the poller never asks the simulated Rightfoot, which does not know it.
    let schedule =
        stores.tracking.tracked_schedule(&schedule_id).await?.context("the schedule is not tracked")?;
    stores.polls.finish_tracking(&schedule.tracking, None, now).await?;
    Ok(())
}

/// Tracks a batch as a finished run of that schedule, of `expected` authorizers.
pub(super) async fn track_alert_run(
    stores: &Stores,
    batch_id: &str,
    expected: usize,
    now: UnixMillis,
) -> anyhow::Result<()> {
    let batch_id = Id::new(batch_id).context("an id")?;
    let run = TrackedBatch {
        batch_id: batch_id.clone(),
        subject: None,
        schedule_id: Id::new(SCHEDULE),
        expected: u64::try_from(expected)?,
        failed_authorizers: [].into(),
        deadline: now.plus(YEAR),
        polls: 0,
    };
    stores.submissions.track(Created::Batch(&run), now.plus(YEAR), now).await?;
    let batch = stores.polls.batch_progress(&batch_id).await?.context("the run is not tracked")?;
    stores.polls.finish_tracking(&batch.tracking, None, now).await?;
    Ok(())
}
