//! `dead list|redrive`.

use std::time::Duration;

use inbox_aws::dead_letters::{DeadLetterQueue, DeadLetter};
use inbox_aws::inbox::Inbox;
use inbox_core::audit::{OperatorAction, Operator};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::cli::{ListDead, Redrive};
use crate::consent;
use crate::place::{Place, Thing};
use crate::trouble::{About, explain};
use crate::view::{At, Found, at as at_time, table};

/// How long a look hides messages from others, at the most.
const LOOK: Duration = Duration::from_secs(30);
/// How long a redrive may take, with the time to answer its question.
const WORK: Duration = Duration::from_secs(600);

/// Dead messages.
#[derive(Serialize)]
pub(crate) struct Listed {
    messages: Vec<Dead>,
    /// Whether there may be more of them.
    is_cut_off: bool,
}

#[derive(Clone, Serialize)]
struct Dead {
    message_id: String,
    /// `None` if it is none of ours.
    event: Option<String>,
    /// Of the event's record; `None` if there is none.
    state: Option<&'static str>,
    bytes: usize,
    sent_at: Option<At>,
}

pub(crate) async fn list(at: &Place, args: ListDead) -> anyhow::Result<Listed> {
    let (letters, queue) = letters(at).await?;
    let mut taken = letters.receive(args.limit.get(), LOOK).await.about(&queue)?;
    taken.sort_by_key(|message| std::cmp::Reverse(message.sent_at));
    let messages = told(at, &taken).await;
    put_back(&letters, &taken, &queue).await?;
    Ok(Listed { is_cut_off: taken.len() == args.limit.get(), messages: messages? })
}

async fn letters(at: &Place) -> anyhow::Result<(DeadLetterQueue, Thing)> {
    let (dead, events) = (at.dead_queue().await?, at.queue().await?);
    let sqs = at.sqs();
    Ok((DeadLetterQueue::new(sqs, &dead.name, events.name), dead))
}

async fn put_back(letters: &DeadLetterQueue, taken: &[DeadLetter], queue: &Thing) -> anyhow::Result<()> {
    for message in taken {
        letters.release(message).await.about(queue)?;
    }
    Ok(())
}

async fn told(at: &Place, taken: &[DeadLetter]) -> anyhow::Result<Vec<Dead>> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let mut all = Vec::new();
    for message in taken {
        let event = match &message.event {
            Some(key) => inbox.event(key).await.about(&table)?,
            None => None,
        };
        all.push(Dead {
            message_id: message.message_id.clone(),
            event: message.event.as_ref().map(|key| key.event_id()),
            state: event.map(|event| event.lifecycle.state(at.now()).as_str()),
            bytes: message.bytes,
            sent_at: at_time(message.sent_at),
        });
    }
    Ok(all)
}

fn rows(messages: &[Dead], now: UnixMillis) -> String {
    let rows = messages.iter().map(|it| {
        [
            it.message_id.clone(),
            it.event.clone().unwrap_or_else(|| "(none of ours)".to_owned()),
            it.state.unwrap_or("-").to_owned(),
            it.bytes.to_string(),
            it.sent_at.map_or_else(|| "-".to_owned(), |at| at.told(now)),
        ]
    });
    table(["MESSAGE", "EVENT", "ITS RECORD", "BYTES", "FIRST SENT"], rows.collect(), "no dead messages")
}

impl Found for Listed {
    fn text(&self, now: UnixMillis) -> String {
        let more = if self.is_cut_off { "\nThere may be more: --limit shows more.\n" } else { "" };
        rows(&self.messages, now) + more
    }
}

/// What became of moving dead messages back.
#[derive(Serialize)]
pub(crate) struct Redrives {
    /// What would be moved: of a dry run, or if it was not agreed to.
    planned: Vec<Dead>,
    moved: Vec<Moved>,
    is_dry_run: bool,
    /// Whether there may be more of them.
    is_cut_off: bool,
}

#[derive(Serialize)]
struct Moved {
    message_id: String,
    event: Option<String>,
    /// `None` if it is back on the queue.
    failed: Option<String>,
}

pub(crate) async fn redrive(at: &Place, args: Redrive) -> anyhow::Result<Redrives> {
    let (letters, queue) = letters(at).await?;
    let taken = letters.receive(args.limit.get(), WORK).await.about(&queue)?;
    let is_cut_off = taken.len() == args.limit.get();
    let may = async {
        let planned = told(at, &taken).await?;
        let plan = format!("Move back to the queue:\n{}", rows(&planned, at.now()));
        let is_agreed = !args.dry_run && !taken.is_empty() && consent::is_given(at, &args.consent, &plan)?;
        anyhow::Ok((planned, is_agreed))
    };
    let (planned, by) = match (may.await, args.by, args.why) {
        (Ok((_, true)), Some(by), Some(why)) => (Vec::new(), Operator { by, why }),
        (looked, _, _) => {
            put_back(&letters, &taken, &queue).await?;
            let (planned, moved) = (looked?.0, Vec::new());
            return Ok(Redrives { planned, moved, is_dry_run: args.dry_run, is_cut_off });
        }
    };
    let inbox = at.inbox()?;
    let mut moved = Vec::new();
    for message in &taken {
        moved.push(move_back(&letters, &inbox, message, &by, (at.now(), &queue)).await);
    }
    Ok(Redrives { planned, moved, is_dry_run: false, is_cut_off })
}

async fn move_back(
    letters: &DeadLetterQueue,
    inbox: &Inbox,
    message: &DeadLetter,
    operator: &Operator,
    (now, queue): (UnixMillis, &Thing),
) -> Moved {
    let done = letters.redrive(inbox, message, &operator.audit_entry(OperatorAction::Redrive, now)).await;
    Moved {
        message_id: message.message_id.clone(),
        event: message.event.as_ref().map(|key| key.event_id()),
        failed: done.err().map(|fault| explain(&fault, queue)),
    }
}

impl Found for Redrives {
    fn text(&self, now: UnixMillis) -> String {
        let more = if self.is_cut_off {
            "\nThere may be more: do it again, or move more at once with --limit.\n"
        } else {
            ""
        };
        if self.moved.is_empty() {
            let said = match (self.is_dry_run, self.planned.is_empty()) {
                (_, true) => "",
                (true, false) => "\nThis was a dry run: nothing was moved.\n",
                (false, false) => "\nnothing was done\n",
            };
            return rows(&self.planned, now) + said + if self.is_dry_run { more } else { "" };
        }
        let rows = self.moved.iter().map(|it| {
            let event = it.event.clone().unwrap_or_else(|| "(none of ours)".to_owned());
            [
                it.message_id.clone(),
                event,
                it.failed.clone().unwrap_or_else(|| "back on the queue".to_owned()),
            ]
        });
        table(["MESSAGE", "EVENT", "OUTCOME"], rows.collect(), "nothing") + more
    }

    fn is_fine(&self) -> bool {
        let is_refused = !self.is_dry_run && !self.planned.is_empty();
        !is_refused && self.moved.iter().all(|it| it.failed.is_none())
    }
}
