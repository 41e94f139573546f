//! Submissions, and the beginning of watching what they made.
//!
//! ```text
//!  requests  put(rev 1, due +15min) ── POST ── transaction: put tracked if not there, submission: done if rev=seen, call=seen; bind
//!  again     rev+1, attempts+1 if rev=seen and due ── POST ── the same
//!  poller            alarm: due_at=+15min if rev=seen and due      (outcome unknown: repeat it)
//! ```
//!
//! Who repeats it says so first: then whoever set out before, and hears that the name of a schedule is taken, does
//! not take it for somebody else's and the submission for void.
//!
//! A name that is free again (see `released`) may be used for another submission, which begins at the first `rev` again. So
//! every write names the call that began the submission, too: what an earlier one made is not written down as what this one
//! made.
//!
//! Until the outcome is known the submission holds the URL that it was sent with, so that a repetition sends the
//! same bytes. What was sent is not kept: a keyed fingerprint tells whether a repetition is one.

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde_json::Value;

use inbox_core::delivery::Subject;
use inbox_core::event::Id;
use inbox_core::inbox::{Desk, parts_expiry, record_expiry, submission_pk};
use inbox_core::intervention::Intervention;
use inbox_core::limits::SUBMISSION_DUE_SECS;
use inbox_core::poll::batch::{Thresholds, Tracked};
use inbox_core::poll::schedule::Watched;
use inbox_core::requests::submission::{Fingerprint, Kind};
use inbox_core::time::UnixMillis;

use super::released::INTERVENTIONS;
use super::tracked::{TRACKED, Tracking};
use super::transaction::{self, Outcome};
use super::{FIRST_REV, Inbox, Written};
use crate::Fault;
use crate::condition::{refused, standing};
use crate::item::{self, Item, VERSION, number, text};

pub(super) const SUBMITTED: &str = "submitted";
/// Attempts at a write that others get in the way of.
pub(super) const ATTEMPTS: usize = 4;
const PUT: &str = "dynamodb:PutItem";

/// A submission, as it is about to be written.
#[derive(Clone)]
pub struct NewSubmission {
    /// The caller's name of it, and the subject of its URL.
    pub submission_id: Subject,
    /// What is asked for.
    pub kind: Kind,
    /// The URL that Rightfoot is given.
    pub webhook_url: String,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The random id of this invocation.
    pub call_id: String,
}

/// A submission, as it stands.
#[derive(Clone)]
pub struct Submission {
    /// What is asked for.
    pub kind: Kind,
    /// The URL that it was sent with; `None` once the outcome is known.
    pub webhook_url: Option<String>,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// When it was first written.
    pub written_at: UnixMillis,
    /// How far it has come: due while the outcome is unknown.
    pub tracking: Tracking,
    /// How often it was looked at since.
    pub polls: u64,
    /// How many callers have set out to post it, as far as this one has seen.
    pub attempts: u64,
    /// Whether it is known what it made.
    pub is_concluded: bool,
    /// Whether it made nothing, so that its name is free for another one.
    pub is_free: bool,
    pub(super) submission_id: Subject,
    pub(super) call_id: String,
    item: Item,
}

/// What became of writing a submission.
#[derive(Debug)]
pub enum Begun {
    /// It is new: nothing was ever sent under its name.
    New(Submission),
    /// One of that name stands.
    Standing(Submission),
}

/// What became of writing down what a submission made.
#[derive(Debug)]
pub enum Concluded {
    /// The submission says that it made this.
    Stands(Box<Submission>),
    /// It says that it made something else. Nothing was written.
    Otherwise,
    /// Its name was freed meanwhile, and is another submission's by now, or nobody's. Nothing was written.
    Overtaken,
}

/// What became of beginning to watch something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It is watched from now on.
    Begun,
    /// It was watched before.
    Already,
    /// It was watched before, with another value of this field.
    Differs(&'static str),
}

/// What a submission made, to be watched.
#[derive(Clone, Debug)]
pub enum Made<'a> {
    /// A batch.
    Batch(&'a Tracked),
    /// A schedule.
    Schedule(&'a Watched, &'a Thresholds),
}

impl Made<'_> {
    fn id(&self) -> (&'static str, &Id) {
        match self {
            Self::Batch(tracked) => ("batch_id", &tracked.batch_id),
            Self::Schedule(watched, _) => ("schedule_id", &watched.schedule_id),
        }
    }

    fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Batch(tracked) => tracked.subject.as_ref(),
            Self::Schedule(watched, _) => watched.subject.as_ref(),
        }
    }
}

impl Inbox {
    /// Writes a submission before anything is sent, unless one of its name stands. One that made nothing makes way, and
    /// leaves what operators did with it.
    pub async fn begin(&self, new: &NewSubmission, now: UnixMillis) -> Result<Begun, Fault> {
        let mut free = None;
        for _ in 0..ATTEMPTS {
            let stands = self.put_submission(new, free.as_ref(), now).await?;
            let submission = Submission::read(stands).ok_or(Fault::item(PUT))?;
            if submission.call_id == new.call_id {
                return Ok(Begun::New(submission));
            }
            if !submission.is_free {
                return Ok(Begun::Standing(submission));
            }
            free = Some(submission);
        }
        Err(Fault::overtaken(PUT))
    }

    /// Puts a submission where none stands, or none but this free one. Returns what stands then.
    async fn put_submission(
        &self,
        new: &NewSubmission,
        free: Option<&Submission>,
        now: UnixMillis,
    ) -> Result<Item, Fault> {
        let mut item = new_submission(new, now);
        let traces = free.and_then(|free| free.item.get(INTERVENTIONS));
        item.extend(traces.map(|traces| (INTERVENTIONS.to_owned(), traces.clone())));
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match free {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(free) => put
                .condition_expression("rev = :seen AND call_id = :call AND attribute_exists(refused_at)")
                .expression_attribute_values(":seen", number(free.tracking.rev()))
                .expression_attribute_values(":call", text(&free.call_id)),
        };
        match put.send().await {
            Ok(_) => Ok(item),
            Err(error) if refused(&error) => match standing(&error) {
                Some(old) => Ok(old.clone()),
                // An older endpoint does not send it along.
                None => self.submission_item(&new.submission_id).await?.ok_or(Fault::item(PUT)),
            },
            Err(error) => Err(Fault::of(PUT, &error)),
        }
    }

    /// A submission by its name, by one strong read.
    pub async fn submission(&self, submission_id: &Subject) -> Result<Option<Submission>, Fault> {
        let item = self.submission_item(submission_id).await?;
        item.map(|item| Submission::read(item).ok_or(Fault::item("dynamodb:GetItem"))).transpose()
    }

    pub(super) async fn submission_item(&self, submission_id: &Subject) -> Result<Option<Item>, Fault> {
        self.get(item::key(&submission_pk(submission_id.as_str()), SUBMITTED)).await
    }

    /// What was answered when the outcome became known.
    pub async fn answer_of(&self, submission: &Submission) -> Result<Value, Fault> {
        let json = self.load_document(&submission.item).await?;
        serde_json::from_slice(&json).map_err(|_| Fault::item("dynamodb:GetItem"))
    }

    /// Sets out to post a submission once more. `None` if somebody else has written in between.
    pub async fn set_out_again(&self, mut submission: Submission) -> Result<Option<Submission>, Fault> {
        let expression = "rev = rev + :one, attempts = attempts + :one";
        if self.write_to(&submission, expression, [(":one", number(1))]).await? == Written::Overtaken {
            return Ok(None);
        }
        submission.tracking.pass();
        submission.attempts += 1;
        Ok(Some(submission))
    }

    /// Writes down what this submission made and begins to watch it, both or neither. If somebody concluded it before,
    /// theirs stands.
    pub async fn conclude(
        &self,
        seen: &Submission,
        made: Made<'_>,
        answer: &Value,
        due_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Concluded, Fault> {
        let answer = self.store_document(answer, parts_expiry(now, self.retention_days)).await?;
        let item = self.item_of(&made, due_at, now).await?;
        for _ in 0..ATTEMPTS {
            let Some(stands) = self.submission(&seen.submission_id).await? else {
                return Ok(Concluded::Overtaken);
            };
            if stands.made().as_ref() == Some(made.id().1) {
                return Ok(Concluded::Stands(stands.into()));
            }
            match (stands.is_of(seen), stands.is_concluded) {
                (false, _) => return Ok(Concluded::Overtaken),
                (true, true) => return Ok(Concluded::Otherwise),
                (true, false) => {}
            }
            let watched = self.get(place_of(&item)).await?;
            let mut writes =
                vec![self.concluded(&stands, &made, &answer, now)?, self.binding(&seen.submission_id, now)?];
            writes.extend(self.watching(item.clone(), watched.as_ref())?);
            if transaction::write(&self.db, writes).await? == Outcome::Applied {
                let concluded = self.submission(&seen.submission_id).await?;
                return concluded
                    .map(|it| Concluded::Stands(it.into()))
                    .ok_or(Fault::item("dynamodb:GetItem"));
            }
        }
        Err(Fault::overtaken(transaction::WRITE))
    }

    /// Begins to watch what was not submitted here.
    pub async fn watch(&self, made: Made<'_>, due_at: UnixMillis, now: UnixMillis) -> Result<Watch, Fault> {
        let item = self.item_of(&made, due_at, now).await?;
        for _ in 0..ATTEMPTS {
            let watched = self.get(place_of(&item)).await?;
            let write = self.watching(item.clone(), watched.as_ref())?;
            if let (None, Some(stands)) = (&write, &watched)
                && let differs @ Watch::Differs(_) = compare(stands, &item)
            {
                return Ok(differs);
            }
            // Also if it is watched already: an earlier version has not done so.
            if let Some(subject) = made.subject() {
                self.bind(subject, now).await?;
            }
            let Some(write) = write else { return Ok(Watch::Already) };
            if transaction::write(&self.db, vec![write]).await? == Outcome::Applied {
                return Ok(Watch::Begun);
            }
        }
        Err(Fault::overtaken(transaction::WRITE))
    }

    async fn item_of(&self, made: &Made<'_>, due_at: UnixMillis, now: UnixMillis) -> Result<Item, Fault> {
        match made {
            Made::Batch(tracked) => self.batch_item(tracked, due_at, now).await,
            Made::Schedule(watched, thresholds) => self.schedule_item(watched, thresholds, due_at).await,
        }
    }

    /// The write that begins to watch something; `None` if it is watched. A batch that the poller took for a
    /// schedule's run, before it was known that it was submitted by itself, is one no longer.
    fn watching(&self, mut item: Item, stands: Option<&Item>) -> Result<Option<TransactWriteItem>, Fault> {
        let Some(stands) = stands else { return self.put_new(item).map(Some) };
        let is_mistaken = stands.contains_key("schedule_id") && !item.contains_key("schedule_id");
        if !is_mistaken {
            return Ok(None);
        }
        let seen: u64 = item::parsed(stands, "rev").ok_or(Fault::item("dynamodb:GetItem"))?;
        item.insert("rev".to_owned(), number(seen.saturating_add(1)));
        let put = aws_sdk_dynamodb::types::Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("rev = :seen")
            .expression_attribute_values(":seen", number(seen))
            .build();
        Ok(Some(TransactWriteItem::builder().put(put.map_err(|_| Fault::item(transaction::WRITE))?).build()))
    }

    fn concluded(
        &self,
        submission: &Submission,
        made: &Made<'_>,
        answer: &Item,
        now: UnixMillis,
    ) -> Result<TransactWriteItem, Fault> {
        let (name, id) = made.id();
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission.tracking.place().clone()))
            .condition_expression("rev = :seen AND call_id = :call")
            .expression_attribute_values(":seen", number(submission.tracking.rev()))
            .expression_attribute_values(":call", text(&submission.call_id))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":at", number(record_expiry(now, self.retention_days).0))
            .expression_attribute_values(":id", text(id.as_str()));
        let mut sets = format!("SET rev = rev + :one, done_at = :now, expires_at = :at, {name} = :id");
        for (index, (name, value)) in answer.iter().enumerate() {
            sets.push_str(&format!(", #a{index} = :a{index}"));
            update = update
                .expression_attribute_names(format!("#a{index}"), name)
                .expression_attribute_values(format!(":a{index}"), value.clone());
        }
        let update =
            update.update_expression(format!("{sets} REMOVE due, due_at, webhook_url, refused_at")).build();
        Ok(TransactWriteItem::builder().update(update.map_err(|_| Fault::item(transaction::WRITE))?).build())
    }
}

impl Submission {
    fn read(item: Item) -> Option<Self> {
        Some(Self {
            kind: Kind::from_name(item::string(&item, "kind")?)?,
            webhook_url: item::string(&item, "webhook_url").map(str::to_owned),
            fingerprint: Fingerprint {
                mac: item::string(&item, "fingerprint")?.to_owned(),
                key: item::string(&item, "fingerprint_key")?.to_owned(),
            },
            written_at: UnixMillis(item::parsed(&item, "written_at")?),
            tracking: Tracking::read(&item)?,
            polls: item::parsed(&item, "polls")?,
            attempts: item::parsed(&item, "attempts")?,
            submission_id: item::string(&item, "subject")?.parse().ok()?,
            call_id: item::string(&item, "call_id")?.to_owned(),
            is_concluded: item.contains_key("done_at"),
            is_free: item.contains_key("refused_at"),
            item,
        })
    }

    /// Whether it is still the one that was seen, and not another one under its name.
    pub(super) fn is_of(&self, seen: &Self) -> bool {
        self.call_id == seen.call_id
    }

    /// Whether it is still the one that was seen, and nobody has set out to post it since.
    pub(super) fn is_open_since(&self, seen: &Self) -> bool {
        self.is_of(seen) && self.attempts == seen.attempts && self.tracking.due_at.is_some()
    }

    /// What operators did with it.
    pub(super) fn interventions(&self) -> Vec<Intervention> {
        item::interventions(&self.item)
    }

    /// What it made, once that is known.
    pub fn made(&self) -> Option<Id> {
        let name = match self.kind {
            Kind::Batch => "batch_id",
            Kind::Schedule => "schedule_id",
        };
        item::string(&self.item, name).and_then(Id::new)
    }
}

/// The URL is a credential.
impl std::fmt::Debug for NewSubmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSubmission({:?})", self.kind)
    }
}

/// The URL is a credential.
impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Submission({:?}, concluded: {})", self.kind, self.is_concluded)
    }
}

fn new_submission(new: &NewSubmission, now: UnixMillis) -> Item {
    let pk = submission_pk(new.submission_id.as_str());
    let due_at = now.plus(std::time::Duration::from_secs(SUBMISSION_DUE_SECS));
    let mut item = item::key(&pk, SUBMITTED);
    let attributes: [(&str, AttributeValue); 13] = [
        ("v", number(VERSION)),
        ("kind", text(new.kind.as_str())),
        ("subject", text(new.submission_id.as_str())),
        ("webhook_url", text(&new.webhook_url)),
        ("fingerprint", text(&new.fingerprint.mac)),
        ("fingerprint_key", text(&new.fingerprint.key)),
        ("call_id", text(&new.call_id)),
        ("written_at", number(now.0)),
        ("rev", number(FIRST_REV)),
        ("polls", number(0)),
        ("attempts", number(1)),
        ("due", text(Desk::Poll.shard(&pk))),
        ("due_at", number(due_at.0)),
    ];
    item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
    item
}

fn place_of(item: &Item) -> Item {
    item::key(item::string(item, "pk").unwrap_or_default(), TRACKED)
}

/// Whether what stands is what was asked for, as far as that was said; if not, which field of the request differs.
fn compare(stands: &Item, asked: &Item) -> Watch {
    let document = if asked.contains_key("probes") { "thresholds" } else { "failed_authorizer_ids" };
    let fields = [
        ("expected", "expected"),
        ("subject", "subject"),
        ("probes", "probe_authorizers"),
        ("payload_hash", document),
    ];
    for (attribute, field) in fields {
        let differs = asked.get(attribute).is_some_and(|value| stands.get(attribute) != Some(value));
        if differs {
            return Watch::Differs(field);
        }
    }
    Watch::Already
}
