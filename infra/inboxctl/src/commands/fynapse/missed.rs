//! `inboxctl fynapse missed list|show|resolve`.

mod list;
mod resolve;
mod show;

use anyhow::bail;
use clap::Subcommand;
use inbox_aws::items::MissedDeliveryItem;
use inbox_aws::stores::Stores;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;

use crate::aws_error::{ResourceRef, WithResource};
use crate::output::Rendered;
use crate::short_id;
use crate::target::Target;
use list::ListMissedArgs;
use resolve::ResolveMissedArgs;
use show::ShowMissedArgs;

#[derive(Subcommand)]
pub(crate) enum MissedCommand {
    /// List missed deliveries, newest first.
    List(ListMissedArgs),
    /// Show one missed delivery, and what to do about it.
    Show(ShowMissedArgs),
    /// Declare that nothing is left to do about missed deliveries.
    Resolve(ResolveMissedArgs),
}

impl MissedCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list::list(target, args).await?),
            Self::Show(args) => target.render(&show::show(target, args).await?),
            Self::Resolve(args) => target.render(&resolve::resolve(target, args).await?),
        }
    }
}

/// Reads the delivery that a command means which only looks: its id, or the beginning of one among the newest ones.
async fn find_missed(stores: &Stores, table: &ResourceRef, id: &Id) -> anyhow::Result<MissedDeliveryItem> {
    if let Some(missed) = stores.operator.missed_delivery(id).await.with_resource(table)? {
        return Ok(missed);
    }
    let found = short_id::find(stores, table, ListKind::MissedDelivery, id.as_str()).await?;
    match found.and_then(Id::new) {
        Some(whole) => read_missed(stores, table, &whole).await,
        None => bail!("{} is not a missed delivery in {table}", id.as_str()),
    }
}

/// Reads the delivery that a command means which changes it: its whole id, or a short one of the last printed list.
///
/// # Errors
///
/// There is none, or the id means one delivery on the list and is the whole id of another one.
async fn missed_to_change(
    target: &Target,
    stores: &Stores,
    table: &ResourceRef,
    id: &Id,
) -> anyhow::Result<MissedDeliveryItem> {
    let listed = short_id::find_on_last_list(target, ListKind::MissedDelivery, id.as_str())?;
    let missed = stores.operator.missed_delivery(id).await.with_resource(table)?;
    match (listed, missed) {
        // An id that equals a short id must not take its place.
        (Some(listed), Some(_)) if listed != id.as_str() => {
            Err(short_id::means_two(id.as_str(), &listed, id.as_str()))
        }
        (_, Some(missed)) => Ok(missed),
        (Some(listed), None) => match Id::new(listed) {
            Some(whole) => read_missed(stores, table, &whole).await,
            None => bail!("{} is not a missed delivery in {table}", id.as_str()),
        },
        (None, None) => Err(short_id::not_on_last_list(id.as_str())),
    }
}

async fn read_missed(stores: &Stores, table: &ResourceRef, id: &Id) -> anyhow::Result<MissedDeliveryItem> {
    match stores.operator.missed_delivery(id).await.with_resource(table)? {
        Some(missed) => Ok(missed),
        None => bail!("{} is not a missed delivery in {table}", id.as_str()),
    }
}
