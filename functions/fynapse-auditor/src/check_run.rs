//! One run: reads the list from where the last run stopped, page by page, and saves how far it came.
//!
//! A *check* reads the whole list, or all of it since the last check and an overlap. It may take several runs.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use inbox_aws::items::{DeliveryCheckItem, NextPage};
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

/// Time that the page in progress at the end of the budget may still take.
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
        let mut state = self.checks.state(&self.subscription_id).await?;
        let earlier_crash_at = state.unreported_since;
        let now = self.recorder.clock().now();
        state.started_at.get_or_insert(now);
        state.unreported_since.get_or_insert(now);
        if self.checks.save_state(&mut state).await? == WriteOutcome::Conflict {
            tracing::warn!(target: "auditor", "another run goes on");
            return Ok(());
        }
        let problem = self.continue_check(&mut state, stop_at, run).await.err();
        self.end_run(state, problem, earlier_crash_at, run).await
    }

    /// Reads pages. What is read is noted in `state`.
    async fn continue_check(
        &self,
        state: &mut DeliveryCheckItem,
        stop_at: Instant,
        run: &mut CheckSummary,
    ) -> Result<(), Problem> {
        let session = self.begin_session().await?;
        let since = state.wanted_since();
        let (mut pager, mut here) = (DeliveryPager::default(), EventsHere::default());
        let mut next = state.next_page.clone().unwrap_or(NextPage::FIRST);
        while run.pages < DELIVERY_PAGES_PER_RUN && Instant::now() < stop_at {
            // A failed page is read again by the next run.
            state.next_page = Some(next.clone());
            let (asked, page) = match self.read_page(&session, next.request, stop_at).await {
                Ok(read) => read,
                // The page after the last one.
                Err(Problem::Api(ApiError::NotFound | ApiError::Declined(_))) if next.may_be_missing => {
                    return self.end_list(state, run);
                }
                Err(problem) => return Err(problem),
            };
            run.count_page(&page);
            self.check_page(&page, state, &mut here, run, stop_at + LAST_PAGE).await?;
            match pager.advance(asked, &page, since) {
                PagingStep::Fetch(request) => {
                    next = NextPage { request, may_be_missing: pager.may_have_ended(), failed_runs: 0 };
                }
                PagingStep::End => return self.end_list(state, run),
                PagingStep::Incomplete => {
                    state.next_page = None;
                    return Err(Problem::MorePages);
                }
            }
            state.next_page = Some(next.clone());
        }
        check_statuses(run)
    }

    /// The list was read as far as it is wanted: the check is complete.
    fn end_list(&self, state: &mut DeliveryCheckItem, run: &mut CheckSummary) -> Result<(), Problem> {
        state.next_page = None;
        check_statuses(run)?;
        run.is_complete = true;
        // Otherwise the next check reads as far back as this one.
        if !run.must_read_again {
            state.checked_at = state.started_at.take();
        }
        state.forget_old_absent(self.recorder.clock().now());
        Ok(())
    }

    async fn begin_session(&self) -> Result<FynapseSession, Problem> {
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
        Ok(self.client.session(credentials))
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

    /// Saves how far the run came, and what its problem was. `earlier_crash_at` is the start of an earlier run that has not ended, if
    /// the list was not read again since then.
    async fn end_run(
        &self,
        mut state: DeliveryCheckItem,
        problem: Option<Problem>,
        earlier_crash_at: Option<UnixMillis>,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        state.runs = state.runs.saturating_add(1);
        state.ran_at = Some(now);
        if let Some(problem) = &problem {
            run.note_problem(problem);
            if let (Some(next), Some(most)) = (&mut state.next_page, problem.attempts_of_page()) {
                next.failed_runs += 1;
                if next.failed_runs >= most {
                    // What is before the page is read again, and so are new deliveries.
                    state.next_page = None;
                }
            }
        }
        // What a crashed run had found is reported when the check is complete: its pages were read again by then.
        match earlier_crash_at.filter(|_| !run.is_complete) {
            Some(crash_at) => state.unreported_since = Some(crash_at),
            None => state.end_report(run.write_failed_at),
        }
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
/// No delivery that the run has read has a documented status.
fn check_statuses(run: &CheckSummary) -> Result<(), Problem> {
    let is_unknown = run.unknown_statuses > 0 && run.listed.is_empty();
    if is_unknown { Err(Problem::UnknownStatuses) } else { Ok(()) }
}

/// The time since the start of the last complete check, or of the first one.
fn check_age(state: &DeliveryCheckItem, now: UnixMillis) -> Duration {
    state.checked_at.or(state.started_at).map_or(Duration::ZERO, |at| now.since(at))
}
