//! `quarantine discard`.

use futures::StreamExt as _;
use futures::stream;
use inbox_aws::inbox::{Inbox, QuarantinedItem, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::limits::CONCURRENT_CALLS;
use inbox_core::quarantine::Resolution;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::preview::{self, RequestedItem};
use crate::aws_error::{WithResource, explain};
use crate::cli::DiscardQuarantinedArgs;
use crate::confirm;
use crate::output::{Render, render_table};
use crate::target::{ResourceRef, Target};

/// Open items beyond the limit that are counted: there may be very many.
const COUNTED_MAX: usize = 1_000;

/// What became of discarding items.
#[derive(Serialize)]
pub(crate) struct DiscardReport {
    discards: Vec<DiscardedItem>,
    /// Open items of this subject beyond the limit: 1,000 stands for that many or more.
    left: usize,
    is_done: bool,
}

#[derive(Serialize)]
struct DiscardedItem {
    item: String,
    outcome: &'static str,
    told: String,
}

pub(crate) async fn discard(target: &Target, args: DiscardQuarantinedArgs) -> anyhow::Result<DiscardReport> {
    let (inbox, table) = (target.inbox()?, target.inbox_table()?);
    let (items, remaining) = match &args.subject {
        Some(subject) => {
            let is_match = |delivery: &QuarantinedItem| {
                delivery.subject.as_ref() == Some(subject)
                    && args.reason.is_none_or(|reason| delivery.reason == reason)
            };
            let open = inbox.list_quarantine_where(is_match, None, args.limit.get()).await;
            let (open, next) = open.with_resource(&table)?;
            let remaining = match next {
                Some(next) => inbox
                    .list_quarantine_where(is_match, Some(next), COUNTED_MAX)
                    .await
                    .with_resource(&table)?
                    .0
                    .len(),
                None => 0,
            };
            (RequestedItem::from_deliveries(open), remaining)
        }
        None => (RequestedItem::load(&inbox, args.items).await.with_resource(&table)?, 0),
    };
    let operator = args.audit.operator();
    let rows = if args.confirm.yes {
        String::new()
    } else {
        preview::render_rows(&inbox, &items, target.now()).await
    };
    let plan = format!(
        "Discard out of quarantine, by {}, because: {}\n{rows}{}Nothing is deleted, but what is discarded is not replayed, unless \
         the same bytes come again. An event that was given up stays so, unless the poller finds what it tells.\n",
        operator.name,
        operator.reason,
        remaining_hint(remaining)
    );
    if items.is_empty() || !confirm::is_confirmed(target, &args.confirm, &plan)? {
        return Ok(DiscardReport { discards: Vec::new(), left: remaining, is_done: items.is_empty() });
    }
    // There may be thousands. On the heap: with the SDK's calls inside they are too large to be moved about.
    let discards =
        stream::iter(&items).map(|item| Box::pin(discard_one(&inbox, &table, item, &operator, target.now())));
    Ok(DiscardReport {
        discards: discards.buffered(CONCURRENT_CALLS).collect().await,
        left: remaining,
        is_done: true,
    })
}

async fn discard_one(
    inbox: &Inbox,
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
            match inbox.close_quarantined(delivery, Resolution::Discarded, &audit_entry).await {
                Ok(WriteOutcome::Applied) => ("discarded", "discarded".to_owned()),
                Ok(WriteOutcome::Conflict) => (
                    "overtaken",
                    "the same bytes came again meanwhile, or somebody else closed it; nothing was done"
                        .to_owned(),
                ),
                Err(fault) => ("failed", explain(&fault, table)),
            }
        }
    };
    DiscardedItem { item: item.id.to_string(), outcome, told: message }
}

/// How many there are beyond the limit.
fn remaining_hint(remaining: usize) -> String {
    match remaining {
        0 => String::new(),
        COUNTED_MAX.. => format!("({COUNTED_MAX} more, or even more than that: --limit.)\n"),
        left => format!("({left} more: --limit.)\n"),
    }
}

impl Render for DiscardReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.discards.iter().map(|it| [it.item.clone(), it.told.clone()]);
        render_table(["ITEM", "OUTCOME"], rows.collect(), "nothing of that subject is open")
            + &remaining_hint(self.left)
    }

    fn is_success(&self) -> bool {
        self.is_done && self.discards.iter().all(|it| ["discarded", "was_closed"].contains(&it.outcome))
    }
}
