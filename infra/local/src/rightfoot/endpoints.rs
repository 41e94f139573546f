//! What each endpoint does and answers.

use axum::http::StatusCode;
use inbox_core::time::UnixMillis;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::amount::Amount;
use super::batch::{Batch, Order, Row, Wanted};
use super::behaviour::{BeforeCompletion, NoneFailed};
use super::intake::{FailedRow, NewSchedule, Refused, Submission};
use super::paging::Query;
use super::reply::{Reply, stamp, stamp_exactly};
use super::schedule::{Schedule, Times};
use super::world::World;

/// E3's page size if none is asked for (not documented).
const BALANCES_LIMIT: usize = 50;
/// E9's.
const HISTORY_LIMIT: usize = 10;

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
    balance: Option<&'a Amount>,
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
    balance_amount: Option<&'a Amount>,
    status: &'static str,
    error_message: Option<&'static str>,
}

impl World {
    /// E1. The same body within a day gets the same answer, and nothing is done. A refusal is not kept: it would
    /// be the same anyway.
    pub(super) fn submit(&mut self, now: UnixMillis, body: &[u8]) -> Reply {
        let digest: [u8; 32] = Sha256::digest(body).into();
        if let Some((first_at, reply)) = self.answered.get(&digest)
            && now.since(*first_at).as_secs() < self.behaviour.cache_secs
        {
            return reply.clone();
        }
        let submission = match Submission::read(body) {
            Ok(submission) => submission,
            Err(refused) => return bad_request(&refused, now),
        };
        let reply = self.begin(now, submission);
        self.answered.insert(digest, (now, reply.clone()));
        reply
    }

    fn begin(&mut self, now: UnixMillis, submission: Submission) -> Reply {
        let Submission { wanted, failed, webhook } = submission;
        let id = self.id_of_next(&wanted);
        let mut answer = json!({
            "batch_id": id,
            "submitted_at": stamp(now),
            "message": "Batch has been successfully submitted and is pending processing.",
        });
        let listed = match self.behaviour.none_failed {
            _ if !failed.is_empty() => Some(json!(failed)),
            NoneFailed::Absent => None,
            NoneFailed::Null => Some(json!(null)),
            NoneFailed::EmptyList => Some(json!([])),
        };
        if let (Some(listed), Some(fields)) = (listed, answer.as_object_mut()) {
            fields.insert("failed_authorizers".to_owned(), listed);
        }
        let failed = failed.into_iter().filter_map(|row: FailedRow| row.authorizer_unique_id).collect();
        let order = Order { id, schedule_id: None, webhook, wanted, failed };
        self.batches.push(Batch::begin(self.chance, &self.behaviour, now, order));
        Reply::json(StatusCode::CREATED, &answer)
    }

    /// The id of a batch of these authorizers. It does not depend on the order in which batches of others come.
    fn id_of_next(&self, wanted: &[Wanted]) -> String {
        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
        let is_of_them =
            |batch: &&Batch| batch.schedule_id.is_none() && batch.authorizers().eq(ids.iter().copied());
        let earlier = self.batches.iter().filter(is_of_them).count().to_string();
        self.chance.uuid(&[&["batch", &earlier], ids.as_slice()].concat())
    }

    /// E3.
    pub(super) fn balances(&self, now: UnixMillis, query: &Query) -> Reply {
        let no_batch = || Reply::error(StatusCode::NOT_FOUND, "The batch was not found.", now);
        let Some(batch_id) = query.value("batchId") else {
            return Reply::error(StatusCode::BAD_REQUEST, "batchId is required.", now);
        };
        let Some(batch) = self.batches.iter().find(|batch| batch.id == batch_id) else {
            return no_batch();
        };
        let shown = match self.behaviour.before_completion {
            BeforeCompletion::FewerRows => batch.rows_found(now),
            _ if batch.is_ready(now) => batch.rows_found(now),
            BeforeCompletion::EmptyList => &[],
            BeforeCompletion::Accepted202 => {
                let message = "The batch is being processed.";
                return Reply::json(StatusCode::ACCEPTED, &json!({"batch_id": batch_id, "message": message}));
            }
            BeforeCompletion::NotFound404 => return no_batch(),
            BeforeCompletion::TooEarly425 => {
                return Reply::error(StatusCode::TOO_EARLY, "The batch is being processed.", now);
            }
        };
        let page = match query.page(self.behaviour.token_param, BALANCES_LIMIT, shown.len()) {
            Ok(page) => page,
            Err(message) => return Reply::error(StatusCode::BAD_REQUEST, message, now),
        };
        Reply::ok(&BalancesBody {
            batch_id,
            total_processed: shown.len(),
            balances: shown.get(page.range).unwrap_or_default().iter().map(BalanceBody::of).collect(),
            has_more: page.next_page_token.is_some(),
            next_page_token: page.next_page_token,
        })
    }

    /// E5.
    pub(super) fn create_schedule(&mut self, now: UnixMillis, body: &[u8]) -> Reply {
        let asked = match NewSchedule::read(body) {
            Ok(asked) => asked,
            Err(refused) => return bad_request(&refused, now),
        };
        if self.schedules.iter().any(|schedule| schedule.name == asked.name) {
            return Reply::error(StatusCode::CONFLICT, "A schedule of this name exists.", now);
        }
        let times = match Times::plan(&asked, now, self.behaviour.schedule_day, self.chance) {
            Ok(times) => times,
            Err(message) => return Reply::error(StatusCode::BAD_REQUEST, message, now),
        };
        let id = self.chance.uuid(&["schedule", &self.schedules.len().to_string()]);
        let schedule = Schedule::new(id, asked, times);
        let answer = json!({
            "schedule_id": schedule.id,
            "name": schedule.name,
            "message": "Schedule created successfully",
            "expires_at": stamp_exactly(times.expires_at),
            "next_run_at": schedule.next_run_at.map(stamp_exactly),
        });
        self.schedules.push(schedule);
        Reply::json(StatusCode::CREATED, &answer)
    }

    /// E6.
    pub(super) fn schedule(&self, now: UnixMillis, id: &str) -> Reply {
        let Some(schedule) = self.schedules.iter().find(|schedule| schedule.id == id) else {
            return Reply::error(StatusCode::NOT_FOUND, "The schedule was not found.", now);
        };
        let last_run_at = if self.behaviour.last_run_at_is_completion {
            let runs = self.batches.iter().filter(|batch| batch.schedule_id.as_deref() == Some(id));
            runs.filter(|batch| batch.is_ready(now)).map(|batch| batch.ready_at).max()
        } else {
            schedule.runs.last().map(|run| run.run_at)
        };
        Reply::ok(&json!({
            "schedule_id": schedule.id,
            "name": schedule.name,
            "last_run_at": last_run_at.map(stamp_exactly),
            "next_run_at": schedule.next_run_at.map(stamp_exactly),
            "total_authorizers": schedule.wanted.len(),
        }))
    }

    /// E9.
    pub(super) fn history(&self, now: UnixMillis, authorizer: &str, query: &Query) -> Reply {
        let is_monitored = |schedule: &Schedule| schedule.wanted.iter().any(|wanted| wanted.id == authorizer);
        let is_known = self.schedules.iter().any(is_monitored)
            || self.batches.iter().any(|batch| batch.row_of(authorizer).is_some());
        if !is_known {
            return Reply::error(StatusCode::NOT_FOUND, "The authorizer was not found.", now);
        }
        let all = self.history_of(authorizer, now);
        let page = match query.page(self.behaviour.token_param, HISTORY_LIMIT, all.len()) {
            Ok(page) => page,
            Err(message) => return Reply::error(StatusCode::BAD_REQUEST, message, now),
        };
        let entries = all.get(page.range).unwrap_or_default().iter();
        Reply::ok(&HistoryBody {
            authorizer_unique_id: authorizer,
            total_count: all.len(),
            history: entries.map(|(batch, row)| RunBody::of(batch, row)).collect(),
            has_more: page.next_page_token.is_some(),
            next_page_token: page.next_page_token,
        })
    }

    /// The newest first.
    fn history_of(&self, authorizer: &str, now: UnixMillis) -> Vec<(&Batch, &Row)> {
        let behaviour = &self.behaviour;
        let is_listed = |batch: &&Batch| {
            (batch.schedule_id.is_some() || behaviour.history_includes_on_demand)
                && batch.ready_at.plus(behaviour.history_lag) <= now
        };
        let batches = self.batches.iter().filter(is_listed);
        let mut all: Vec<_> =
            batches.rev().filter_map(|batch| Some((batch, batch.row_of(authorizer)?))).collect();
        all.sort_by_key(|(batch, _)| std::cmp::Reverse(batch.begun_at));
        all
    }
}

impl<'a> BalanceBody<'a> {
    fn of(row: &'a Row) -> Self {
        Self {
            authorizer_unique_id: &row.authorizer,
            balance: row.balance.as_ref(),
            timestamp: stamp(row.at),
            balance_status_code: row.status_code,
            status_code: row.status_code,
        }
    }
}

impl<'a> RunBody<'a> {
    fn of(batch: &'a Batch, row: &'a Row) -> Self {
        Self {
            run_at: stamp_exactly(batch.begun_at),
            batch_id: &batch.id,
            balance_amount: row.balance.as_ref(),
            status: if row.balance.is_some() { "success" } else { "failed" },
            error_message: row.error(),
        }
    }
}

fn bad_request(refused: &Refused, now: UnixMillis) -> Reply {
    Reply::error_with(StatusCode::BAD_REQUEST, refused.message, refused.details(), now)
}
