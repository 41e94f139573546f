//! One run: reads the list from where the last run stopped, page by page, and saves how far it came.
//!
//! A *check* reads the whole list, or all of it since the last check and an overlap. It may take several runs.

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use inbox_aws::AwsError;
use inbox_aws::items::DeliveryCheckItem;
use inbox_aws::secrets::fetch_stored_secret;
use inbox_aws::stores::WriteOutcome;
use inbox_aws::telemetry::metrics;
use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::fynapse_api::delivery_page::{DeliveryPage, UnusableAnswer, parse_page};
use inbox_core::fynapse_api::finding::EventsHere;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use inbox_core::fynapse_api::paging::{DeliveryPager, PageRequest, PagingStep};
use inbox_core::limits::{DELIVERY_OVERLAP_SECS, DELIVERY_PAGES_PER_RUN};
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use inbox_fynapse::{ApiError, FynapseSession};

use crate::FynapseAuditor;

/// Time that the page in progress at the end of the budget may still take.
const LAST_PAGE: Duration = Duration::from_secs(5);

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckSummary {
    /// Pages that were read.
    pub pages: usize,
    /// Deliveries that were read, by status.
    pub listed: BTreeMap<DeliveryStatus, u64>,
    /// Deliveries with a status that is not documented.
    pub unknown_statuses: usize,
    /// Deliveries that Fynapse gave up or cancelled, and that were not known before.
    pub missed: usize,
    /// Deliveries that Fynapse has made, whose event is not here, and that were not known before.
    pub lost: usize,
    /// Events that were recorded from the list.
    pub recovered: usize,
    /// Deliveries that could not be compared.
    pub not_comparable: usize,
    /// True if the check is complete: the next run begins another one.
    pub is_complete: bool,
    /// The problem that ended the run, by its stable name.
    pub problem: Option<&'static str>,
    /// The first error that an operator has to fix, if any.
    pub error: Option<RunError>,
}

/// An error that fails the run, so that its operator is alarmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The secret holds no credentials, or Fynapse refuses them.
    #[error("{0}")]
    Credentials(String),
}

/// A problem that ends a run.
enum Problem {
    Credentials(&'static str, String),
    Api(ApiError),
    Answer(UnusableAnswer),
    TimedOut,
    Aws(AwsError),
}

impl FynapseAuditor {
    /// Checks deliveries until the list has ended, the limit of pages is reached, or `budget` is used up.
    pub async fn run(&self, budget: Duration) -> CheckSummary {
        let mut run = CheckSummary::default();
        match self.checks.state(&self.subscription_id).await {
            Ok(mut state) => {
                let result = self.continue_check(&mut state, Instant::now() + budget, &mut run).await;
                self.end_run(state, result.err(), &mut run).await;
            }
            Err(error) => run.note_problem(&Problem::Aws(error)),
        }
        run.report();
        run
    }

    /// Reads pages. What is read is noted in `state`.
    async fn continue_check(
        &self,
        state: &mut DeliveryCheckItem,
        stop_at: Instant,
        run: &mut CheckSummary,
    ) -> Result<(), Problem> {
        let session = self.begin_session().await?;
        let now = self.recorder.clock().now();
        state.started_at.get_or_insert(now);
        let since = state.checked_at.map(|at| at.minus(Duration::from_secs(DELIVERY_OVERLAP_SECS)));
        let (mut pager, mut here) = (DeliveryPager::default(), EventsHere::default());
        let mut request = state.next_page.take().unwrap_or(PageRequest::FIRST);
        while run.pages < DELIVERY_PAGES_PER_RUN && Instant::now() < stop_at {
            // A failed page is read again by the next run.
            state.next_page = Some(request.clone());
            let (asked, page) = self.read_page(&session, request, stop_at, run.pages == 0).await?;
            run.count_page(&page);
            self.check_page(&page, since, &mut here, run).await.map_err(Problem::Aws)?;
            match pager.advance(asked, &page, since) {
                PagingStep::Fetch(next) => request = next,
                PagingStep::End => {
                    run.is_complete = true;
                    state.checked_at = state.started_at.take();
                    state.next_page = None;
                    return Ok(());
                }
            }
            state.next_page = Some(request.clone());
        }
        Ok(())
    }

    async fn begin_session(&self) -> Result<FynapseSession, Problem> {
        const UNAVAILABLE: &str = "credentials_unavailable";
        let secret = fetch_stored_secret(&self.secrets, &self.secret_id).await;
        let secret = secret.map_err(|error| Problem::Credentials(UNAVAILABLE, error.to_string()))?;
        let credentials = ClientCredentials::parse(&secret.value)
            .map_err(|error| Problem::Credentials(UNAVAILABLE, error.to_string()))?;
        if credentials.expire_soon(secret.stored_at, self.recorder.clock().now()) {
            metrics::CREDENTIALS_EXPIRING.add(1);
            tracing::warn!(target: "auditor", "the credentials for Fynapse's API end within two weeks");
        }
        Ok(self.client.session(credentials))
    }

    /// Reads a page. If the first one of a run is declined, it is asked for in another way. Returns the request that was answered.
    async fn read_page(
        &self,
        session: &FynapseSession,
        mut request: PageRequest,
        stop_at: Instant,
        is_first: bool,
    ) -> Result<(PageRequest, DeliveryPage), Problem> {
        loop {
            let read = session.deliveries(&self.subscription_id, &request);
            let body = match timeout_at(stop_at + LAST_PAGE, read).await.map_err(|_| Problem::TimedOut)? {
                Ok(body) => body,
                Err(error @ ApiError::Declined(_)) if is_first => match request.after_declined() {
                    Some(other) => {
                        request = other;
                        continue;
                    }
                    None => return Err(Problem::Api(error)),
                },
                Err(error) => return Err(Problem::Api(error)),
            };
            return Ok((request, parse_page(&body).map_err(Problem::Answer)?));
        }
    }

    /// Saves how far the run came, and what its problem was.
    async fn end_run(&self, mut state: DeliveryCheckItem, problem: Option<Problem>, run: &mut CheckSummary) {
        let now = self.recorder.clock().now();
        state.runs = state.runs.saturating_add(1);
        if let Some(problem) = &problem {
            run.note_problem(problem);
        }
        state.problem = PollProblem::updated(state.problem.as_ref(), run.problem, state.runs, now);
        metrics::DELIVERY_CHECK_AGE.record(check_age(&state, now).as_secs());
        match self.checks.save_state(&state).await {
            Ok(WriteOutcome::Applied) => {}
            // Two runs at once: the other one has saved its own, and what this one has found is stored.
            Ok(WriteOutcome::Conflict) => tracing::warn!(target: "auditor", "write conflict"),
            Err(error) => run.note_problem(&Problem::Aws(error)),
        }
    }
}

/// The time since the start of the last complete check, or of the first one.
fn check_age(state: &DeliveryCheckItem, now: UnixMillis) -> Duration {
    state.checked_at.or(state.started_at).map_or(Duration::ZERO, |at| now.since(at))
}

impl Problem {
    /// A stable name for logs, metrics and the table.
    fn name(&self) -> &'static str {
        match self {
            Self::Credentials(name, _) => name,
            Self::Api(error) => error.name(),
            Self::Answer(UnusableAnswer::NotJson) => "not_json",
            Self::Answer(UnusableAnswer::NoDeliveries { .. }) => "no_deliveries",
            Self::TimedOut => "timed_out",
            Self::Aws(_) => "aws_error",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Credentials(_, why) => why.clone(),
            Self::Api(error) => error.to_string(),
            Self::Answer(error) => error.to_string(),
            Self::TimedOut => "the page took longer than the run".to_owned(),
            Self::Aws(error) => error.to_string(),
        }
    }
}

impl CheckSummary {
    fn count_page(&mut self, page: &DeliveryPage) {
        self.pages += 1;
        self.unknown_statuses += page.unknown_statuses;
        for delivery in &page.deliveries {
            *self.listed.entry(delivery.status).or_default() += 1;
        }
    }

    /// Counts and logs a problem. A later one does not replace it.
    fn note_problem(&mut self, problem: &Problem) {
        let (reason, why) = (problem.name(), problem.message());
        metrics::DELIVERY_CHECK_FAILED.add(reason, 1);
        tracing::warn!(target: "auditor", reason, why, "check failed");
        self.problem.get_or_insert(reason);
        let error = match problem {
            Problem::Credentials(..) | Problem::Api(ApiError::CredentialsRefused) => {
                metrics::CREDENTIALS_REFUSED.add(1);
                RunError::Credentials(why)
            }
            Problem::Aws(error) => RunError::Aws(error.clone()),
            // These are counted, and may pass.
            Problem::Api(_) | Problem::Answer(_) | Problem::TimedOut => return,
        };
        self.error.get_or_insert(error);
    }

    fn count_of(&self, status: DeliveryStatus) -> u64 {
        self.listed.get(&status).copied().unwrap_or_default()
    }

    fn report(&self) {
        for (status, count) in &self.listed {
            metrics::DELIVERY_LISTED.add(*status, *count);
        }
        metrics::DELIVERY_NOT_COMPARABLE.add(self.not_comparable as u64);
        let Self { pages, unknown_statuses, missed, lost, recovered, not_comparable, is_complete, .. } =
            *self;
        let [pending, delivered, dead_letter, cancelled] = [
            DeliveryStatus::Pending,
            DeliveryStatus::Delivered,
            DeliveryStatus::DeadLetter,
            DeliveryStatus::Cancelled,
        ]
        .map(|status| self.count_of(status));
        // Most runs find nothing: their line is for debugging, and the metrics are the heartbeat.
        if missed + lost + recovered == 0 && self.problem.is_none() {
            tracing::debug!(
                target: "auditor", pages, pending, delivered, dead_letter, cancelled, unknown_statuses, not_comparable, is_complete
            );
        } else {
            tracing::info!(
                target: "auditor", pages, pending, delivered, dead_letter, cancelled, unknown_statuses, missed, lost, recovered,
                not_comparable, is_complete, reason = self.problem
            );
        }
    }

    /// Converts the counts into the JSON response of the function, or its first error into a failed invocation.
    pub fn into_response(self) -> Result<Value, Diagnostic> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        let listed = DeliveryStatus::ALL
            .iter()
            .map(|status| (status.as_str().to_owned(), self.count_of(*status).into()));
        Ok(json!({
            "pages": self.pages,
            "listed": Value::Object(listed.collect()),
            "unknown_statuses": self.unknown_statuses,
            "missed": self.missed,
            "lost": self.lost,
            "recovered": self.recovered,
            "not_comparable": self.not_comparable,
            "is_complete": self.is_complete,
            "problem": self.problem,
        }))
    }
}

/// The `errorType` of a failed run in Lambda's report: stable names, which alarm descriptions quote.
impl From<RunError> for Diagnostic {
    fn from(error: RunError) -> Self {
        let error_type = match &error {
            RunError::Aws(_) => "AwsCallFailed",
            RunError::Credentials(_) => "FynapseUnauthorized",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
