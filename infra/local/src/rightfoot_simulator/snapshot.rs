//! Snapshots of the simulator's state, for tests and the demo.

use inbox_core::time::UnixMillis;

/// A request to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Time of arrival.
    pub at: UnixMillis,
    /// HTTP method.
    pub method: String,
    /// Path, as received.
    pub path: String,
    /// Query, as received; empty if there was none.
    pub query: String,
    /// Status of the response; `None` until it is answered.
    pub status: Option<u16>,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedBatch {
    /// Batch id.
    pub batch_id: String,
    /// Schedule of a run; `None` for an on-demand batch.
    pub schedule_id: Option<String>,
    /// Accepted authorizers, in the order of the request.
    pub authorizers: Vec<String>,
    /// Failed authorizers, as far as they had an id.
    pub failed_authorizers: Vec<String>,
    /// Start of processing.
    pub started_at: UnixMillis,
    /// Time of completion, possibly in the future.
    pub completes_at: UnixMillis,
    /// One result for each of `authorizers`, also while the batch is not complete.
    pub rows: Vec<SimulatedBalance>,
}

/// A batch's result for one authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedBalance {
    /// Authorizer id.
    pub authorizer: String,
    /// Balance as E3 writes it; `None` is null.
    pub balance: Option<String>,
    /// `balance_status_code`; 0 is success.
    pub status_code: u32,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSchedule {
    /// Schedule id.
    pub schedule_id: String,
    /// Unique name.
    pub name: String,
    /// Runs that have started, the oldest first.
    pub runs: Vec<SimulatedRun>,
    /// Start of the next run; `None` after the final one.
    pub next_run_at: Option<UnixMillis>,
}

/// A run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedRun {
    /// Start of the run.
    pub run_at: UnixMillis,
    /// Batch of the run.
    pub batch_id: String,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedWebhook {
    /// Batch that it concerns.
    pub batch_id: String,
    /// `type` of its body.
    pub event_type: String,
    /// URL of the receiver.
    pub url: String,
    /// `event_uuid`; several if each attempt has its own.
    pub event_uuids: Vec<String>,
    /// True if it is lost: never attempted.
    pub is_lost: bool,
    /// Attempts that have ended, in order.
    pub attempts: Vec<WebhookAttempt>,
    /// True if an attempt was answered 2xx.
    pub is_delivered: bool,
    /// Body of the last attempt; without one, the body that would be sent.
    pub body: String,
}

/// An attempt to deliver a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// Time of sending.
    pub at: UnixMillis,
    /// Status of the response; `None` if there was none.
    pub status: Option<u16>,
}
