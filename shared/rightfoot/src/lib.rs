//! A client of Rightfoot's API (shared/providers/rightfoot.md, "Endpoints").
//!
//! | call | endpoint | retried |
//! |---|---|---|
//! | [`RightfootClient::submit_batch`] | `POST /v1/balance_requests` | freely: the same bytes give the same batch for 24 h |
//! | [`RightfootClient::create_schedule`] | `POST /v1/monitoring/scheduled_balance_request` | only where nothing was applied |
//! | [`RightfootClient::balances`] | `GET /v1/balances` | freely |
//! | [`RightfootClient::schedule`] | `GET /v1/monitoring/schedules/{id}` | freely |
//! | [`RightfootClient::history`] | `GET /v1/monitoring/authorizers/{id}/history` | freely |
//!
//! Every request has a time-out, every response a largest size and every list an end, and a request is sent three times at
//! most. The caller bounds the duration of a whole call: dropping its future is safe, but after a `POST` was dropped its
//! outcome is unknown.
//!
//! Nothing is logged here, and neither an error nor a `Debug` shows the key, an id, a URL or a body (P8).

mod account;
mod api_key;
mod base_url;
mod error;
mod failed_authorizers;
mod lenient_values;
mod pager;
mod rate_limit;
mod responses;
mod transport;

use std::fmt;

use bytes::Bytes;
use inbox_core::id::Id;
use inbox_core::limits::PAGE_ROWS;
use inbox_core::rightfoot_api::{Balance, HistoryEntry, ScheduleState};
use inbox_core::time::UnixMillis;
use reqwest::Url;

pub use account::{AccountConfig, RightfootAccount};
pub use api_key::{ApiKey, InvalidApiKey};
pub use base_url::BASE_URL;
pub use error::ApiError;
pub use failed_authorizers::FailedAuthorizer;
pub use inbox_http_client::{ClientBuildError, ClientConfig, InvalidApiUrl, UnavailableReason};
pub use responses::{CreatedSchedule, SkippedRows, SubmittedBatch};

use pager::{ListEnd, Pager};
use responses::ResponsePage;
use transport::{ApiRequest, Transport};

/// The response of `GET /v1/balances` about a batch.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchBalances {
    /// One row per authorizer. If the list names an authorizer twice, the first row counts.
    pub rows: Vec<Balance>,
    /// True if the list was read to its end. Otherwise it repeated itself or was too long.
    pub reached_last_page: bool,
    /// The rows that could not be parsed. Each is still the result of some authorizer.
    pub skipped: SkippedRows,
}

/// The response of `GET /v1/monitoring/authorizers/{id}/history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizerHistory {
    /// The checks of the authorizer, newest first.
    pub entries: Vec<HistoryEntry>,
    /// The rows that could not be parsed.
    pub skipped: SkippedRows,
}

/// Reads the balances of a batch page by page. It remembers the authorizers of the rows, not the rows.
pub struct BalancePager {
    batch_id: Id,
    pager: Pager<Id>,
}

/// A request for one page of balances.
pub struct BalancePageRequest {
    batch_id: Id,
    url: Url,
}

/// One page of balances.
pub struct BalancePage(ResponsePage<Balance>);

impl BalancePage {
    /// The rows of this page that could not be parsed.
    pub const fn skipped(&self) -> &SkippedRows {
        &self.0.skipped
    }
}

impl BalancePager {
    /// The request for the next page; `None` if the list has ended.
    pub fn next_request(&self) -> Option<BalancePageRequest> {
        Some(BalancePageRequest { batch_id: self.batch_id.clone(), url: self.pager.next_url()? })
    }

    /// Adds the page that was requested. Returns its rows for authorizers that had none before: if the list
    /// names one twice, the first row counts.
    pub fn add_page(&mut self, page: BalancePage) -> Vec<Balance> {
        self.pager.add_page(page.0, |row| row.authorizer.clone(), |_| false)
    }

    /// Returns `true` if the list was read to its end. Otherwise there are more pages, or it repeated itself or
    /// was too long.
    pub fn reached_last_page(&self) -> bool {
        matches!(self.pager.end(), Some(ListEnd::LastPage | ListEnd::MissingToken))
    }

    /// Returns `true` if the last page says that there are more, but names no token for the next one. Then only
    /// the expected number of rows can show that these are all.
    pub fn is_missing_token(&self) -> bool {
        self.pager.end() == Some(ListEnd::MissingToken)
    }

    /// The rows that could not be parsed, of all pages so far.
    pub const fn skipped(&self) -> &SkippedRows {
        self.pager.skipped()
    }
}

/// A client of Rightfoot's API. Clones share their connections.
#[derive(Clone)]
pub struct RightfootClient(Transport);

impl RightfootClient {
    /// Creates the client. Nothing is connected yet.
    pub fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        Transport::new(config).map(Self)
    }

    /// Submits a batch, with exactly these bytes as the body.
    ///
    /// The same bytes give the same batch for 24 h (shared/providers/rightfoot.md, "Request cache"), so they are sent again even if the
    /// outcome of an attempt is unknown. [`ApiError::is_outcome_unknown`] says if it is unknown in the end.
    pub async fn submit_batch(
        &self,
        key: &ApiKey,
        body: impl Into<Bytes>,
    ) -> Result<SubmittedBatch, ApiError> {
        let url = self.0.endpoint(&["balance_requests"])?;
        let answer = self.0.send(key, &ApiRequest::PostIdempotent(url, body.into())).await?;
        responses::parse_submitted_batch(&answer)
    }

    /// Creates a monitoring schedule, with exactly these bytes as the body.
    ///
    /// No cache is documented for it, so it is sent again only if it was certainly not applied: Rightfoot
    /// answered 429, or there was no connection.
    pub async fn create_schedule(
        &self,
        key: &ApiKey,
        body: impl Into<Bytes>,
    ) -> Result<CreatedSchedule, ApiError> {
        let url = self.0.endpoint(&["monitoring", "scheduled_balance_request"])?;
        let answer = self.0.send(key, &ApiRequest::PostNonIdempotent(url, body.into())).await?;
        responses::parse_created_schedule(&answer)
    }

    /// Reads the balances of a batch, all pages.
    ///
    /// The response while a batch is in process is not documented: [`ApiError::NotReady`], or fewer rows.
    pub async fn balances(&self, key: &ApiKey, batch_id: &Id) -> Result<BatchBalances, ApiError> {
        let mut pager = self.balance_pager(batch_id)?;
        let mut rows = Vec::new();
        while let Some(page) = pager.next_request() {
            rows.extend(pager.add_page(self.fetch_balance_page(key, &page).await?));
        }
        let (reached_last_page, skipped) = (pager.reached_last_page(), pager.skipped().clone());
        Ok(BatchBalances { rows, reached_last_page, skipped })
    }

    /// Starts to read the same list page by page, for callers that need not hold all of it at once.
    pub fn balance_pager(&self, batch_id: &Id) -> Result<BalancePager, ApiError> {
        let mut url = self.0.endpoint(&["balances"])?;
        url.query_pairs_mut()
            .append_pair("batchId", batch_id.as_str())
            // Always sent, because the default is not documented.
            .append_pair("limit", &PAGE_ROWS.to_string());
        Ok(BalancePager { batch_id: batch_id.clone(), pager: Pager::new(url) })
    }

    /// Reads one page of the balances of a batch.
    pub async fn fetch_balance_page(
        &self,
        key: &ApiKey,
        page: &BalancePageRequest,
    ) -> Result<BalancePage, ApiError> {
        let answer = self.0.send(key, &ApiRequest::Get(page.url.clone())).await?;
        responses::parse_balance_page(&answer, &page.batch_id).map(BalancePage)
    }

    /// Reads the state of a schedule.
    pub async fn schedule(&self, key: &ApiKey, schedule_id: &Id) -> Result<ScheduleState, ApiError> {
        let url = self.0.endpoint(&["monitoring", "schedules", schedule_id.as_str()])?;
        let answer = self.0.send(key, &ApiRequest::Get(url)).await?;
        responses::parse_schedule(&answer, schedule_id)
    }

    /// Reads the checks of an authorizer that ran at `since` or later, newest first.
    ///
    /// A list that cannot be read back that far is an [`ApiError::InvalidResponse`], because a run that is left
    /// out here would never be found. A row that cannot be parsed is skipped: from the schedule's last run the
    /// caller can tell that one is missing.
    pub async fn history(
        &self,
        key: &ApiKey,
        authorizer: &Id,
        since: UnixMillis,
    ) -> Result<AuthorizerHistory, ApiError> {
        let segments = ["monitoring", "authorizers", authorizer.as_str(), "history"];
        let mut url = self.0.endpoint(&segments)?;
        url.query_pairs_mut().append_pair("limit", &PAGE_ROWS.to_string());
        let read = |body: &[u8]| responses::parse_history_page(body, authorizer);
        let is_older = |entry: &HistoryEntry| entry.run_at < since;
        // An entry has no id of its own, so the whole entry is its key.
        let list = pager::read_list(&self.0, key, url, read, HistoryEntry::clone, is_older).await?;
        match list.end {
            ListEnd::LastPage | ListEnd::MissingToken | ListEnd::ReachedBound => {
                Ok(AuthorizerHistory { entries: list.rows, skipped: list.skipped })
            }
            ListEnd::Stopped => Err(ApiError::InvalidResponse("a list that does not end")),
        }
    }
}

/// Does not show the URL.
impl fmt::Debug for RightfootClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RightfootClient")
    }
}

/// Shows neither batch nor page token (P8).
impl fmt::Debug for BalancePager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancePager")
            .field("reached_last_page", &self.reached_last_page())
            .finish_non_exhaustive()
    }
}

/// Shows neither batch nor page token (P8).
impl fmt::Debug for BalancePageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BalancePageRequest")
    }
}

/// Balances are personal data (P8).
impl fmt::Debug for BalancePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BalancePage({} rows)", self.0.rows.len())
    }
}

/// Balances are personal data (P8).
impl fmt::Debug for BatchBalances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBalances")
            .field("rows", &self.rows.len())
            .field("reached_last_page", &self.reached_last_page)
            .field("skipped", &self.skipped)
            .finish()
    }
}

#[cfg(test)]
mod tests;
