//! Reading what is submitted (shared/providers/rightfoot.md, "Submit a batch" and "Create a schedule").
//! Nothing of an authorizer is kept but its id and threshold.

use inbox_core::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::amount::Amount;
use super::batch::Wanted;

const AUTHORIZERS_MAX: usize = 1_000;
const NAME_MAX_CHARS: usize = 255;
const INTERVAL_MAX_DAYS: u32 = 30;
const EXPIRY_DEFAULT_DAYS: u32 = 30;

/// What E1 is asked for.
pub(super) struct Submission {
    pub(super) wanted: Vec<Wanted>,
    pub(super) failed: Vec<FailedRow>,
    pub(super) webhook: Option<String>,
}

/// What E5 is asked for.
pub(super) struct NewSchedule {
    pub(super) name: String,
    pub(super) wanted: Vec<Wanted>,
    pub(super) webhook: Option<String>,
    pub(super) interval_days: u32,
    /// Since midnight.
    pub(super) time_of_day_ms: Option<i64>,
    /// Midnight of the first day.
    pub(super) start: Option<UnixMillis>,
    pub(super) expiry: Expiry,
}

/// When a schedule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// On the day that begins here.
    On(UnixMillis),
    InDays(u32),
}

/// A row that cannot be taken.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FailedRow {
    pub(super) authorizer_unique_id: Option<String>,
    error: &'static str,
    account_type: Option<&'static str>,
    row_number: usize,
}

/// Why nothing of a request is taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: &'static str,
    failed: Vec<FailedRow>,
}

impl Refused {
    /// `error.details`, if rows are to blame.
    pub(super) fn details(&self) -> Option<Value> {
        (!self.failed.is_empty()).then(|| json!({"failed_authorizers": self.failed}))
    }
}

fn refused(message: &'static str) -> Refused {
    Refused { message, failed: Vec::new() }
}

#[derive(Deserialize)]
struct RawSubmission {
    authorizers: Vec<Box<RawValue>>,
    webhook_url: Option<String>,
}

impl Submission {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let raw: RawSubmission =
            serde_json::from_slice(body).map_err(|_| refused("The body is not a balance request."))?;
        let (wanted, failed) = read_rows(&raw.authorizers)?;
        if wanted.is_empty() {
            return Err(Refused { message: "No authorizer is valid.", failed });
        }
        Ok(Self { wanted, failed, webhook: read_url(raw.webhook_url)? })
    }
}

#[derive(Deserialize)]
struct RawSchedule {
    name: Option<String>,
    authorizers: Vec<Box<RawValue>>,
    threshold_amount: Option<Box<RawValue>>,
    webhook: Option<String>,
    interval_days: Option<u32>,
    time_of_day: Option<String>,
    #[serde(alias = "starts_at")]
    start_at: Option<String>,
    expires_at: Option<String>,
    expires_in_days: Option<u32>,
}

impl NewSchedule {
    /// The answer has no place for failed authorizers, so one of them refuses the whole (not documented).
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let raw: RawSchedule =
            serde_json::from_slice(body).map_err(|_| refused("The body is not a schedule."))?;
        let (wanted, failed) = read_rows(&raw.authorizers)?;
        if !failed.is_empty() {
            return Err(Refused { message: "Not every authorizer is valid.", failed });
        }
        let wanted = with_default(wanted, raw.threshold_amount.as_deref())?;
        let webhook = read_url(raw.webhook)?;
        if webhook.is_none() && wanted.iter().any(|wanted| wanted.threshold.is_some()) {
            return Err(refused("webhook is required with a threshold."));
        }
        Ok(Self {
            name: read_name(raw.name)?,
            wanted,
            webhook,
            interval_days: raw
                .interval_days
                .filter(|days| (1..=INTERVAL_MAX_DAYS).contains(days))
                .ok_or_else(|| refused("interval_days must be an integer from 1 to 30."))?,
            time_of_day_ms: raw.time_of_day.as_deref().map(read_time_of_day).transpose()?,
            start: raw.start_at.as_deref().map(read_date).transpose()?,
            expiry: match (raw.expires_at.as_deref(), raw.expires_in_days) {
                (Some(date), _) => Expiry::On(read_date(date)?),
                (None, days) => Expiry::InDays(days.unwrap_or(EXPIRY_DEFAULT_DAYS)),
            },
        })
    }
}

fn read_rows(raw: &[Box<RawValue>]) -> Result<(Vec<Wanted>, Vec<FailedRow>), Refused> {
    if raw.is_empty() {
        return Err(refused("authorizers is empty."));
    }
    if raw.len() > AUTHORIZERS_MAX {
        return Err(refused("authorizers has more than 1000 entries."));
    }
    let (mut wanted, mut failed) = (Vec::new(), Vec::new());
    for (row_number, raw) in (1..).zip(raw) {
        match read_row(raw, row_number) {
            Ok(row) => wanted.push(row),
            Err(row) => failed.push(row),
        }
    }
    Ok((wanted, failed))
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

fn read_row(raw: &RawValue, row_number: usize) -> Result<Wanted, FailedRow> {
    let unreadable = || {
        let loose: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        FailedRow {
            authorizer_unique_id: loose
                .get("authorizer_unique_id")
                .and_then(Value::as_str)
                .map(str::to_owned),
            error: "The authorizer is not readable.",
            account_type: None,
            row_number,
        }
    };
    let row: RawAuthorizer = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
    let given = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let has_account = given(&row.account_number) && given(&row.routing_number);
    let has_card = given(&row.debit_card_number);
    let threshold = row.threshold_amount.as_deref().map(Amount::read);
    let error = match row.authorizer_unique_id.as_deref() {
        None | Some("") => "authorizer_unique_id is required.",
        Some(_) if !given(&row.ssn) && !given(&row.ein) => "Either ssn or ein is required.",
        Some(_) if !has_account && !has_card => {
            "Either account_number and routing_number or debit_card_number is required."
        }
        Some(_) if threshold.as_ref().is_some_and(Option::is_none) => "threshold_amount must be a number.",
        Some(id) => return Ok(Wanted { id: id.to_owned(), threshold: threshold.flatten() }),
    };
    let account_type = match (has_account, has_card) {
        (true, _) => Some("ACCOUNT_NUMBER"),
        (false, true) => Some("DEBIT_CARD"),
        (false, false) => None,
    };
    Err(FailedRow { authorizer_unique_id: row.authorizer_unique_id, error, account_type, row_number })
}

/// An authorizer's own threshold beats the request's, as the newer documents have it.
fn with_default(mut wanted: Vec<Wanted>, default: Option<&RawValue>) -> Result<Vec<Wanted>, Refused> {
    if let Some(default) = default {
        let default = Amount::read(default).ok_or_else(|| refused("threshold_amount must be a number."))?;
        for wanted in &mut wanted {
            wanted.threshold.get_or_insert_with(|| default.clone());
        }
    }
    Ok(wanted)
}

fn read_name(name: Option<String>) -> Result<String, Refused> {
    name.filter(|name| !name.is_empty() && name.chars().count() <= NAME_MAX_CHARS)
        .ok_or_else(|| refused("name is required and has at most 255 characters."))
}

fn read_url(url: Option<String>) -> Result<Option<String>, Refused> {
    let is_http = |url: &str| {
        reqwest::Url::parse(url).is_ok_and(|url| url.has_host() && ["http", "https"].contains(&url.scheme()))
    };
    match url {
        Some(url) if !is_http(&url) => Err(refused("The webhook is not a URL.")),
        other => Ok(other),
    }
}

fn read_time_of_day(text: &str) -> Result<i64, Refused> {
    UnixMillis::from_rfc3339(&format!("1970-01-01T{text}:00Z"))
        .map(|since_midnight| since_midnight.0)
        .ok_or_else(|| refused("time_of_day must be HH:mm."))
}

fn read_date(text: &str) -> Result<UnixMillis, Refused> {
    UnixMillis::from_rfc3339(&format!("{text}T00:00:00Z"))
        .ok_or_else(|| refused("A date must be YYYY-MM-DD."))
}
