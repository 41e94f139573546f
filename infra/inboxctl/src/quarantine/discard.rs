//! `quarantine discard`.

use futures::StreamExt as _;
use futures::stream;
use inbox_aws::inbox::{Inbox, QuarantinedItem, WriteOutcome};
use inbox_core::audit::{OperatorAction, Operator};
use inbox_core::limits::CONCURRENT_CALLS;
use inbox_core::quarantine::Resolution;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::plan::{self, Asked};
use crate::cli::DiscardKept;
use crate::consent;
use crate::place::{Place, Thing};
use crate::trouble::{About, explain};
use crate::view::{Found, table};

/// Open items beyond the limit that are counted: there may be very many.
const COUNTED_MAX: usize = 1_000;

/// What became of discarding items.
#[derive(Serialize)]
pub(crate) struct Discards {
    discards: Vec<Discard>,
    /// Open items of this subject beyond the limit: 1,000 stands for that many or more.
    left: usize,
    is_done: bool,
}

#[derive(Serialize)]
struct Discard {
    item: String,
    outcome: &'static str,
    told: String,
}

pub(crate) async fn discard(at: &Place, args: DiscardKept) -> anyhow::Result<Discards> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let (items, left) = match &args.subject {
        Some(subject) => {
            let is_wanted = |kept: &QuarantinedItem| {
                kept.subject.as_ref() == Some(subject)
                    && args.reason.is_none_or(|reason| kept.reason == reason)
            };
            let open = inbox.list_quarantine_where(is_wanted, None, args.limit.get()).await;
            let (open, next) = open.about(&table)?;
            let left = match next {
                Some(next) => inbox
                    .list_quarantine_where(is_wanted, Some(next), COUNTED_MAX)
                    .await
                    .about(&table)?
                    .0
                    .len(),
                None => 0,
            };
            (Asked::found(open), left)
        }
        None => (Asked::named(&inbox, args.items).await.about(&table)?, 0),
    };
    let operator = args.who.operator();
    let rows = if args.consent.yes { String::new() } else { plan::rows(&inbox, &items, at.now()).await };
    let plan = format!(
        "Discard out of quarantine, by {}, because: {}\n{rows}{}Nothing is deleted, but what is discarded is not replayed, unless \
         the same bytes come again. An event that was given up stays so, unless the poller finds what it tells.\n",
        operator.by,
        operator.why,
        more(left)
    );
    if items.is_empty() || !consent::is_given(at, &args.consent, &plan)? {
        return Ok(Discards { discards: Vec::new(), left, is_done: items.is_empty() });
    }
    // There may be thousands. On the heap: with the SDK's calls inside they are too large to be moved about.
    let discards =
        stream::iter(&items).map(|item| Box::pin(close(&inbox, &table, item, &operator, at.now())));
    Ok(Discards { discards: discards.buffered(CONCURRENT_CALLS).collect().await, left, is_done: true })
}

async fn close(inbox: &Inbox, table: &Thing, asked: &Asked, operator: &Operator, now: UnixMillis) -> Discard {
    let by = operator.audit_entry(OperatorAction::Discard, now);
    let (outcome, told) = match &asked.kept {
        None => ("unknown", "is not in quarantine".to_owned()),
        Some(QuarantinedItem { resolution: Some((_, how)), .. }) => {
            ("was_closed", format!("was closed before: {}", how.as_str()))
        }
        Some(kept) => match inbox.close_quarantined(kept, Resolution::Discarded, &by).await {
            Ok(WriteOutcome::Applied) => ("discarded", "discarded".to_owned()),
            Ok(WriteOutcome::Conflict) => (
                "overtaken",
                "the same bytes came again meanwhile, or somebody else closed it; nothing was done"
                    .to_owned(),
            ),
            Err(fault) => ("failed", explain(&fault, table)),
        },
    };
    Discard { item: asked.id.to_string(), outcome, told }
}

/// How many there are beyond the limit.
fn more(left: usize) -> String {
    match left {
        0 => String::new(),
        COUNTED_MAX.. => format!("({COUNTED_MAX} more, or even more than that: --limit.)\n"),
        left => format!("({left} more: --limit.)\n"),
    }
}

impl Found for Discards {
    fn text(&self, _: UnixMillis) -> String {
        if !self.is_done {
            return "nothing was done\n".to_owned();
        }
        let rows = self.discards.iter().map(|it| [it.item.clone(), it.told.clone()]);
        table(["ITEM", "OUTCOME"], rows.collect(), "nothing of that subject is open") + &more(self.left)
    }

    fn is_fine(&self) -> bool {
        self.is_done && self.discards.iter().all(|it| ["discarded", "was_closed"].contains(&it.outcome))
    }
}
