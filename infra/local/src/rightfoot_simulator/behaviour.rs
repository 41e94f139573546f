//! The simulator's options: behaviour that Rightfoot's documents leave open, and failures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::senders::retry_policy::RetrySpacing;

/// Length of a calendar day.
pub(super) const CALENDAR_DAY: Duration = Duration::from_secs(24 * 3_600);

/// Behaviour that the documents leave open, and failures to simulate. The default follows the documents, and the
/// simplest interpretation where they say nothing.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Processing time of batches that start from now on.
    pub processing_time: Duration,
    /// E3's response before a batch is complete (shared/providers/rightfoot.md, "Before a batch is complete").
    pub incomplete_batch_response: IncompleteBatchResponse,
    /// Balances by authorizer id, written as a JSON number, or `null` for a check that failed with 3300. Any other
    /// text is a check that failed with 9000. Read when a batch starts; other authorizers get a random balance.
    pub balances: BTreeMap<String, String>,
    /// Form of "no failed authorizers" in E1's response (shared/providers/rightfoot.md, "Submit a batch").
    pub no_failed_authorizers: NoFailedAuthorizers,
    /// Seconds from the first request in which E1 gives the same response to the same body.
    pub submission_cache_secs: u64,
    /// The length of one day of `interval_days`, for schedules made from now on. With any other than 24 h, the
    /// first run comes one interval after the creation; `time_of_day` and the start are ignored, and the expiry
    /// is that many of these days away.
    pub schedule_day: Duration,
    /// True if E6's `last_run_at` is the completion of the last complete run, not the start of the last run.
    pub last_run_at_is_completion: bool,
    /// Delay between a run's completion and its appearance in E9.
    pub history_lag: Duration,
    /// True if E9 lists on-demand batches, too.
    pub history_includes_on_demand: bool,
    /// Name under which E3 and E9 accept the page token (shared/providers/rightfoot.md, "Contradictions").
    pub page_token_param: PageTokenParam,
    /// Webhooks that are never sent.
    pub webhook_loss: WebhookLoss,
    /// Interpretation of the webhooks' documented retry steps.
    pub retry_spacing: RetrySpacing,
    /// True if each attempt of a webhook carries an `event_uuid` of its own.
    pub new_event_uuid_per_attempt: bool,
    /// Maximum number of alerts in one webhook; each webhook has an `event_uuid` of its own.
    pub max_alerts_per_webhook: Option<usize>,
    /// True if a run's alerts are sent after half of its processing time, before it is complete.
    pub alerts_before_completion: bool,
    /// True if alerts carry `institution_name`, as in the newer documents.
    pub includes_institution_name: bool,
    /// Responses that replace the genuine one. The first matching entry applies.
    pub scripted_responses: Vec<ScriptedResponse>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            processing_time: Duration::from_secs(5 * 60),
            incomplete_batch_response: IncompleteBatchResponse::default(),
            balances: BTreeMap::new(),
            no_failed_authorizers: NoFailedAuthorizers::default(),
            // The documented time (shared/providers/rightfoot.md, "Request cache").
            submission_cache_secs: 24 * 3_600,
            schedule_day: CALENDAR_DAY,
            last_run_at_is_completion: false,
            history_lag: Duration::ZERO,
            history_includes_on_demand: false,
            page_token_param: PageTokenParam::default(),
            webhook_loss: WebhookLoss::default(),
            retry_spacing: RetrySpacing::default(),
            new_event_uuid_per_attempt: false,
            max_alerts_per_webhook: None,
            alerts_before_completion: false,
            includes_institution_name: true,
            scripted_responses: Vec::new(),
        }
    }
}

/// E3's response before a batch is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncompleteBatchResponse {
    /// 200 with the rows that are available: they appear one by one over the processing time, and `has_more` is
    /// false after the last available one.
    #[default]
    FewerRows,
    /// 200 without any row.
    EmptyList,
    /// 202 without `balances`.
    Accepted202,
    /// 404, as for a batch that does not exist.
    NotFound404,
    /// 425.
    TooEarly425,
}

/// Form of "no failed authorizers" in E1's response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoFailedAuthorizers {
    /// The field is absent.
    #[default]
    Absent,
    /// The field is null.
    Null,
    /// The field is an empty list.
    EmptyList,
}

/// Name under which a page token is accepted. Under any other it is ignored, which gives page one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageTokenParam {
    /// `next_page_token`
    #[default]
    New,
    /// `nextPageToken`
    Old,
    /// Either name.
    Both,
    /// No name: every token is ignored.
    Ignored,
}

/// Selection of lost webhooks. A lost webhook is never attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookLoss {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// About this percentage, chosen by the seed.
    Percent(u8),
    /// The next webhooks, this many. Counts down.
    First(usize),
}

/// A response that replaces the genuine one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedResponse {
    /// Text that the request's path and query must contain.
    pub path_contains: String,
    /// The response.
    pub response: CannedResponse,
    /// Remaining number of uses; counts down. `None` is unlimited.
    pub remaining_uses: Option<usize>,
}

/// A response instead of the genuine one. The request is applied only by [`Self::AppliedThen500`] and by the variants
/// that modify the genuine response ([`Self::Truncated`], [`Self::Gzip`], [`Self::Edited`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedResponse {
    /// This status, with an error body.
    Status(u16),
    /// This status with `Retry-After`, and an error body.
    RetryAfter {
        /// The status.
        status: u16,
        /// The header's value.
        secs: u64,
    },
    /// 200 with HTML.
    Html,
    /// 200 with JSON of an undocumented shape.
    WrongShape,
    /// 200 with 64 MiB in chunks, without `Content-Length`.
    TooLarge,
    /// No response, ever.
    Hang,
    /// The request is applied, and the response is 500: the outcome is unknown to the client.
    AppliedThen500,
    /// The request is applied, and the connection breaks in the middle of the genuine response.
    Truncated,
    /// The genuine response, compressed even if the client does not accept that, as a proxy may do.
    Gzip,
    /// The genuine response, with each first text of a pair replaced by the second.
    Edited(&'static [(&'static str, &'static str)]),
}
