//! The model of one event's record is held to the code: random walks play the same writes on both, and compare what they
//! answered, and the record, after each.
//!
//! What a process has read or claimed is kept, and used again later, when it is out of date. Some answers are lost, so that
//! the SDK makes the call again. Time stands still but for steps of sixteen minutes, after which every record that is due
//! later is due, and every claim has run out.

mod alerts;
mod batch;
mod submission;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use inbox_aws::inbox::{RelayClaim, ClaimedRecord, DueRecord, Inbox, ReplayOutcome, DueKey, ClaimedEvent, EventClaim, WriteOutcome};
use inbox_core::event::{EventKey, payload_hash};
use inbox_core::inbox::QuarantineReason;
use inbox_core::audit::{OperatorAction, AuditEntry, Operator};
use local::connector::Fault;
use tests::{Item, World, extract, number, text};

use super::event::record::{Answer, Due, From, Record, Write};

const EVENT: &str = "fynapse/event/e-1";
const WALKS: u64 = 32;
const STEPS: usize = 60;
/// Longer than the relay's longest pause, and than a worker's claim.
const LONG: Duration = Duration::from_secs(16 * 60);

/// What both know of a record.
#[derive(Debug, Default, PartialEq, Eq)]
struct View {
    exists: bool,
    rev: u8,
    due: Due,
    sent: bool,
    expires: bool,
    is_claimed: bool,
    claim_over: bool,
    done: bool,
    quarantined: bool,
    replay: u8,
}

impl View {
    fn of_model(record: &Record) -> Self {
        Self {
            exists: record.exists(),
            rev: record.rev,
            due: record.due,
            sent: record.sent,
            expires: record.expires,
            is_claimed: record.claim != 0,
            claim_over: record.claim_over,
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
            None => Due::No,
            Some(due_at) if due_at <= now => Due::Now,
            Some(_) => Due::Later,
        };
        Self {
            exists: true,
            rev: small("rev"),
            due,
            sent: has("sent_at"),
            expires: has("expires_at"),
            is_claimed: has("claim_by"),
            claim_over: number(item, "claim_until").is_some_and(|until| until < now),
            done: has("done_at"),
            quarantined: has("quarantined_at"),
            replay: small("replay"),
        }
    }
}

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum Play {
    Put,
    MarkNew,
    Read,
    Relay,
    MarkClaimed,
    GiveUp,
    Claim,
    Done,
    PutBack,
    Quarantine,
    Replay,
    Requeue,
    Lost,
    Pass,
}

/// Each as often as it shall be played: what ends an event less often than what moves it.
const PLAYS: [Play; 23] = [
    Play::Put,
    Play::MarkNew,
    Play::Read,
    Play::Read,
    Play::Relay,
    Play::Relay,
    Play::Relay,
    Play::MarkClaimed,
    Play::MarkClaimed,
    Play::GiveUp,
    Play::GiveUp,
    Play::Claim,
    Play::Claim,
    Play::Claim,
    Play::Done,
    Play::PutBack,
    Play::PutBack,
    Play::Quarantine,
    Play::Replay,
    Play::Requeue,
    Play::Lost,
    Play::Pass,
    Play::Pass,
];

/// The model and the code, side by side.
struct Both {
    world: World,
    /// On a wire on which answers are lost.
    inbox: Inbox,
    key: EventKey,
    record: Record,
    /// How often the event was kept in quarantine.
    kept: i64,
    /// What was read and claimed, under the `rev`, or the claim, of the model.
    read: Vec<(u8, DueRecord)>,
    claimed: Vec<(u8, ClaimedRecord)>,
    works: Vec<(u8, ClaimedEvent)>,
    calls: u8,
    /// The kinds of writes that were played, each with what it came to.
    seen: BTreeSet<(String, String)>,
    dice: Dice,
}

impl Walk for Both {
    type Play = Play;
    type Seen = (String, String);
    const PLAYS: &[Play] = &PLAYS;

    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let key = EventKey::from_event_id(EVENT).unwrap();
        let (read, claimed, works) = Default::default();
        let inbox = world.inbox();
        let record = Record::default();
        Self {
            world,
            inbox,
            key,
            record,
            kept: 0,
            read,
            claimed,
            works,
            calls: 0,
            seen: BTreeSet::new(),
            dice: Dice(seed),
        }
    }

    /// One step. It has no effect on either if what it needs is not there.
    async fn play(&mut self, play: Play) {
        // On the heap: with the SDK's calls inside they are too large to be moved about.
        match play {
            Play::Put => Box::pin(self.put()).await,
            Play::MarkNew => {
                let attempts = self.may_lose_an_answer();
                let marked = self.inbox.mark_new_sent(&self.key, self.world.now()).await.unwrap();
                self.same(Write::Mark { rev: 1 }, attempts, marked);
            }
            Play::Read => Box::pin(self.read()).await,
            Play::Relay | Play::MarkClaimed | Play::GiveUp => Box::pin(self.relay(play)).await,
            Play::Claim => Box::pin(self.claim()).await,
            Play::Done | Play::PutBack | Play::Quarantine => Box::pin(self.end(play)).await,
            Play::Replay => Box::pin(self.again(From::Done)).await,
            Play::Requeue => Box::pin(self.again(From::Quarantined)).await,
            Play::Lost => Box::pin(self.again(From::Sent)).await,
            Play::Pass => {
                self.world.pass(LONG);
                self.record.claim_over = self.record.claim != 0;
                if self.record.due == Due::Later {
                    self.record.due = Due::Now;
                }
            }
        }
        self.world.system.connector.clear_fault_plan();
        self.compare(play).await;
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    fn seen(self) -> BTreeSet<(String, String)> {
        self.seen
    }
}

impl Both {
    /// What the model answers to a write, as one call or as two attempts of one.
    fn answer(&mut self, write: Write, attempts: usize) -> Answer {
        self.calls += 1;
        let mut answer = Answer::Refused;
        for _ in 0..attempts {
            answer = self.record.apply(write, self.calls, None);
        }
        let kind = |it: String| it.split([' ', '{']).next().unwrap().to_owned();
        let from = if let Write::Again { from, .. } = write { format!("{from:?}") } else { String::new() };
        self.seen.insert((kind(format!("{write:?}")) + &from, kind(format!("{answer:?}"))));
        answer
    }

    /// From now on the answer to the next write to the record is lost, or none: how many attempts it takes.
    fn may_lose_an_answer(&mut self) -> usize {
        let attempts = self.dice.attempts();
        let is_lost = AtomicBool::new(attempts == 1);
        self.world.system.connector.set_fault_plan(move |call| {
            let is_write = call.operation == "UpdateItem" && call.event_ids.iter().any(|id| id == EVENT);
            (is_write && !is_lost.swap(true, Ordering::SeqCst)).then_some(Fault::TimeoutAfter)
        });
        attempts
    }

    /// The model answers a write as the code did.
    fn same(&mut self, write: Write, attempts: usize, written: WriteOutcome) {
        let expected = self.answer(write, attempts) == Answer::Applied;
        assert_eq!(written == WriteOutcome::Applied, expected, "{write:?}");
    }

    /// A handler records its delivery, and dies before it sends.
    async fn put(&mut self) {
        let process = self.world.another();
        let attempts = self.dice.attempts();
        process.system.connector.set_fault_plan(move |call| match call.operation.as_str() {
            "SendMessage" => Some(Fault::CrashBefore),
            "PutItem" if attempts == 2 && call.index == 1 => Some(Fault::TimeoutAfter),
            _ => None,
        });
        let heard = process.fynapse(extract("e-1")).await;
        let answer = self.answer(Write::Put { delivery: self.calls + 1 }, attempts);
        let expected = if answer == Answer::Applied { 500 } else { 200 };
        assert_eq!(heard.status, expected, "{answer:?}");
    }

    async fn read(&mut self) {
        let place = DueKey { due_at: self.world.now(), pk: self.key.pk(), sk: self.key.sk() };
        let found = self.inbox.read_due_records(&[place]).await.unwrap();
        assert_eq!(found.records.len(), usize::from(self.record.exists()));
        self.read.extend(found.records.into_iter().map(|record| (self.record.rev, record)));
    }

    async fn relay(&mut self, play: Play) {
        let now = self.world.now();
        if let Play::Relay = play {
            let Some((rev, read)) = self.dice.one_of(&self.read) else { return };
            let attempts = self.may_lose_an_answer();
            let claim = self.inbox.claim_record(read, now).await.unwrap();
            let is_ours = self.answer(Write::Relay { rev }, attempts) == Answer::Applied;
            match claim {
                RelayClaim::Acquired(claimed) if is_ours => self.claimed.push((rev + 1, *claimed)),
                RelayClaim::NotDue if !is_ours => {}
                claim @ (RelayClaim::Acquired(_) | RelayClaim::AcquiredWithoutPayload(_) | RelayClaim::NotDue) => {
                    panic!("{claim:?}, and by the model {is_ours}")
                }
            }
            return;
        }
        let Some((rev, claimed)) = self.dice.one_of(&self.claimed) else { return };
        let attempts = self.may_lose_an_answer();
        if let Play::MarkClaimed = play {
            let marked = self.inbox.mark_claimed_sent(&claimed, now).await.unwrap();
            self.same(Write::Mark { rev }, attempts, marked);
        } else {
            let given_up = self.inbox.quarantine_claimed(&claimed, QuarantineReason::QueueRefused, now).await.unwrap();
            self.kept += 1;
            self.same(Write::GiveUp { rev, over: self.record.over() }, attempts, given_up);
        }
    }

    async fn claim(&mut self) {
        let attempts = self.may_lose_an_answer();
        let claim = self.inbox.claim_event(&self.key, self.world.now()).await.unwrap();
        let name = self.calls + 1;
        let answer = self.answer(Write::Claim { claim: name, over: self.record.over() }, attempts);
        match (claim, answer) {
            (EventClaim::Acquired(work), Answer::Ours { replay }) => {
                assert_eq!(work.event_meta().replay, u64::from(replay));
                self.works.push((name, *work));
            }
            (EventClaim::AlreadyDone, Answer::Over)
            | (EventClaim::HeldByOther, Answer::Taken)
            | (EventClaim::NotRecorded, Answer::NotRecorded) => {}
            (claim, answer) => panic!("{claim:?}, and by the model {answer:?}"),
        }
    }

    async fn end(&mut self, play: Play) {
        let Some((claim, work)) = self.dice.one_of(&self.works) else { return };
        let now = self.world.now();
        let attempts = self.may_lose_an_answer();
        let (write, written) = if let Play::Done = play {
            (Write::Done { claim }, self.inbox.mark_done(&work, now).await)
        } else if let Play::PutBack = play {
            let later = now.plus(Duration::from_secs(60));
            (Write::PutBack { claim }, self.inbox.requeue(&work, later, "not_ready", None).await)
        } else {
            self.kept += 1;
            let given_up = self.inbox.quarantine_event(&work, QuarantineReason::BusRefused, now).await;
            (Write::Quarantine { claim }, given_up)
        };
        self.same(write, attempts, written.unwrap());
    }

    /// An operator reads the record and has it due again, if it is where he can.
    async fn again(&mut self, from: From) {
        let why = format!("reason {}", self.calls);
        let operator = Operator { by: "ada".to_owned(), why };
        let by: AuditEntry = operator.audit_entry(OperatorAction::Requeue, self.world.now());
        let replayed = match from {
            From::Done => self.inbox.replay_done(&self.key, &by).await,
            From::Quarantined => self.inbox.replay_quarantined(&self.key, &by).await,
            From::Sent => self.inbox.replay_lost(&self.key, true, &by).await,
        };
        let record = &self.record;
        let is_claimed = record.claim != 0 && !record.claim_over;
        let stands = match from {
            From::Done => record.done,
            From::Quarantined => record.quarantined && !record.done,
            From::Sent => record.sent && record.is_open() && record.due == Due::No && !is_claimed,
        };
        if stands {
            let (rev, over) = (self.record.rev, self.record.over());
            assert_eq!(self.answer(Write::Again { from, rev, over, trace: 0 }, 1), Answer::Applied);
        }
        match replayed.unwrap() {
            ReplayOutcome::Due { replay } => assert!(stands && replay == u64::from(self.record.replay)),
            ReplayOutcome::WrongState(_) => assert!(self.record.exists() && !stands),
            ReplayOutcome::NotFound => assert!(!self.record.exists()),
            ReplayOutcome::Conflict | ReplayOutcome::MayStillBeQueued { .. } => panic!("nobody else is there"),
        }
    }

    /// The record and the item in quarantine, after a step.
    async fn compare(&self, play: Play) {
        let items = self.world.items().await;
        let item = items.iter().find(|item| text(item, "sk") == self.key.sk());
        let code = item.map_or_else(View::default, |item| View::of_item(item, self.world.now().0));
        assert_eq!(code, View::of_model(&self.record), "after {play:?}: the code, and the model");
        let hash = payload_hash(extract("e-1").as_bytes());
        let kept = items.iter().find(|item| text(item, "pk") == format!("quarantine#fynapse#{hash}"));
        assert_eq!(kept.map_or(0, |kept| number(kept, "deliveries").unwrap()), self.kept, "after {play:?}");
    }
}

/// A model and the code, side by side.
pub(crate) trait Walk: Sized {
    /// A step of a walk.
    type Play: Copy + Debug + 'static;
    /// A kind of write that was played, with what it came to.
    type Seen: Ord;
    /// Each as often as it shall be played.
    const PLAYS: &[Self::Play];

    async fn new(seed: u64) -> Self;
    /// Plays a step on both, and compares them. It has no effect on either if what it needs is not there.
    async fn play(&mut self, play: Self::Play);
    fn dice(&mut self) -> &mut Dice;
    fn seen(self) -> BTreeSet<Self::Seen>;
}

/// Walks at random, so many times and so many steps each: what was seen on the way.
async fn walk<W: Walk>(walks: u64, steps: usize) -> BTreeSet<W::Seen> {
    let mut seen = BTreeSet::new();
    for seed in 1..=walks {
        let mut both = W::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).await;
        for _ in 0..steps {
            let play = W::PLAYS[both.dice().roll(W::PLAYS.len())];
            println!("{seed}: {play:?}");
            Box::pin(both.play(play)).await;
        }
        seen.append(&mut both.seen());
    }
    seen
}

/// The same numbers for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    /// Whether the first attempt at a call is answered.
    fn attempts(&mut self) -> usize {
        1 + usize::from(self.roll(4) == 0)
    }

    /// The last one more often than any other.
    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        let at = if self.roll(2) == 0 { all.len() - 1 } else { self.roll(all.len()) };
        Some(all[at].clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_steps_come_to_the_same_on_the_real_adapters() {
    let seen = walk::<Both>(WALKS, STEPS).await;
    let played = |kind: &str, answer: &str| seen.contains(&(kind.to_owned(), answer.to_owned()));
    for kind in ["Mark", "Relay", "GiveUp", "Done", "PutBack", "Quarantine"] {
        assert!(played(kind, "Applied") && played(kind, "Refused"), "{kind} of {seen:?}");
    }
    for answer in ["Ours", "Over", "Taken", "NotRecorded"] {
        assert!(played("Claim", answer), "{answer} of {seen:?}");
    }
    for kind in ["Put", "AgainDone", "AgainQuarantined", "AgainSent"] {
        assert!(played(kind, "Applied"), "{kind} of {seen:?}");
    }
    assert!(played("Put", "Duplicate"), "{seen:?}");
}
