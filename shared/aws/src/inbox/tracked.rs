//! What is watched: batches, the runs of schedules, and schedules.
//!
//! ```text
//!  poller    put off: rev+1, polls+1, due_at=later if rev=seen and due ── ask ── record ── settle if rev=seen+1
//!  worker    expedite a schedule: due_at=now, expedited_at=now if due, later than now and not expedited of late
//! ```
//!
//! Expediting leaves `rev` alone: who holds a URL could otherwise void what the poller writes, again and again. Moving a
//! schedule on names the `expedited_at` that was seen, so that no hint is lost either.
//!
//! An item is put off before Rightfoot is asked: what makes a run die comes back later and not first, and of two
//! runs at the same item only one asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem, Update};

use inbox_core::delivery::Subject;
use inbox_core::event::{Id, batch_pk};
use inbox_core::inbox::{Desk, parts_expiry, record_expiry, schedule_pk};
use inbox_core::poll::Cadence;
use inbox_core::poll::batch::{Thresholds, Tracked};
use inbox_core::poll::problem::PollProblem;
use inbox_core::poll::schedule::{KnownAs, Plan, Watched};
use inbox_core::time::{UnixMillis, UnixSecs};

use super::batch_story::SHOWN_COMPLETE_AT;
use super::poll_problem::POLL_PROBLEM;
use super::transaction::{self, Outcome};
use super::{FIRST_REV, Inbox, Written, documents, poll_problem};
use crate::condition::refused;
use crate::item::{self, Item, Stored, VERSION, number, text};
use crate::{Fault, payload};

/// The place of what is watched in its story.
pub(crate) const TRACKED: &str = "tracked";
/// What the place of an authorizer's alert begins with.
pub(super) const EFFECT: &str = "effect#alert#";
/// Most keys in one `BatchGetItem` (DynamoDB's own limit).
const KEYS_PER_READ: usize = 100;

/// When an alert has last hurried a schedule.
const EXPEDITED_AT: &str = "expedited_at";

/// How far an item that is watched has come: what every write to it names.
#[derive(Clone, Debug)]
pub struct Tracking {
    place: Item,
    rev: u64,
    /// When it is due; `None` if nothing more is to be done with it.
    pub due_at: Option<UnixMillis>,
    /// When an alert has last hurried it.
    expedited_at: Option<UnixMillis>,
    /// What is wrong with its polls, as far as is written down.
    pub problem: Option<PollProblem>,
}

impl Tracking {
    pub(super) fn read(item: &Item) -> Option<Self> {
        Some(Self {
            place: item::key(item::string(item, "pk")?, item::string(item, "sk")?),
            rev: item::parsed(item, "rev")?,
            due_at: item.contains_key("due").then(|| item::parsed(item, "due_at")).flatten().map(UnixMillis),
            expedited_at: item::millis(item, EXPEDITED_AT),
            problem: poll_problem::read(item),
        })
    }

    /// Whether nobody but who hurries it has written to the item since.
    pub const fn is_as_in(&self, later: &Self) -> bool {
        self.rev == later.rev
    }

    pub(super) const fn place(&self) -> &Item {
        &self.place
    }

    pub(super) const fn rev(&self) -> u64 {
        self.rev
    }

    /// A write of ours was applied.
    pub(super) const fn pass(&mut self) {
        self.rev += 1;
    }

    /// Whether it is due: the index may lag behind the item.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }
}

/// All that is known about a schedule.
#[derive(Clone, Debug)]
pub struct ScheduleStory {
    /// What is watched.
    pub watched: Watched,
    /// How far it has come.
    pub tracking: Tracking,
    thresholds: Item,
}

impl Inbox {
    /// A batch that is watched, with whom Rightfoot refused, by one strong read; `None` if it is not watched.
    pub async fn tracked_batch(&self, batch_id: &Id) -> Result<Option<Tracked>, Fault> {
        let Some(item) = self.get(item::key(&batch_pk(batch_id), TRACKED)).await? else { return Ok(None) };
        let mut tracked = read_batch(batch_id, &item).ok_or(Fault::item("dynamodb:GetItem"))?;
        if documents::is_in(&item) {
            tracked.failed = self.load_ids(&item).await?;
        }
        Ok(Some(tracked))
    }

    /// What is known about a schedule, by one strong read; `None` if it is not watched.
    pub async fn schedule_story(&self, schedule_id: &Id) -> Result<Option<ScheduleStory>, Fault> {
        let Some(item) = self.get(item::key(&schedule_pk(schedule_id), TRACKED)).await? else {
            return Ok(None);
        };
        let (watched, tracking) = read_schedule(schedule_id, &item)
            .zip(Tracking::read(&item))
            .ok_or(Fault::item("dynamodb:GetItem"))?;
        Ok(Some(ScheduleStory { watched, tracking, thresholds: item }))
    }

    /// The thresholds of a schedule.
    pub async fn thresholds(&self, story: &ScheduleStory) -> Result<Thresholds, Fault> {
        self.load_thresholds(&story.thresholds).await
    }

    /// Which of these batches are watched, and as what. What a webhook tells of one does not matter: whoever knows a URL can
    /// tell anything of any batch.
    pub async fn known(&self, batches: &BTreeSet<Id>) -> Result<BTreeMap<Id, KnownAs>, Fault> {
        let mut known = BTreeMap::new();
        let batches: Vec<_> = batches.iter().collect();
        for some in batches.chunks(KEYS_PER_READ) {
            let keys = some.iter().map(|batch| item::key(&batch_pk(batch), TRACKED));
            for item in self.get_many(keys.collect()).await? {
                let batch_id = item::string(&item, "pk").and_then(|pk| pk.strip_prefix("rightfoot#batch#"));
                let Some(batch_id) = batch_id.and_then(Id::new) else { continue };
                let schedule_id = item::string(&item, "schedule_id").and_then(Id::new);
                known.insert(batch_id, schedule_id.map_or(KnownAs::OnDemand, KnownAs::Run));
            }
        }
        Ok(known)
    }

    pub(super) async fn get_many(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, Fault> {
        const GET: &str = "dynamodb:BatchGetItem";
        let mut found = Vec::new();
        // What DynamoDB does not get to is asked for again, a few times, and later each time.
        for pause_ms in [0, 50, 100, 200, 400] {
            if keys.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let read =
                self.db.batch_get_item().request_items(&self.table, request.map_err(|_| Fault::item(GET))?);
            let mut answer = read.send().await.map_err(|error| Fault::of(GET, &error))?;
            found.extend(
                answer.responses.take().and_then(|mut all| all.remove(&self.table)).unwrap_or_default(),
            );
            let left = answer.unprocessed_keys().and_then(|tables| tables.get(&self.table));
            keys = left.map(|left| left.keys().to_vec()).unwrap_or_default();
        }
        Err(Fault { action: GET, cause: crate::Cause::Answer })
    }

    /// Puts an item off until then, counted as the nth poll: after it, the caller may ask. The next write names
    /// what comes back.
    pub async fn put_off(
        &self,
        tracking: &mut Tracking,
        polls: u64,
        until: UnixMillis,
    ) -> Result<Written, Fault> {
        let written = self
            .update(
                tracking.place.clone(),
                tracking.rev,
                "rev = rev + :one, polls = :polls, due_at = :later",
                [(":one", number(1)), (":polls", number(polls)), (":later", number(until.0))],
            )
            .await?;
        if written == Written::Applied {
            tracking.pass();
            tracking.due_at = Some(until);
        }
        Ok(written)
    }

    /// Moves the time at which an item is due.
    pub async fn postpone(&self, tracking: &Tracking, until: UnixMillis) -> Result<Written, Fault> {
        let values = [(":one", number(1)), (":later", number(until.0))];
        self.update(tracking.place.clone(), tracking.rev, "rev = rev + :one, due_at = :later", values).await
    }

    /// Moves the time at which a batch is due that the API has shown complete: from now on that is known.
    pub async fn shown_complete(
        &self,
        tracking: &Tracking,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        let values = [(":one", number(1)), (":later", number(until.0)), (":now", number(now.0))];
        let set =
            format!("rev = rev + :one, due_at = :later, {SHOWN_COMPLETE_AT} = :now REMOVE {POLL_PROBLEM}");
        self.update(tracking.place.clone(), tracking.rev, &set, values).await
    }

    /// Makes a schedule due now that is due later, unless that was done within `every`. Whether it was does not matter to
    /// the caller.
    pub async fn expedite(&self, schedule_id: &Id, every: Duration, now: UnixMillis) -> Result<(), Fault> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&schedule_pk(schedule_id), TRACKED)))
            .update_expression(format!("SET due_at = :now, {EXPEDITED_AT} = :now"))
            .condition_expression(format!(
                "attribute_exists(due) AND due_at > :now \
                 AND (attribute_not_exists({EXPEDITED_AT}) OR {EXPEDITED_AT} <= :before)"
            ))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":before", number(now.minus(every).0));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error) => Ok(()),
            Err(error) => Err(Fault::of("dynamodb:UpdateItem", &error)),
        }
    }

    /// Nothing more is to be known about it.
    pub async fn settle(&self, tracking: &Tracking, now: UnixMillis) -> Result<Written, Fault> {
        self.end(tracking, "done_at = :now", now).await
    }

    /// Nothing more can be known about it (P9).
    pub async fn give_up_waiting(&self, tracking: &Tracking, now: UnixMillis) -> Result<Written, Fault> {
        self.end(tracking, "overdue_at = :now", now).await
    }

    async fn end(&self, tracking: &Tracking, how: &str, now: UnixMillis) -> Result<Written, Fault> {
        let expression =
            format!("rev = rev + :one, {how}, expires_at = :at REMOVE due, due_at, {POLL_PROBLEM}");
        let expires_at = record_expiry(now, self.retention_days);
        let values = [(":one", number(1)), (":now", number(now.0)), (":at", number(expires_at.0))];
        self.update(tracking.place.clone(), tracking.rev, &expression, values).await
    }

    /// Moves a schedule on to its next look, with what was seen of it, what is wrong with its polls, and the new runs to
    /// watch: all of it or nothing.
    pub async fn move_on(
        &self,
        schedule: &ScheduleStory,
        plan: &Plan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        cadence: &Cadence,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        // An earlier version has not done so when it was tracked.
        if let Some(subject) = &schedule.watched.subject {
            self.bind(subject, now).await?;
        }
        let parts_expire_at = self.keep_thresholds(schedule, plan).await?;
        let mut writes = vec![self.seen_of(schedule, plan, problem, next, parts_expire_at)?];
        for run in &plan.runs {
            let tracked = Tracked {
                batch_id: run.batch_id.clone(),
                subject: schedule.watched.subject.clone(),
                schedule_id: Some(schedule.watched.schedule_id.clone()),
                expected: run.expected,
                failed: BTreeSet::new(),
                deadline: now.plus(cadence.deadline),
                polls: 0,
            };
            let mut item = new_batch(&tracked, now, now);
            item.insert("run_at".to_owned(), number(run.run_at.0));
            writes.push(self.put_new(item)?);
        }
        match transaction::write(&self.db, writes).await? {
            Outcome::Applied => Ok(Written::Applied),
            Outcome::Refused => Ok(Written::Overtaken),
        }
    }

    /// A schedule may be extended at Rightfoot: its thresholds are read until its last run is settled. Gives back when their
    /// parts expire, if that has moved.
    async fn keep_thresholds(
        &self,
        schedule: &ScheduleStory,
        plan: &Plan,
    ) -> Result<Option<UnixSecs>, Fault> {
        let watched = Watched { expires_at: plan.expires_at, ..schedule.watched.clone() };
        let later = parts_expiry(watched.end(), self.retention_days);
        match Stored::read(&schedule.thresholds) {
            Some(Stored::Parts { names, expire_at }) if expire_at < later => {
                payload::keep_until(&self.db, &self.table, &names, later).await?;
                Ok(Some(later))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn seen_of(
        &self,
        schedule: &ScheduleStory,
        plan: &Plan,
        problem: Option<&PollProblem>,
        next: UnixMillis,
        parts_expire_at: Option<UnixSecs>,
    ) -> Result<TransactWriteItem, Fault> {
        let mut sets = vec!["rev = rev + :one", "due_at = :next"];
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(schedule.tracking.place.clone()))
            .expression_attribute_values(":seen", number(schedule.tracking.rev))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":next", number(next.0));
        if let Some(last) = plan.last_run_seen {
            sets.push("last_run_seen = :last");
            update = update.expression_attribute_values(":last", number(last.0));
        }
        if plan.expires_at != schedule.watched.expires_at {
            sets.push("schedule_expires_at = :expires");
            update = update.expression_attribute_values(":expires", number(plan.expires_at.0));
        }
        if let Some(later) = parts_expire_at {
            sets.push("parts_expire_at = :parts");
            update = update.expression_attribute_values(":parts", number(later.0));
        }
        if plan.starts_anew {
            sets.push("polls = :zero");
            update = update.expression_attribute_values(":zero", number(0));
        }
        let mut remove = String::new();
        match problem {
            Some(problem) => {
                sets.push("poll_problem = :problem");
                update = update.expression_attribute_values(":problem", poll_problem::attribute(problem));
            }
            None => remove = format!(" REMOVE {POLL_PROBLEM}"),
        }
        // Hurried meanwhile, it would be put off again without a look.
        let mut condition = "rev = :seen AND attribute_exists(due)".to_owned();
        match schedule.tracking.expedited_at {
            None => condition.push_str(&format!(" AND attribute_not_exists({EXPEDITED_AT})")),
            Some(seen) => {
                condition.push_str(&format!(" AND {EXPEDITED_AT} = :hurried"));
                update = update.expression_attribute_values(":hurried", number(seen.0));
            }
        }
        update = update.condition_expression(condition);
        let update = update.update_expression(format!("SET {}{remove}", sets.join(", "))).build();
        Ok(TransactWriteItem::builder().update(update.map_err(|_| Fault::item(transaction::WRITE))?).build())
    }

    pub(super) fn put_new(&self, item: Item) -> Result<TransactWriteItem, Fault> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        Ok(TransactWriteItem::builder().put(put.map_err(|_| Fault::item(transaction::WRITE))?).build())
    }

    /// The item of a batch that is watched from now on.
    pub(super) async fn batch_item(
        &self,
        tracked: &Tracked,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Item, Fault> {
        let mut item = new_batch(tracked, due_at, now);
        if !tracked.failed.is_empty() {
            let expire_at = parts_expiry(now, self.retention_days);
            item.extend(self.store_ids(&tracked.failed, expire_at).await?);
        }
        Ok(item)
    }

    /// The item of a schedule that is watched from now on.
    pub(super) async fn schedule_item(
        &self,
        watched: &Watched,
        thresholds: &Thresholds,
        due_at: UnixMillis,
    ) -> Result<Item, Fault> {
        let mut item = new_schedule(watched, due_at);
        // They are read until the last run is settled.
        let expire_at = parts_expiry(watched.end(), self.retention_days);
        item.extend(self.store_thresholds(thresholds, expire_at).await?);
        Ok(item)
    }
}

fn new_batch(tracked: &Tracked, due_at: UnixMillis, now: UnixMillis) -> Item {
    let mut item = new_item(&batch_pk(&tracked.batch_id), tracked.subject.as_ref(), due_at, tracked.polls);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("expected", number(tracked.expected));
    set("deadline_at", number(tracked.deadline.0));
    set("tracked_at", number(now.0));
    if let Some(schedule_id) = &tracked.schedule_id {
        set("schedule_id", text(schedule_id.as_str()));
    }
    item
}

fn new_schedule(watched: &Watched, due_at: UnixMillis) -> Item {
    let mut item =
        new_item(&schedule_pk(&watched.schedule_id), watched.subject.as_ref(), due_at, watched.polls);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("probes", AttributeValue::L(watched.probes.iter().map(|probe| text(probe.as_str())).collect()));
    set("since", number(watched.since.0));
    set("interval_secs", number(watched.interval.as_secs()));
    set("schedule_expires_at", number(watched.expires_at.0));
    item
}

fn new_item(pk: &str, subject: Option<&Subject>, due_at: UnixMillis, polls: u64) -> Item {
    let mut item = item::key(pk, TRACKED);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("v", number(VERSION));
    set("rev", number(FIRST_REV));
    set("polls", number(polls));
    set("due", text(Desk::Poll.shard(pk)));
    set("due_at", number(due_at.0));
    if let Some(subject) = subject {
        set("subject", text(subject.as_str()));
    }
    item
}

pub(super) fn read_batch(batch_id: &Id, item: &Item) -> Option<Tracked> {
    Some(Tracked {
        batch_id: batch_id.clone(),
        subject: subject_of(item),
        schedule_id: item::string(item, "schedule_id").and_then(Id::new),
        expected: item::parsed(item, "expected")?,
        failed: BTreeSet::new(),
        deadline: UnixMillis(item::parsed(item, "deadline_at")?),
        polls: item::parsed(item, "polls")?,
    })
}

fn read_schedule(schedule_id: &Id, item: &Item) -> Option<Watched> {
    Some(Watched {
        schedule_id: schedule_id.clone(),
        subject: subject_of(item),
        probes: item::strings(item, "probes")?.into_iter().map(Id::new).collect::<Option<_>>()?,
        since: UnixMillis(item::parsed(item, "since")?),
        last_run_seen: item::parsed(item, "last_run_seen").map(UnixMillis),
        interval: Duration::from_secs(item::parsed(item, "interval_secs")?),
        expires_at: UnixMillis(item::parsed(item, "schedule_expires_at")?),
        polls: item::parsed(item, "polls")?,
    })
}

pub(super) fn subject_of(item: &Item) -> Option<Subject> {
    item::string(item, "subject")?.parse().ok()
}
