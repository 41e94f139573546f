//! Stored balances. They are personal data: a page shows them only in the answer to a `POST`, so no link and no history does.

use inbox_aws::items::BalanceItem;
use inbox_aws::stores::{ListPage, StoredBalances};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use crate::app::AppParts;
use crate::layout::PageError;
use crate::links::{Params, href};
use crate::list_params::{PageTokens, page_start};
use crate::time_text::TimeTag;

/// Balances of a batch on one page.
pub(crate) const BALANCES_PER_PAGE: usize = 100;

/// A stored balance.
pub(crate) struct BalanceRow {
    pub(crate) authorizer: String,
    pub(crate) link: String,
    pub(crate) amount: String,
    pub(crate) status: String,
    pub(crate) checked_at: TimeTag,
}

/// A page of the balances of a batch.
pub(crate) struct RevealedBalances {
    pub(crate) rows: Vec<BalanceRow>,
    pub(crate) pages: PageTokens,
}

/// Reads the page of a batch's balances that the parameters name. One query.
pub(crate) async fn balances_of_batch(
    app: &AppParts,
    batch_id: &Id,
    params: &Params,
) -> Result<RevealedBalances, PageError> {
    let start = page_start(params)?;
    let page = stored_balances(app)?.list_of_batch(batch_id, &start, BALANCES_PER_PAGE).await?;
    Ok(RevealedBalances::new(&page, app.now()))
}

/// The reader of the table of balances.
pub(crate) fn stored_balances(app: &AppParts) -> Result<&StoredBalances, PageError> {
    app.inbox.balances.as_ref().ok_or_else(|| {
        PageError::BadRequest(
            "The console does not know the table of balances: start it with --balances-table.".to_owned(),
        )
    })
}

/// The amount as stored, digit for digit; a dash if the check failed.
pub(crate) fn amount_text(balance: &BalanceItem) -> String {
    balance.amount.map_or_else(|| "–".to_owned(), |amount| format!("{amount} $"))
}

impl RevealedBalances {
    fn new(page: &ListPage<BalanceItem>, now: UnixMillis) -> Self {
        let row = |balance: &BalanceItem| BalanceRow {
            authorizer: balance.authorizer.as_str().to_owned(),
            link: href("/authorizer", "id", balance.authorizer.as_str()),
            amount: amount_text(balance),
            status: status_text(balance),
            checked_at: TimeTag::new(balance.checked_at, now),
        };
        Self { rows: page.items.iter().map(row).collect(), pages: PageTokens::new(page) }
    }
}

/// Rightfoot's status, of a failed check with its code.
pub(crate) fn status_text(balance: &BalanceItem) -> String {
    match balance.status_code {
        0 => balance.status.clone(),
        code => format!("{} ({code})", balance.status),
    }
}
