//! Snapshots of the simulator's state, for tests, invariants and the demo.

use std::collections::BTreeSet;

use inbox_core::time::UnixMillis;

/// The whole state at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulatorSnapshot {
    /// All batches, in the order in which they began.
    pub batches: Vec<SimulatedBatch>,
    /// All schedules, in the order of their creation.
    pub schedules: Vec<SimulatedSchedule>,
    /// All webhooks, sent, unsent and lost.
    pub webhooks: Vec<SimulatedWebhook>,
    /// The alerts that must be sent: batch and authorizer, for each balance of a run that meets its threshold. Includes
    /// alerts of lost webhooks and of runs that are not complete yet.
    pub expected_alerts: BTreeSet<(String, String)>,
    /// The logged requests, in order.
    pub requests: Vec<LoggedRequest>,
}

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
    /// False if it was added as another client's; see [`super::RightfootSimulator::add_completed_batch`].
    pub is_submitted: bool,
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

impl SimulatorSnapshot {
    /// The batches that were submitted, and the runs.
    pub fn submitted_batches(&self) -> impl Iterator<Item = &SimulatedBatch> {
        self.batches.iter().filter(|batch| batch.is_submitted)
    }

    /// The batch with this id.
    pub fn batch(&self, batch_id: &str) -> Option<&SimulatedBatch> {
        self.batches.iter().find(|batch| batch.batch_id == batch_id)
    }

    /// The submitted batch or run with this id.
    pub fn submitted_batch(&self, batch_id: &str) -> Option<&SimulatedBatch> {
        self.batch(batch_id).filter(|batch| batch.is_submitted)
    }

    /// Failed authorizers of a submitted batch; empty for any other id.
    pub fn failed_authorizers(&self, batch_id: &str) -> BTreeSet<String> {
        let batch = self.submitted_batch(batch_id);
        batch.map(|batch| batch.failed_authorizers.iter().cloned().collect()).unwrap_or_default()
    }

    /// The webhooks of one type.
    pub fn webhooks_of(&self, event_type: &str) -> impl Iterator<Item = &SimulatedWebhook> {
        self.webhooks.iter().filter(move |webhook| webhook.event_type == event_type)
    }

    /// Removes everything about these batches; the requests stay.
    pub fn leave_out_batches(&mut self, batch_ids: &BTreeSet<String>) {
        self.batches.retain(|batch| !batch_ids.contains(&batch.batch_id));
        for schedule in &mut self.schedules {
            schedule.runs.retain(|run| !batch_ids.contains(&run.batch_id));
        }
        self.webhooks.retain(|webhook| !batch_ids.contains(&webhook.batch_id));
        self.expected_alerts.retain(|(batch_id, _)| !batch_ids.contains(batch_id));
    }
}

impl SimulatedBatch {
    /// The result for an authorizer.
    pub fn row_for(&self, authorizer: &str) -> Option<&SimulatedBalance> {
        self.rows.iter().find(|row| row.authorizer == authorizer)
    }
}
