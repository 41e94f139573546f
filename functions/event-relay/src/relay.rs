//! The relay: it enqueues what was recorded and not enqueued.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use inbox_aws::clock::Clock;
use inbox_aws::inbox::{Claim, Claimed, DueRecord, Inbox, Sweep, Waiting, Written};
use inbox_aws::queue::{Queue, Sent};
use inbox_aws::telemetry::count_reason;
use inbox_aws::{Cause, Fault};
use inbox_core::inbox::{Desk, RELAY_LOAD, Reason, batches};
use inbox_core::limits::{
    CONCURRENT_CALLS, DUE_PAGE, RELAY_BATCH_MESSAGES, RELAY_GRACE_MS, RELAY_REFUSALS_MAX,
};
use inbox_core::message::Message;
use inbox_core::time::UnixMillis;

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
    /// Records that cannot be sent; they went to quarantine.
    pub quarantined: usize,
    /// Due items that it did not get to: out of time, or the queue is down.
    pub left: usize,
    /// Age of the oldest event that is not enqueued, in seconds, since it should have been: from its delivery, or from
    /// when the worker wants it back. Also of one that is not due at the moment, because an attempt at it has failed.
    pub oldest_due_age_secs: u64,
    /// The first AWS call that failed, if one did.
    pub fault: Option<Fault>,
}

/// What is left of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    /// Out of time, or the queue took nothing: going on would only put records off.
    Home,
}

impl Relay {
    /// Relays from this inbox to this queue.
    pub fn new(inbox: Inbox, queue: Queue, clock: Clock) -> Self {
        Self { inbox, queue, clock }
    }

    /// One run over every shard of the index, that which is due for longest first within a round of pages,
    /// until nothing is due, the budget is used up, or the queue is down.
    pub async fn run(&self, budget: Duration) -> Run {
        let stop_at = Instant::now() + budget;
        let mut run = Run::default();
        let end = stop_at + Duration::from_millis(RELAY_GRACE_MS);
        // What is cut off here is as if the process had died: claims run out, and nothing is lost.
        if timeout_at(end, Box::pin(self.work(stop_at, &mut run))).await.is_err() {
            run.note(Fault { action: "event-relay", cause: Cause::Timeout });
        }
        self.report(run)
    }

    async fn work(&self, stop_at: Instant, run: &mut Run) {
        let mut sweep = Sweep::with_a_look_ahead(Desk::Outbox);
        let mut waiting = Vec::new();
        while !sweep.is_exhausted() {
            let round = sweep.next_round(&self.inbox, self.clock.now()).await;
            round.faults.into_iter().for_each(|fault| run.note(fault));
            waiting.extend(round.later);
            let mut pages = round.due.chunks(DUE_PAGE);
            while let Some(page) = pages.next() {
                if self.relay(page, stop_at, run).await == Go::Home {
                    run.left += pages.map(<[_]>::len).sum::<usize>();
                    // As far as one more page of each shard tells.
                    run.left += sweep.next_round(&self.inbox, self.clock.now()).await.due.len();
                    return;
                }
            }
        }
        self.see_waiting(&waiting, run).await;
    }

    fn report(&self, run: Run) -> Run {
        metrics::counter!("relayed").increment(run.sent as u64);
        metrics::counter!("relay_failed").increment(run.failed as u64);
        // While not everything could be read the age is not zero but unknown. Not a gauge: that would be
        // repeated with every flush until the next one is set.
        let read_all = run.fault.is_none() && run.left == 0;
        if read_all || run.oldest_due_age_secs > 0 {
            let age_secs = u32::try_from(run.oldest_due_age_secs).unwrap_or(u32::MAX);
            metrics::histogram!("oldest_due_age").record(age_secs);
        }
        let fault = run.fault.as_ref().map(tracing::field::display);
        let Run { found, sent, failed, quarantined, left, oldest_due_age_secs, .. } = run;
        // A run with nothing to do is the rule: its line is for who looks closely, its metric for everyone.
        if found == 0 && fault.is_none() {
            tracing::debug!(target: "relay", found, sent, failed, quarantined, left, oldest_due_age_secs);
        } else {
            tracing::info!(target: "relay", found, sent, failed, quarantined, left, oldest_due_age_secs, fault);
        }
        run
    }

    /// Relays one page of due items.
    async fn relay(&self, due: &[Waiting], stop_at: Instant, run: &mut Run) -> Go {
        let now = self.clock.now();
        let found = match self.inbox.read(due).await {
            Ok(found) => found,
            Err(fault) => {
                run.left += due.len();
                run.note(fault);
                return Go::On;
            }
        };
        run.left += found.unprocessed;
        if found.unreadable > 0 {
            run.found += found.unreadable;
            run.failed += found.unreadable;
            // How old they are is not known: as old as the page's oldest, which they become.
            run.see_age(due.iter().map(|waiting| now.since(waiting.due_at)).max());
            run.note(Fault { action: "dynamodb:BatchGetItem", cause: Cause::Item });
        }
        let mut records = found.records;
        records.retain(|record| record.is_due(now));
        run.found += records.len();
        run.see_ages(&records, now);
        while !records.is_empty() {
            if Instant::now() >= stop_at {
                run.left += records.len();
                return Go::Home;
            }
            let rest = records.split_off(records.len().min(RELAY_BATCH_MESSAGES));
            let claimed = self.claim_all(std::mem::replace(&mut records, rest), run).await;
            let composed = self.compose_all(claimed, run).await;
            if self.send_all(composed, stop_at, run).await == Go::Home {
                run.left += records.len();
                return Go::Home;
            }
        }
        Go::On
    }

    /// The age of what is not due at the moment: in the hands of a handler, or put off after a failed attempt.
    async fn see_waiting(&self, waiting: &[Waiting], run: &mut Run) {
        let sample = waiting.get(..waiting.len().min(DUE_PAGE)).unwrap_or_default();
        match self.inbox.read(sample).await {
            Ok(found) => {
                let still: Vec<_> = found.records.into_iter().filter(DueRecord::waits).collect();
                run.see_ages(&still, self.clock.now());
            }
            Err(fault) => run.note(fault),
        }
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
                Ok(Claim::WithoutPayload(gone)) => {
                    self.give_up(&gone, Reason::PayloadGone, run).await;
                }
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
                Err(fault) if fault.cause == Cause::PayloadGone => {
                    self.give_up(&claimed, Reason::PayloadGone, run).await;
                }
                Err(fault) => run.fail(fault),
            }
        }
        composed
    }

    async fn send_all(&self, composed: Vec<(Claimed, Message)>, stop_at: Instant, run: &mut Run) -> Go {
        let send_by = stop_at + Duration::from_millis(RELAY_GRACE_MS / 2);
        let mut took_any = composed.is_empty();
        for mut batch in batches(composed, RELAY_LOAD, |(_, message)| message.bytes()) {
            let (now, in_time) = (self.clock.now(), Instant::now() < send_by);
            let claimed = batch.len();
            // What was claimed too long ago becomes due again.
            batch.retain(|(claimed, _)| in_time && claimed.lasts(now));
            run.left += claimed - batch.len();
            took_any |= batch.is_empty() || self.send(batch, run).await;
        }
        if took_any { Go::On } else { Go::Home }
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
                Sent::Refused(fault) => {
                    answered = true;
                    not_sent(&claimed, &fault);
                    self.refused(&claimed, run).await;
                }
                Sent::Failed(fault) => {
                    not_sent(&claimed, &fault);
                    run.fail(fault);
                }
            }
        }
        self.mark_all(to_mark, run).await;
        answered
    }

    async fn mark_all(&self, sent: Vec<Claimed>, run: &mut Run) {
        let marks: Vec<_> = stream::iter(sent)
            .map(async |claimed| {
                let mark = self.inbox.mark_claimed(&claimed, self.clock.now()).await;
                (claimed.key().provider().as_str(), mark)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        for (provider, mark) in marks {
            match mark {
                Ok(Written::Applied) => {}
                Ok(Written::Overtaken) => metrics::counter!("late_mark", "provider" => provider).increment(1),
                // Sent and not marked: it stays due, and is sent again under the same id.
                Err(fault) => run.note(fault),
            }
        }
    }

    /// A record that SQS refuses for what it is must not come back for ever: the tenth time it goes to
    /// quarantine.
    async fn refused(&self, claimed: &Claimed, run: &mut Run) {
        match self.inbox.note_refusal(claimed).await {
            Ok(Some(refusals)) if refusals >= RELAY_REFUSALS_MAX => {
                self.give_up(claimed, Reason::QueueRefused, run).await;
            }
            Ok(_) => run.failed += 1,
            Err(fault) => run.fail(fault),
        }
    }

    async fn give_up(&self, claimed: &Claimed, reason: Reason, run: &mut Run) {
        match self.inbox.give_up(claimed, reason, self.clock.now()).await {
            Ok(Written::Applied) => {
                run.quarantined += 1;
                count_reason("quarantined", Some(claimed.key().provider()), reason.as_str());
            }
            Ok(Written::Overtaken) => run.failed += 1,
            Err(fault) => run.fail(fault),
        }
    }
}

impl Run {
    fn see_ages(&mut self, records: &[DueRecord], now: UnixMillis) {
        self.see_age(records.iter().map(|record| now.since(record.wanted_at())).max());
    }

    fn see_age(&mut self, age: Option<Duration>) {
        self.oldest_due_age_secs = self.oldest_due_age_secs.max(age.unwrap_or_default().as_secs());
    }

    fn fail(&mut self, fault: Fault) {
        self.failed += 1;
        self.note(fault);
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

fn not_sent(claimed: &Claimed, fault: &Fault) {
    let event_id = claimed.key().event_id();
    tracing::warn!(target: "relay", event_id, attempts = claimed.attempts(), %fault, "not sent");
}
