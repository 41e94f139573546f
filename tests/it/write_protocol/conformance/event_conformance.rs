//! Conformance of the model of an event's record: a handler, relays, workers and operators write to it in random
//! order and based on stale reads.

use std::time::Duration;

use inbox_aws::stores::{
    ClaimedEvent, ClaimedRecord, DueKey, DueRecord, EventClaim, RelayClaim, ReplayOutcome, Stores,
    WriteOutcome,
};
use inbox_core::audit::{AuditEntry, Operator, OperatorAction};
use inbox_core::effect::{Publication, RequeueDetails};
use inbox_core::event::{EventKey, payload_hash};
use inbox_core::quarantine::QuarantineReason;
use local::connector::{AwsCall, Fault};
use tests::{Item, World, extract_body, number, text};

use super::{ALL_CLAIMS_EXPIRED, Comparison, Walk, assert_conformance};
use crate::write_protocol::event_model::record_model::{
    DueState, ModelRecord, RecordWrite, ReopenFrom, WriteResult,
};

const EVENT: &str = "fynapse/event/e-1";
const WALKS: u64 = 32;
const STEPS: usize = 60;

/// Attributes of a record that both the model and the code have.
#[derive(Debug, Default, PartialEq, Eq)]
struct RecordView {
    exists: bool,
    rev: u8,
    due: DueState,
    sent: bool,
    expires: bool,
    is_claimed: bool,
    claim_expired: bool,
    done: bool,
    quarantined: bool,
    replay: u8,
}

impl RecordView {
    fn of_model(record: &ModelRecord) -> Self {
        Self {
            exists: record.exists(),
            rev: record.rev,
            due: record.due,
            sent: record.sent,
            expires: record.expires,
            is_claimed: record.claim != 0,
            claim_expired: record.claim_expired,
            done: record.done,
            quarantined: record.quarantined,
            replay: record.replay,
        }
    }

    fn of_item(item: &Item, now: i64) -> Self {
        let has = |name: &str| item.contains_key(name);
        let small = |name: &str| u8::try_from(number(item, name).unwrap_or(0)).unwrap();
        assert_eq!(has("due"), has("due_at"));
        assert_eq!(has("claim_by"), has("claim_until"));
        let due = match number(item, "due_at") {
            None => DueState::No,
            Some(due_at) if due_at <= now => DueState::Now,
            Some(_) => DueState::Later,
        };
        Self {
            exists: true,
            rev: small("rev"),
            due,
            sent: has("sent_at"),
            expires: has("expires_at"),
            is_claimed: has("claim_by"),
            claim_expired: number(item, "claim_until").is_some_and(|until| until < now),
            done: has("done_at"),
            quarantined: has("quarantined_at"),
            replay: small("replay"),
        }
    }
}

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum RecordOperation {
    Put,
    MarkNew,
    Read,
    Relay,
    MarkClaimed,
    QuarantineByRelay,
    Claim,
    Done,
    Requeue,
    QuarantineByWorker,
    ReplayDone,
    ReplayQuarantined,
    ReplayLost,
    AdvanceTime,
}

/// The model and the code side by side.
struct RecordComparison {
    world: World,
    /// Through a connector on which answers are lost.
    stores: Stores,
    key: EventKey,
    record: ModelRecord,
    /// Times that the event was quarantined.
    quarantine_count: i64,
    /// Duplicates that came.
    duplicate_count: i64,
    /// Earlier reads and claims, with the model's `rev` or claim.
    records_read: Vec<(u8, DueRecord)>,
    relay_claims: Vec<(u8, ClaimedRecord)>,
    work_claims: Vec<(u8, ClaimedEvent)>,
    calls: u8,
    walk: Walk,
}

impl Comparison for RecordComparison {
    type Operation = RecordOperation;
    const OPERATIONS: &[(usize, RecordOperation)] = &[
        (1, RecordOperation::Put),
        (1, RecordOperation::MarkNew),
        (2, RecordOperation::Read),
        (3, RecordOperation::Relay),
        (2, RecordOperation::MarkClaimed),
        (2, RecordOperation::QuarantineByRelay),
        (3, RecordOperation::Claim),
        (1, RecordOperation::Done),
        (2, RecordOperation::Requeue),
        (1, RecordOperation::QuarantineByWorker),
        (1, RecordOperation::ReplayDone),
        (1, RecordOperation::ReplayQuarantined),
        (1, RecordOperation::ReplayLost),
        (2, RecordOperation::AdvanceTime),
    ];

    async fn new(walk: Walk) -> Self {
        let world = World::new().await;
        let key = EventKey::from_event_id(EVENT).unwrap();
        let (read, claimed, works) = Default::default();
        let stores = world.stores();
        let record = ModelRecord::default();
        Self {
            world,
            stores,
            key,
            record,
            quarantine_count: 0,
            duplicate_count: 0,
            records_read: read,
            relay_claims: claimed,
            work_claims: works,
            calls: 0,
            walk,
        }
    }

    /// Runs one step. It changes nothing if its prerequisites are missing.
    async fn apply(&mut self, operation: RecordOperation) {
        match operation {
            RecordOperation::Put => Box::pin(self.put()).await,
            RecordOperation::MarkNew => {
                let attempts = self.walk.maybe_lose_response(&self.world, is_update);
                let marked = self.stores.events.mark_new_sent(&self.key, self.world.now()).await.unwrap();
                self.assert_same_outcome(RecordWrite::Mark { rev: 1 }, attempts, marked);
            }
            RecordOperation::Read => Box::pin(self.read()).await,
            RecordOperation::Relay | RecordOperation::MarkClaimed | RecordOperation::QuarantineByRelay => {
                Box::pin(self.relay(operation)).await
            }
            RecordOperation::Claim => Box::pin(self.claim()).await,
            RecordOperation::Done | RecordOperation::Requeue | RecordOperation::QuarantineByWorker => {
                Box::pin(self.end(operation)).await
            }
            RecordOperation::ReplayDone => Box::pin(self.reopen(ReopenFrom::Done)).await,
            RecordOperation::ReplayQuarantined => Box::pin(self.reopen(ReopenFrom::Quarantined)).await,
            RecordOperation::ReplayLost => Box::pin(self.reopen(ReopenFrom::Sent)).await,
            RecordOperation::AdvanceTime => {
                self.world.advance(ALL_CLAIMS_EXPIRED);
                self.record.claim_expired = self.record.claim != 0;
                if self.record.due == DueState::Later {
                    self.record.due = DueState::Now;
                }
            }
        }
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn walk(&mut self) -> &mut Walk {
        &mut self.walk
    }

    async fn compare(&self, operation: RecordOperation) {
        let items = self.world.items().await;
        let item = items.iter().find(|item| text(item, "sk") == self.key.sk());
        let code =
            item.map_or_else(RecordView::default, |item| RecordView::of_item(item, self.world.now().0));
        assert_eq!(code, RecordView::of_model(&self.record), "after {operation:?}: the code, and the model");
        let duplicates = item.and_then(|item| number(item, "duplicates")).unwrap_or(0);
        assert_eq!(duplicates, self.duplicate_count, "after {operation:?}");
        let hash = payload_hash(extract_body("e-1").as_bytes());
        let quarantined = items.iter().find(|item| text(item, "pk") == format!("quarantine#fynapse#{hash}"));
        assert_eq!(
            quarantined.map_or(0, |kept| number(kept, "deliveries").unwrap()),
            self.quarantine_count,
            "after {operation:?}"
        );
    }
}

fn is_update(call: &AwsCall) -> bool {
    call.operation == "UpdateItem" && call.event_ids.iter().any(|id| id == EVENT)
}

impl RecordComparison {
    /// The model's result of a write, made in one or two attempts.
    fn model_result(&mut self, write: RecordWrite, attempts: usize) -> WriteResult {
        self.calls += 1;
        let mut answer = WriteResult::ConditionFailed;
        for _ in 0..attempts {
            answer = self.record.apply(write, self.calls, None);
        }
        let kind = |it: String| it.split([' ', '{']).next().unwrap().to_owned();
        let from =
            if let RecordWrite::Reopen { from, .. } = write { format!("{from:?}") } else { String::new() };
        self.walk.note(kind(format!("{write:?}")) + &from, kind(format!("{answer:?}")));
        answer
    }

    /// Checks that the model's result of a write equals the code's.
    fn assert_same_outcome(&mut self, write: RecordWrite, attempts: usize, written: WriteOutcome) {
        let expected = self.model_result(write, attempts) == WriteResult::Applied;
        assert_eq!(written == WriteOutcome::Applied, expected, "{write:?}");
    }

    /// A handler records its delivery and dies before its send.
    async fn put(&mut self) {
        let process = self.world.another_process();
        let attempts = self.walk.pick_attempts();
        process.stack.connector.set_fault_plan(move |call| match call.operation.as_str() {
            "SendMessage" => Some(Fault::CrashBefore),
            "PutItem" if attempts == 2 && call.index == 1 => Some(Fault::TimeoutAfter),
            _ => None,
        });
        let response = process.deliver_fynapse(extract_body("e-1")).await;
        let answer = self.model_result(RecordWrite::Put { delivery: self.calls + 1 }, attempts);
        let expected = if answer == WriteResult::Applied { 500 } else { 200 };
        assert_eq!(response.status, expected, "{answer:?}");
        if answer == WriteResult::Duplicate {
            self.duplicate_count += 1;
            assert_eq!(self.model_result(RecordWrite::CountDuplicate, 1), WriteResult::Applied);
        }
    }

    async fn read(&mut self) {
        let key = DueKey { due_at: self.world.now(), pk: self.key.pk(), sk: self.key.sk() };
        let found = self.stores.outbox.read_due_records(&[key]).await.unwrap();
        assert_eq!(found.records.len(), usize::from(self.record.exists()));
        self.records_read.extend(found.records.into_iter().map(|record| (self.record.rev, record)));
    }

    async fn relay(&mut self, operation: RecordOperation) {
        let now = self.world.now();
        if let RecordOperation::Relay = operation {
            let Some((rev, read)) = self.walk.pick(&self.records_read) else { return };
            let attempts = self.walk.maybe_lose_response(&self.world, is_update);
            let claim = self.stores.outbox.claim_record(read, now).await.unwrap();
            let is_ours = self.model_result(RecordWrite::Relay { rev }, attempts) == WriteResult::Applied;
            match claim {
                RelayClaim::Acquired(claimed) if is_ours => self.relay_claims.push((rev + 1, *claimed)),
                RelayClaim::NotDue if !is_ours => {}
                claim @ (RelayClaim::Acquired(_)
                | RelayClaim::AcquiredWithoutPayload(_)
                | RelayClaim::NotDue) => {
                    panic!("{claim:?}, and by the model {is_ours}")
                }
            }
            return;
        }
        let Some((rev, claimed)) = self.walk.pick(&self.relay_claims) else { return };
        let attempts = self.walk.maybe_lose_response(&self.world, is_update);
        if let RecordOperation::MarkClaimed = operation {
            let marked = self.stores.outbox.mark_claimed_sent(&claimed, now).await.unwrap();
            self.assert_same_outcome(RecordWrite::Mark { rev }, attempts, marked);
        } else {
            let given_up = self
                .stores
                .outbox
                .quarantine_claimed(&claimed, QuarantineReason::QueueRefused, now)
                .await
                .unwrap();
            self.quarantine_count += 1;
            self.assert_same_outcome(
                RecordWrite::QuarantineByRelay { rev, expired_claim: self.record.expired_claim() },
                attempts,
                given_up,
            );
        }
    }

    async fn claim(&mut self) {
        let attempts = self.walk.maybe_lose_response(&self.world, is_update);
        let claim = self.stores.processing.claim_event(&self.key, self.world.now()).await.unwrap();
        let name = self.calls + 1;
        let answer = self.model_result(
            RecordWrite::Claim { claim: name, expired_claim: self.record.expired_claim() },
            attempts,
        );
        match (claim, answer) {
            (EventClaim::Acquired(work), WriteResult::Acquired { replay }) => {
                assert_eq!(work.event_meta().replay, u64::from(replay));
                self.work_claims.push((name, *work));
            }
            (EventClaim::AlreadyDone, WriteResult::AlreadyDone)
            | (EventClaim::HeldByOther, WriteResult::HeldByOther)
            | (EventClaim::NotRecorded, WriteResult::NotRecorded) => {}
            (claim, answer) => panic!("{claim:?}, and by the model {answer:?}"),
        }
    }

    async fn end(&mut self, operation: RecordOperation) {
        let Some((claim, work)) = self.walk.pick(&self.work_claims) else { return };
        let now = self.world.now();
        let attempts = self.walk.maybe_lose_response(&self.world, is_update);
        let (write, written) = if let RecordOperation::Done = operation {
            (
                RecordWrite::Done { claim },
                self.stores.processing.mark_done(&work, &Publication::default(), now).await,
            )
        } else if let RecordOperation::Requeue = operation {
            let later = now.plus(Duration::from_secs(60));
            (
                RecordWrite::Requeue { claim },
                self.stores
                    .processing
                    .requeue(&work, later, &RequeueDetails::with_reason("not_ready"), now)
                    .await,
            )
        } else {
            self.quarantine_count += 1;
            let given_up =
                self.stores.processing.quarantine_event(&work, QuarantineReason::BusRefused, now).await;
            (RecordWrite::QuarantineByWorker { claim }, given_up)
        };
        self.assert_same_outcome(write, attempts, written.unwrap());
    }

    /// An operator reads the record and makes it due again, if its state permits.
    async fn reopen(&mut self, from: ReopenFrom) {
        let why = format!("reason {}", self.calls);
        let operator = Operator { name: "ada".to_owned(), reason: why };
        let by: AuditEntry = operator.audit_entry(OperatorAction::Requeue, self.world.now());
        let replayed = match from {
            ReopenFrom::Done => self.stores.operator.replay_done(&self.key, &by).await,
            ReopenFrom::Quarantined => self.stores.operator.replay_quarantined(&self.key, &by).await,
            ReopenFrom::Sent => self.stores.operator.replay_lost(&self.key, true, &by).await,
        };
        let record = &self.record;
        let is_claimed = record.claim != 0 && !record.claim_expired;
        let stands = match from {
            ReopenFrom::Done => record.done,
            ReopenFrom::Quarantined => record.quarantined && !record.done,
            ReopenFrom::Sent => record.sent && record.is_open() && record.due == DueState::No && !is_claimed,
        };
        if stands {
            let (rev, expired_claim) = (self.record.rev, self.record.expired_claim());
            assert_eq!(
                self.model_result(RecordWrite::Reopen { from, rev, expired_claim, trace: 0 }, 1),
                WriteResult::Applied
            );
        }
        match replayed.unwrap() {
            ReplayOutcome::Due { replay } => assert!(stands && replay == u64::from(self.record.replay)),
            ReplayOutcome::WrongState(_) => assert!(self.record.exists() && !stands),
            ReplayOutcome::NotFound => assert!(!self.record.exists()),
            ReplayOutcome::Conflict
            | ReplayOutcome::MayStillBeQueued { .. }
            | ReplayOutcome::AlreadyReplayed => panic!("nobody else is there"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_steps_come_to_the_same_on_the_real_adapters() {
    const EXPECTED: [&str; 22] = [
        "Mark: Applied",
        "Mark: ConditionFailed",
        "Relay: Applied",
        "Relay: ConditionFailed",
        "QuarantineByRelay: Applied",
        "QuarantineByRelay: ConditionFailed",
        "Done: Applied",
        "Done: ConditionFailed",
        "Requeue: Applied",
        "Requeue: ConditionFailed",
        "QuarantineByWorker: Applied",
        "QuarantineByWorker: ConditionFailed",
        "Claim: Acquired",
        "Claim: AlreadyDone",
        "Claim: HeldByOther",
        "Claim: NotRecorded",
        "Put: Applied",
        "ReopenDone: Applied",
        "ReopenQuarantined: Applied",
        "ReopenSent: Applied",
        "Put: Duplicate",
        "CountDuplicate: Applied",
    ];
    assert_conformance::<RecordComparison>(WALKS, STEPS, &EXPECTED).await;
}
