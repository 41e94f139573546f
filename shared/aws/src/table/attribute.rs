//! The names of all attributes of the table `inbox`.

use strum::{EnumIter, IntoStaticStr};

/// An attribute of an item. Its stored name is the variant's name in `snake_case`.
///
/// Stored names are contracts: a deployed table holds items with them. A new attribute is added here and to the item's type
/// in [`crate::items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Attribute {
    // Keys, and what several kinds of items have.
    /// The partition key.
    Pk,
    /// The sort key.
    Sk,
    /// Version of the item's format.
    V,
    /// Grows with every write that changes the state.
    Rev,
    /// The partition of the index `due`, while there is work left.
    Due,
    /// Time of that work.
    DueAt,
    /// Time in seconds from which DynamoDB may delete the item.
    ExpiresAt,
    /// Random id of the last conditional write: recognises it if its response was lost.
    WriteId,
    /// Number of attempts: of the relay to enqueue an event, or of callers to post a submission.
    Attempts,
    /// The actions of operators.
    AuditEntries,
    /// The subject of the webhook URL.
    Subject,
    /// Time of the end of the work.
    DoneAt,
    /// A small payload.
    Payload,
    /// The names of a large payload's parts.
    Parts,
    /// Time in seconds until which the parts exist.
    PartsExpireAt,
    /// SHA-256 of the payload.
    PayloadHash,
    /// Size of the payload.
    PayloadBytes,
    /// Holder of the claim.
    ClaimBy,
    /// End of the claim.
    ClaimUntil,
    /// The schedule of a run, or that a submission created.
    ScheduleId,
    /// Number of polls.
    Polls,
    /// Id of the event that an item refers to.
    EventId,
    /// Number of replays of the event.
    Replay,

    // Events.
    /// The event's type, as the provider names it.
    Type,
    /// Webhook, poll or replay.
    Origin,
    /// Time of the delivery.
    ReceivedAt,
    /// Random id of the delivery that was recorded.
    DeliveryId,
    /// The header `Idempotency-Key`.
    IdempotencyKey,
    /// Time from which the event should be on the queue.
    EnqueueAfter,
    /// Time at which it was put on the queue.
    SentAt,
    /// The last claim that ended.
    EndedBy,
    /// Time of its quarantine.
    QuarantinedAt,
    /// Number of requeues by workers.
    Requeues,
    /// Reason for the last requeue.
    RetryReason,
    /// Time at which it was last made due again after its end.
    RestartedAt,
    /// Digest of the balances at the last read.
    SnapshotDigest,
    /// Time of the last read.
    SnapshotAt,
    /// Number of times that SQS rejected the message.
    UndeliverableCount,
    /// The cycles that have ended.
    PastCycles,
    /// Number of results that an untracked batch was published with.
    PublishedUntracked,
    /// The number that a batch is published as again.
    Revision,
    /// Time at which the poller requeued it.
    RequeuedByPollerAt,

    // Batches and schedules.
    /// Number of submitted authorizers.
    Expected,
    /// Time from which an incomplete batch is overdue.
    DeadlineAt,
    /// Start of tracking.
    TrackedAt,
    /// Time of the run that a batch is.
    RunAt,
    /// Time at which a batch became overdue.
    OverdueAt,
    /// Time at which the API showed the batch complete.
    ShownCompleteAt,
    /// The reason why polls fail.
    PollProblem,
    /// The authorizers whose histories are read.
    Probes,
    /// Time from which runs are searched.
    Since,
    /// Seconds between two runs.
    IntervalSecs,
    /// The schedule's end at Rightfoot.
    ScheduleExpiresAt,
    /// The latest run that was found.
    LastRunSeen,
    /// Time at which an alert last made the schedule due.
    ExpeditedAt,

    // Submissions.
    /// Batch or schedule.
    Kind,
    /// The URL that Rightfoot was given, until the outcome is known.
    WebhookUrl,
    /// Keyed hash of the request.
    Fingerprint,
    /// Tag of the key that made the hash.
    FingerprintKey,
    /// Random id of the call that began the submission.
    CallId,
    /// Start of the submission.
    WrittenAt,
    /// The batch that it created.
    BatchId,
    /// Time from which the name is free: nothing was created.
    DeclinedAt,
    /// Time from which it is too late to repeat it.
    AbandonedAt,

    // Alerts.
    /// Time of the publication.
    PublishedAt,
    /// Tags of the events and replays that published it.
    PublishedBy,
    /// The threshold of the last publication.
    Threshold,
    /// The origin of that threshold.
    ThresholdSource,
    /// The event of the claim.
    ClaimEvent,

    // Subjects.
    /// Time at which the subject was bound.
    BoundAt,
    /// Tags of the open events.
    OpenEvents,

    // Payload parts.
    /// The bytes of a part.
    Piece,

    // Quarantine.
    /// Reason for the quarantine.
    Reason,
    /// Number of deliveries.
    Deliveries,
    /// Time of the first one.
    FirstReceivedAt,
    /// Time of the last one.
    LastReceivedAt,
    /// Time of the signature.
    SignedAt,
    /// The stored headers.
    Headers,
    /// Time at which the item was closed.
    ClosedAt,
    /// The way in which it was closed.
    Resolution,
}

impl Attribute {
    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}
