//! The model of a submission's item is held to the code: callers with two requests under one name, the poller and an operator
//! write to it in random order, and by what they have read long ago.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use inbox_aws::inbox::{BeginOutcome, CompleteOutcome, Inbox, Created, NewSubmission, ReleaseOutcome, StoredSubmission, WriteOutcome};
use inbox_core::event::Id;
use inbox_core::audit::{OperatorAction, Operator};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::requests::submission::{Fingerprint, SubmissionKind};
use local::connector::Fault;
use serde_json::json;
use tests::{World, number, text};

use super::{Dice, LONG, Walk, walk};
use crate::write_protocol::submission::Item;

const NAME: &str = "payroll";
const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum Play {
    Begin,
    SetOut,
    Refuse,
    Conclude,
    Poll,
    Release,
}

/// Each as often as it shall be played: what ends a submission less often than what does not.
const PLAYS: [Play; 12] = [
    Play::Begin,
    Play::Begin,
    Play::Begin,
    Play::Begin,
    Play::SetOut,
    Play::SetOut,
    Play::Refuse,
    Play::Refuse,
    Play::Conclude,
    Play::Poll,
    Play::Release,
    Play::Release,
];

/// The model and the code, side by side.
struct Both {
    world: World,
    /// On a wire on which answers are lost.
    inbox: Inbox,
    item: Item,
    /// The item as callers have read or written it.
    seen: Vec<(Item, StoredSubmission)>,
    calls: u8,
    /// The kinds of writes that were played, each with what it came to.
    came_to: BTreeSet<String>,
    dice: Dice,
}

impl Walk for Both {
    type Play = Play;
    type Seen = String;
    const PLAYS: &[Play] = &PLAYS;

    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let (item, seen, came_to) = Default::default();
        Self { inbox: world.inbox(), world, item, seen, calls: 0, came_to, dice: Dice(seed) }
    }

    async fn play(&mut self, play: Play) {
        self.calls += 1;
        self.may_lose_an_answer();
        // On the heap: with the SDK's calls inside they are too large to be moved about.
        let came_to = match play {
            Play::Begin => Some(Box::pin(self.begin()).await),
            Play::SetOut => Box::pin(self.set_out()).await,
            Play::Refuse => Box::pin(self.refuse()).await,
            Play::Conclude => Box::pin(self.conclude()).await,
            Play::Poll => Box::pin(self.poll()).await,
            Play::Release => Box::pin(self.release()).await,
        };
        self.came_to.extend(came_to.map(|came_to| format!("{play:?}: {came_to}")));
        self.world.system.connector.clear_fault_plan();
        self.compare(play).await;
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    fn seen(self) -> BTreeSet<String> {
        self.came_to
    }
}

impl Both {
    /// From now on the answer to the next write is lost, or none: the SDK makes it again, and finds that it was applied.
    fn may_lose_an_answer(&mut self) {
        let is_lost = AtomicBool::new(self.dice.attempts() == 1);
        self.world.system.connector.set_fault_plan(move |call| {
            (!call.is_read() && !is_lost.swap(true, Ordering::SeqCst)).then_some(Fault::TimeoutAfter)
        });
    }

    async fn begin(&mut self) -> &'static str {
        let request = u8::try_from(self.dice.roll(2)).unwrap();
        let new = NewSubmission {
            submission_id: NAME.parse().unwrap(),
            kind: SubmissionKind::Batch,
            webhook_url: "https://x.example".to_owned(),
            fingerprint: Fingerprint { mac: format!("request {request}"), key_tag: "k".to_owned() },
            call_id: format!("call {}", self.calls),
        };
        let begun = self.inbox.begin_submission(&new, self.world.now()).await.unwrap();
        let mut is_new = self.item.begin(self.calls, request, Item::default());
        if !is_new && self.item.refused {
            is_new = self.item.begin(self.calls, request, self.item);
        }
        let (submission, came_to) = match begun {
            BeginOutcome::New(submission) => (submission, "new"),
            BeginOutcome::Existing(submission) => (submission, "standing"),
        };
        assert_eq!(came_to == "new", is_new);
        self.seen.push((self.item, submission));
        came_to
    }

    async fn set_out(&mut self) -> Option<&'static str> {
        let (mut seen, submission) = self.dice.one_of(&self.seen)?;
        let again = self.inbox.begin_retry(submission).await.unwrap();
        let model = self.item.set_out(seen);
        assert_eq!(again.is_some(), model);
        if let Some(again) = again {
            (seen.rev, seen.attempts) = (seen.rev + 1, seen.attempts + 1);
            self.seen.push((seen, again));
        }
        Some(if model { "applied" } else { "refused" })
    }

    /// A caller frees the name. If it was only the poller who has written meanwhile, he does so by what stands.
    async fn refuse(&mut self) -> Option<&'static str> {
        let (mut seen, submission) = self.dice.one_of(&self.seen)?;
        let released = self.inbox.decline_submission(&submission, self.world.now()).await.unwrap();
        let is_open_since =
            |stands: Item| stands.call == seen.call && stands.attempts == seen.attempts && stands.due;
        if is_open_since(self.item) {
            seen = self.item;
        }
        let is_of_call = self.item.call == seen.call;
        let (model, came_to) = match () {
            () if self.item.free(seen, None) => (ReleaseOutcome::Released, "free"),
            () if is_of_call && self.item.refused => (ReleaseOutcome::Released, "free before"),
            () if is_of_call => (ReleaseOutcome::Conflict, "contested"),
            () => (ReleaseOutcome::Superseded, "gone"),
        };
        assert_eq!(released, model);
        Some(came_to)
    }

    /// A caller writes down what Rightfoot has made of his request, by the item as it stands.
    async fn conclude(&mut self) -> Option<&'static str> {
        let (seen, submission) = self.dice.one_of(&self.seen)?;
        let (now, batch) = (self.world.now(), seen.request + 1);
        let tracked = TrackedBatch {
            batch_id: Id::new(format!("b-{batch}")).unwrap(),
            subject: Some(NAME.parse().unwrap()),
            schedule_id: None,
            expected: 1,
            failed_authorizers: BTreeSet::new(),
            deadline: now.plus(LONG),
            polls: 0,
        };
        let due_at = now.plus(LONG / 2);
        let made = Created::Batch(&tracked);
        let concluded = self.inbox.complete_submission(&submission, made, &json!({}), due_at, now).await.unwrap();
        let stands = self.item;
        let came_to = match () {
            () if stands.made == batch => "known",
            () if stands.call != seen.call => "overtaken",
            () => {
                assert!(self.item.conclude(stands, batch, None));
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

    /// The poller reads it, and puts it off.
    async fn poll(&mut self) -> Option<&'static str> {
        let mut submission = self.inbox.submission(&NAME.parse().unwrap()).await.unwrap()?;
        let until = self.world.now().plus(LONG / 2);
        let written =
            self.inbox.defer_before_poll(&mut submission.tracking, u64::from(self.calls), until).await.unwrap();
        assert_eq!(written == WriteOutcome::Applied, self.item.put_off());
        Some(if written == WriteOutcome::Applied { "applied" } else { "refused" })
    }

    async fn release(&mut self) -> Option<&'static str> {
        let (seen, submission) = self.dice.one_of(&self.seen)?;
        let operator = Operator { by: "ada".to_owned(), why: format!("reason {}", self.calls) };
        let by = operator.audit_entry(OperatorAction::Conclude, self.world.now());
        let written = self.inbox.release_submission(&submission, &by).await.unwrap();
        let model = self.item.free(seen, None);
        assert_eq!(written == WriteOutcome::Applied, model);
        Some(if model { "applied" } else { "refused" })
    }

    async fn compare(&self, play: Play) {
        let item = self.world.item("rightfoot#submission#payroll", "submitted").await.unwrap_or_default();
        let small =
            |text: &str| text.chars().filter_map(|it| it.to_digit(10)).fold(0, |all, it| 10 * all + it);
        let small = |name: &str| u8::try_from(small(text(&item, name))).unwrap();
        let count = |name: &str| u8::try_from(number(&item, name).unwrap_or(0)).unwrap();
        let code = Item {
            call: small("call_id"),
            request: small("fingerprint"),
            rev: count("rev"),
            attempts: count("attempts"),
            due: item.contains_key("due"),
            refused: item.contains_key("refused_at"),
            made: small("batch_id"),
        };
        assert_eq!(code, self.item, "after {play:?}: the code, and the model");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_writes_to_a_submission_come_to_the_same_on_the_real_adapters() {
    let came_to = walk::<Both>(WALKS, STEPS).await;
    for what in [
        "Begin: new",
        "Begin: standing",
        "SetOut: applied",
        "SetOut: refused",
        "Refuse: free",
        "Refuse: free before",
        "Refuse: contested",
        "Refuse: gone",
        "Conclude: concluded",
        "Conclude: known",
        "Conclude: overtaken",
        "Poll: applied",
        "Poll: refused",
        "Release: applied",
        "Release: refused",
    ] {
        assert!(came_to.contains(what), "{what} of {came_to:?}");
    }
}
