//! The requests that callers send to `rightfoot-requests`, parsed and checked before anything is done.
//!
//! An error names the field and never quotes a value: the values are people's names, account numbers and social
//! security numbers (P8).

mod authorizers;
mod json_fields;
pub mod submission;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::id::Id;
use crate::limits::{AUTHORIZERS_MAX, CSV_AUTHORIZERS_MAX, PROBES_MAX};
use crate::subject::Subject;
use crate::thresholds::Thresholds;
use crate::time::UnixMillis;

pub use authorizers::Authorizers;
use json_fields::JsonFields;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest interval that Rightfoot allows for a schedule (shared/providers/rightfoot.md, "Create a schedule").
const INTERVAL_MAX_DAYS: u64 = 30;
/// The assumed lifetime of a tracked schedule whose request does not say when it expires.
pub const SCHEDULE_LIFETIME_MAX: Duration = Duration::from_secs(365 * 86_400);
/// The fields of `create_schedule` that are passed on to Rightfoot, besides its authorizers. Rightfoot's
/// documents differ on `start_at` and `starts_at`, and on `expires_at` and `expires_in_days`, so all of them
/// are passed on as they are.
const SCHEDULE_FIELDS: [&str; 8] = [
    "expires_at",
    "expires_in_days",
    "interval_days",
    "name",
    "start_at",
    "starts_at",
    "threshold_amount",
    "time_of_day",
];

/// The error of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidRequest {
    /// The path of the field, as in `authorizers[3].authorizer_unique_id`.
    pub field: String,
    /// The problem with it. Never quotes its value.
    pub why: Cow<'static, str>,
}

impl InvalidRequest {
    fn new(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// A parsed request.
#[derive(Debug)]
pub enum RightfootRequest {
    /// Submit a batch of balance checks.
    SubmitBatch(SubmitBatch),
    /// Create a schedule of repeated balance checks.
    CreateSchedule(CreateSchedule),
    /// Track a batch that was submitted by other means.
    TrackBatch(TrackBatch),
    /// Track a schedule that was created by other means.
    TrackSchedule(TrackSchedule),
    /// Mint a webhook URL.
    WebhookUrl {
        /// The subject to mint it for.
        subject: Subject,
    },
}

impl RightfootRequest {
    /// The value of its field `action`.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::SubmitBatch(_) => "submit_batch",
            Self::CreateSchedule(_) => "create_schedule",
            Self::TrackBatch(_) => "track_batch",
            Self::TrackSchedule(_) => "track_schedule",
            Self::WebhookUrl { .. } => "webhook_url",
        }
    }

    /// The subject of the URL that its webhooks come by, if there is one. For a submission, this is its
    /// `submission_id`.
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::SubmitBatch(batch) => Some(&batch.submission_id),
            Self::CreateSchedule(schedule) => Some(&schedule.submission_id),
            Self::TrackBatch(track) => track.binding.subject(),
            Self::TrackSchedule(track) => track.binding.subject(),
            Self::WebhookUrl { subject } => Some(subject),
        }
    }
}

/// The request `submit_batch`.
#[derive(Debug)]
pub struct SubmitBatch {
    /// The caller's own id of this submission; a request with the same id is a repetition.
    pub submission_id: Subject,
    /// The authorizers whose balances are checked.
    pub authorizers: Authorizers,
}

/// The request `create_schedule`.
pub struct CreateSchedule {
    /// The caller's own id of this submission; a request with the same id is a repetition.
    pub submission_id: Subject,
    /// The authorizers whose balances are checked.
    pub authorizers: Authorizers,
    /// The other fields by name, as canonical JSON.
    pub settings: Vec<(&'static str, String)>,
    /// The alert thresholds.
    pub thresholds: Thresholds,
    /// The authorizers whose histories are read to find the schedule's runs.
    pub probes: Vec<Id>,
    /// The time between two runs, if given.
    pub interval: Option<Duration>,
    /// The expiry, if given as a date or time.
    pub expires_at: Option<UnixMillis>,
}

/// The request `track_batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackBatch {
    /// The batch.
    pub batch_id: Id,
    /// The number of different authorizers that were submitted.
    pub expected: u64,
    /// The authorizers that Rightfoot did not accept.
    pub failed: Vec<Id>,
    /// The binding of its webhooks to a subject.
    pub binding: SubjectBinding,
}

/// The request `track_schedule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSchedule {
    /// The schedule.
    pub schedule_id: Id,
    /// The authorizers whose histories are read to find the schedule's runs.
    pub probes: Vec<Id>,
    /// The alert thresholds.
    pub thresholds: Thresholds,
    /// The time between two runs, if given.
    pub interval: Option<Duration>,
    /// The expiry, if given.
    pub expires_at: Option<UnixMillis>,
    /// The binding of its webhooks to a subject.
    pub binding: SubjectBinding,
}

/// The subject that the webhooks of a tracked batch or schedule must come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectBinding {
    /// Any subject.
    None,
    /// This subject.
    Subject(Subject),
    /// The subject of a submission with an unknown outcome; tracking declares that this is what it created.
    Submission(Subject),
}

impl SubjectBinding {
    /// The subject, if there is one.
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::None => None,
            Self::Subject(subject) | Self::Submission(subject) => Some(subject),
        }
    }
}

/// Leaves out the settings: they are the caller's own text and may hold personal data (P8).
impl fmt::Debug for CreateSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSchedule")
            .field("submission_id", &self.submission_id)
            .field("authorizers", &self.authorizers)
            .finish_non_exhaustive()
    }
}

/// Parses and checks a request. Unknown fields are an error.
pub fn parse(request: &RawValue) -> Result<RightfootRequest, InvalidRequest> {
    let mut fields = JsonFields::parse("", request)?;
    let action = fields.text("action")?;
    let parsed = match action.as_str() {
        "submit_batch" => submit_batch(&mut fields).map(RightfootRequest::SubmitBatch),
        "create_schedule" => create_schedule(&mut fields).map(RightfootRequest::CreateSchedule),
        "track_batch" => track_batch(&mut fields).map(RightfootRequest::TrackBatch),
        "track_schedule" => track_schedule(&mut fields).map(RightfootRequest::TrackSchedule),
        "webhook_url" => subject(&mut fields, "subject")
            .and_then(|subject| subject.ok_or_else(|| InvalidRequest::new("subject", "is missing")))
            .map(|subject| RightfootRequest::WebhookUrl { subject }),
        _ => Err(InvalidRequest::new(
            "action",
            "is not one of submit_batch, create_schedule, track_batch, track_schedule, webhook_url",
        )),
    }?;
    // A typing mistake in an optional field must not go unnoticed.
    fields.reject_unknown()?;
    Ok(parsed)
}

fn submit_batch(fields: &mut JsonFields<'_>) -> Result<SubmitBatch, InvalidRequest> {
    reject_reserved(fields, "webhook_url")?;
    let submission_id = submission_id(fields)?;
    let authorizers = Authorizers::parse(fields.required("authorizers")?)?;
    if authorizers.len() > AUTHORIZERS_MAX {
        let why = format!("has more than {AUTHORIZERS_MAX} elements, Rightfoot's limit for one batch");
        return Err(InvalidRequest::new("authorizers", why));
    }
    Ok(SubmitBatch { submission_id, authorizers })
}

fn create_schedule(fields: &mut JsonFields<'_>) -> Result<CreateSchedule, InvalidRequest> {
    reject_reserved(fields, "webhook")?;
    let submission_id = submission_id(fields)?;
    // Rightfoot documents no largest number of authorizers for a schedule.
    let authorizers = Authorizers::parse(fields.required("authorizers")?)?;
    let name = fields.text("name")?;
    // Rightfoot's own limits (shared/providers/rightfoot.md, "Create a schedule").
    if name.is_empty() || name.chars().count() > 255 {
        return Err(InvalidRequest::new("name", "must have 1 to 255 characters"));
    }
    let interval = interval(fields)?;
    // Rightfoot checks the form. An expiry that cannot be parsed here is passed on all the same.
    let expires_at = fields.optional_text("expires_at")?.as_deref().and_then(parse_date_or_time);
    let default = fields
        .optional("threshold_amount")
        .map(|raw| json_fields::amount("threshold_amount", raw))
        .transpose()?;
    let thresholds = Thresholds { default, authorizers: authorizers.thresholds()? };
    let probes = match probes(fields)? {
        Some(probes) => {
            // A run shows only in the histories of the schedule's own authorizers.
            if let Some(at) = probes.iter().position(|probe| !authorizers.contains(probe)) {
                return Err(InvalidRequest::new(
                    format!("probe_authorizers[{at}]"),
                    "is not one of the authorizers",
                ));
            }
            probes
        }
        // A few, because the history of each probe is read at every poll.
        None => authorizers.ids().take(3).cloned().collect(),
    };
    let mut settings = Vec::new();
    for name in SCHEDULE_FIELDS {
        if let Some(raw) = fields.optional(name) {
            settings.push((name, json_fields::canonical_json(name, raw)?));
        }
    }
    Ok(CreateSchedule { submission_id, authorizers, settings, thresholds, probes, interval, expires_at })
}

fn track_batch(fields: &mut JsonFields<'_>) -> Result<TrackBatch, InvalidRequest> {
    let batch_id = fields.id("batch_id")?;
    let expected =
        fields.integer("expected")?.ok_or_else(|| InvalidRequest::new("expected", "is missing"))?;
    if expected == 0 {
        return Err(InvalidRequest::new("expected", "must be at least 1"));
    }
    let failed = fields.ids("failed_authorizer_ids")?.unwrap_or_default();
    if failed.len() > CSV_AUTHORIZERS_MAX {
        let why = format!("has more than {CSV_AUTHORIZERS_MAX} elements, Rightfoot's limit for one batch");
        return Err(InvalidRequest::new("failed_authorizer_ids", why));
    }
    Ok(TrackBatch { batch_id, expected, failed, binding: binding(fields)? })
}

fn track_schedule(fields: &mut JsonFields<'_>) -> Result<TrackSchedule, InvalidRequest> {
    let schedule_id = fields.id("schedule_id")?;
    let probes = probes(fields)?.ok_or_else(|| InvalidRequest::new("probe_authorizers", "is missing"))?;
    let thresholds = fields.optional("thresholds").map(thresholds).transpose()?.unwrap_or_default();
    let interval = interval(fields)?;
    // Strict, because Rightfoot does not see this request and cannot check it.
    let expires_at = match fields.optional_text("expires_at")? {
        Some(text) => Some(
            parse_date_or_time(&text)
                .ok_or_else(|| InvalidRequest::new("expires_at", "is neither YYYY-MM-DD nor RFC 3339"))?,
        ),
        None => None,
    };
    Ok(TrackSchedule { schedule_id, probes, thresholds, interval, expires_at, binding: binding(fields)? })
}

/// Parses thresholds on their own, in the form that `track_schedule` takes.
///
/// # Errors
///
/// The first field that is not valid.
pub fn parse_thresholds(json: &str) -> Result<Thresholds, InvalidRequest> {
    let raw = serde_json::from_str(json).map_err(|_| InvalidRequest::new("thresholds", "is not JSON"))?;
    thresholds(raw)
}

fn thresholds(raw: &RawValue) -> Result<Thresholds, InvalidRequest> {
    let mut fields = JsonFields::parse("thresholds", raw)?;
    let default = fields.optional("default");
    let default = default.map(|raw| json_fields::amount("thresholds.default", raw)).transpose()?;
    let authorizers = match fields.optional("authorizers") {
        Some(raw) => JsonFields::parse("thresholds.authorizers", raw)?.amounts()?,
        None => BTreeMap::new(),
    };
    fields.reject_unknown()?;
    Ok(Thresholds { default, authorizers })
}

/// Rejects a field that the caller must not set, because the inbox does.
fn reject_reserved(fields: &mut JsonFields<'_>, name: &'static str) -> Result<(), InvalidRequest> {
    match fields.optional(name) {
        Some(_) => Err(InvalidRequest::new(name, "is set by the inbox; leave it out")),
        None => Ok(()),
    }
}

fn submission_id(fields: &mut JsonFields<'_>) -> Result<Subject, InvalidRequest> {
    subject(fields, "submission_id")?.ok_or_else(|| InvalidRequest::new("submission_id", "is missing"))
}

fn subject(fields: &mut JsonFields<'_>, name: &'static str) -> Result<Option<Subject>, InvalidRequest> {
    let parse = |text: String| {
        text.parse().map_err(|_| InvalidRequest::new(name, "is not 1 to 64 of A-Z a-z 0-9 _ -"))
    };
    fields.optional_text(name)?.map(parse).transpose()
}

fn binding(fields: &mut JsonFields<'_>) -> Result<SubjectBinding, InvalidRequest> {
    match (subject(fields, "subject")?, subject(fields, "submission_id")?) {
        (None, None) => Ok(SubjectBinding::None),
        (Some(subject), None) => Ok(SubjectBinding::Subject(subject)),
        (None, Some(submission_id)) => Ok(SubjectBinding::Submission(submission_id)),
        (Some(_), Some(_)) => Err(InvalidRequest::new(
            "subject",
            "must not be given beside submission_id, which is the subject",
        )),
    }
}

fn probes(fields: &mut JsonFields<'_>) -> Result<Option<Vec<Id>>, InvalidRequest> {
    let probes = fields.ids("probe_authorizers")?;
    if probes.as_ref().is_some_and(|probes| !(1..=PROBES_MAX).contains(&probes.len())) {
        return Err(InvalidRequest::new(
            "probe_authorizers",
            format!("must have 1 to {PROBES_MAX} elements"),
        ));
    }
    Ok(probes)
}

fn interval(fields: &mut JsonFields<'_>) -> Result<Option<Duration>, InvalidRequest> {
    let days = fields.integer("interval_days")?;
    if days.is_some_and(|days| !(1..=INTERVAL_MAX_DAYS).contains(&days)) {
        return Err(InvalidRequest::new("interval_days", format!("must be 1 to {INTERVAL_MAX_DAYS}")));
    }
    Ok(days.and_then(|days| u32::try_from(days).ok()).map(|days| DAY * days))
}

fn parse_date_or_time(text: &str) -> Option<UnixMillis> {
    // A date means the end of its day, because a schedule runs for the last time on that day.
    UnixMillis::end_of_date(text).or_else(|| UnixMillis::from_rfc3339(text))
}

#[cfg(test)]
mod tests;
