//! What was sent in a run, and what it left.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use inbox_core::delivery::Provider;

use crate::connector::{AwsCall, CallOutcome};
use crate::inspect::{self, InboxSnapshot, MessageSnapshot, PublishedEvent, RecordSnapshot, StoredBalance};
use crate::resource_names::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use crate::rightfoot_simulator::{SimulatedBatch, SimulatedWebhook, SimulatorSnapshot};
use crate::senders::retry_policy::FYNAPSE_PERMANENT_FAILURE_CODES;
use crate::senders::{DeliveryAttempt, DeliveryEnd, DeliveryReport};
use crate::stack::Stack;

/// A run: what was sent to the system, and what it left.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Webhook deliveries that were sent, but not those of the simulated Rightfoot.
    pub deliveries: Vec<SentDelivery>,
    /// Submissions to Rightfoot.
    pub submissions: Vec<SubmissionLog>,
    /// Alert threshold of each authorizer of a schedule, as written in the request.
    pub thresholds: BTreeMap<String, String>,
    /// State of the simulated Rightfoot.
    pub rightfoot: SimulatorSnapshot,
    /// Runs of the poller.
    pub poller_runs: Vec<PollerRun>,
    /// Content of the inbox table.
    pub inbox: InboxSnapshot,
    /// Messages that were on the queue `events`.
    pub messages: Vec<MessageSnapshot>,
    /// Number of messages on the dead-letter queue.
    pub dead_letters: usize,
    /// Content of the table of balances.
    pub balances: Vec<StoredBalance>,
    /// Events on the bus.
    pub bus_events: Vec<PublishedEvent>,
    /// AWS calls of the functions, in all processes.
    pub calls: Vec<(AwsCall, CallOutcome)>,
    /// By event id: the worker's invocations with that event that crashed or outlasted their claim.
    pub interruptions: BTreeMap<String, usize>,
}

/// A delivery that was sent, perhaps several times, and the outcome that it must have.
#[derive(Clone, Debug)]
pub struct SentDelivery {
    /// Provider that sent it.
    pub provider: Provider,
    /// Id of the event, or any name if it must not become an event.
    pub id: String,
    /// Request body.
    pub body: Bytes,
    /// Required outcome.
    pub expected: ExpectedOutcome,
    /// One report for each time that it was sent; none while it is still being delivered.
    pub reports: Vec<DeliveryReport>,
}

/// The required outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedOutcome {
    /// Recorded and enqueued as an event.
    Enqueued,
    /// Quarantined for this reason, and answered with this status.
    Quarantined {
        /// Reason of the quarantine.
        reason: &'static str,
        /// Status of the answer.
        status: u16,
    },
    /// Answered 403; nothing is stored.
    Rejected,
}

/// A submission and the response to each of its calls.
#[derive(Clone, Debug)]
pub struct SubmissionLog {
    /// Id that makes the submission idempotent.
    pub submission_id: String,
    /// Responses, in order.
    pub responses: Vec<SubmissionResponse>,
}

/// The response to a call of `rightfoot-requests`, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmissionResponse {
    /// The process crashed.
    Crashed,
    /// It failed, or its outcome is unknown; the error's name.
    Failed(&'static str),
    /// It succeeded.
    Succeeded {
        /// Id of the batch or the schedule.
        id: String,
        /// Authorizers that Rightfoot reported as failed.
        failed_authorizers: BTreeSet<String>,
    },
}

/// A run of the poller.
#[derive(Clone, Debug)]
pub struct PollerRun {
    /// True if no fault was injected while it ran.
    pub is_fault_free: bool,
    /// Type and message of its error, or `crashed`; `None` if it succeeded.
    pub error: Option<String>,
}

impl Observed {
    /// Reads what a run has left in the tables, on the queues and on the bus, and the AWS calls of this process.
    /// Receives all messages, which hides them for the visibility timeout.
    pub async fn read(stack: &Stack) -> anyhow::Result<Self> {
        let mut messages = Vec::new();
        for body in inspect::receive_all(stack, EVENTS_QUEUE).await? {
            messages.push(inspect::read_message(stack, &body).await?);
        }
        Ok(Self {
            inbox: inspect::read_inbox(stack).await?,
            messages,
            dead_letters: inspect::receive_all(stack, DEAD_LETTER_QUEUE).await?.len(),
            balances: inspect::read_balances(stack).await?,
            bus_events: inspect::receive_bus_events(stack).await?,
            calls: stack.connector.call_log(),
            ..Self::default()
        })
    }

    /// Removes everything about these batches: for runs that began too late to be checked. The calls stay.
    pub fn leave_out_batches(&mut self, batch_ids: &BTreeSet<String>) {
        // The batch id is the third part of an event id and of a partition key.
        let is_kept = |name: &str| name.split(['/', '#']).nth(2).is_none_or(|id| !batch_ids.contains(id));
        self.messages.retain(|message| is_kept(&message.id));
        self.inbox.records.retain(|id, _| is_kept(id));
        self.inbox.tracked.retain(|pk, _| is_kept(pk));
        self.balances.retain(|balance| !batch_ids.contains(&balance.batch_id));
        self.bus_events.retain(|event| is_kept(&event.event_id));
        self.rightfoot.leave_out_batches(batch_ids);
    }

    /// Origin of a recorded event; `None` if it is not recorded.
    pub fn origin_of(&self, event_id: &str) -> Option<&str> {
        self.inbox.records.get(event_id).map(|record| record.origin.as_str())
    }

    /// Number of messages of each event.
    pub fn message_counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for message in &self.messages {
            *counts.entry(message.id.as_str()).or_default() += 1;
        }
        counts
    }

    pub(super) fn deliveries_where(&self, is_wrong: impl Fn(&SentDelivery) -> bool) -> Vec<String> {
        self.deliveries.iter().filter(|it| is_wrong(it)).map(|it| it.id.clone()).collect()
    }

    pub(super) fn messages_where(&self, is_wrong: impl Fn(&MessageSnapshot) -> bool) -> Vec<String> {
        self.messages.iter().filter(|it| is_wrong(it)).map(|it| it.id.clone()).collect()
    }

    pub(super) fn records_where(&self, is_wrong: impl Fn(&str, &RecordSnapshot) -> bool) -> Vec<String> {
        self.inbox.records.iter().filter(|(id, it)| is_wrong(id, it)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn submissions_where(&self, is_wrong: impl Fn(&SubmissionLog) -> bool) -> Vec<String> {
        self.submissions.iter().filter(|it| is_wrong(it)).map(|it| it.submission_id.clone()).collect()
    }

    /// Filters the batches that were submitted, and the runs.
    pub(super) fn batches_where(&self, is_wrong: impl Fn(&SimulatedBatch) -> bool) -> Vec<String> {
        self.rightfoot.submitted_batches().filter(|it| is_wrong(it)).map(|it| it.batch_id.clone()).collect()
    }

    pub(super) fn webhooks_where(&self, is_wrong: impl Fn(&SimulatedWebhook) -> bool) -> Vec<String> {
        let wrong = self.rightfoot.webhooks.iter().filter(|it| is_wrong(it));
        wrong.map(|it| format!("{} of {}", it.event_type, it.batch_id)).collect()
    }
}

impl SentDelivery {
    /// A delivery without reports.
    pub fn expecting(
        provider: Provider,
        id: impl Into<String>,
        body: impl Into<Bytes>,
        expected: ExpectedOutcome,
    ) -> Self {
        Self { provider, id: id.into(), body: body.into(), expected, reports: Vec::new() }
    }

    /// All HTTP requests that were made.
    pub fn attempts(&self) -> impl Iterator<Item = &DeliveryAttempt> {
        self.reports.iter().flat_map(|report| &report.attempts)
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.reports.iter().all(|report| report.end == DeliveryEnd::Delivered)
    }

    pub(super) fn all_end_with(&self, status: u16) -> bool {
        let last_status = |report: &DeliveryReport| report.last_response()?.status();
        self.reports.iter().all(|report| last_status(report) == Some(status))
    }

    pub(super) fn has_permanent_failure(&self) -> bool {
        let mut statuses = self.attempts().filter_map(|attempt| attempt.response.status());
        statuses.any(|status| FYNAPSE_PERMANENT_FAILURE_CODES.contains(&status))
    }
}

impl SubmissionLog {
    /// The successful responses: the id of the batch or schedule, and the authorizers that failed.
    pub fn successes(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.responses.iter().filter_map(|response| match response {
            SubmissionResponse::Succeeded { id, failed_authorizers } => {
                Some((id.as_str(), failed_authorizers))
            }
            SubmissionResponse::Crashed | SubmissionResponse::Failed(_) => None,
        })
    }
}
