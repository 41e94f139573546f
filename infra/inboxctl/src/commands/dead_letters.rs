//! `inboxctl dead-letters list|redrive`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, Subcommand};
use inbox_aws::dead_letters::{DeadLetter, DeadLetterQueue};
use inbox_aws::stores::Stores;
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::audit::{parse_by, parse_why};
use crate::aws_error::{ResourceRef, WithResource, explain};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::{Render, Rendered, Timestamp, render_table, timestamp};
use crate::short_id::shorten;
use crate::target::Target;

/// Longest time for which `list` hides messages from other consumers.
const LIST_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);
/// Most messages that are searched for a person.
const SEARCHED_MAX: usize = 1_000;
/// Printed instead of an event.
const NOT_OF_THIS_INBOX: &str = "not of this inbox";
/// Longest time of a redrive, including the confirmation by the user.
const REDRIVE_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters that SQS returns, newest first. Hides them from other consumers for a few seconds.
    List(ListDeadLettersArgs),
    /// Move dead letters back to the queue, ten by default (--limit).
    Redrive(RedriveArgs),
}

impl DeadLettersCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list(target, args).await?),
            Self::Redrive(args) => target.render(&redrive(target, args).await?),
        }
    }
}

#[derive(Args)]
pub(crate) struct ListDeadLettersArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "20", value_name = "N")]
    limit: NonZeroUsize,
    /// Print whole ids, and times with their ages.
    #[arg(long)]
    wide: bool,
}

/// Messages of the dead-letter queue.
#[derive(Serialize)]
struct DeadLetterList {
    messages: Vec<DeadLetterRow>,
    #[serde(skip)]
    is_wide: bool,
    /// True if the limit was reached: there may be more messages.
    is_truncated: bool,
}

#[derive(Clone, Serialize)]
struct DeadLetterRow {
    message_id: String,
    /// `None` if the message is not of this inbox.
    event: Option<String>,
    /// State of the event; `None` if it has no record.
    state: Option<&'static str>,
    bytes: usize,
    sent_at: Option<Timestamp>,
}

async fn list(target: &Target, args: ListDeadLettersArgs) -> anyhow::Result<DeadLetterList> {
    let (dead_letters, queue) = open_dead_letters(target).await?;
    let mut received =
        dead_letters.receive(args.limit.get(), LIST_VISIBILITY_TIMEOUT).await.with_resource(&queue)?;
    received.sort_by_key(|message| std::cmp::Reverse(message.sent_at));
    // An error is returned only after the messages are visible to other consumers again.
    let messages = load_rows(target, &received).await;
    release_all(&dead_letters, &received, &queue).await?;
    let is_truncated = received.len() == args.limit.get();
    Ok(DeadLetterList { is_truncated, messages: messages?, is_wide: args.wide })
}

async fn open_dead_letters(target: &Target) -> anyhow::Result<(DeadLetterQueue, ResourceRef)> {
    let (dead_letter_queue, events_queue) = (target.dead_letter_queue().await?, target.events_queue().await?);
    let sqs = target.sqs();
    Ok((DeadLetterQueue::new(sqs, &dead_letter_queue.name, events_queue.name), dead_letter_queue))
}

/// Counts the dead letters whose payload names a person, among the first [`SEARCHED_MAX`].
pub(super) async fn count_dead_letters_of(target: &Target, person: &Id) -> anyhow::Result<usize> {
    let (dead_letters, queue) = open_dead_letters(target).await?;
    let received = dead_letters.receive(SEARCHED_MAX, LIST_VISIBILITY_TIMEOUT).await.with_resource(&queue)?;
    release_all(&dead_letters, &received, &queue).await?;
    Ok(received.iter().filter(|message| message.names_person(person)).count())
}

async fn release_all(
    dead_letters: &DeadLetterQueue,
    received: &[DeadLetter],
    queue: &ResourceRef,
) -> anyhow::Result<()> {
    for message in received {
        dead_letters.release(message).await.with_resource(queue)?;
    }
    Ok(())
}

async fn load_rows(target: &Target, received: &[DeadLetter]) -> anyhow::Result<Vec<DeadLetterRow>> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut rows = Vec::new();
    for message in received {
        let event = match &message.event {
            Some(key) => stores.operator.event(key).await.with_resource(&table)?,
            None => None,
        };
        rows.push(DeadLetterRow {
            message_id: message.message_id.clone(),
            event: message.event.as_ref().map(|key| key.event_id()),
            state: event.map(|event| event.lifecycle.state(target.now()).as_str()),
            bytes: message.bytes,
            sent_at: timestamp(message.sent_at),
        });
    }
    Ok(rows)
}

/// A table of messages, with whole ids and times.
fn render_rows(messages: &[DeadLetterRow], now: UnixMillis) -> String {
    let message_ids = messages.iter().map(|it| it.message_id.clone());
    let events = messages.iter().filter_map(|it| it.event.clone());
    render_with_ids(messages, message_ids.collect(), events.collect(), |at| at.with_age(now))
}

/// The same with short ids, as other lists print them.
fn render_short_rows(messages: &[DeadLetterRow], now: UnixMillis) -> String {
    let message_ids: Vec<_> = messages.iter().map(|it| it.message_id.clone()).collect();
    let events: Vec<_> = messages.iter().filter_map(|it| it.event.clone()).collect();
    render_with_ids(messages, shorten(&message_ids), shorten(&events), |at| at.to_short_text(now))
}

/// The table of messages with these ids: one for each message, and one for each event that is of this inbox.
fn render_with_ids(
    messages: &[DeadLetterRow],
    message_ids: Vec<String>,
    events: Vec<String>,
    time_text: impl Fn(Timestamp) -> String,
) -> String {
    let mut events = events.into_iter();
    let rows = messages.iter().zip(message_ids).map(|(it, message_id)| {
        let event = it.event.as_ref().and_then(|_| events.next());
        [
            message_id,
            event.unwrap_or_else(|| NOT_OF_THIS_INBOX.to_owned()),
            it.state.unwrap_or("-").to_owned(),
            it.bytes.to_string(),
            it.sent_at.map_or_else(|| "-".to_owned(), &time_text),
        ]
    });
    render_table(["MESSAGE", "EVENT", "STATE", "BYTES", "FIRST SENT"], rows.collect(), "no dead letters")
}

impl Render for DeadLetterList {
    fn to_text(&self, now: UnixMillis) -> String {
        let more = if self.is_truncated { "\nThere may be more: --limit shows more.\n" } else { "" };
        let render = if self.is_wide { render_rows } else { render_short_rows };
        render(&self.messages, now) + more
    }
}

#[derive(Args)]
#[command(override_usage = "\
inboxctl dead-letters redrive [OPTIONS] --by <NAME> --why <TEXT>
       inboxctl dead-letters redrive [OPTIONS] --dry-run")]
pub(crate) struct RedriveArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "10", value_name = "N")]
    limit: NonZeroUsize,
    /// Only show which messages would be moved.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by, required_unless_present = "dry_run")]
    by: Option<String>,
    /// Reason, for the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = parse_why, required_unless_present = "dry_run")]
    why: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of moving dead letters back.
#[derive(Serialize)]
struct RedriveReport {
    /// Messages that would be moved: after a dry run, or without a confirmation.
    planned: Vec<DeadLetterRow>,
    moved: Vec<RedrivenMessage>,
    is_dry_run: bool,
    /// True if the limit was reached: there may be more messages.
    is_truncated: bool,
}

#[derive(Serialize)]
struct RedrivenMessage {
    message_id: String,
    event: Option<String>,
    /// `None` if the message is back on the queue.
    error: Option<String>,
}

async fn redrive(target: &Target, args: RedriveArgs) -> anyhow::Result<RedriveReport> {
    let (dead_letters, queue) = open_dead_letters(target).await?;
    let received =
        dead_letters.receive(args.limit.get(), REDRIVE_VISIBILITY_TIMEOUT).await.with_resource(&queue)?;
    // SQS does not say whether there are more.
    let is_truncated = received.len() == args.limit.get();
    let confirmation = async {
        let planned = load_rows(target, &received).await?;
        let plan = format!("Move back to the queue:\n{}", render_rows(&planned, target.now()));
        let is_confirmed =
            !args.dry_run && !received.is_empty() && is_confirmed(target, &args.confirm, &plan)?;
        anyhow::Ok((planned, is_confirmed))
    };
    let (planned, by) = match (confirmation.await, args.by, args.why) {
        (Ok((_, true)), Some(by), Some(why)) => (Vec::new(), Operator { name: by, reason: why }),
        (plan_result, _, _) => {
            // Released first, even after an error: otherwise nobody could receive them for ten minutes.
            release_all(&dead_letters, &received, &queue).await?;
            let (planned, moved) = (plan_result?.0, Vec::new());
            return Ok(RedriveReport { planned, moved, is_dry_run: args.dry_run, is_truncated });
        }
    };
    let stores = target.stores()?;
    let mut moved = Vec::new();
    for message in &received {
        moved.push(redrive_one(&dead_letters, &stores, message, &by, (target.now(), &queue)).await);
    }
    Ok(RedriveReport { planned, moved, is_dry_run: false, is_truncated })
}

async fn redrive_one(
    dead_letters: &DeadLetterQueue,
    stores: &Stores,
    message: &DeadLetter,
    operator: &Operator,
    (now, queue): (UnixMillis, &ResourceRef),
) -> RedrivenMessage {
    let redriven = dead_letters
        .redrive(&stores.operator, message, &operator.audit_entry(OperatorAction::Redrive, now))
        .await;
    RedrivenMessage {
        message_id: message.message_id.clone(),
        event: message.event.as_ref().map(|key| key.event_id()),
        error: redriven.err().map(|fault| explain(&fault, queue)),
    }
}

impl Render for RedriveReport {
    fn to_text(&self, now: UnixMillis) -> String {
        let more = if self.is_truncated {
            "\nThere may be more: repeat the command, or move more at once with --limit.\n"
        } else {
            ""
        };
        if self.moved.is_empty() {
            let note = match (self.is_dry_run, self.planned.is_empty()) {
                (_, true) => "",
                (true, false) => "\nThis was a dry run: nothing was moved.\n",
                (false, false) => "\nnothing was done\n",
            };
            return render_rows(&self.planned, now) + note + if self.is_dry_run { more } else { "" };
        }
        let rows = self.moved.iter().map(|it| {
            let event = it.event.clone().unwrap_or_else(|| NOT_OF_THIS_INBOX.to_owned());
            [it.message_id.clone(), event, it.error.clone().unwrap_or_else(|| "back on the queue".to_owned())]
        });
        render_table(["MESSAGE", "EVENT", "OUTCOME"], rows.collect(), "nothing") + more
    }

    fn is_success(&self) -> bool {
        let is_declined = !self.is_dry_run && !self.planned.is_empty();
        !is_declined && self.moved.iter().all(|it| it.error.is_none())
    }
}
