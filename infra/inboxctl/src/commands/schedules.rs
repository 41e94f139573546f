//! `inboxctl schedules list|show|untrack|update`.

mod list;
mod show;
mod untrack;
mod update;

use anyhow::bail;
use clap::Subcommand;
use inbox_aws::items::ScheduleItem;
use inbox_aws::stores::Stores;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;

use crate::aws_error::{ResourceRef, WithResource};
use crate::output::Rendered;
use crate::short_id;
use crate::target::Target;
use list::ListSchedulesArgs;
use show::ShowScheduleArgs;
use untrack::UntrackScheduleArgs;
use update::UpdateScheduleArgs;

#[derive(Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List schedules that are or were tracked, newest first.
    List(ListSchedulesArgs),
    /// Show one schedule and its latest runs.
    Show(ShowScheduleArgs),
    /// Stop polling a schedule, for example after it was ended at Rightfoot. Its runs that are tracked stay so.
    Untrack(UntrackScheduleArgs),
    /// Change what is tracked of a schedule, after it was changed at Rightfoot. One that is no longer polled is polled again.
    Update(UpdateScheduleArgs),
}

impl SchedulesCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list::list(target, args).await?),
            Self::Show(args) => target.render(&show::show(target, args).await?),
            Self::Untrack(args) => target.render(&untrack::untrack(target, args).await?),
            Self::Update(args) => target.render(&update::update(target, args).await?),
        }
    }
}

/// Reads the schedule that a command means which only looks: its id, or the beginning of one among the newest schedules.
async fn find_schedule(stores: &Stores, table: &ResourceRef, id: &Id) -> anyhow::Result<ScheduleItem> {
    if let Some(schedule) = stores.tracking.tracked_schedule(id).await.with_resource(table)? {
        return Ok(schedule);
    }
    let found = short_id::find(stores, table, ListKind::Schedule, id.as_str()).await?;
    match found.and_then(Id::new) {
        Some(whole) => read_schedule(stores, table, &whole).await,
        None => bail!("schedule {} is not tracked in {table}, or its item has expired", id.as_str()),
    }
}

/// Reads the schedule that a command means which changes it: its whole id, or a short one of the last printed list.
///
/// # Errors
///
/// There is none, or the id means one schedule on the list and is the whole id of another one.
async fn schedule_to_change(
    target: &Target,
    stores: &Stores,
    table: &ResourceRef,
    id: &Id,
) -> anyhow::Result<ScheduleItem> {
    let listed = short_id::find_on_last_list(target, ListKind::Schedule, id.as_str())?;
    let tracked = stores.tracking.tracked_schedule(id).await.with_resource(table)?;
    match (listed, tracked) {
        // An id that equals a short id must not take its place.
        (Some(listed), Some(_)) if listed != id.as_str() => {
            Err(short_id::means_two(id.as_str(), &listed, id.as_str()))
        }
        (_, Some(schedule)) => Ok(schedule),
        (Some(listed), None) => {
            let Some(whole) = Id::new(listed) else { bail!("{} is not a schedule", id.as_str()) };
            read_schedule(stores, table, &whole).await
        }
        (None, None) => Err(short_id::not_on_last_list(id.as_str())),
    }
}

async fn read_schedule(stores: &Stores, table: &ResourceRef, id: &Id) -> anyhow::Result<ScheduleItem> {
    match stores.tracking.tracked_schedule(id).await.with_resource(table)? {
        Some(schedule) => Ok(schedule),
        None => bail!("schedule {} is not tracked in {table}, or its item has expired", id.as_str()),
    }
}
