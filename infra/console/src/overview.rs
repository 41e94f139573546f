//! The overview: the way from delivery to effect with what waits at each step, the findings of the checks, and the latest
//! events. It reads indexes only, a limited number of entries each.

use std::time::Duration;

use askama::Template;
use aws_sdk_sqs::types::QueueAttributeName;
use axum::extract::State;
use axum::response::Response;
use inbox_aws::AwsError;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::{DueKey, EventFilter, PageStart};
use inbox_core::due_queue::DueQueue;
use inbox_core::lateness::is_late;
use inbox_core::lifecycle::EventState;
use inbox_core::list_kind::ListKind;
use inbox_core::time::UnixMillis;

use crate::app::{App, AppParts};
use crate::charts::Chart;
use crate::event_list::EventRow;
use crate::host::FindingStatus;
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::prose::Prose;
use crate::time_text::{TimeTag, age};

/// Entries that a count reads of each index.
const COUNTED_MAX: usize = 100;
/// Events that the page lists.
const LATEST: usize = 20;
/// Age up to which the flow is used for other tabs, too.
const FLOW_MAX_AGE: Duration = Duration::from_secs(3);
/// Age up to which findings are used. Their checks make dozens of calls.
const FINDINGS_MAX_AGE: Duration = Duration::from_secs(60);
/// Age up to which charts are used. They read up to 10,000 entries of an index.
const CHARTS_MAX_AGE: Duration = Duration::from_secs(10);

/// A step of the way from delivery to effect, or a place where things wait for somebody.
struct FlowStep {
    name: &'static str,
    count: String,
    detail: String,
    link: &'static str,
    is_late: bool,
}

#[derive(Template)]
#[template(path = "overview_flow.html")]
struct FlowView {
    steps: Vec<FlowStep>,
    places: Vec<FlowStep>,
}

#[derive(Template)]
#[template(path = "overview_latest.html")]
struct LatestView {
    rows: Vec<EventRow>,
    can_check: bool,
}

#[derive(Template)]
#[template(path = "overview_findings.html")]
struct FindingsView {
    /// Worst first, without the good ones.
    findings: Vec<FindingRow>,
    good: usize,
    not_checked: usize,
    error: Option<String>,
    as_of: TimeTag,
}

struct FindingRow {
    check: String,
    status: &'static str,
    class: &'static str,
    finding: Prose,
    advice: Option<Prose>,
}

#[derive(Template)]
#[template(path = "overview_charts.html")]
struct ChartsView {
    charts: Vec<Chart>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
    flow: Rendered,
    latest: Rendered,
}

#[derive(Template)]
#[template(path = "checks.html")]
struct ChecksPage {
    layout: Layout,
    findings: Rendered,
}

/// A part that was rendered, and so escaped, before.
struct Rendered(String);

impl std::fmt::Display for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// It holds the output of a template, which escapes what it shows.
impl askama::filters::HtmlSafe for Rendered {}

/// `GET /`
pub(crate) async fn show(State(app): State<App>) -> Result<Response, PageError> {
    let (flow, latest) = (Rendered(flow(&app).await?), Rendered(latest(&app).await?));
    Ok(html(&OverviewPage { layout: Layout::new(&app, Section::Overview, "Overview"), flow, latest }))
}

/// `GET /overview/flow`
pub(crate) async fn show_flow(State(app): State<App>) -> Result<Response, PageError> {
    let text = flow(&app).await?;
    Ok(fragment(&app, text))
}

/// `GET /overview/latest`
pub(crate) async fn show_latest(State(app): State<App>) -> Result<Response, PageError> {
    let text = latest(&app).await?;
    Ok(fragment(&app, text))
}

/// `GET /overview/charts`
pub(crate) async fn show_charts(State(app): State<App>) -> Result<Response, PageError> {
    let text = app.snapshots.get("charts", CHARTS_MAX_AGE, Box::pin(render_charts(&app))).await?;
    Ok(fragment(&app, text))
}

/// `GET /overview/findings`
pub(crate) async fn show_findings(State(app): State<App>) -> Result<Response, PageError> {
    let text = findings(&app).await?;
    Ok(fragment(&app, text))
}

/// `GET /checks`: the findings as a page of their own.
pub(crate) async fn show_checks(State(app): State<App>) -> Result<Response, PageError> {
    let findings = Rendered(findings(&app).await?);
    Ok(html(&ChecksPage { layout: Layout::new(&app, Section::None, "Checks"), findings }))
}

async fn flow(app: &AppParts) -> Result<String, PageError> {
    app.snapshots.get("flow", FLOW_MAX_AGE, Box::pin(render_flow(app))).await
}

async fn latest(app: &AppParts) -> Result<String, PageError> {
    app.snapshots.get("latest", FLOW_MAX_AGE, Box::pin(render_latest(app))).await
}

async fn findings(app: &AppParts) -> Result<String, PageError> {
    app.snapshots.get("findings", FINDINGS_MAX_AGE, Box::pin(render_findings(app))).await
}

async fn render_flow(app: &AppParts) -> Result<String, PageError> {
    let (all, newest, now) = (EventFilter::default(), PageStart::Newest, app.now());
    let (latest, outbox, polls, quarantine, queue, dead) = futures::try_join!(
        app.stores().operator.list_events(&all, &newest, LATEST, now),
        waiting(app, DueQueue::Outbox),
        waiting(app, DueQueue::Poll),
        waiting(app, DueQueue::Quarantine),
        async { Ok(queue_counts(app, &app.inbox.events_queue_url).await) },
        async { Ok(queue_counts(app, &app.inbox.dead_letter_queue_url).await) },
    )?;
    let dead_letters = count_or_error(&dead, |it| it.visible, "given up after five receives");
    let steps = way_steps(&latest.items, &outbox, &queue, now);
    let places = vec![
        polls.step(
            "Polled at Rightfoot",
            "/batches?state=tracked",
            ["nothing is tracked", "batches, schedules, submissions; the next"],
            now,
        ),
        quarantine
            .step("In quarantine", "/quarantine", ["nothing is open", "the oldest"], now)
            .late_if(!quarantine.keys.is_empty()),
        FlowStep::new("Dead letters", dead_letters.0, dead_letters.1, "/dead-letters")
            .late_if(dead.is_ok_and(|it| it.visible > 0)),
    ];
    render(&FlowView { steps, places })
}

async fn render_latest(app: &AppParts) -> Result<String, PageError> {
    let (all, newest, now) = (EventFilter::default(), PageStart::Newest, app.now());
    let page = app.stores().operator.list_events(&all, &newest, LATEST, now).await?;
    let rows = page.items.iter().map(|event| EventRow::new(event, now)).collect();
    render(&LatestView { rows, can_check: false })
}

/// The steps from delivery to effect.
fn way_steps(
    latest: &[EventRecord],
    outbox: &Waiting,
    queue: &Result<QueueCounts, AwsError>,
    now: UnixMillis,
) -> Vec<FlowStep> {
    let done = latest.iter().filter(|event| event.lifecycle.state(now) == EventState::Done).count();
    let last = latest.first().map_or("none".to_owned(), |it| age(it.received_at, now));
    let waiting = count_or_error(queue, |it| it.visible, "wait for the worker");
    let working = count_or_error(queue, |it| it.in_process, "received, and not deleted yet");
    vec![
        FlowStep::new("Received and recorded", last, "the last event", "/events"),
        outbox.step(
            "Wait for the relay",
            "/events?state=recorded",
            ["nothing waits", "new, replayed or requeued; the first is due"],
            now,
        ),
        FlowStep::new("On the queue", waiting.0, waiting.1, "/events?state=sent"),
        FlowStep::new("In the worker", working.0, working.1, "/events?state=claimed"),
        FlowStep::new(
            "Done",
            format!("{done} of {}", latest.len()),
            "of the latest events",
            "/events?state=done",
        ),
    ]
}

impl FlowStep {
    fn new(name: &'static str, count: String, detail: impl Into<String>, link: &'static str) -> Self {
        Self { name, count, detail: detail.into(), link, is_late: false }
    }

    fn late_if(self, is_late: bool) -> Self {
        Self { is_late, ..self }
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

async fn render_findings(app: &AppParts) -> Result<String, PageError> {
    let as_of = TimeTag::new(app.now(), app.now());
    let (mut all, error) = match app.host.check().await {
        Ok(findings) => (findings, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let count = |status| all.iter().filter(|it| it.status == status).count();
    let (good, not_checked) = (count(FindingStatus::Ok), count(FindingStatus::Skipped));
    all.retain(|it| !matches!(it.status, FindingStatus::Ok | FindingStatus::Skipped));
    all.sort_by_key(|it| std::cmp::Reverse(it.status));
    let findings = all.into_iter().map(|finding| FindingRow {
        class: match finding.status {
            FindingStatus::Fail => "bad",
            FindingStatus::Warn | FindingStatus::Unknown => "warn",
            FindingStatus::Ok | FindingStatus::Skipped => "good",
        },
        check: finding.check,
        status: finding.status.as_str(),
        finding: Prose::new(&finding.finding),
        advice: finding.advice.as_deref().map(Prose::new),
    });
    render(&FindingsView { findings: findings.collect(), good, not_checked, error, as_of })
}

async fn render_charts(app: &AppParts) -> Result<String, PageError> {
    let now = app.now();
    let mut charts = Vec::new();
    for (kind, title) in [
        (ListKind::Event, "Events received"),
        (ListKind::Batch, "Batches tracked"),
        (ListKind::Quarantine, "Quarantined"),
    ] {
        let places = app.stores().operator.newest_places(kind).await?;
        let times: Vec<_> = places.iter().map(|place| place.at).collect();
        charts.push(Chart::of_last_hour(title, &times, now));
    }
    render(&ChartsView { charts })
}
