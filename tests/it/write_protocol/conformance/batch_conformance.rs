//! Conformance of the model of a tracked batch and its completion's record: pollers read, defer, update and end the
//! batch and requeue its record, in random order and based on stale reads.

use inbox_aws::items::{EventRecord, TrackingState};
use inbox_aws::stores::{EventClaim, PollNote, Stores, WriteOutcome};
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::poll::problem::PollProblem;
use inbox_core::quarantine::QuarantineReason;
use local::connector::AwsCall;
use tests::{Item, World, completion_body, completion_event_id, number};

use super::{ALL_CLAIMS_EXPIRED, Comparison, Walk, assert_conformance};
use crate::write_protocol::poll_model::{BatchItem, BatchUpdate, NEWLY_TRACKED, RecordState};

const BATCH: &str = "b-1";
const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum BatchOperation {
    Read,
    Defer,
    Update(BatchUpdate),
    NoteProblem,
    DeliverWebhook,
    Quarantine,
    ReadRecord,
    RequeueQuarantined,
    AdvanceTime,
}

/// The model and the code, side by side.
struct BatchComparison {
    world: World,
    /// Through a connector on which answers are lost.
    stores: Stores,
    batch_id: Id,
    key: EventKey,
    tracked: BatchItem,
    record: RecordState,
    /// Earlier reads, with the model's `rev`.
    batches_read: Vec<(u8, TrackingState)>,
    event_views: Vec<EventRecord>,
    calls: u64,
    walk: Walk,
}

impl Comparison for BatchComparison {
    type Operation = BatchOperation;
    const OPERATIONS: &[(usize, BatchOperation)] = &[
        (2, BatchOperation::Read),
        (3, BatchOperation::Defer),
        (2, BatchOperation::Update(BatchUpdate::PollAt)),
        (1, BatchOperation::Update(BatchUpdate::CheckAlertsAt)),
        (1, BatchOperation::Update(BatchUpdate::Done)),
        (1, BatchOperation::Update(BatchUpdate::Overdue)),
        (1, BatchOperation::NoteProblem),
        (1, BatchOperation::DeliverWebhook),
        (2, BatchOperation::Quarantine),
        (2, BatchOperation::ReadRecord),
        (1, BatchOperation::RequeueQuarantined),
        (1, BatchOperation::AdvanceTime),
    ];

    async fn new(walk: Walk) -> Self {
        let world = World::new().await;
        world.track_run(BATCH, 1).await;
        Self {
            stores: world.stores(),
            world,
            batch_id: Id::new(BATCH).unwrap(),
            key: EventKey::from_event_id(&completion_event_id(BATCH)).unwrap(),
            tracked: NEWLY_TRACKED,
            record: RecordState::None,
            batches_read: Vec::new(),
            event_views: Vec::new(),
            calls: 0,
            walk,
        }
    }

    async fn apply(&mut self, operation: BatchOperation) {
        self.calls += 1;
        match operation {
            BatchOperation::Read => {
                let view = self.stores.polls.batch_progress(&self.batch_id).await.unwrap().unwrap();
                self.batches_read.push((self.tracked.rev, view.tracking.clone()));
            }
            BatchOperation::Defer => Box::pin(self.defer()).await,
            BatchOperation::Update(then) => Box::pin(self.update(then)).await,
            BatchOperation::NoteProblem => Box::pin(self.note_problem()).await,
            BatchOperation::DeliverWebhook => {
                let response =
                    self.world.deliver_rightfoot(completion_body(BATCH, &format!("u-{}", self.calls))).await;
                assert_eq!(response.status, 200);
                if self.record == RecordState::None {
                    self.record = RecordState::Active;
                }
            }
            BatchOperation::Quarantine => Box::pin(self.quarantine()).await,
            BatchOperation::ReadRecord => {
                let event = self.stores.operator.event(&self.key).await.unwrap();
                assert_eq!(event.is_some(), self.record != RecordState::None);
                self.event_views.extend(event);
            }
            BatchOperation::RequeueQuarantined => Box::pin(self.requeue_quarantined()).await,
            BatchOperation::AdvanceTime => {
                self.world.advance(ALL_CLAIMS_EXPIRED);
                self.tracked.is_due_now = self.tracked.due;
            }
        }
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn walk(&mut self) -> &mut Walk {
        &mut self.walk
    }

    async fn compare(&self, operation: BatchOperation) {
        let now = self.world.now().0;
        let item = self.world.item("rightfoot#batch#b-1", "tracked").await.unwrap();
        let has = |item: &Item, name: &str| item.contains_key(name);
        assert_eq!(has(&item, "due"), has(&item, "due_at"));
        let code = BatchItem {
            rev: u8::try_from(number(&item, "rev").unwrap()).unwrap(),
            due: has(&item, "due"),
            is_due_now: number(&item, "due_at").is_some_and(|due_at| due_at <= now),
            shown_complete: has(&item, "shown_complete_at"),
            done: has(&item, "done_at"),
            overdue: has(&item, "overdue_at"),
        };
        assert_eq!(code, self.tracked, "after {operation:?}: the code, and the model");
        let record = match self.world.item("rightfoot#batch#b-1", "completed").await {
            None => RecordState::None,
            Some(item) => match (has(&item, "quarantined_at"), has(&item, "requeued_by_poller_at")) {
                (false, false) => RecordState::Active,
                (true, false) => RecordState::Quarantined,
                (false, true) => RecordState::Requeued,
                (true, true) => RecordState::QuarantinedAgain,
            },
        };
        assert_eq!(record, self.record, "after {operation:?}: the code, and the model");
    }
}

fn is_update(call: &AwsCall) -> bool {
    call.operation == "UpdateItem"
}

impl BatchComparison {
    /// Checks that the model's result of a write equals the code's.
    fn assert_same_outcome(&mut self, write: &str, model: bool, code: WriteOutcome) {
        assert_eq!(code == WriteOutcome::Applied, model, "{write}");
        self.walk.note(write, if model { "applied" } else { "refused" });
    }

    async fn defer(&mut self) {
        let Some((rev, mut tracking)) = self.walk.pick(&self.batches_read) else { return };
        self.walk.maybe_lose_response(&self.world, is_update);
        let until = self.world.now().plus(ALL_CLAIMS_EXPIRED / 2);
        let written = self.stores.polls.defer_before_poll(&mut tracking, self.calls, until).await.unwrap();
        let model = self.tracked.defer(rev);
        if model {
            self.batches_read.push((rev + 1, tracking));
        }
        self.assert_same_outcome("defer", model, written);
    }

    async fn update(&mut self, then: BatchUpdate) {
        let Some((rev, tracking)) = self.walk.pick(&self.batches_read) else { return };
        self.walk.maybe_lose_response(&self.world, is_update);
        let (now, until) = (self.world.now(), self.world.now().plus(ALL_CLAIMS_EXPIRED / 2));
        let written = match then {
            BatchUpdate::PollAt => self.stores.polls.reschedule(&tracking, until, None).await,
            BatchUpdate::CheckAlertsAt => {
                self.stores.polls.mark_shown_complete(&tracking, until, None, now).await
            }
            BatchUpdate::Done => self.stores.polls.finish_tracking(&tracking, None, now).await,
            BatchUpdate::Overdue => self.stores.polls.mark_overdue(&tracking, None, now).await,
            BatchUpdate::PollAsPlanned => panic!("nothing is written"),
        };
        let model = self.tracked.update(rev, then);
        self.assert_same_outcome(&format!("{then:?}"), model, written.unwrap());
    }

    /// A note about a failing poll does not change `rev`, so it voids no write.
    async fn note_problem(&mut self) {
        let Some((_, tracking)) = self.walk.pick(&self.batches_read) else { return };
        let problem = PollProblem::updated(None, Some("unavailable"), self.calls, self.world.now());
        self.stores.polls.note_poll(&tracking, &PollNote { problem, results_found: None }).await.unwrap();
    }

    async fn quarantine(&mut self) {
        let claim = self.stores.processing.claim_event(&self.key, self.world.now()).await.unwrap();
        let EventClaim::Acquired(work) = claim else {
            assert!(!self.record.quarantine(), "{claim:?}");
            return;
        };
        let written = self
            .stores
            .processing
            .quarantine_event(&work, QuarantineReason::Incomplete, self.world.now())
            .await
            .unwrap();
        let model = self.record.quarantine();
        self.assert_same_outcome("quarantine", model, written);
    }

    async fn requeue_quarantined(&mut self) {
        let Some(event) = self.walk.pick(&self.event_views) else { return };
        self.walk.maybe_lose_response(&self.world, is_update);
        let written = self.stores.polls.requeue_quarantined(&event, self.world.now()).await.unwrap();
        let model = self.record.requeue_quarantined();
        self.assert_same_outcome("requeue quarantined", model, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_writes_to_a_batch_come_to_the_same_on_the_real_adapters() {
    const EXPECTED: [&str; 13] = [
        "defer: applied",
        "defer: refused",
        "PollAt: applied",
        "PollAt: refused",
        "CheckAlertsAt: applied",
        "CheckAlertsAt: refused",
        "Done: applied",
        "Done: refused",
        "Overdue: applied",
        "Overdue: refused",
        "requeue quarantined: applied",
        "requeue quarantined: refused",
        "quarantine: applied",
    ];
    assert_conformance::<BatchComparison>(WALKS, STEPS, &EXPECTED).await;
}
