//! Parsing of submissions (shared/providers/rightfoot.md, "Submit a batch" and "Create a schedule"). Of an authorizer, only id and threshold are kept, no personal data.

use inbox_core::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::batch_entry::RequestedAuthorizer;
use super::dollar_amount::DollarAmount;

// E1's limit; none is documented for schedules (shared/providers/rightfoot.md, "Create a schedule").
const AUTHORIZERS_MAX: usize = 1_000;
const NAME_MAX_CHARS: usize = 255;
const INTERVAL_MAX_DAYS: u32 = 30;
const EXPIRY_DEFAULT_DAYS: u32 = 30;

/// A parsed request to E1.
pub(super) struct BatchRequest {
    pub(super) authorizers: Vec<RequestedAuthorizer>,
    pub(super) failed_authorizers: Vec<FailedAuthorizerBody>,
    pub(super) webhook_url: Option<String>,
}

/// A parsed request to E5.
pub(super) struct ScheduleRequest {
    pub(super) name: String,
    pub(super) authorizers: Vec<RequestedAuthorizer>,
    pub(super) webhook_url: Option<String>,
    pub(super) interval_days: u32,
    /// Milliseconds since midnight UTC.
    pub(super) time_of_day_ms: Option<i64>,
    /// Midnight (UTC) of the first day.
    pub(super) start: Option<UnixMillis>,
    pub(super) expiry: ScheduleExpiry,
}

/// The requested end of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScheduleExpiry {
    /// The day that begins at this midnight (UTC).
    OnDate(UnixMillis),
    InDays(u32),
}

/// A row that is not accepted, as in the response's `failed_authorizers`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FailedAuthorizerBody {
    pub(super) authorizer_unique_id: Option<String>,
    error: &'static str,
    account_type: Option<&'static str>,
    row_number: usize,
}

/// The reason for rejecting a whole request.
#[derive(Debug)]
pub(super) struct BadRequest {
    pub(super) message: &'static str,
    failed_authorizers: Vec<FailedAuthorizerBody>,
}

impl BadRequest {
    /// `error.details`; `None` unless rows are the reason.
    pub(super) fn details(&self) -> Option<Value> {
        (!self.failed_authorizers.is_empty()).then(|| json!({"failed_authorizers": self.failed_authorizers}))
    }
}

fn bad_request(message: &'static str) -> BadRequest {
    BadRequest { message, failed_authorizers: Vec::new() }
}

#[derive(Deserialize)]
struct RawBatchRequest {
    // Raw, so that a malformed row fails alone, and amounts keep their digits.
    authorizers: Vec<Box<RawValue>>,
    webhook_url: Option<String>,
}

impl BatchRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        let raw: RawBatchRequest =
            serde_json::from_slice(body).map_err(|_| bad_request("The body is not a balance request."))?;
        let (authorizers, failed) = parse_authorizers(&raw.authorizers)?;
        if authorizers.is_empty() {
            return Err(BadRequest { message: "No authorizer is valid.", failed_authorizers: failed });
        }
        Ok(Self { authorizers, failed_authorizers: failed, webhook_url: validate_url(raw.webhook_url)? })
    }
}

#[derive(Deserialize)]
struct RawScheduleRequest {
    name: Option<String>,
    authorizers: Vec<Box<RawValue>>,
    threshold_amount: Option<Box<RawValue>>,
    webhook: Option<String>,
    interval_days: Option<u32>,
    time_of_day: Option<String>,
    // The documents name this field in two ways (shared/providers/rightfoot.md, "Contradictions").
    #[serde(alias = "starts_at")]
    start_at: Option<String>,
    expires_at: Option<String>,
    expires_in_days: Option<u32>,
}

impl ScheduleRequest {
    /// Parses E5's body. E5's response has no field for failed authorizers, so a single one fails the whole request (not
    /// documented).
    pub(super) fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        let raw: RawScheduleRequest =
            serde_json::from_slice(body).map_err(|_| bad_request("The body is not a schedule."))?;
        let (authorizers, failed) = parse_authorizers(&raw.authorizers)?;
        if !failed.is_empty() {
            return Err(BadRequest { message: "Not every authorizer is valid.", failed_authorizers: failed });
        }
        let authorizers = with_default_threshold(authorizers, raw.threshold_amount.as_deref())?;
        let webhook_url = validate_url(raw.webhook)?;
        // The condition under which `webhook` is required could not be read; this one is inferred
        // (shared/providers/rightfoot.md, "Create a schedule").
        if webhook_url.is_none() && authorizers.iter().any(|authorizer| authorizer.threshold.is_some()) {
            return Err(bad_request("webhook is required with a threshold."));
        }
        Ok(Self {
            name: validate_name(raw.name)?,
            authorizers,
            webhook_url,
            interval_days: raw
                .interval_days
                .filter(|days| (1..=INTERVAL_MAX_DAYS).contains(days))
                .ok_or_else(|| bad_request("interval_days must be an integer from 1 to 30."))?,
            time_of_day_ms: raw.time_of_day.as_deref().map(parse_time_of_day).transpose()?,
            start: raw.start_at.as_deref().map(parse_date).transpose()?,
            // The two versions of the documents name different fields; the newer one's wins.
            expiry: match (raw.expires_at.as_deref(), raw.expires_in_days) {
                (Some(date), _) => ScheduleExpiry::OnDate(parse_date(date)?),
                (None, days) => ScheduleExpiry::InDays(days.unwrap_or(EXPIRY_DEFAULT_DAYS)),
            },
        })
    }
}

fn parse_authorizers(
    raw: &[Box<RawValue>],
) -> Result<(Vec<RequestedAuthorizer>, Vec<FailedAuthorizerBody>), BadRequest> {
    if raw.is_empty() {
        return Err(bad_request("authorizers is empty."));
    }
    if raw.len() > AUTHORIZERS_MAX {
        return Err(bad_request("authorizers has more than 1000 entries."));
    }
    let (mut authorizers, mut failed) = (Vec::new(), Vec::new());
    for (row_number, raw) in (1..).zip(raw) {
        match parse_authorizer(raw, row_number) {
            Ok(row) => authorizers.push(row),
            Err(row) => failed.push(row),
        }
    }
    Ok((authorizers, failed))
}

#[derive(Deserialize)]
struct RawAuthorizer {
    authorizer_unique_id: Option<String>,
    ssn: Option<String>,
    ein: Option<String>,
    account_number: Option<String>,
    routing_number: Option<String>,
    debit_card_number: Option<String>,
    threshold_amount: Option<Box<RawValue>>,
}

fn parse_authorizer(raw: &RawValue, row_number: usize) -> Result<RequestedAuthorizer, FailedAuthorizerBody> {
    let malformed = || {
        // A row of the wrong shape may still have a readable id.
        let loose: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        FailedAuthorizerBody {
            authorizer_unique_id: loose
                .get("authorizer_unique_id")
                .and_then(Value::as_str)
                .map(str::to_owned),
            error: "The authorizer is not readable.",
            account_type: None,
            row_number,
        }
    };
    let row: RawAuthorizer = serde_json::from_str(raw.get()).map_err(|_| malformed())?;
    let is_given = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let has_account = is_given(&row.account_number) && is_given(&row.routing_number);
    let has_card = is_given(&row.debit_card_number);
    let threshold = row.threshold_amount.as_deref().map(DollarAmount::from_json);
    let error = match row.authorizer_unique_id.as_deref() {
        None | Some("") => "authorizer_unique_id is required.",
        Some(_) if !is_given(&row.ssn) && !is_given(&row.ein) => "Either ssn or ein is required.",
        Some(_) if !has_account && !has_card => {
            "Either account_number and routing_number or debit_card_number is required."
        }
        Some(_) if threshold.as_ref().is_some_and(Option::is_none) => "threshold_amount must be a number.",
        Some(id) => return Ok(RequestedAuthorizer { id: id.to_owned(), threshold: threshold.flatten() }),
    };
    let account_type = match (has_account, has_card) {
        (true, _) => Some("ACCOUNT_NUMBER"),
        (false, true) => Some("DEBIT_CARD"),
        (false, false) => None,
    };
    Err(FailedAuthorizerBody {
        authorizer_unique_id: row.authorizer_unique_id,
        error,
        account_type,
        row_number,
    })
}

/// Sets the request's threshold where an authorizer has none of its own, as in the newer documents.
fn with_default_threshold(
    mut authorizers: Vec<RequestedAuthorizer>,
    default: Option<&RawValue>,
) -> Result<Vec<RequestedAuthorizer>, BadRequest> {
    if let Some(default) = default {
        let default = DollarAmount::from_json(default)
            .ok_or_else(|| bad_request("threshold_amount must be a number."))?;
        for authorizer in &mut authorizers {
            authorizer.threshold.get_or_insert_with(|| default.clone());
        }
    }
    Ok(authorizers)
}

fn validate_name(name: Option<String>) -> Result<String, BadRequest> {
    name.filter(|name| !name.is_empty() && name.chars().count() <= NAME_MAX_CHARS)
        .ok_or_else(|| bad_request("name is required and has at most 255 characters."))
}

fn validate_url(url: Option<String>) -> Result<Option<String>, BadRequest> {
    let is_http = |url: &str| {
        reqwest::Url::parse(url).is_ok_and(|url| url.has_host() && ["http", "https"].contains(&url.scheme()))
    };
    match url {
        Some(url) if !is_http(&url) => Err(bad_request("The webhook is not a URL.")),
        other => Ok(other),
    }
}

fn parse_time_of_day(text: &str) -> Result<i64, BadRequest> {
    UnixMillis::from_rfc3339(&format!("1970-01-01T{text}:00Z"))
        .map(|since_midnight| since_midnight.0)
        .ok_or_else(|| bad_request("time_of_day must be HH:mm."))
}

fn parse_date(text: &str) -> Result<UnixMillis, BadRequest> {
    UnixMillis::from_rfc3339(&format!("{text}T00:00:00Z"))
        .ok_or_else(|| bad_request("A date must be YYYY-MM-DD."))
}
