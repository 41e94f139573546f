//! The way from delivery to effect: what waits at each step, how fast it goes on, and the oldest age.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use aws_sdk_sqs::types::QueueAttributeName;
use inbox_aws::AwsError;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::{DueKey, EventFilter, PageStart};
use inbox_core::due_queue::DueQueue;
use inbox_core::lateness::{is_late, is_message_late};
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

use crate::app::AppParts;
use crate::last_hour::{LastHour, OverviewMetric};
use crate::layout::PageError;
use crate::time_text::{age, duration};

/// Entries that a count reads of each index.
const COUNTED_MAX: usize = 100;
/// Events that the page lists.
const LATEST: usize = 20;
/// Age up to which what was read is used, for other tabs and for each part of the page.
const MAX_AGE: Duration = Duration::from_secs(3);

/// What the overview shows of indexes and queues, read at once.
pub(crate) struct InboxReads {
    /// The latest events, the newest first.
    pub(crate) latest: Vec<EventRecord>,
    outbox: Waiting,
    polls: Waiting,
    quarantine: Waiting,
    queue: Result<QueueCounts, AwsError>,
    dead_letters: Result<QueueCounts, AwsError>,
}

/// Reads the inbox, or takes what was read a moment ago.
pub(crate) async fn read_inbox(app: &AppParts) -> Result<Arc<InboxReads>, PageError> {
    app.snapshots.get("inbox", MAX_AGE, Box::pin(read_now(app))).await
}

async fn read_now(app: &AppParts) -> Result<Arc<InboxReads>, PageError> {
    let (all, newest) = (EventFilter::default(), PageStart::Newest);
    let (latest, outbox, polls, quarantine, queue, dead_letters) = futures::try_join!(
        app.stores().operator.list_events(&all, &newest, LATEST, app.now()),
        waiting(app, DueQueue::Outbox),
        waiting(app, DueQueue::Poll),
        waiting(app, DueQueue::Quarantine),
        async { Ok(queue_counts(app, &app.inbox.events_queue_url).await) },
        async { Ok(queue_counts(app, &app.inbox.dead_letter_queue_url).await) },
    )?;
    Ok(Arc::new(InboxReads { latest: latest.items, outbox, polls, quarantine, queue, dead_letters }))
}

/// A step of the way from delivery to effect, or a place where things wait for somebody.
struct FlowStep {
    name: &'static str,
    count: String,
    detail: String,
    /// Rates; `None` if they are not known.
    rate: Option<String>,
    link: &'static str,
    is_late: bool,
}

#[derive(Template)]
#[template(path = "overview_flow.html")]
pub(crate) struct FlowView {
    steps: Vec<FlowStep>,
    places: Vec<FlowStep>,
}

impl FlowView {
    /// The flow; without rates and ages of messages if the last hour is not known.
    pub(crate) fn new(reads: &InboxReads, hour: Option<&LastHour>, now: UnixMillis) -> Self {
        Self { steps: way_steps(reads, hour, now), places: places(reads, hour, now) }
    }
}

/// The steps from delivery to effect.
fn way_steps(reads: &InboxReads, hour: Option<&LastHour>, now: UnixMillis) -> Vec<FlowStep> {
    let latest = &reads.latest;
    let done = latest.iter().filter(|event| event.lifecycle.state(now) == EventState::Done).count();
    let last = latest.first().map_or("none".to_owned(), |it| age(it.received_at, now));
    let (waiting, wait) = count_or_error(&reads.queue, |it| it.visible, "wait for the worker");
    let (working, work) = count_or_error(&reads.queue, |it| it.in_process, "received, and not deleted yet");
    let oldest_secs = oldest_secs(hour, OverviewMetric::OldestMessageSecs, &reads.queue);
    vec![
        FlowStep::new("Received and recorded", last, "the last event", "/events").with_rates(
            hour,
            &[
                (OverviewMetric::Received, "received"),
                (OverviewMetric::Recorded, "recorded"),
                (OverviewMetric::Duplicate, "duplicate"),
            ],
        ),
        reads.outbox.step(
            "Wait for the relay",
            "/events?state=recorded",
            ["nothing waits", "new, replayed or requeued; the first is due"],
            now,
        ),
        FlowStep::new("On the queue", waiting, with_oldest(&wait, oldest_secs), "/events?state=sent")
            .with_rates(hour, &[(OverviewMetric::Enqueued, "enqueued")])
            .late_if(oldest_secs.is_some_and(is_message_late)),
        FlowStep::new("In the worker", working, work, "/events?state=claimed")
            .with_rates(hour, &[(OverviewMetric::Processed, "processed")]),
        FlowStep::new(
            "Done",
            format!("{done} of {}", latest.len()),
            "of the latest events",
            "/events?state=done",
        )
        .with_rates(hour, &[(OverviewMetric::Published, "published")]),
    ]
}

/// The places beside the way.
fn places(reads: &InboxReads, hour: Option<&LastHour>, now: UnixMillis) -> Vec<FlowStep> {
    let (count, detail) =
        count_or_error(&reads.dead_letters, |it| it.visible, "given up after five receives");
    let oldest_secs = oldest_secs(hour, OverviewMetric::OldestDeadLetterSecs, &reads.dead_letters);
    vec![
        reads.polls.step(
            "Polled at Rightfoot",
            "/batches?state=tracked",
            ["nothing is tracked", "batches, schedules, submissions; the next"],
            now,
        ),
        reads
            .quarantine
            .step("In quarantine", "/quarantine", ["nothing is open", "the oldest"], now)
            .with_rates(hour, &[(OverviewMetric::Quarantined, "quarantined")])
            .late_if(!reads.quarantine.keys.is_empty()),
        FlowStep::new("Dead letters", count, with_oldest(&detail, oldest_secs), "/dead-letters")
            .late_if(reads.dead_letters.as_ref().is_ok_and(|it| it.visible > 0)),
    ]
}

impl FlowStep {
    fn new(name: &'static str, count: String, detail: impl Into<String>, link: &'static str) -> Self {
        Self { name, count, detail: detail.into(), rate: None, link, is_late: false }
    }

    fn late_if(self, is_late: bool) -> Self {
        Self { is_late, ..self }
    }

    /// Adds rates, each with its word.
    fn with_rates(self, hour: Option<&LastHour>, metrics: &[(OverviewMetric, &str)]) -> Self {
        let rates = hour.map(|hour| {
            let rates = metrics.iter().map(|(metric, word)| format!("{} {word}", hour.rate(*metric)));
            format!("{} a minute", rates.collect::<Vec<_>>().join(", "))
        });
        Self { rate: rates, ..self }
    }
}

/// Age of the oldest message of a queue that is not empty, in seconds. An age may be a minute old, when the message is gone.
fn oldest_secs(
    hour: Option<&LastHour>,
    metric: OverviewMetric,
    counts: &Result<QueueCounts, AwsError>,
) -> Option<u64> {
    let has_messages = counts.as_ref().is_ok_and(|it| it.visible + it.in_process > 0);
    hour.filter(|_| has_messages)?.latest(metric)
}

fn with_oldest(detail: &str, oldest_secs: Option<u64>) -> String {
    match oldest_secs {
        Some(secs) => format!("{detail}; the oldest is {} old", duration(Duration::from_secs(secs))),
        None => detail.to_owned(),
    }
}

/// What waits in a due queue: the first entries, the one that is due for longest first.
struct Waiting {
    keys: Vec<DueKey>,
    has_more: bool,
}

async fn waiting(app: &AppParts, queue: DueQueue) -> Result<Waiting, AwsError> {
    let (keys, has_more) = app.stores().due_index.list_due_keys(queue, None, COUNTED_MAX).await?;
    Ok(Waiting { keys, has_more })
}

impl Waiting {
    fn count(&self) -> String {
        format!("{}{}", self.keys.len(), if self.has_more { "+" } else { "" })
    }

    fn is_late(&self, now: UnixMillis) -> bool {
        self.keys.first().is_some_and(|oldest| is_late(oldest.due_at, now))
    }

    /// The step that this is a queue of. `words` are for an empty queue, and before the age of the first entry.
    fn step(
        &self,
        name: &'static str,
        link: &'static str,
        [if_empty, first_is]: [&str; 2],
        now: UnixMillis,
    ) -> FlowStep {
        let first = self.keys.first();
        let detail = first.map_or(if_empty.to_owned(), |it| format!("{first_is} {}", age(it.due_at, now)));
        FlowStep::new(name, self.count(), detail, link).late_if(self.is_late(now))
    }
}

/// Numbers of messages, as SQS estimates them.
struct QueueCounts {
    visible: u64,
    in_process: u64,
}

/// A count and its explanation; a question mark and the error if SQS does not say it.
fn count_or_error(
    counts: &Result<QueueCounts, AwsError>,
    count: impl Fn(&QueueCounts) -> u64,
    detail: &str,
) -> (String, String) {
    match counts {
        Ok(counts) => (count(counts).to_string(), detail.to_owned()),
        Err(error) => ("?".to_owned(), error.to_string()),
    }
}

async fn queue_counts(app: &AppParts, url: &str) -> Result<QueueCounts, AwsError> {
    let request = app
        .inbox
        .sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
    let answer =
        request.send().await.map_err(|error| AwsError::from_sdk_error("sqs:GetQueueAttributes", &error))?;
    let count = |name: QueueAttributeName| {
        let text = answer.attributes().and_then(|all| all.get(&name));
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    Ok(QueueCounts {
        visible: count(QueueAttributeName::ApproximateNumberOfMessages),
        in_process: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
    })
}
