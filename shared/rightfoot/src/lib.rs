//! The client of Rightfoot's API (shared/providers/rightfoot.md, "Endpoints").
//!
//! | call | endpoint | sent again |
//! |---|---|---|
//! | [`Rightfoot::submit`] | `POST /v1/balance_requests` | freely: the same bytes give the same batch for 24 h |
//! | [`Rightfoot::create_schedule`] | `POST /v1/monitoring/scheduled_balance_request` | only where nothing was applied |
//! | [`Rightfoot::balances`] | `GET /v1/balances` | freely |
//! | [`Rightfoot::schedule`] | `GET /v1/monitoring/schedules/{id}` | freely |
//! | [`Rightfoot::history`] | `GET /v1/monitoring/authorizers/{id}/history` | freely |
//!
//! Every request has a time-out, every answer a largest size, every list an end, and a request is sent three
//! times at most. How long a whole call may take is the caller's to bound: dropping it is safe, but after a
//! `POST` was dropped its outcome is unknown.
//!
//! Nothing is logged here, and neither an error nor a `Debug` shows the key, an id, a URL or a body (P8).

mod account;
mod answers;
mod config;
mod encoding;
mod error;
mod pages;
mod rate_limit;
mod transport;

use std::fmt;

use bytes::Bytes;
use inbox_core::event::Id;
use inbox_core::limits::PAGE_ROWS;
use inbox_core::rightfoot::{Balance, HistoryEntry, ScheduleState};
use inbox_core::time::UnixMillis;
use reqwest::Url;

pub use account::{Access, Account};
pub use answers::{FailedAuthorizer, ScheduleCreated, Skipped, Submitted};
pub use config::{ApiKey, BASE_URL, BadKey, BadUrl, Config};
pub use error::{ApiError, ClientError, Why};

use answers::Page;
use pages::{End, Pages};
use transport::{Request, Transport};

/// What `GET /v1/balances` says of a batch.
#[derive(Clone, PartialEq, Eq)]
pub struct Balances {
    /// One row per authorizer. Where a list names one twice, the first row counts.
    pub rows: Vec<Balance>,
    /// Whether the list was read to its end. If not, it repeated itself or was too long.
    pub reached_last_page: bool,
    /// The rows that cannot be read. They are somebody's all the same.
    pub skipped: Skipped,
}

/// What `GET /v1/monitoring/authorizers/{id}/history` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The checks of the authorizer, newest first.
    pub entries: Vec<HistoryEntry>,
    /// The rows that cannot be read.
    pub skipped: Skipped,
}

/// How far the balances of a batch have been read. It keeps whose rows it has seen, and none of the rows.
pub struct BalancePages {
    batch_id: Id,
    pages: Pages<Id>,
}

/// A page to ask for.
pub struct NextPage {
    batch_id: Id,
    url: Url,
}

/// A page of balances, as it was answered.
pub struct BalancePage(Page<Balance>);

impl BalancePage {
    /// Its rows that cannot be read.
    pub const fn skipped(&self) -> &Skipped {
        &self.0.skipped
    }
}

impl BalancePages {
    /// The next page, if there is one to ask for.
    pub fn next(&self) -> Option<NextPage> {
        Some(NextPage { batch_id: self.batch_id.clone(), url: self.pages.next_url()? })
    }

    /// Takes in the page that was asked for. What comes back are the rows of those who had none before: where a list
    /// names one twice, the first row counts.
    pub fn take(&mut self, page: BalancePage) -> Vec<Balance> {
        self.pages.take(page.0, |row| row.authorizer.clone(), |_| false)
    }

    /// Whether the list was read to its end. If not, there is more to ask for, or it repeated itself or was too long.
    pub fn reached_last_page(&self) -> bool {
        matches!(self.pages.end(), Some(End::LastPage | End::NoToken))
    }

    /// Whether the last page says that there are more, although it names no token to ask for them: then only who knows
    /// how many rows there have to be can tell whether these are all.
    pub fn says_more(&self) -> bool {
        self.pages.end() == Some(End::NoToken)
    }

    /// The rows that could not be read, of all pages until now.
    pub const fn skipped(&self) -> &Skipped {
        self.pages.skipped()
    }
}

/// Rightfoot's API. Clones share their connections.
#[derive(Clone)]
pub struct Rightfoot(Transport);

impl Rightfoot {
    /// Builds the client. Nothing is connected yet.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        Transport::new(config).map(Self)
    }

    /// Submits a batch of exactly these bytes.
    ///
    /// The same bytes give the same batch for 24 h (shared/providers/rightfoot.md, "Request cache"), so they are sent
    /// again also where the outcome is unknown. If it still is in the end, [`ApiError::outcome_unknown`] says so.
    pub async fn submit(&self, key: &ApiKey, body: impl Into<Bytes>) -> Result<Submitted, ApiError> {
        let url = self.0.config().endpoint(&["balance_requests"])?;
        let answer = self.0.send(key, &Request::PostCached(url, body.into())).await?;
        answers::submitted(&answer)
    }

    /// Creates a monitoring schedule of exactly these bytes.
    ///
    /// No cache is documented for it, so it is sent again only where it was certainly not applied: Rightfoot
    /// answered 429, or there was no connection.
    pub async fn create_schedule(
        &self,
        key: &ApiKey,
        body: impl Into<Bytes>,
    ) -> Result<ScheduleCreated, ApiError> {
        let url = self.0.config().endpoint(&["monitoring", "scheduled_balance_request"])?;
        let answer = self.0.send(key, &Request::PostOnce(url, body.into())).await?;
        answers::schedule_created(&answer)
    }

    /// Reads the balances of a batch, all pages.
    ///
    /// What comes while a batch is in process is not documented: [`ApiError::NotReady`], or fewer rows.
    pub async fn balances(&self, key: &ApiKey, batch_id: &Id) -> Result<Balances, ApiError> {
        let mut pages = self.balance_pages(batch_id)?;
        let mut rows = Vec::new();
        while let Some(page) = pages.next() {
            rows.extend(pages.take(self.balance_page(key, &page).await?));
        }
        let (reached_last_page, skipped) = (pages.reached_last_page(), pages.skipped().clone());
        Ok(Balances { rows, reached_last_page, skipped })
    }

    /// The same list, to be read page by page by who need not have all of it at once.
    pub fn balance_pages(&self, batch_id: &Id) -> Result<BalancePages, ApiError> {
        let mut url = self.0.config().endpoint(&["balances"])?;
        url.query_pairs_mut()
            .append_pair("batchId", batch_id.as_str())
            .append_pair("limit", &PAGE_ROWS.to_string());
        Ok(BalancePages { batch_id: batch_id.clone(), pages: Pages::of(url) })
    }

    /// Reads one page of it.
    pub async fn balance_page(&self, key: &ApiKey, page: &NextPage) -> Result<BalancePage, ApiError> {
        let answer = self.0.send(key, &Request::Get(page.url.clone())).await?;
        answers::balances(&answer, &page.batch_id).map(BalancePage)
    }

    /// Reads how a schedule stands.
    pub async fn schedule(&self, key: &ApiKey, schedule_id: &Id) -> Result<ScheduleState, ApiError> {
        let url = self.0.config().endpoint(&["monitoring", "schedules", schedule_id.as_str()])?;
        let answer = self.0.send(key, &Request::Get(url)).await?;
        answers::schedule(&answer, schedule_id)
    }

    /// Reads the checks of an authorizer that ran at `since` or later, newest first.
    ///
    /// A list that cannot be read back that far is [`ApiError::Broken`], because a run that is left out here would never
    /// be found. A row that cannot be read is skipped: what it hides is missed by who knows that the schedule ran.
    pub async fn history(
        &self,
        key: &ApiKey,
        authorizer: &Id,
        since: UnixMillis,
    ) -> Result<History, ApiError> {
        let segments = ["monitoring", "authorizers", authorizer.as_str(), "history"];
        let mut url = self.0.config().endpoint(&segments)?;
        url.query_pairs_mut().append_pair("limit", &PAGE_ROWS.to_string());
        let read = |body: &[u8]| answers::history(body, authorizer);
        let older = |entry: &HistoryEntry| entry.run_at < since;
        let list = pages::read(&self.0, key, url, read, HistoryEntry::clone, older).await?;
        match list.end {
            End::LastPage | End::NoToken | End::Enough => {
                Ok(History { entries: list.rows, skipped: list.skipped })
            }
            End::Stopped => Err(ApiError::Broken("a list without an end")),
        }
    }
}

/// Shows nothing of where it connects to.
impl fmt::Debug for Rightfoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rightfoot")
    }
}

/// Shows neither batch nor token.
impl fmt::Debug for BalancePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancePages")
            .field("reached_last_page", &self.reached_last_page())
            .finish_non_exhaustive()
    }
}

/// Shows neither batch nor token.
impl fmt::Debug for NextPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextPage")
    }
}

/// Balances are personal data (P8).
impl fmt::Debug for BalancePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BalancePage({} rows)", self.0.rows.len())
    }
}

/// Balances are personal data (P8).
impl fmt::Debug for Balances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balances")
            .field("rows", &self.rows.len())
            .field("reached_last_page", &self.reached_last_page)
            .field("skipped", &self.skipped)
            .finish()
    }
}

#[cfg(test)]
mod tests;
