//! The relay: it enqueues what was recorded and not enqueued.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use inbox_core::inbox::{batches, outbox_shards};
use inbox_core::limits::{RELAY_PAGE, RELAY_REFUSALS_MAX};
use inbox_core::message::Message;
use inbox_core::time::UnixMillis;

use crate::Fault;
use crate::clock::Clock;
use crate::inbox::{Claim, Claimed, Due, DuePage, DueRecord, Inbox, Written};
use crate::queue::{Queue, Sent};

/// Calls to one service in flight at the same time.
const CONCURRENT_CALLS: usize = 10;

/// The relay.
#[derive(Clone, Debug)]
pub struct Relay {
    inbox: Inbox,
    queue: Queue,
    clock: Clock,
}

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Due records that it saw.
    pub found: usize,
    /// Events that it put on the queue.
    pub sent: usize,
    /// Records that it could not send; they stay due.
    pub failed: usize,
    /// Records that SQS refused for good; they went to quarantine.
    pub quarantined: usize,
    /// Due items that it did not get to: out of time, or the queue is down.
    pub left: usize,
    /// Age of the oldest event found, from its delivery, in seconds.
    pub oldest_due_age_secs: u64,
    /// The first AWS call that failed, if one did.
    pub fault: Option<Fault>,
}

impl Relay {
    /// Relays from this inbox to this queue.
    pub fn new(inbox: Inbox, queue: Queue, clock: Clock) -> Self {
        Self { inbox, queue, clock }
    }

    /// One run over every shard of the index, most overdue first within a round of pages, until nothing is
    /// due, the budget is used up, or the queue is down.
    pub async fn run(&self, budget: Duration) -> Run {
        let stop_at = Instant::now() + budget;
        let mut run = Run::default();
        let mut asked = Shards::all();
        loop {
            let mut due = asked.next_round(&self.inbox, self.clock.now(), &mut run).await;
            if due.is_empty() && asked.is_exhausted() {
                break;
            }
            due.sort_by_key(|item| item.due_at);
            let mut chunks: VecDeque<_> = due.chunks(RELAY_PAGE).collect();
            while let Some(chunk) = chunks.pop_front() {
                let queue_is_down = !self.relay(chunk, &mut run).await;
                if queue_is_down || Instant::now() >= stop_at {
                    run.left = chunks.iter().map(|rest| rest.len()).sum::<usize>()
                        + asked.count_rest(&self.inbox, self.clock.now()).await;
                    return self.report(run);
                }
            }
        }
        self.report(run)
    }

    fn report(&self, run: Run) -> Run {
        metrics::counter!("relayed").increment(run.sent as u64);
        metrics::counter!("relay_failed").increment(run.failed as u64);
        // Without an answer from the index the age is not zero but unknown.
        if run.fault.is_none() || run.found > 0 {
            let age_secs = u32::try_from(run.oldest_due_age_secs).unwrap_or(u32::MAX);
            metrics::gauge!("oldest_due_age").set(age_secs);
        }
        let fault = run.fault.as_ref().map(tracing::field::display);
        let Run { found, sent, failed, quarantined, left, oldest_due_age_secs, .. } = run;
        // A run with nothing to do is the rule: its line is for who looks closely.
        if found == 0 && fault.is_none() {
            tracing::debug!(target: "relay", found, sent, failed, quarantined, left);
        } else {
            tracing::info!(target: "relay", found, sent, failed, quarantined, left, oldest_due_age_secs, fault);
        }
        run
    }

    /// Relays one page of due items. `false` if the queue took nothing: going on would only put records off.
    async fn relay(&self, due: &[Due], run: &mut Run) -> bool {
        let now = self.clock.now();
        let records = match self.inbox.read_due(due, now).await {
            Ok(records) => records,
            Err(fault) => {
                run.failed += due.len();
                run.note(fault);
                return true;
            }
        };
        run.found += records.len();
        run.see_ages(&records, now);
        let claimed = self.claim_all(records, run).await;
        let composed = self.compose_all(claimed, run).await;
        let mut took_any = composed.is_empty();
        for batch in batches(composed, |(_, message)| message.bytes()) {
            took_any |= self.send(batch, run).await;
        }
        took_any
    }

    async fn claim_all(&self, records: Vec<DueRecord>, run: &mut Run) -> Vec<Claimed> {
        let claims: Vec<_> = stream::iter(records)
            .map(|record| self.inbox.claim(record, self.clock.now()))
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut claimed = Vec::with_capacity(claims.len());
        for claim in claims {
            match claim {
                Ok(Claim::Ours(ours)) => claimed.push(*ours),
                Ok(Claim::NotDue) => {}
                Err(fault) => run.fail(fault),
            }
        }
        claimed
    }

    async fn compose_all(&self, claimed: Vec<Claimed>, run: &mut Run) -> Vec<(Claimed, Message)> {
        let messages: Vec<_> = stream::iter(claimed)
            .map(async |claimed| {
                let message = self.inbox.message(&claimed).await;
                (claimed, message)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut composed = Vec::with_capacity(messages.len());
        for (claimed, message) in messages {
            match message {
                Ok(message) => composed.push((claimed, message)),
                Err(fault) => run.fail(fault),
            }
        }
        composed
    }

    /// Sends one batch and marks what was sent. `false` if the queue took nothing of it and refused nothing.
    async fn send(&self, batch: Vec<(Claimed, Message)>, run: &mut Run) -> bool {
        let messages: Vec<&Message> = batch.iter().map(|(_, message)| message).collect();
        let sent = self.queue.send_batch(&messages).await;
        let mut answered = false;
        let mut to_mark = Vec::with_capacity(batch.len());
        for ((claimed, _), sent) in batch.into_iter().zip(sent) {
            match sent {
                Sent::Sent => {
                    answered = true;
                    run.sent += 1;
                    to_mark.push(claimed);
                }
                Sent::Refused => {
                    answered = true;
                    self.refused(&claimed, run).await;
                }
                Sent::Failed(fault) => run.fail(fault),
            }
        }
        self.mark_all(to_mark, run).await;
        answered
    }

    async fn mark_all(&self, sent: Vec<Claimed>, run: &mut Run) {
        let marks: Vec<_> = stream::iter(sent)
            .map(async |claimed| self.inbox.mark_claimed(&claimed, self.clock.now()).await)
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        for mark in marks {
            match mark {
                Ok(Written::Applied) => {}
                Ok(Written::Overtaken) => metrics::counter!("late_mark").increment(1),
                // Sent and not marked: it stays due, and is sent again under the same id.
                Err(fault) => run.note(fault),
            }
        }
    }

    /// A record that SQS refuses for what it is must not come back for ever: the tenth time it goes to
    /// quarantine.
    async fn refused(&self, claimed: &Claimed, run: &mut Run) {
        let gone = match self.inbox.note_refusal(claimed).await {
            Ok(refusals) if refusals >= RELAY_REFUSALS_MAX => {
                self.inbox.give_up(claimed, self.clock.now()).await.map(|_| true)
            }
            Ok(_) => Ok(false),
            Err(fault) => Err(fault),
        };
        match gone {
            Ok(true) => {
                run.quarantined += 1;
                let provider = claimed.key().provider().as_str();
                metrics::counter!("quarantined", "provider" => provider, "reason" => "queue_refused")
                    .increment(1);
            }
            Ok(false) => run.failed += 1,
            Err(fault) => run.fail(fault),
        }
    }
}

impl Run {
    fn see_ages(&mut self, records: &[DueRecord], now: UnixMillis) {
        let oldest = records.iter().map(|record| now.since(record.received_at()).as_secs()).max();
        self.oldest_due_age_secs = self.oldest_due_age_secs.max(oldest.unwrap_or(0));
    }

    fn fail(&mut self, fault: Fault) {
        self.failed += 1;
        self.note(fault);
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// How far each shard of the index has been read.
struct Shards(Vec<(String, Option<DuePage>)>);

impl Shards {
    fn all() -> Self {
        Self(outbox_shards().map(|shard| (shard, None)).collect())
    }

    fn is_exhausted(&self) -> bool {
        self.0.is_empty()
    }

    /// One page of every shard that has more. A shard that cannot be read is left to the next run.
    async fn next_round(&mut self, inbox: &Inbox, now: UnixMillis, run: &mut Run) -> Vec<Due> {
        let pages: Vec<_> = stream::iter(std::mem::take(&mut self.0))
            .map(async |(shard, start)| {
                let page = inbox.due_page(&shard, now, start).await;
                (shard, page)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut due = Vec::new();
        for (shard, page) in pages {
            match page {
                Ok((items, next)) => {
                    due.extend(items);
                    self.0.extend(next.map(|next| (shard, Some(next))));
                }
                Err(fault) => run.note(fault),
            }
        }
        due
    }

    /// How many more items there are, as far as one page of each shard tells.
    async fn count_rest(self, inbox: &Inbox, now: UnixMillis) -> usize {
        let mut unseen = Run::default();
        let mut rest = self;
        rest.next_round(inbox, now, &mut unseen).await.len()
    }
}
