//! `inboxctl quarantine discard`.

use std::num::NonZeroUsize;

use clap::Args;
use futures::StreamExt as _;
use futures::stream;
use inbox_aws::items::QuarantinedItem;
use inbox_aws::stores::{Stores, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::limits::CONCURRENT_CALLS;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::quarantine::Resolution;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::item_ref;
use super::preview::{self, RequestedItem};
use crate::audit::AuditArgs;
use crate::aws_error::{ResourceRef, WithResource, explain};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, render_table};
use crate::target::Target;
use crate::value_parsers::{QuarantineRef, parse_quarantine_ref, reason_parser};

/// Largest number of open items beyond the limit that are counted; a flood may leave far more.
const COUNTED_MAX: usize = 1_000;

#[derive(Args)]
pub(crate) struct DiscardQuarantinedArgs {
    /// Items, or short ids of the last `quarantine list`.
    #[arg(value_parser = parse_quarantine_ref, required_unless_present = "subject", conflicts_with = "subject")]
    items: Vec<QuarantineRef>,
    /// All open items that came by the URL of this subject, oldest first.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    /// With --subject: only items of this reason.
    #[arg(long, value_parser = reason_parser(), requires = "subject")]
    reason: Option<QuarantineReason>,
    /// With --subject: maximum number of items.
    #[arg(long, default_value = "100", value_name = "N")]
    limit: NonZeroUsize,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of discarding items.
#[derive(Serialize)]
pub(crate) struct DiscardReport {
    discards: Vec<DiscardedItem>,
    /// Open items of this subject beyond the limit; 1,000 means 1,000 or more.
    remaining: usize,
    is_done: bool,
}

#[derive(Serialize)]
struct DiscardedItem {
    item: String,
    outcome: &'static str,
    message: String,
}

pub(crate) async fn discard(target: &Target, args: DiscardQuarantinedArgs) -> anyhow::Result<DiscardReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let (items, remaining) = match &args.subject {
        Some(subject) => {
            let is_match = |delivery: &QuarantinedItem| {
                delivery.subject.as_ref() == Some(subject)
                    && args.reason.is_none_or(|reason| delivery.reason == reason)
            };
            let open = stores.operator.list_quarantine_where(is_match, None, args.limit.get()).await;
            let (open, next) = open.with_resource(&table)?;
            let remaining = match next {
                Some(next) => stores
                    .operator
                    .list_quarantine_where(is_match, Some(next), COUNTED_MAX)
                    .await
                    .with_resource(&table)?
                    .0
                    .len(),
                None => 0,
            };
            (RequestedItem::from_deliveries(open), remaining)
        }
        None => {
            let ids = item_ref::ids_to_change(target, args.items)?;
            (RequestedItem::load(&stores, ids).await.with_resource(&table)?, 0)
        }
    };
    let operator = args.audit.operator();
    // With --yes nobody sees the plan, and a row may cost a read of its payload.
    let rows = if args.confirm.yes {
        String::new()
    } else {
        preview::render_items(&stores, &items, target.now()).await
    };
    let plan = format!(
        "Discard out of quarantine, by {}, because: {}\n{rows}{}Nothing is deleted. Discarded items are not replayed unless the same \
         bytes are delivered again. A quarantined event stays quarantined unless the poller finds it.\n",
        operator.name,
        operator.reason,
        remaining_hint(remaining)
    );
    if items.is_empty() || !is_confirmed(target, &args.confirm, &plan)? {
        // If nothing is open, there is nothing to do, and the command does not fail.
        return Ok(DiscardReport { discards: Vec::new(), remaining, is_done: items.is_empty() });
    }
    // Concurrent, as there may be thousands. Boxed: with the SDK's
    // calls inside, the futures are too large to be moved about.
    let discards = stream::iter(&items)
        .map(|item| Box::pin(discard_one(&stores, &table, item, &operator, target.now())));
    Ok(DiscardReport {
        discards: discards.buffered(CONCURRENT_CALLS).collect().await,
        remaining,
        is_done: true,
    })
}

async fn discard_one(
    stores: &Stores,
    table: &ResourceRef,
    item: &RequestedItem,
    operator: &Operator,
    now: UnixMillis,
) -> DiscardedItem {
    let audit_entry = operator.audit_entry(OperatorAction::Discard, now);
    let (outcome, message) = match &item.delivery {
        None => ("unknown", "is not in quarantine".to_owned()),
        Some(QuarantinedItem { resolution: Some((_, how)), .. }) => {
            ("was_closed", format!("was closed before: {}", how.as_str()))
        }
        Some(delivery) => {
            match stores.operator.close_quarantined(delivery, Resolution::Discarded, &audit_entry).await {
                Ok(WriteOutcome::Applied) => ("discarded", "discarded".to_owned()),
                Ok(WriteOutcome::Conflict) => (
                    "overtaken",
                    "it was changed at the same time: delivered again, or closed; nothing was done"
                        .to_owned(),
                ),
                Err(fault) => ("failed", explain(&fault, table)),
            }
        }
    };
    DiscardedItem { item: item.id.to_string(), outcome, message }
}

/// Hint at the items beyond the limit; empty if there are none.
fn remaining_hint(remaining: usize) -> String {
    match remaining {
        0 => String::new(),
        COUNTED_MAX.. => format!("({COUNTED_MAX} or more are left: use --limit.)\n"),
        count => format!("({count} more: use --limit.)\n"),
    }
}

impl Render for DiscardReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.discards.iter().map(|it| [it.item.clone(), it.message.clone()]);
        render_table(["ITEM", "OUTCOME"], rows.collect(), "nothing of that subject is open")
            + &remaining_hint(self.remaining)
    }

    fn is_success(&self) -> bool {
        self.is_done && self.discards.iter().all(|it| ["discarded", "was_closed"].contains(&it.outcome))
    }
}
