//! One run: reads the list from where the last run stopped, page by page, and saves how far it came.
//!
//! A *check* reads the whole list, or all of it since the last check and an overlap. It may take several runs.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use inbox_aws::items::DeliveryCheckItem;
use inbox_aws::secrets::fetch_stored_secret;
use inbox_aws::stores::WriteOutcome;
use inbox_aws::telemetry::metrics;
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
        let since = state.wanted_since();
        let (mut pager, mut here) = (DeliveryPager::default(), EventsHere::default());
        let mut request = state.next_page.take().unwrap_or(PageRequest::FIRST);
        while run.pages < DELIVERY_PAGES_PER_RUN && Instant::now() < stop_at {
            // A failed page is read again by the next run.
            state.next_page = Some(request.clone());
            let (asked, page) = match self.read_page(&session, request, stop_at, run.pages == 0).await {
                Ok(read) => read,
                // The page after the last one.
                Err(Problem::Api(ApiError::NotFound | ApiError::Declined(_))) if pager.may_have_ended() => {
                    complete(state, run);
                    return Ok(());
                }
                Err(problem) => return Err(problem),
            };
            run.count_page(&page);
            self.check_page(&page, state, &mut here, run, stop_at + LAST_PAGE).await?;
            match pager.advance(asked, &page, since) {
                PagingStep::Fetch(next) => request = next,
                PagingStep::End => {
                    complete(state, run);
                    return Ok(());
                }
                PagingStep::Incomplete => {
                    (state.next_page, state.started_at) = (None, None);
                    return Err(Problem::MorePages);
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
                // A later page that is gone is asked for from the start.
                Err(error @ (ApiError::Declined(_) | ApiError::NotFound))
                    if is_first && (error != ApiError::NotFound || !request.is_first()) =>
                {
                    match request.after_declined() {
                        Some(other) => {
                            request = other;
                            continue;
                        }
                        None => return Err(Problem::Api(error)),
                    }
                }
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
            // The page fails again and again: what is before it is read again, and so are new deliveries.
            if run.pages == 0 && state.problem.is_some() {
                state.next_page = None;
            }
        }
        state.forget_old_absent(now);
        // What a run did not report, because a write failed or it crashed, the next one reports.
        if !matches!(problem, Some(Problem::Aws(_))) {
            state.reported_until = Some(now);
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

fn complete(state: &mut DeliveryCheckItem, run: &mut CheckSummary) {
    run.is_complete = true;
    state.checked_at = state.started_at.take();
    state.next_page = None;
}

/// The time since the start of the last complete check, or of the first one.
fn check_age(state: &DeliveryCheckItem, now: UnixMillis) -> Duration {
    state.checked_at.or(state.started_at).map_or(Duration::ZERO, |at| now.since(at))
}
