//! Quarantined items on the command line, by their ids or short ids.

use anyhow::{Context, bail};
use inbox_aws::stores::Stores;
use inbox_core::list_kind::ListKind;
use inbox_core::quarantine::QuarantineId;

use crate::aws_error::ResourceRef;
use crate::short_id;
use crate::target::Target;
use crate::value_parsers::QuarantineRef;

/// Resolves the item that a command means which only looks: a short id is searched among the newest items.
pub(super) async fn find_id(
    stores: &Stores,
    table: &ResourceRef,
    item: QuarantineRef,
) -> anyhow::Result<QuarantineId> {
    let short = match item {
        QuarantineRef::Id(id) => return Ok(id),
        QuarantineRef::Short(short) => short,
    };
    let found = short_id::find(stores, table, ListKind::Quarantine, &short).await?;
    match found.as_deref().and_then(QuarantineId::from_name) {
        Some(id) => Ok(id),
        None => bail!("no new item in quarantine in {table} begins with {short}"),
    }
}

/// Resolves the items that a command means which changes them: a short id must be on the last printed list.
pub(super) fn ids_to_change(target: &Target, items: Vec<QuarantineRef>) -> anyhow::Result<Vec<QuarantineId>> {
    let to_id = |item| match item {
        QuarantineRef::Id(id) => Ok(id),
        QuarantineRef::Short(short) => {
            let whole = short_id::on_last_list(target, ListKind::Quarantine, &short)?;
            QuarantineId::from_name(&whole).with_context(|| format!("{whole} is not an item in quarantine"))
        }
    };
    items.into_iter().map(to_id).collect()
}
