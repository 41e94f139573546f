//! Parses Rightfoot's responses (shared/providers/rightfoot.md, "Read balances" and "Errors"). Unknown fields are ignored.
//!
//! A value with one clear meaning is accepted in any form. A row without a clear meaning is skipped, and the other rows of
//! its list count: [`SkippedRows`] says how many. A response that shows that a `POST` was applied is parsed as far as
//! possible: a batch that exists must not be lost because of an odd value beside its id.

use std::borrow::Cow;
use std::fmt;

use inbox_core::id::Id;
use inbox_core::json::strip_bom;
use inbox_core::rightfoot_api::{Amount, Balance, HistoryEntry, ScheduleState};
use inbox_core::time::UnixMillis;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ApiError;
use crate::failed_authorizers::{FailedAuthorizer, parse_failed_authorizers};
use crate::lenient_values::{boolean, display_text, fields, id, integer, items, text, time};
use skipped_rows::SkipReason;

mod skipped_rows;

pub use skipped_rows::SkippedRows;

/// "Other error": the code of a row without balance and without code.
const OTHER_ERROR: i64 = 9000;

const NOT_AN_OBJECT: ApiError = ApiError::InvalidResponse("not one JSON object of the documented fields");
const NOT_A_LIST: ApiError = ApiError::InvalidResponse("not a list");
const NO_ID: ApiError = ApiError::InvalidResponse("an id is missing or unusable");
const NO_TIME: ApiError = ApiError::InvalidResponse("a time is missing or unusable");
const NO_TOTAL: ApiError = ApiError::InvalidResponse("total_authorizers is missing or not a whole number");

/// The response to a submitted batch.
#[derive(Clone, PartialEq, Eq)]
pub struct SubmittedBatch {
    /// The batch. It exists, whatever the other fields say.
    pub batch_id: Id,
    /// The time at which Rightfoot accepted it.
    pub submitted_at: Option<UnixMillis>,
    /// The authorizers that it left out.
    pub failed_authorizers: Vec<FailedAuthorizer>,
    /// Its warnings. May hold personal data.
    pub warnings: Vec<String>,
}

/// The response to a created schedule.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedSchedule {
    /// The schedule.
    pub schedule_id: Id,
    /// The time at which it ends.
    pub expires_at: Option<UnixMillis>,
    /// The time of its next run.
    pub next_run_at: Option<UnixMillis>,
}

/// One page of a list.
pub(crate) struct ResponsePage<T> {
    pub(crate) rows: Vec<T>,
    /// The rows that could not be parsed.
    pub(crate) skipped: SkippedRows,
    pub(crate) has_more: bool,
    pub(crate) next_token: Option<String>,
}

/// Parses the response to `POST /v1/balance_requests`.
pub(crate) fn parse_submitted_batch(body: &[u8]) -> Result<SubmittedBatch, ApiError> {
    let body = response_text(body);
    let fields = fields(&body).ok_or(NOT_AN_OBJECT)?;
    let field = |name| fields.get(name).copied();
    Ok(SubmittedBatch {
        batch_id: field("batch_id").and_then(id).ok_or(NO_ID)?,
        submitted_at: field("submitted_at").and_then(time),
        failed_authorizers: parse_failed_authorizers(field("failed_authorizers")),
        warnings: field("warnings")
            .map(items)
            .unwrap_or_default()
            .into_iter()
            .filter_map(display_text)
            .collect(),
    })
}

/// The authorizers that an error response names: `error.details.failed_authorizers`, if present.
pub(crate) fn parse_failed_authorizers_of_error(body: &[u8]) -> Vec<FailedAuthorizer> {
    let body = response_text(body);
    let list = fields(&body)
        .and_then(|mut answer| answer.remove("error"))
        .and_then(|error| fields(error.get())?.remove("details"))
        .and_then(|details| fields(details.get())?.remove("failed_authorizers"));
    parse_failed_authorizers(list)
}

/// Parses the response to `POST /v1/monitoring/scheduled_balance_request`.
pub(crate) fn parse_created_schedule(body: &[u8]) -> Result<CreatedSchedule, ApiError> {
    let body = response_text(body);
    let fields = fields(&body).ok_or(NOT_AN_OBJECT)?;
    let field = |name| fields.get(name).copied();
    Ok(CreatedSchedule {
        schedule_id: field("schedule_id").and_then(id).ok_or(NO_ID)?,
        expires_at: field("expires_at").and_then(time),
        next_run_at: field("next_run_at").and_then(time),
    })
}

/// Parses a page of `GET /v1/balances`.
pub(crate) fn parse_balance_page(body: &[u8], batch_id: &Id) -> Result<ResponsePage<Balance>, ApiError> {
    #[derive(Deserialize)]
    struct BalancesResponse<'a> {
        #[serde(borrow)]
        batch_id: Option<&'a RawValue>,
        balances: &'a RawValue,
        has_more: Option<&'a RawValue>,
        next_page_token: Option<&'a RawValue>,
    }
    let body = response_text(body);
    let answer: BalancesResponse<'_> = parse_object(&body)?;
    check_id(batch_id, answer.batch_id)?;
    parse_page(answer.balances, answer.has_more, answer.next_page_token, parse_balance_row)
}

fn parse_balance_row(row: &RawValue) -> Result<Balance, SkipReason> {
    #[derive(Deserialize)]
    struct BalanceRow<'a> {
        #[serde(borrow)]
        authorizer_unique_id: Option<&'a RawValue>,
        balance: Option<&'a RawValue>,
        timestamp: Option<&'a RawValue>,
        balance_status_code: Option<&'a RawValue>,
        status_code: Option<&'a RawValue>,
    }
    let row: BalanceRow<'_> = parse_row_object(row)?;
    let authorizer = row.authorizer_unique_id.and_then(id).ok_or(SkipReason("authorizer_unique_id"))?;
    // Only `balance_status_code` is documented. `status_code` replaces it only where it is a code as well.
    let status_code = match row.balance_status_code {
        Some(code) => Some(integer(code).ok_or(SkipReason("balance_status_code"))?),
        None => row.status_code.and_then(integer),
    };
    let (amount, status_code) = match (status_code, row.balance.map(Amount::from_json_or_text)) {
        (Some(0) | None, Some(Err(_))) => return Err(SkipReason("balance")),
        // A failed check has no balance, whatever value the field has.
        (Some(code), Some(Err(_)) | None) => (None, code),
        (Some(code), Some(Ok(amount))) => (Some(amount), code),
        // Only a successful check has a balance.
        (None, Some(Ok(amount))) => (Some(amount), 0),
        (None, None) => (None, OTHER_ERROR),
    };
    Ok(Balance { authorizer, amount, status_code, checked_at: row.timestamp.and_then(time) })
}

/// Parses a page of `GET /v1/monitoring/authorizers/{id}/history`.
pub(crate) fn parse_history_page(
    body: &[u8],
    authorizer: &Id,
) -> Result<ResponsePage<HistoryEntry>, ApiError> {
    #[derive(Deserialize)]
    struct HistoryResponse<'a> {
        #[serde(borrow)]
        authorizer_unique_id: Option<&'a RawValue>,
        history: &'a RawValue,
        has_more: Option<&'a RawValue>,
        next_page_token: Option<&'a RawValue>,
    }
    let body = response_text(body);
    let answer: HistoryResponse<'_> = parse_object(&body)?;
    check_id(authorizer, answer.authorizer_unique_id)?;
    parse_page(answer.history, answer.has_more, answer.next_page_token, parse_history_row)
}

fn parse_history_row(row: &RawValue) -> Result<HistoryEntry, SkipReason> {
    #[derive(Deserialize)]
    struct HistoryRow<'a> {
        #[serde(borrow)]
        run_at: Option<&'a RawValue>,
        batch_id: Option<&'a RawValue>,
    }
    let row: HistoryRow<'_> = parse_row_object(row)?;
    Ok(HistoryEntry {
        run_at: row.run_at.and_then(time).ok_or(SkipReason("run_at"))?,
        batch_id: row.batch_id.and_then(id).ok_or(SkipReason("batch_id"))?,
    })
}

/// Parses the response to `GET /v1/monitoring/schedules/{id}`. Its times are nullable, whatever E6 says (shared/providers/rightfoot.md, "Contradictions").
pub(crate) fn parse_schedule(body: &[u8], schedule_id: &Id) -> Result<ScheduleState, ApiError> {
    #[derive(Deserialize)]
    struct ScheduleResponse<'a> {
        #[serde(borrow)]
        schedule_id: Option<&'a RawValue>,
        last_run_at: Option<&'a RawValue>,
        next_run_at: Option<&'a RawValue>,
        total_authorizers: Option<&'a RawValue>,
    }
    let body = response_text(body);
    let answer: ScheduleResponse<'_> = parse_object(&body)?;
    check_id(schedule_id, answer.schedule_id)?;
    let nullable = |at: Option<&RawValue>| {
        let at = at.filter(|at| text(at).is_none_or(|text| !text.is_empty()));
        at.map(|at| time(at).ok_or(NO_TIME)).transpose()
    };
    let total = answer.total_authorizers.and_then(integer);
    Ok(ScheduleState {
        last_run_at: nullable(answer.last_run_at)?,
        next_run_at: nullable(answer.next_run_at)?,
        total_authorizers: total.and_then(|total| u64::try_from(total).ok()).ok_or(NO_TOTAL)?,
    })
}

/// Rejects a response about another id than the one requested: Rightfoot did not understand the request.
fn check_id(requested: &Id, returned: Option<&RawValue>) -> Result<(), ApiError> {
    match returned.map(text) {
        Some(Some(returned_id)) if !returned_id.eq_ignore_ascii_case(requested.as_str()) => {
            Err(ApiError::InvalidResponse("about another id than requested"))
        }
        _ => Ok(()),
    }
}

fn parse_page<T>(
    list: &RawValue,
    has_more: Option<&RawValue>,
    token: Option<&RawValue>,
    read: impl Fn(&RawValue) -> Result<T, SkipReason>,
) -> Result<ResponsePage<T>, ApiError> {
    let Ok(all) = serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) else { return Err(NOT_A_LIST) };
    let (mut rows, mut skipped) = (Vec::new(), SkippedRows::default());
    for row in all.unwrap_or_default() {
        match read(row) {
            Ok(row) => rows.push(row),
            Err(reason) => skipped.add(reason),
        }
    }
    // A value that cannot be parsed does not mean that this was the last page.
    let has_more = has_more.map(|it| boolean(it).unwrap_or(true));
    if has_more == Some(false) {
        return Ok(ResponsePage { rows, skipped, has_more: false, next_token: None });
    }
    let unusable = ApiError::InvalidResponse("a page token that cannot be sent");
    let next = token.map(|token| text(token).ok_or(unusable)).transpose()?.filter(|token| !token.is_empty());
    // Without the flag, a token shows that there are more pages.
    Ok(ResponsePage { rows, skipped, has_more: has_more.unwrap_or(next.is_some()), next_token: next })
}

/// The text of a response.
fn response_text(body: &[u8]) -> Cow<'_, str> {
    // Bytes that are not UTF-8 are replaced, because they may occur in texts that decide nothing.
    String::from_utf8_lossy(strip_bom(body))
}

/// Parses one unambiguous JSON object with these fields.
fn parse_object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ApiError> {
    // Serde would also fill the fields from an array, by their order.
    if !json.trim_start().starts_with('{') {
        return Err(NOT_AN_OBJECT);
    }
    serde_json::from_str(json).map_err(|_| NOT_AN_OBJECT)
}

fn parse_row_object<'a, T: Deserialize<'a>>(row: &'a RawValue) -> Result<T, SkipReason> {
    parse_object(row.get()).map_err(|_| SkipReason("row"))
}

/// Shows neither ids nor texts (P8).
impl fmt::Debug for SubmittedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmittedBatch")
            .field("failed_authorizers", &self.failed_authorizers.len())
            .field("warnings", &self.warnings.len())
            .finish_non_exhaustive()
    }
}

/// Shows no id (P8).
impl fmt::Debug for CreatedSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedSchedule").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
