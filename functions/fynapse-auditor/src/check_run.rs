//! One run: reads the list from where the last run stopped, page by page, and saves how far it came.
//!
//! A *check* reads the whole list, or all of it since the last check and an overlap. It may take several runs.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use inbox_aws::items::{CheckProgress, DeliveryCheckItem};
use inbox_aws::secrets::fetch_stored_secret;
use inbox_aws::stores::WriteOutcome;
use inbox_aws::telemetry::metrics;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::fynapse_api::delivery_page::{DeliveryPage, parse_page};
use inbox_core::fynapse_api::finding::EventsHere;
use inbox_core::fynapse_api::paging::{DeliveryPager, PageRequest, PagingStep};
use inbox_core::limits::DELIVERY_PAGES_PER_RUN;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use inbox_fynapse::{ApiError, FynapseSession};

use crate::FynapseAuditor;
use crate::check_summary::{CheckSummary, Problem};

/// Time that the request in progress at the end of the budget may still take.
const LAST_PAGE: Duration = Duration::from_secs(5);

impl FynapseAuditor {
    /// Checks deliveries until the list has ended, the limit of pages is reached, or `budget` is used up.
    pub async fn run(&self, budget: Duration) -> CheckSummary {
        let mut run = CheckSummary::default();
        if let Err(error) = self.run_once(Instant::now() + budget, &mut run).await {
            run.note_problem(&Problem::Aws(error));
        }
        run.report();
        run
    }

    async fn run_once(&self, stop_at: Instant, run: &mut CheckSummary) -> Result<(), AwsError> {
        // Neither needs the other.
        let (begun, session) = tokio::join!(self.begin_run(), self.begin_session(stop_at));
        let Some((mut state, earlier_mark)) = begun? else { return Ok(()) };
        let problem = match session {
            Ok(session) => self.continue_check(&session, &mut state, stop_at, run).await.err(),
            Err(problem) => Some(problem),
        };
        self.end_run(state, problem, earlier_mark, run).await
    }

    /// Saves that a run has begun. Returns the state, and the mark of earlier runs; `None` if another run goes on.
    async fn begin_run(&self) -> Result<Option<(DeliveryCheckItem, Option<UnixMillis>)>, AwsError> {
        let mut state = self.checks.state(&self.subscription_id).await?;
        let earlier_mark = state.unreported_since;
        let now = self.recorder.clock().now();
        state.started_at.get_or_insert(now);
        state.unreported_since.get_or_insert(now);
        if self.checks.save_state(&mut state).await? == WriteOutcome::Conflict {
            tracing::warn!(target: "auditor", "another run goes on");
            return Ok(None);
        }
        Ok(Some((state, earlier_mark)))
    }

    /// Reads pages. What is read is noted in `state`.
    async fn continue_check(
        &self,
        session: &FynapseSession,
        state: &mut DeliveryCheckItem,
        stop_at: Instant,
        run: &mut CheckSummary,
    ) -> Result<(), Problem> {
        let since = state.wanted_since();
        let (mut pager, mut here) = (DeliveryPager::after(state.progress.rows), EventsHere::default());
        while run.pages < DELIVERY_PAGES_PER_RUN && Instant::now() < stop_at {
            // A failed page is read again by the next run.
            let request = state.progress.next_page.clone();
            let (asked, page) = match self.read_page(session, request, stop_at).await {
                Ok(read) => read,
                // The page after the last one.
                Err(Problem::Api(ApiError::NotFound | ApiError::Declined(_)))
                    if state.progress.may_be_missing =>
                {
                    return self.end_list(state, run);
                }
                Err(problem) => return Err(problem),
            };
            run.count_page(&page);
            state.progress.has_known_status |= !page.deliveries.is_empty();
            state.progress.has_unknown_status |= !page.unknown_statuses.is_empty();
            self.check_page(&page, state, &mut here, run, stop_at + LAST_PAGE).await?;
            match pager.advance(asked, &page, since) {
                PagingStep::Fetch(next_page) => {
                    let progress = &mut state.progress;
                    (progress.next_page, progress.may_be_missing) = (next_page, pager.may_have_ended());
                    (progress.failed_runs, progress.rows) = (0, pager.rows());
                }
                PagingStep::End => return self.end_list(state, run),
                PagingStep::Incomplete => {
                    state.progress = CheckProgress::default();
                    return Err(Problem::MorePages);
                }
            }
        }
        check_statuses(&state.progress)
    }

    /// The list was read as far as it is wanted: the check is complete.
    fn end_list(&self, state: &mut DeliveryCheckItem, run: &mut CheckSummary) -> Result<(), Problem> {
        let progress = std::mem::take(&mut state.progress);
        check_statuses(&progress)?;
        run.is_complete = true;
        // Otherwise the next check reads as far back as this one.
        if !progress.must_read_again {
            state.checked_at = state.started_at.take();
        }
        state.forget_old_absent(self.recorder.clock().now());
        Ok(())
    }

    async fn begin_session(&self, stop_at: Instant) -> Result<FynapseSession, Problem> {
        const UNAVAILABLE: &str = "credentials_unavailable";
        /// Errors that are about the secret, or the permission to read it.
        const OF_SECRET: [&str; 4] = [
            "ResourceNotFoundException",
            "AccessDeniedException",
            "InvalidRequestException",
            "DecryptionFailure",
        ];
        let secret = fetch_stored_secret(&self.secrets, &self.secret_id).await;
        let secret = secret.map_err(|error| {
            let is_of_secret =
                matches!(&error.kind, AwsErrorKind::Service(code) if OF_SECRET.contains(&code.as_str()));
            if is_of_secret {
                Problem::Credentials(UNAVAILABLE, error.to_string())
            } else {
                Problem::Aws(error)
            }
        })?;
        let credentials = ClientCredentials::parse(&secret.value)
            .map_err(|error| Problem::Credentials(UNAVAILABLE, error.to_string()))?;
        if credentials.expire_soon(secret.stored_at, self.recorder.clock().now()) {
            metrics::CREDENTIALS_EXPIRING.add(1);
            tracing::warn!(target: "auditor", "the credentials for Fynapse's API end within two weeks");
        }
        let session = self.client.session(credentials);
        let begun = timeout_at(stop_at + LAST_PAGE, session.begin()).await;
        begun.map_err(|_| Problem::TimedOut)?.map_err(Problem::Api)?;
        Ok(session)
    }

    /// Reads a page. If the first one of a list is declined, it is asked for in another way. Returns the request that was answered.
    async fn read_page(
        &self,
        session: &FynapseSession,
        mut request: PageRequest,
        stop_at: Instant,
    ) -> Result<(PageRequest, DeliveryPage), Problem> {
        loop {
            let read = session.deliveries(&self.subscription_id, &request);
            let body = match timeout_at(stop_at + LAST_PAGE, read).await.map_err(|_| Problem::TimedOut)? {
                Ok(body) => body,
                Err(error) => {
                    match request.after_declined().filter(|_| matches!(error, ApiError::Declined(_))) {
                        Some(other) => {
                            request = other;
                            continue;
                        }
                        None => return Err(Problem::Api(error)),
                    }
                }
            };
            return Ok((request, parse_page(&body).map_err(Problem::Answer)?));
        }
    }

    /// Saves how far the run came, and what its problem was. Since `earlier_mark`, what earlier runs have found may not be reported.
    async fn end_run(
        &self,
        mut state: DeliveryCheckItem,
        problem: Option<Problem>,
        earlier_mark: Option<UnixMillis>,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        state.runs = state.runs.saturating_add(1);
        state.ran_at = Some(now);
        if let Some(problem) = &problem {
            run.note_problem(problem);
            if let Some(most) = problem.attempts_of_page() {
                state.progress.failed_runs += 1;
                if state.progress.failed_runs >= most {
                    // What is before the page is read again, and so are new deliveries.
                    state.progress = CheckProgress::default();
                }
            }
        }
        // Once a check need not be repeated, it has read again, and reported, what earlier runs had found.
        let is_settled = state.started_at.is_none();
        let marks = [earlier_mark.filter(|_| !is_settled), run.write_failed_at];
        state.set_unreported_since(marks.into_iter().flatten().min());
        state.problem = PollProblem::updated(state.problem.as_ref(), run.problem, state.runs, now);
        metrics::DELIVERY_CHECK_AGE.record(check_age(&state, now).as_secs());
        if self.checks.save_state(&mut state).await? == WriteOutcome::Conflict {
            // Two runs at once: the other one has saved its own, and what this one has found is stored.
            tracing::warn!(target: "auditor", "write conflict");
        }
        Ok(())
    }
}

/// # Errors
///
/// No delivery that the check has read has a documented status.
fn check_statuses(progress: &CheckProgress) -> Result<(), Problem> {
    let is_unknown = progress.has_unknown_status && !progress.has_known_status;
    if is_unknown { Err(Problem::UnknownStatuses) } else { Ok(()) }
}

/// The time since the start of the last check that need not be repeated, or of the first one.
fn check_age(state: &DeliveryCheckItem, now: UnixMillis) -> Duration {
    state.checked_at.or(state.started_at).map_or(Duration::ZERO, |at| now.since(at))
}
