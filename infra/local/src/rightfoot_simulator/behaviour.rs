//! The switches: what Rightfoot's documents leave open, and what goes wrong in life.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::senders::retry_policy::RetrySpacing;

/// A day as the calendar has it.
pub(super) const CALENDAR_DAY: Duration = Duration::from_secs(24 * 3_600);

/// What the simulated Rightfoot does where the documents leave it open, and how it fails. The default is the
/// documents' own words where there are any, and the calm reading where there are none.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How long a batch takes. A batch that has begun keeps what it began with.
    pub processing_time: Duration,
    /// What E3 answers before a batch is complete (shared/providers/rightfoot.md, "Before a batch is complete").
    pub incomplete_batch_response: IncompleteBatchResponse,
    /// Balances by authorizer id, as JSON writes a number, or `null` for a check that failed with 3300. Any other
    /// text is a check that failed with 9000. Read when a batch begins; who is not listed gets one by chance.
    pub balances: BTreeMap<String, String>,
    /// Which form "no failed authorizers" has in E1's answer (shared/providers/rightfoot.md, "Submit a batch").
    pub no_failed_authorizers: NoFailedAuthorizers,
    /// How long E1 gives the same answer to the same body, counted from the first.
    pub submission_cache_secs: u64,
    /// The length of one day of `interval_days`, for schedules made from now on. With any other than 24 h, the
    /// first run comes one interval after the creation; `time_of_day` and the start are ignored, and the expiry
    /// is that many of these days away.
    pub schedule_day: Duration,
    /// Whether E6's `last_run_at` is when the last complete run was complete, instead of when the last run began.
    pub last_run_at_is_completion: bool,
    /// How long after its completion a run appears in E9.
    pub history_lag: Duration,
    /// Whether E9 lists on-demand batches too.
    pub history_includes_on_demand: bool,
    /// Under which name E3 and E9 take the page token (shared/providers/rightfoot.md, "Contradictions").
    pub page_token_param: PageTokenParam,
    /// Which webhooks are never sent.
    pub webhook_loss: WebhookLoss,
    /// How the webhooks' retry steps are read.
    pub retry_spacing: RetrySpacing,
    /// Each attempt of a webhook carries an `event_uuid` of its own.
    pub new_event_uuid_per_attempt: bool,
    /// At most so many alerts in one webhook, each webhook with an `event_uuid` of its own.
    pub max_alerts_per_webhook: Option<usize>,
    /// A run's alerts are sent when half of its processing time is over, so before it is complete.
    pub alerts_before_completion: bool,
    /// Whether alerts carry `institution_name`, as in the newer documents.
    pub includes_institution_name: bool,
    /// Answers that replace the honest one: the first entry that matches answers.
    pub scripted_responses: Vec<ScriptedResponse>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            processing_time: Duration::from_secs(5 * 60),
            incomplete_batch_response: IncompleteBatchResponse::default(),
            balances: BTreeMap::new(),
            no_failed_authorizers: NoFailedAuthorizers::default(),
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

/// What E3 answers before a batch is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncompleteBatchResponse {
    /// 200 with the rows there are: they appear one after the other over the processing time, and `has_more` is
    /// false at the end of what there is.
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

/// Which form "no failed authorizers" has.
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

/// Under which name a page token is taken. Under any other it is ignored, which gives page one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageTokenParam {
    /// `next_page_token`
    #[default]
    New,
    /// `nextPageToken`
    Old,
    /// Either.
    Both,
    /// None at all.
    Ignored,
}

/// Which webhooks are lost. A lost one is never attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookLoss {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// About so many of a hundred, chosen by the seed.
    Percent(u8),
    /// The next so many. It counts down.
    First(usize),
}

/// An answer that replaces the honest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedResponse {
    /// What the path and query of the request must contain.
    pub path_contains: String,
    /// The answer.
    pub response: CannedResponse,
    /// How many times it is given; it counts down. `None` is for ever.
    pub remaining_uses: Option<usize>,
}

/// What a request meets instead of the honest answer. Where that is made of the honest answer, the request is applied; so
/// it is with [`Canned::FailAfterApplying`]. Otherwise it is not.
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
    /// 200 with JSON that is none of the documented shapes.
    WrongShape,
    /// 200 with 64 MiB that come piece by piece, their length unannounced.
    TooLarge,
    /// No answer, ever.
    Hang,
    /// The request is applied, and the answer is 500: the client cannot know.
    AppliedThen500,
    /// The request is applied, and the connection breaks in the middle of the honest answer.
    Truncated,
    /// The honest answer, compressed, whatever the client accepts: as a proxy may do it.
    Gzip,
    /// The honest answer, in which each of these texts is replaced by the one beside it.
    Edited(&'static [(&'static str, &'static str)]),
}
