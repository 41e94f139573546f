//! What an onlooker is told.

use inbox_core::time::UnixMillis;

/// A request to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// When it came.
    pub at: UnixMillis,
    /// Its method.
    pub method: String,
    /// Its path, as it came.
    pub path: String,
    /// Its query, as it came; empty if there was none.
    pub query: String,
    /// The status it was answered with; `None` if it has not been answered.
    pub status: Option<u16>,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedBatch {
    /// Its id.
    pub batch_id: String,
    /// The schedule whose run it is; `None` for one that was submitted.
    pub schedule_id: Option<String>,
    /// The authorizers it took, in the order of the request.
    pub authorizers: Vec<String>,
    /// The authorizers it refused, as far as they had an id.
    pub failed_authorizers: Vec<String>,
    /// When it began.
    pub started_at: UnixMillis,
    /// When it is complete.
    pub completes_at: UnixMillis,
    /// What it finds, one row for each of `authorizers`, also while it is not complete.
    pub rows: Vec<SimulatedBalance>,
}

/// What a batch finds about one authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedBalance {
    /// The authorizer.
    pub authorizer: String,
    /// The balance as E3 writes it; `None` is null.
    pub balance: Option<String>,
    /// `balance_status_code`
    pub status_code: u32,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSchedule {
    /// Its id.
    pub schedule_id: String,
    /// Its name.
    pub name: String,
    /// Its runs, the oldest first.
    pub runs: Vec<SimulatedRun>,
    /// When the next run begins; `None` after the final one.
    pub next_run_at: Option<UnixMillis>,
}

/// A run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedRun {
    /// When it began.
    pub run_at: UnixMillis,
    /// Its batch.
    pub batch_id: String,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedWebhook {
    /// The batch it tells of.
    pub batch_id: String,
    /// Its `type`.
    pub event_type: String,
    /// Where it goes.
    pub url: String,
    /// Its `event_uuid`; several if each attempt has its own.
    pub event_uuids: Vec<String>,
    /// Whether it is lost: it exists, and is never attempted.
    pub is_lost: bool,
    /// The attempts that have been answered or have failed, in order.
    pub attempts: Vec<WebhookAttempt>,
    /// Whether an attempt was answered 2xx.
    pub is_delivered: bool,
    /// The body of the last attempt, or what would have been sent.
    pub body: String,
}

/// An attempt to deliver a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// When it was made.
    pub at: UnixMillis,
    /// The status it was answered with; `None` is no answer.
    pub status: Option<u16>,
}
