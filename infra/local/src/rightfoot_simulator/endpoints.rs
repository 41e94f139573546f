//! The endpoints: E1, E3, E5, E6 and E9.

use axum::http::StatusCode;
use inbox_core::time::UnixMillis;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::api_reply::{ApiReply, timestamp_millis, timestamp_secs};
use super::batch_entry::{BalanceCheck, BatchEntry, NewBatch, RequestedAuthorizer};
use super::behaviour::{IncompleteBatchResponse, NoFailedAuthorizers};
use super::dollar_amount::DollarAmount;
use super::paging::QueryParams;
use super::request_parsing::{BadRequest, BatchRequest, FailedAuthorizerBody, ScheduleRequest};
use super::schedule_entry::{RunTimes, ScheduleEntry};
use super::state::SimulatorState;

/// E3's default page size (not documented).
const BALANCES_DEFAULT_LIMIT: usize = 50;
/// E9's default page size.
const HISTORY_DEFAULT_LIMIT: usize = 10;

#[derive(Serialize)]
struct BalancesBody<'a> {
    batch_id: &'a str,
    total_processed: usize,
    balances: Vec<BalanceBody<'a>>,
    has_more: bool,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct BalanceBody<'a> {
    authorizer_unique_id: &'a str,
    balance: Option<&'a DollarAmount>,
    timestamp: String,
    balance_status_code: u32,
    status_code: u32,
}

#[derive(Serialize)]
struct HistoryBody<'a> {
    authorizer_unique_id: &'a str,
    total_count: usize,
    history: Vec<RunBody<'a>>,
    next_page_token: Option<String>,
    has_more: bool,
}

#[derive(Serialize)]
struct RunBody<'a> {
    run_at: String,
    batch_id: &'a str,
    balance_amount: Option<&'a DollarAmount>,
    status: &'static str,
    error_message: Option<&'static str>,
}

impl SimulatorState {
    /// E1: submits a batch. The same body within `submission_cache_secs` gets the same response and has no effect.
    pub(super) fn submit(&mut self, now: UnixMillis, body: &[u8]) -> ApiReply {
        // Rightfoot's cache is keyed by a hash of the body (shared/providers/rightfoot.md, "Request cache").
        let digest: [u8; 32] = Sha256::digest(body).into();
        if let Some((first_at, reply)) = self.cached_submissions.get(&digest)
            && now.since(*first_at).as_secs() < self.behaviour.submission_cache_secs
        {
            return reply.clone();
        }
        let submission = match BatchRequest::parse(body) {
            Ok(submission) => submission,
            // Not cached: the same body gets the same error anyway.
            Err(error) => return bad_request(&error, now),
        };
        let reply = self.start_batch(now, submission);
        self.cached_submissions.insert(digest, (now, reply.clone()));
        reply
    }

    fn start_batch(&mut self, now: UnixMillis, submission: BatchRequest) -> ApiReply {
        let BatchRequest { authorizers, failed_authorizers, webhook_url } = submission;
        let id = self.next_batch_id(&authorizers);
        let mut answer = json!({
            "batch_id": id,
            "submitted_at": timestamp_secs(now),
            "message": "Batch has been successfully submitted and is pending processing.",
        });
        let failed_field = match self.behaviour.no_failed_authorizers {
            _ if !failed_authorizers.is_empty() => Some(json!(failed_authorizers)),
            NoFailedAuthorizers::Absent => None,
            NoFailedAuthorizers::Null => Some(json!(null)),
            NoFailedAuthorizers::EmptyList => Some(json!([])),
        };
        if let (Some(failed_field), Some(fields)) = (failed_field, answer.as_object_mut()) {
            fields.insert("failed_authorizers".to_owned(), failed_field);
        }
        let failed_ids = failed_authorizers
            .into_iter()
            .filter_map(|row: FailedAuthorizerBody| row.authorizer_unique_id)
            .collect();
        let new_batch =
            NewBatch { id, schedule_id: None, webhook_url, authorizers, failed_authorizers: failed_ids };
        self.batches.push(BatchEntry::start(self.rng, &self.behaviour, now, new_batch));
        // The documents call this answer "Created", but do not name the status.
        ApiReply::json(StatusCode::CREATED, &answer)
    }

    /// Id of the next batch of these authorizers. It does not depend on the order of batches of other authorizers.
    fn next_batch_id(&self, authorizers: &[RequestedAuthorizer]) -> String {
        let ids: Vec<_> = authorizers.iter().map(|authorizer| authorizer.id.as_str()).collect();
        let has_same_authorizers =
            |batch: &&BatchEntry| batch.schedule_id.is_none() && batch.authorizers().eq(ids.iter().copied());
        // Repeated batches of the same authorizers differ in their number.
        let earlier_count = self.batches.iter().filter(has_same_authorizers).count().to_string();
        self.rng.uuid(&[&["batch", &earlier_count], ids.as_slice()].concat())
    }

    /// E3: the balances of a batch.
    pub(super) fn balances(&self, now: UnixMillis, query: &QueryParams) -> ApiReply {
        let no_batch = || ApiReply::error(StatusCode::NOT_FOUND, "The batch was not found.", now);
        let Some(batch_id) = query.get("batchId") else {
            return ApiReply::error(StatusCode::BAD_REQUEST, "batchId is required.", now);
        };
        let Some(batch) = self.batches.iter().find(|batch| batch.id == batch_id) else {
            return no_batch();
        };
        let shown = match self.behaviour.incomplete_batch_response {
            IncompleteBatchResponse::FewerRows => batch.available_rows(now),
            _ if batch.is_complete(now) => batch.available_rows(now),
            IncompleteBatchResponse::EmptyList => &[],
            IncompleteBatchResponse::Accepted202 => {
                let message = "The batch is being processed.";
                return ApiReply::json(
                    StatusCode::ACCEPTED,
                    &json!({"batch_id": batch_id, "message": message}),
                );
            }
            IncompleteBatchResponse::NotFound404 => return no_batch(),
            IncompleteBatchResponse::TooEarly425 => {
                return ApiReply::error(StatusCode::TOO_EARLY, "The batch is being processed.", now);
            }
        };
        let page = match query.page(self.behaviour.page_token_param, BALANCES_DEFAULT_LIMIT, shown.len()) {
            Ok(page) => page,
            Err(message) => return ApiReply::error(StatusCode::BAD_REQUEST, message, now),
        };
        ApiReply::ok(&BalancesBody {
            batch_id,
            // Of the whole batch, not of the page (shared/providers/rightfoot.md, "Read balances").
            total_processed: shown.len(),
            balances: shown.get(page.range).unwrap_or_default().iter().map(BalanceBody::of).collect(),
            has_more: page.next_page_token.is_some(),
            next_page_token: page.next_page_token,
        })
    }

    /// E5: creates a schedule.
    pub(super) fn create_schedule(&mut self, now: UnixMillis, body: &[u8]) -> ApiReply {
        let request = match ScheduleRequest::parse(body) {
            Ok(request) => request,
            Err(error) => return bad_request(&error, now),
        };
        // No request cache is documented for schedules, so a repeated request finds its own name taken.
        if self.schedules.iter().any(|schedule| schedule.name == request.name) {
            return ApiReply::error(StatusCode::CONFLICT, "A schedule of this name exists.", now);
        }
        let times = match RunTimes::plan(&request, now, self.behaviour.schedule_day, self.rng) {
            Ok(times) => times,
            Err(message) => return ApiReply::error(StatusCode::BAD_REQUEST, message, now),
        };
        let id = self.rng.uuid(&["schedule", &self.schedules.len().to_string()]);
        let schedule = ScheduleEntry::new(id, request, times);
        let answer = json!({
            "schedule_id": schedule.id,
            "name": schedule.name,
            "message": "Schedule created successfully",
            "expires_at": timestamp_millis(times.expires_at),
            "next_run_at": schedule.next_run_at.map(timestamp_millis),
        });
        self.schedules.push(schedule);
        ApiReply::json(StatusCode::CREATED, &answer)
    }

    /// E6: a schedule and its last and next run.
    pub(super) fn schedule(&self, now: UnixMillis, id: &str) -> ApiReply {
        let Some(schedule) = self.schedules.iter().find(|schedule| schedule.id == id) else {
            return ApiReply::error(StatusCode::NOT_FOUND, "The schedule was not found.", now);
        };
        let last_run_at = if self.behaviour.last_run_at_is_completion {
            let runs = self.batches.iter().filter(|batch| batch.schedule_id.as_deref() == Some(id));
            runs.filter(|batch| batch.is_complete(now)).map(|batch| batch.completes_at).max()
        } else {
            schedule.runs.last().map(|run| run.run_at)
        };
        ApiReply::ok(&json!({
            "schedule_id": schedule.id,
            "name": schedule.name,
            "last_run_at": last_run_at.map(timestamp_millis),
            "next_run_at": schedule.next_run_at.map(timestamp_millis),
            "total_authorizers": schedule.authorizers.len(),
        }))
    }

    /// E9: the monitoring history of an authorizer.
    pub(super) fn history(&self, now: UnixMillis, authorizer: &str, query: &QueryParams) -> ApiReply {
        let is_monitored = |schedule: &ScheduleEntry| {
            schedule.authorizers.iter().any(|requested| requested.id == authorizer)
        };
        let is_known = self.schedules.iter().any(is_monitored)
            || self.batches.iter().any(|batch| batch.row_for(authorizer).is_some());
        if !is_known {
            return ApiReply::error(StatusCode::NOT_FOUND, "The authorizer was not found.", now);
        }
        let all = self.history_entries(authorizer, now);
        let page = match query.page(self.behaviour.page_token_param, HISTORY_DEFAULT_LIMIT, all.len()) {
            Ok(page) => page,
            Err(message) => return ApiReply::error(StatusCode::BAD_REQUEST, message, now),
        };
        let entries = all.get(page.range).unwrap_or_default().iter();
        ApiReply::ok(&HistoryBody {
            authorizer_unique_id: authorizer,
            total_count: all.len(),
            history: entries.map(|(batch, row)| RunBody::of(batch, row)).collect(),
            has_more: page.next_page_token.is_some(),
            next_page_token: page.next_page_token,
        })
    }

    /// The listed batches with the authorizer's results, the newest first.
    fn history_entries(&self, authorizer: &str, now: UnixMillis) -> Vec<(&BatchEntry, &BalanceCheck)> {
        let behaviour = &self.behaviour;
        let is_listed = |batch: &&BatchEntry| {
            (batch.schedule_id.is_some() || behaviour.history_includes_on_demand)
                && batch.completes_at.plus(behaviour.history_lag) <= now
        };
        // The sort below is stable, so of batches with the same start, the one created last comes first.
        let batches = self.batches.iter().filter(is_listed);
        let mut all: Vec<_> =
            batches.rev().filter_map(|batch| Some((batch, batch.row_for(authorizer)?))).collect();
        all.sort_by_key(|(batch, _)| std::cmp::Reverse(batch.started_at));
        all
    }
}

impl<'a> BalanceBody<'a> {
    fn of(row: &'a BalanceCheck) -> Self {
        Self {
            authorizer_unique_id: &row.authorizer,
            balance: row.balance.as_ref(),
            timestamp: timestamp_secs(row.at),
            balance_status_code: row.status_code,
            // One example has this field, with the same value
            // (shared/providers/rightfoot.md, "Read balances").
            status_code: row.status_code,
        }
    }
}

impl<'a> RunBody<'a> {
    fn of(batch: &'a BatchEntry, row: &'a BalanceCheck) -> Self {
        Self {
            run_at: timestamp_millis(batch.started_at),
            batch_id: &batch.id,
            balance_amount: row.balance.as_ref(),
            status: if row.balance.is_some() { "success" } else { "failed" },
            error_message: row.error_message(),
        }
    }
}

fn bad_request(error: &BadRequest, now: UnixMillis) -> ApiReply {
    ApiReply::error_with(StatusCode::BAD_REQUEST, error.message, error.details(), now)
}
