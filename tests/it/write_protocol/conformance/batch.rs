//! The model of a tracked batch's item, and of the record of its completion, is held to the code: pollers read it, put it off,
//! move it and end it, and give its record back, in random order and by what they have read long ago.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use inbox_aws::inbox::{EventView, Inbox, TrackingState, EventClaim, WriteOutcome};
use inbox_core::event::{EventKey, Id};
use inbox_core::inbox::QuarantineReason;
use inbox_core::poll::problem::PollProblem;
use local::connector::Fault;
use tests::{Item, World, completed, completion, number};

use super::{Dice, LONG, Walk, walk};
use crate::write_protocol::poll::{NEW, Record, Then, Tracked};

const BATCH: &str = "b-1";
const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum Play {
    Read,
    PutOff,
    Move(Then),
    Note,
    Tell,
    GiveUp,
    ReadRecord,
    GiveBack,
    Pass,
}

/// Each as often as it shall be played: what ends a batch less often than what moves it.
const PLAYS: [Play; 18] = [
    Play::Read,
    Play::Read,
    Play::PutOff,
    Play::PutOff,
    Play::PutOff,
    Play::Move(Then::Later),
    Play::Move(Then::Later),
    Play::Move(Then::AlertsLater),
    Play::Move(Then::Done),
    Play::Move(Then::Overdue),
    Play::Note,
    Play::Tell,
    Play::GiveUp,
    Play::GiveUp,
    Play::ReadRecord,
    Play::ReadRecord,
    Play::GiveBack,
    Play::Pass,
];

/// The model and the code, side by side.
struct Both {
    world: World,
    /// On a wire on which answers are lost.
    inbox: Inbox,
    batch_id: Id,
    key: EventKey,
    tracked: Tracked,
    record: Record,
    /// What was read, with the model's `rev`.
    read: Vec<(u8, TrackingState)>,
    told: Vec<EventView>,
    calls: u64,
    /// The kinds of writes that were played, each with whether it was applied.
    seen: BTreeSet<(String, bool)>,
    dice: Dice,
}

impl Walk for Both {
    type Play = Play;
    type Seen = (String, bool);
    const PLAYS: &[Play] = &PLAYS;

    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        world.track_run(BATCH, 1).await;
        Self {
            inbox: world.inbox(),
            world,
            batch_id: Id::new(BATCH).unwrap(),
            key: EventKey::from_event_id(&completed(BATCH)).unwrap(),
            tracked: NEW,
            record: Record::None,
            read: Vec::new(),
            told: Vec::new(),
            calls: 0,
            seen: BTreeSet::new(),
            dice: Dice(seed),
        }
    }

    async fn play(&mut self, play: Play) {
        self.calls += 1;
        // On the heap: with the SDK's calls inside they are too large to be moved about.
        match play {
            Play::Read => {
                let story = self.inbox.batch_progress(&self.batch_id).await.unwrap().unwrap();
                self.read.push((self.tracked.rev, story.tracking));
            }
            Play::PutOff => Box::pin(self.put_off()).await,
            Play::Move(then) => Box::pin(self.end(then)).await,
            Play::Note => Box::pin(self.note()).await,
            Play::Tell => {
                let heard = self.world.rightfoot(completion(BATCH, &format!("u-{}", self.calls))).await;
                assert_eq!(heard.status, 200);
                if self.record == Record::None {
                    self.record = Record::Stands;
                }
            }
            Play::GiveUp => Box::pin(self.give_up()).await,
            Play::ReadRecord => {
                let told = self.inbox.event(&self.key).await.unwrap();
                assert_eq!(told.is_some(), self.record != Record::None);
                self.told.extend(told);
            }
            Play::GiveBack => Box::pin(self.give_back()).await,
            Play::Pass => {
                self.world.pass(LONG);
                self.tracked.is_now = self.tracked.due;
            }
        }
        self.world.system.connector.clear_fault_plan();
        self.compare(play).await;
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    fn seen(self) -> BTreeSet<(String, bool)> {
        self.seen
    }
}

impl Both {
    /// From now on the answer to the next update is lost, or none: the SDK makes it again, and finds that it was applied.
    fn may_lose_an_answer(&mut self) {
        let is_lost = AtomicBool::new(self.dice.attempts() == 1);
        self.world.system.connector.set_fault_plan(move |call| {
            (call.operation == "UpdateItem" && !is_lost.swap(true, Ordering::SeqCst))
                .then_some(Fault::TimeoutAfter)
        });
    }

    /// The model answers a write as the code did.
    fn same(&mut self, write: &str, model: bool, code: WriteOutcome) {
        assert_eq!(code == WriteOutcome::Applied, model, "{write}");
        self.seen.insert((write.to_owned(), model));
    }

    async fn put_off(&mut self) {
        let Some((rev, mut tracking)) = self.dice.one_of(&self.read) else { return };
        self.may_lose_an_answer();
        let until = self.world.now().plus(LONG / 2);
        let written = self.inbox.defer_before_poll(&mut tracking, self.calls, until).await.unwrap();
        let model = self.tracked.put_off(rev);
        if model {
            self.read.push((rev + 1, tracking));
        }
        self.same("put off", model, written);
    }

    async fn end(&mut self, then: Then) {
        let Some((rev, tracking)) = self.dice.one_of(&self.read) else { return };
        self.may_lose_an_answer();
        let (now, until) = (self.world.now(), self.world.now().plus(LONG / 2));
        let written = match then {
            Then::Later => self.inbox.reschedule(&tracking, until).await,
            Then::AlertsLater => self.inbox.mark_shown_complete(&tracking, until, now).await,
            Then::Done => self.inbox.finish_tracking(&tracking, now).await,
            Then::Overdue => self.inbox.mark_overdue(&tracking, now).await,
            Then::AsPlanned => panic!("nothing is written"),
        };
        let model = self.tracked.end(rev, then);
        self.same(&format!("{then:?}"), model, written.unwrap());
    }

    /// What a poll came to is written beside it, and voids nobody's write.
    async fn note(&mut self) {
        let Some((_, tracking)) = self.dice.one_of(&self.read) else { return };
        let problem = PollProblem::updated(None, Some("unavailable"), self.calls, self.world.now());
        self.inbox.set_poll_problem(&tracking, problem.as_ref()).await.unwrap();
    }

    async fn give_up(&mut self) {
        let claim = self.inbox.claim_event(&self.key, self.world.now()).await.unwrap();
        let EventClaim::Acquired(work) = claim else {
            assert!(!self.record.give_up(), "{claim:?}");
            return;
        };
        let written = self.inbox.quarantine_event(&work, QuarantineReason::Incomplete, self.world.now()).await.unwrap();
        let model = self.record.give_up();
        self.same("give up", model, written);
    }

    async fn give_back(&mut self) {
        let Some(told) = self.dice.one_of(&self.told) else { return };
        self.may_lose_an_answer();
        let written = self.inbox.requeue_quarantined(&told, self.world.now()).await.unwrap();
        let model = self.record.give_back();
        self.same("give back", model, written);
    }

    async fn compare(&self, play: Play) {
        let now = self.world.now().0;
        let item = self.world.item("rightfoot#batch#b-1", "tracked").await.unwrap();
        let has = |item: &Item, name: &str| item.contains_key(name);
        assert_eq!(has(&item, "due"), has(&item, "due_at"));
        let code = Tracked {
            rev: u8::try_from(number(&item, "rev").unwrap()).unwrap(),
            due: has(&item, "due"),
            is_now: number(&item, "due_at").is_some_and(|due_at| due_at <= now),
            shown: has(&item, "shown_complete_at"),
            done: has(&item, "done_at"),
            overdue: has(&item, "overdue_at"),
        };
        assert_eq!(code, self.tracked, "after {play:?}: the code, and the model");
        let record = match self.world.item("rightfoot#batch#b-1", "completed").await {
            None => Record::None,
            Some(item) => match (has(&item, "quarantined_at"), has(&item, "given_back_at")) {
                (false, false) => Record::Stands,
                (true, false) => Record::GivenUp,
                (false, true) => Record::GivenBack,
                (true, true) => Record::GivenUpAgain,
            },
        };
        assert_eq!(record, self.record, "after {play:?}: the code, and the model");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_writes_to_a_batch_come_to_the_same_on_the_real_adapters() {
    let seen = walk::<Both>(WALKS, STEPS).await;
    for write in ["put off", "Later", "AlertsLater", "Done", "Overdue", "give back"] {
        for applied in [true, false] {
            assert!(seen.contains(&(write.to_owned(), applied)), "{write}, {applied}: {seen:?}");
        }
    }
    assert!(seen.contains(&("give up".to_owned(), true)), "{seen:?}");
}
