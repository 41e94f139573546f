//! Conformance of the model of a submission's item: callers with two requests under one name, the poller and an
//! operator write to it in random order and based on stale reads.

use std::collections::BTreeSet;

use inbox_aws::items::SubmissionItem as StoredSubmission;
use inbox_aws::stores::{BeginOutcome, CompleteOutcome, Created, ReleaseOutcome, Stores, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
use serde_json::json;
use tests::{World, number, text};

use super::{ALL_CLAIMS_EXPIRED, Comparison, Walk, assert_conformance};
use crate::write_protocol::submission_model::SubmissionItem;

const NAME: &str = "payroll";
const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum SubmissionOperation {
    Begin,
    BeginRetry,
    Decline,
    Complete,
    Poll,
    Release,
}

/// The model and the code, side by side.
struct SubmissionComparison {
    world: World,
    /// Through a connector on which answers are lost.
    stores: Stores,
    item: SubmissionItem,
    /// The item as callers read or wrote it earlier.
    submissions_read: Vec<(SubmissionItem, StoredSubmission)>,
    calls: u8,
    walk: Walk,
}

impl Comparison for SubmissionComparison {
    type Operation = SubmissionOperation;
    const OPERATIONS: &[(usize, SubmissionOperation)] = &[
        (4, SubmissionOperation::Begin),
        (2, SubmissionOperation::BeginRetry),
        (2, SubmissionOperation::Decline),
        (1, SubmissionOperation::Complete),
        (1, SubmissionOperation::Poll),
        (2, SubmissionOperation::Release),
    ];

    async fn new(walk: Walk) -> Self {
        let world = World::new().await;
        let (item, seen) = Default::default();
        Self { stores: world.stores(), world, item, submissions_read: seen, calls: 0, walk }
    }

    async fn apply(&mut self, operation: SubmissionOperation) {
        self.calls += 1;
        self.walk.maybe_lose_response(&self.world, |call| !call.is_read());
        let came_to = match operation {
            SubmissionOperation::Begin => Some(Box::pin(self.begin()).await),
            SubmissionOperation::BeginRetry => Box::pin(self.begin_retry()).await,
            SubmissionOperation::Decline => Box::pin(self.decline()).await,
            SubmissionOperation::Complete => Box::pin(self.complete()).await,
            SubmissionOperation::Poll => Box::pin(self.poll()).await,
            SubmissionOperation::Release => Box::pin(self.release()).await,
        };
        if let Some(came_to) = came_to {
            self.walk.note(format!("{operation:?}"), came_to);
        }
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn walk(&mut self) -> &mut Walk {
        &mut self.walk
    }

    async fn compare(&self, operation: SubmissionOperation) {
        let item = self.world.item("rightfoot#submission#payroll", "submitted").await.unwrap_or_default();
        let small =
            |text: &str| text.chars().filter_map(|it| it.to_digit(10)).fold(0, |all, it| 10 * all + it);
        let small = |name: &str| u8::try_from(small(text(&item, name))).unwrap();
        let count = |name: &str| u8::try_from(number(&item, name).unwrap_or(0)).unwrap();
        let code = SubmissionItem {
            call: small("call_id"),
            request: small("fingerprint"),
            rev: count("rev"),
            attempts: count("attempts"),
            due: item.contains_key("due"),
            declined: item.contains_key("declined_at"),
            batch: small("batch_id"),
        };
        assert_eq!(code, self.item, "after {operation:?}: the code, and the model");
    }
}

impl SubmissionComparison {
    async fn begin(&mut self) -> &'static str {
        let request = u8::try_from(self.walk.below(2)).unwrap();
        let new = StoredSubmission::new(
            NAME.parse().unwrap(),
            SubmissionKind::Batch,
            "https://x.example".to_owned(),
            Fingerprint { mac: format!("request {request}"), key_tag: "k".to_owned() },
            format!("call {}", self.calls),
            self.world.now(),
        );
        let begun = self.stores.submissions.begin_submission(&new).await.unwrap();
        let mut is_new = self.item.begin(self.calls, request, SubmissionItem::default());
        if !is_new && self.item.declined {
            is_new = self.item.begin(self.calls, request, self.item);
        }
        let (submission, came_to) = match begun {
            BeginOutcome::New(submission) => (submission, "new"),
            BeginOutcome::Existing(submission) => (submission, "standing"),
        };
        assert_eq!(came_to == "new", is_new);
        self.submissions_read.push((self.item, submission));
        came_to
    }

    async fn begin_retry(&mut self) -> Option<&'static str> {
        let (mut seen, submission) = self.walk.pick(&self.submissions_read)?;
        let again = self.stores.submissions.begin_retry(submission).await.unwrap();
        let model = self.item.begin_retry(seen);
        assert_eq!(again.is_some(), model);
        if let Some(again) = again {
            (seen.rev, seen.attempts) = (seen.rev + 1, seen.attempts + 1);
            self.submissions_read.push((seen, again));
        }
        Some(if model { "applied" } else { "refused" })
    }

    /// A caller releases the name. If only the poller has written meanwhile, it does so based on the current item.
    async fn decline(&mut self) -> Option<&'static str> {
        let (mut seen, submission) = self.walk.pick(&self.submissions_read)?;
        let released =
            self.stores.submissions.decline_submission(&submission, self.world.now()).await.unwrap();
        let is_open_since = |stands: SubmissionItem| {
            stands.call == seen.call && stands.attempts == seen.attempts && stands.due
        };
        if is_open_since(self.item) {
            seen = self.item;
        }
        let is_of_call = self.item.call == seen.call;
        let (model, came_to) = match () {
            () if self.item.release(seen, None) => (ReleaseOutcome::Released, "free"),
            () if is_of_call && self.item.declined => (ReleaseOutcome::Released, "free before"),
            () if is_of_call => (ReleaseOutcome::Conflict, "contested"),
            () => (ReleaseOutcome::Superseded, "gone"),
        };
        assert_eq!(released, model);
        Some(came_to)
    }

    /// A caller stores what Rightfoot created for its request, based on the current item.
    async fn complete(&mut self) -> Option<&'static str> {
        let (seen, submission) = self.walk.pick(&self.submissions_read)?;
        let (now, batch) = (self.world.now(), seen.request + 1);
        let tracked = TrackedBatch {
            batch_id: Id::new(format!("b-{batch}")).unwrap(),
            subject: Some(NAME.parse().unwrap()),
            schedule_id: None,
            expected: 1,
            failed_authorizers: BTreeSet::new(),
            deadline: now.plus(ALL_CLAIMS_EXPIRED),
            polls: 0,
        };
        let due_at = now.plus(ALL_CLAIMS_EXPIRED / 2);
        let made = Created::Batch(&tracked);
        let concluded = self
            .stores
            .submissions
            .complete_submission(&submission, made, &json!({}), due_at, now)
            .await
            .unwrap();
        let stands = self.item;
        let came_to = match () {
            () if stands.batch == batch => "known",
            () if stands.call != seen.call => "overtaken",
            () => {
                assert!(self.item.complete(stands, batch, None));
                "concluded"
            }
        };
        match concluded {
            CompleteOutcome::Completed(_) => assert_ne!(came_to, "overtaken"),
            CompleteOutcome::Superseded => assert_eq!(came_to, "overtaken"),
            CompleteOutcome::Mismatch => panic!("one request has made two batches"),
        }
        Some(came_to)
    }

    /// The poller reads the item and defers it.
    async fn poll(&mut self) -> Option<&'static str> {
        let mut submission = self.stores.submissions.submission(&NAME.parse().unwrap()).await.unwrap()?;
        let until = self.world.now().plus(ALL_CLAIMS_EXPIRED / 2);
        let written = self
            .stores
            .polls
            .defer_before_poll(&mut submission.tracking, u64::from(self.calls), until)
            .await
            .unwrap();
        assert_eq!(written == WriteOutcome::Applied, self.item.defer());
        Some(if written == WriteOutcome::Applied { "applied" } else { "refused" })
    }

    async fn release(&mut self) -> Option<&'static str> {
        let (seen, submission) = self.walk.pick(&self.submissions_read)?;
        let operator = Operator { name: "ada".to_owned(), reason: format!("reason {}", self.calls) };
        let by = operator.audit_entry(OperatorAction::Conclude, self.world.now());
        let written = self.stores.submissions.release_submission(&submission, &by).await.unwrap();
        let model = self.item.release(seen, None);
        assert_eq!(written == WriteOutcome::Applied, model);
        Some(if model { "applied" } else { "refused" })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_writes_to_a_submission_come_to_the_same_on_the_real_adapters() {
    const EXPECTED: [&str; 15] = [
        "Begin: new",
        "Begin: standing",
        "BeginRetry: applied",
        "BeginRetry: refused",
        "Decline: free",
        "Decline: free before",
        "Decline: contested",
        "Decline: gone",
        "Complete: concluded",
        "Complete: known",
        "Complete: overtaken",
        "Poll: applied",
        "Poll: refused",
        "Release: applied",
        "Release: refused",
    ];
    assert_conformance::<SubmissionComparison>(WALKS, STEPS, &EXPECTED).await;
}
