//! The names of all attributes of the table `inbox`.

use strum::{EnumIter, IntoStaticStr};

/// An attribute of an item. Its stored name is the variant's name in `snake_case`.
///
/// Stored names are contracts: a deployed table holds items with them. A new attribute is added here and to the item's type
/// in [`crate::items`], which says what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Attribute {
    // Keys, and what several kinds of items have.
    Pk,
    Sk,
    /// Version of the item's format.
    V,
    /// Grows with every write that changes the state.
    Rev,
    /// The partition of the index `due`, while there is work left.
    Due,
    /// Time of that work.
    DueAt,
    /// The partition of the index `listed`.
    Listed,
    /// Time by which lists are ordered.
    ListedAt,
    /// Time in seconds from which DynamoDB may delete the item.
    ExpiresAt,
    /// Random id of the last conditional write: recognises it if its response was lost.
    WriteId,
    /// Number of attempts: of the relay to enqueue an event, or of callers to post a submission.
    Attempts,
    AuditEntries,
    Subject,
    DoneAt,
    Payload,
    /// The names of a large payload's parts.
    Parts,
    /// Time in seconds until which the parts exist.
    PartsExpireAt,
    PayloadHash,
    PayloadBytes,
    /// Time at which an operator erased the payload.
    PayloadErasedAt,
    /// The names of parts that the item no longer needs, and that are to be deleted.
    PartsToDelete,
    /// Holder of the claim.
    ClaimBy,
    /// End of the claim.
    ClaimUntil,
    ScheduleId,
    Polls,
    /// Number of a batch's results that were found.
    ResultsFound,
    /// Id of the event that an item refers to.
    EventId,
    Replay,

    // Events.
    Type,
    Origin,
    ReceivedAt,
    DeliveryId,
    IdempotencyKey,
    EnqueueAfter,
    SentAt,
    /// The last claim that ended.
    EndedBy,
    QuarantinedAt,
    Requeues,
    RetryReason,
    /// Time at which it was last made due again after its end.
    RestartedAt,
    SnapshotDigest,
    SnapshotAt,
    UndeliverableCount,
    /// The bulk replay that it was last part of.
    BulkReplay,
    PastCycles,
    /// Number of duplicates.
    Duplicates,
    /// Number of duplicates whose payload differed.
    DifferingDuplicates,
    LastDuplicateAt,
    /// Number of results or alerts that its effect has published.
    PublishedCount,
    /// Number of results of a batch that was published untracked.
    PublishedUntracked,
    /// The number that a batch is published as again.
    Revision,
    RequeuedByPollerAt,

    // Batches and schedules.
    Expected,
    /// Number of authorizers that Rightfoot excluded.
    ExcludedCount,
    DeadlineAt,
    TrackedAt,
    RunAt,
    OverdueAt,
    ShownCompleteAt,
    PollProblem,
    Probes,
    Since,
    IntervalSecs,
    ScheduleExpiresAt,
    LastRunSeen,
    ExpeditedAt,

    // Submissions.
    Kind,
    WebhookUrl,
    Fingerprint,
    FingerprintKey,
    CallId,
    WrittenAt,
    BatchId,
    DeclinedAt,
    AbandonedAt,

    // Audit entries.
    /// What the entry is about.
    AuditSubject,
    Action,
    Operator,

    // Alerts.
    PublishedAt,
    /// Tags of the events and replays that published it.
    PublishedBy,
    Threshold,
    ThresholdSource,
    /// The event of the claim.
    ClaimEvent,

    // Subjects.
    /// Time at which the subject was bound.
    BoundAt,
    /// Tags of the open events.
    OpenEvents,

    // Delivery checks, and missed deliveries.
    /// Start of the last check that was completed.
    CheckedAt,
    /// Start of the check that goes on.
    CheckStartedAt,
    /// How far it has come.
    Progress,
    /// Deliveries whose event was not found yet, and since when.
    AbsentDeliveries,
    /// The time since which what was found may not have been reported.
    UnreportedSince,
    /// Deliveries that were reported since then.
    Reported,
    /// Time at which an event id of the list was last one that is here.
    IdsMatchedAt,
    /// Time at which an idempotency key of the list was last one that is here.
    KeysMatchedAt,
    /// Time of the oldest delivery whose event was ever here.
    OldestMatch,
    /// End of the last run.
    RanAt,
    /// Time of a delivery's creation at the provider.
    CreatedAt,

    // Payload parts.
    /// The bytes of a part.
    Piece,

    // Quarantine.
    Reason,
    Deliveries,
    FirstReceivedAt,
    LastReceivedAt,
    SignedAt,
    Headers,
    ClosedAt,
    Resolution,
}

impl Attribute {
    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}
