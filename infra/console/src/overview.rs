//! The overview: the way from delivery to effect, the findings of the checks, the latest events, and the last hour. It reads
//! indexes only, a limited number of entries each.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use inbox_core::list_kind::ListKind;

use crate::app::{App, AppParts};
use crate::charts::Chart;
use crate::event_list::EventRow;
use crate::host::FindingStatus;
use crate::last_hour::{LastHour, MetricSource, OverviewMetric};
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::overview_flow::{FlowView, read_inbox};
use crate::prose::Prose;
use crate::time_text::TimeTag;

/// Age up to which findings are used. Their checks make dozens of calls.
const FINDINGS_MAX_AGE: Duration = Duration::from_secs(60);
/// Age up to which metrics of CloudWatch are used, and its errors: each request costs, and metrics have a value a minute.
const CLOUDWATCH_MAX_AGE: Duration = Duration::from_secs(60);
/// Age up to which the local system's own count is used.
const LOCAL_MAX_AGE: Duration = Duration::from_secs(2);
/// Age up to which the flow shows metrics. While the page is looked at, they are younger.
const SHOWN_METRICS_MAX_AGE: Duration = Duration::from_secs(3 * 60);
/// Age up to which charts of indexes are used. They read up to 10,000 entries of an index.
const INDEX_CHARTS_MAX_AGE: Duration = Duration::from_secs(10);
/// Name of the snapshot of metrics.
const METRICS: &str = "metrics";

/// Metrics of the last hour, or why there are none.
type Metrics = Arc<Result<LastHour, String>>;

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
    /// Where the numbers are from.
    source: &'static str,
    /// Why they are not from CloudWatch.
    error: Option<String>,
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

#[derive(Template)]
#[template(path = "last_hour.html")]
struct LastHourPage {
    layout: Layout,
    charts: Rendered,
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
    let text = charts(&app).await?;
    Ok(fragment(&app, text))
}

/// `GET /last-hour`: the charts as a page of their own.
pub(crate) async fn show_last_hour(State(app): State<App>) -> Result<Response, PageError> {
    let charts = Rendered(charts(&app).await?);
    Ok(html(&LastHourPage { layout: Layout::new(&app, Section::None, "The last hour"), charts }))
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

/// It does not wait for metrics: the charts do, and from then on the flow has them.
async fn flow(app: &AppParts) -> Result<String, PageError> {
    let reads = read_inbox(app).await?;
    let metrics = app.snapshots.peek::<Metrics>(METRICS, SHOWN_METRICS_MAX_AGE);
    let hour = metrics.as_deref().and_then(|metrics| metrics.as_ref().ok());
    render(&FlowView::new(&reads, hour, app.now()))
}

async fn latest(app: &AppParts) -> Result<String, PageError> {
    let (reads, now) = (read_inbox(app).await?, app.now());
    let rows = reads.latest.iter().map(|event| EventRow::new(event, now)).collect();
    render(&LatestView { rows, can_check: false })
}

/// Charts of the metrics; of the indexes, if there are no metrics.
async fn charts(app: &AppParts) -> Result<String, PageError> {
    match metrics(app).await.as_ref() {
        Ok(hour) => render_charts(hour),
        Err(error) => {
            let index_charts = Box::pin(render_index_charts(app, error));
            app.snapshots.get("index charts", INDEX_CHARTS_MAX_AGE, index_charts).await
        }
    }
}

async fn metrics(app: &AppParts) -> Metrics {
    let last = app.snapshots.peek::<Metrics>(METRICS, CLOUDWATCH_MAX_AGE);
    let is_local = last.is_some_and(|last| matches!(*last, Ok(LastHour { source: MetricSource::Local, .. })));
    let max_age = if is_local { LOCAL_MAX_AGE } else { CLOUDWATCH_MAX_AGE };
    // An error is kept, too: a permission that is missing is not asked for every few seconds.
    let read = async { Ok::<_, std::convert::Infallible>(Arc::new(app.host.last_hour().await)) };
    match app.snapshots.get(METRICS, max_age, Box::pin(read)).await {
        Ok(metrics) => metrics,
        Err(never) => match never {},
    }
}

async fn findings(app: &AppParts) -> Result<String, PageError> {
    app.snapshots.get("findings", FINDINGS_MAX_AGE, Box::pin(render_findings(app))).await
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

fn render_charts(hour: &LastHour) -> Result<String, PageError> {
    let charts = vec![
        Chart::of_counts("Received", hour, OverviewMetric::Received),
        Chart::of_counts("Published", hour, OverviewMetric::Published),
        Chart::of_counts("Quarantined", hour, OverviewMetric::Quarantined),
        Chart::of_ages("Oldest message on the queue", hour, OverviewMetric::OldestMessageSecs),
    ];
    let source = match hour.source {
        MetricSource::CloudWatch => "From CloudWatch, which is a minute or two behind.",
        MetricSource::Local => "Counted by the local system since its start.",
    };
    render(&ChartsView { charts, source, error: None })
}

async fn render_index_charts(app: &AppParts, error: &str) -> Result<String, PageError> {
    let now = app.now();
    let mut charts = Vec::new();
    for (kind, title) in [
        (ListKind::Event, "Events received"),
        (ListKind::Batch, "Batches tracked"),
        (ListKind::Quarantine, "Quarantined"),
    ] {
        let places = app.stores().operator.newest_places(kind).await?;
        let times: Vec<_> = places.iter().map(|place| place.at).collect();
        charts.push(Chart::of_times(title, &times, now));
    }
    let counted = "Counted from the lists, without rates:";
    render(&ChartsView { charts, source: counted, error: Some(error.to_owned()) })
}
