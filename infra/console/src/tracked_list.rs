//! The lists of batches, schedules and submissions, and the form that has a batch tracked.

use std::collections::BTreeSet;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use inbox_aws::stores::{BatchFilter, ListPage, ScheduleFilter, SubmissionFilter, TrackOutcome};
use inbox_core::audit::OperatorAction;
use inbox_core::id::Id;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::timeline_status::{BatchStatus, SubmissionState};

use crate::app::{App, AppParts};
use crate::event_list::short_id;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::list_params::{PAGE_ITEMS, PageLinks, filters, page_start, parse, time_range};
use crate::operator_form::operator;
use crate::prose::{Prose, without_word};
use crate::time_text::{TimeTag, duration};
use crate::tracked_page::schedule_mark;
use crate::tracked_text::{batch_class, batch_status, schedule_status, submission_mark, submission_status};

type Pairs = Vec<(String, String)>;

/// A row of a list.
struct Row {
    id: String,
    short_id: String,
    link: String,
    state: String,
    state_class: &'static str,
    about: String,
    since: Option<TimeTag>,
    status: Prose,
}

/// A choice of the filter by state.
struct Tab {
    name: String,
    link: String,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "tracked_list.html")]
struct ListPageView {
    layout: Layout,
    path: &'static str,
    /// Parameter that the tabs set.
    state_name: &'static str,
    tabs: Vec<Tab>,
    params: Params,
    /// Filters besides the times: parameter and label.
    fields: Vec<(&'static str, &'static str)>,
    about_title: &'static str,
    rows: Vec<Row>,
    pages: PageLinks,
    is_filtered: bool,
    empty: &'static str,
    track_link: Option<&'static str>,
}

impl ListPageView {
    fn value(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
}

/// What is special about one of the three lists.
struct ListKind {
    section: Section,
    title: &'static str,
    path: &'static str,
    state_name: &'static str,
    states: Vec<&'static str>,
    fields: Vec<(&'static str, &'static str)>,
    about_title: &'static str,
    empty: &'static str,
}

/// `GET /batches`
pub(crate) async fn batches(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let (params, now) = (Params::new(query), app.now());
    let filter = BatchFilter {
        tracked: time_range(&params, now)?,
        schedule_id: parse(&params, "schedule", |text| Id::new(text))?,
        subject: parse(&params, "subject", |text| text.parse().ok())?,
        status: parse(&params, "state", batch_status_named)?,
    };
    let operator = &app.stores().operator;
    let page = operator.list_batches(&filter, &page_start(&params)?, PAGE_ITEMS).await?;
    let completions = operator.completions_of(page.items.iter().map(|batch| &batch.tracked.batch_id)).await?;
    let rows = page.items.iter().map(|batch| {
        let (id, status) =
            (batch.tracked.batch_id.as_str(), BatchStatus::of(batch.done_at, batch.overdue_at));
        Row {
            id: id.to_owned(),
            short_id: short_id(id),
            link: href("/batch", "id", id),
            state: status.as_str().to_owned(),
            state_class: batch_class(status),
            about: batch.results(completions.get(&batch.tracked.batch_id)).to_short_text(),
            since: TimeTag::optional(batch.tracked_at, now),
            status: Prose::new(without_word(&batch_status(batch, now), status.as_str())),
        }
    });
    let kind = ListKind {
        section: Section::Batches,
        title: "Batches",
        path: "/batches",
        state_name: "state",
        states: BATCH_STATUSES.iter().map(|status| status.as_str()).collect(),
        fields: vec![("schedule", "Run of the schedule"), ("subject", "Subject")],
        about_title: "Results",
        empty: "No batch is tracked yet. Batches that are submitted through rightfoot-requests are.",
    };
    let mut view = kind.view(&app, params, rows.collect(), &page);
    view.track_link = (!app.facts.is_read_only).then_some("/batches/track");
    Ok(html(&view))
}

const BATCH_STATUSES: [BatchStatus; 3] = [BatchStatus::Overdue, BatchStatus::Tracked, BatchStatus::Settled];

fn batch_status_named(name: &str) -> Option<BatchStatus> {
    BATCH_STATUSES.into_iter().find(|status| status.as_str() == name)
}

/// `GET /schedules`
pub(crate) async fn schedules(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let (params, now) = (Params::new(query), app.now());
    let filter = ScheduleFilter {
        tracked: time_range(&params, now)?,
        subject: parse(&params, "subject", |text| text.parse().ok())?,
        is_polled: parse(&params, "state", |name| match name {
            "tracked" => Some(true),
            "ended" => Some(false),
            _ => None,
        })?,
    };
    let page = app.stores().operator.list_schedules(&filter, &page_start(&params)?, PAGE_ITEMS).await?;
    let rows = page.items.iter().map(|item| {
        let (id, mark) = (item.schedule.schedule_id.as_str(), schedule_mark(item));
        Row {
            id: id.to_owned(),
            short_id: short_id(id),
            link: href("/schedule", "id", id),
            state: mark.1.to_owned(),
            state_class: mark.0,
            about: match item.schedule.last_run_seen {
                Some(at) => format!("last run seen {}", at.rfc3339()),
                None => "no run seen yet".to_owned(),
            },
            since: Some(TimeTag::new(item.schedule.since, now)),
            status: Prose::new(&schedule_status(item, now)),
        }
    });
    let kind = ListKind {
        section: Section::Schedules,
        title: "Schedules",
        path: "/schedules",
        state_name: "state",
        states: vec!["tracked", "ended"],
        fields: vec![("subject", "Subject")],
        about_title: "Runs",
        empty: "No schedule is tracked yet. Schedules that are submitted through rightfoot-requests are.",
    };
    Ok(html(&kind.view(&app, params, rows.collect(), &page)))
}

/// `GET /submissions`
pub(crate) async fn submissions(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let (params, now) = (Params::new(query), app.now());
    let filter = SubmissionFilter {
        written: time_range(&params, now)?,
        kind: parse(&params, "kind", SubmissionKind::from_name)?,
        state: parse(&params, "state", submission_state_named)?,
    };
    let page = app.stores().operator.list_submissions(&filter, &page_start(&params)?, PAGE_ITEMS).await?;
    let rows = page.items.iter().map(|item| {
        let (id, mark) = (item.submission_id.as_str(), submission_mark(item));
        Row {
            id: id.to_owned(),
            short_id: short_id(id),
            link: href("/submission", "id", id),
            state: mark.1.to_owned(),
            state_class: mark.0,
            about: format!("of a {}", item.kind.as_str()),
            since: Some(TimeTag::new(item.written_at, now)),
            status: Prose::new(&submission_status(item, now)),
        }
    });
    let kind = ListKind {
        section: Section::Submissions,
        title: "Submissions",
        path: "/submissions",
        state_name: "state",
        states: SubmissionState::ALL.iter().map(|state| state.as_str()).collect(),
        fields: vec![("kind", "Of a (batch, schedule)")],
        about_title: "Kind",
        empty: "Nothing was submitted through rightfoot-requests yet.",
    };
    Ok(html(&kind.view(&app, params, rows.collect(), &page)))
}

fn submission_state_named(name: &str) -> Option<SubmissionState> {
    SubmissionState::ALL.iter().copied().find(|state| state.as_str() == name)
}

impl ListKind {
    fn view<T>(self, app: &AppParts, params: Params, rows: Vec<Row>, page: &ListPage<T>) -> ListPageView {
        let own_filters = filters(&params);
        let others = own_filters.without(&[self.state_name]);
        let current = params.get(self.state_name);
        let all = Tab { name: "all".to_owned(), link: others.href(self.path), is_current: current.is_none() };
        let of_state = |state: &&'static str| Tab {
            name: state.replace('_', " "),
            link: others.clone().with(self.state_name, *state).href(self.path),
            is_current: current == Some(state),
        };
        let words: Vec<_> = own_filters.pairs().map(|(name, value)| format!("{name} {value}")).collect();
        let title = match words.as_slice() {
            [] => self.title.to_owned(),
            words => format!("{}: {}", self.title, words.join(", ")),
        };
        ListPageView {
            layout: Layout::new(app, self.section, title),
            tabs: std::iter::once(all).chain(self.states.iter().map(of_state)).collect(),
            pages: PageLinks::new(self.path, &params, page),
            path: self.path,
            state_name: self.state_name,
            fields: self.fields,
            about_title: self.about_title,
            rows,
            is_filtered: !words.is_empty(),
            empty: self.empty,
            track_link: None,
            params,
        }
    }
}

#[derive(Template)]
#[template(path = "track_batch.html")]
struct TrackPage {
    layout: Layout,
    id: String,
    first_poll: String,
    operator_name: String,
}

/// `GET /batches/track`
pub(crate) async fn plan_tracking(State(app): State<App>, Query(query): Query<Pairs>) -> Response {
    let params = Params::new(query);
    html(&TrackPage {
        layout: Layout::new(&app, Section::Batches, "Track a batch"),
        id: params.get("id").unwrap_or_default().to_owned(),
        first_poll: duration(app.inbox.poll_timing.first),
        operator_name: app.operator_name(),
    })
}

/// `POST /batches/track`
pub(crate) async fn track(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let form = Params::new(form);
    let batch = tracked_batch(&app, &form)?;
    // Reads from AWS first: the clock is compared with the last answer.
    app.stores().events.tracked_subject(&batch.batch_id).await?;
    let by = operator(&app, &form)?.audit_entry(OperatorAction::Track, app.now());
    let first_poll = by.at.plus(app.inbox.poll_timing.first);
    let tracking = app.stores().submissions.track_audited(&batch, first_poll, &by);
    match Box::pin(tracking).await? {
        TrackOutcome::Started | TrackOutcome::AlreadyTracked => {
            let link = Params::default().with("id", batch.batch_id.as_str()).with("done", "tracked");
            Ok(Redirect::to(&link.href("/batch")).into_response())
        }
        TrackOutcome::Mismatch(field) => {
            Err(PageError::BadRequest(format!("The batch is tracked already, with another {field}.")))
        }
    }
}

fn tracked_batch(app: &AppParts, form: &Params) -> Result<TrackedBatch, PageError> {
    let wrong = |text: &str| PageError::BadRequest(text.to_owned());
    let failed: BTreeSet<Id> =
        form.get("failed").unwrap_or_default().split_whitespace().filter_map(Id::new).collect();
    let expected = form.get("expected").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if expected == 0 || u64::try_from(failed.len()).is_ok_and(|failed| failed > expected) {
        return Err(wrong("At least one result is expected, and as many as were excluded."));
    }
    Ok(TrackedBatch {
        batch_id: form.get("id").and_then(Id::new).ok_or_else(|| wrong("Give the batch's id."))?,
        subject: parse(form, "subject", |text| text.parse().ok())?,
        schedule_id: None,
        expected,
        failed_authorizers: failed,
        deadline: app.now().plus(app.inbox.poll_timing.deadline),
        polls: 0,
    })
}
