//! The frame of every page, and the pages that say that something is wrong.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use inbox_aws::AwsError;

use crate::app::{App, AppParts, StackFacts};
use crate::assets;
use crate::time_text::time_of_day;

/// The part of the console that a page belongs to, marked in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Events,
    Batches,
    Schedules,
    Submissions,
    Quarantine,
    DeadLetters,
    Missed,
    Audit,
    Send,
    /// No part of the navigation.
    None,
}

/// A link of the navigation.
pub(crate) struct NavLink {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) is_current: bool,
}

/// What every page shows.
pub(crate) struct Layout {
    /// Title, which no other page has.
    pub(crate) title: String,
    section: Section,
    pub(crate) facts: StackFacts,
    /// Time of day in UTC at which the page was made.
    pub(crate) as_of: String,
    /// The same time in milliseconds, for the ages that the script keeps right.
    pub(crate) now_ms: i64,
    /// Text of the search box.
    pub(crate) search: String,
    /// Result of the last action.
    pub(crate) notice: Option<String>,
}

impl Layout {
    pub(crate) fn new(app: &AppParts, section: Section, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section,
            facts: app.facts.clone(),
            as_of: time_of_day(app.now()),
            now_ms: app.now().0,
            search: String::new(),
            notice: None,
        }
    }

    pub(crate) fn with_notice(self, notice: Option<String>) -> Self {
        Self { notice, ..self }
    }

    pub(crate) fn navigation(&self) -> impl Iterator<Item = NavLink> {
        const LINKS: [(Section, &str, &str); 10] = [
            (Section::Overview, "Overview", "/"),
            (Section::Events, "Events", "/events"),
            (Section::Batches, "Batches", "/batches"),
            (Section::Schedules, "Schedules", "/schedules"),
            (Section::Submissions, "Submissions", "/submissions"),
            (Section::Quarantine, "Quarantine", "/quarantine"),
            (Section::DeadLetters, "Dead letters", "/dead-letters"),
            (Section::Missed, "Missed", "/missed"),
            (Section::Audit, "Audit", "/audit"),
            (Section::Send, "Send", "/send"),
        ];
        let section = self.section;
        LINKS.into_iter().map(move |(of, name, path)| NavLink { name, path, is_current: of == section })
    }

    pub(crate) fn style(&self) -> &'static str {
        assets::STYLE
    }

    pub(crate) fn script(&self) -> &'static str {
        assets::SCRIPT
    }
}

/// Renders a page.
pub(crate) fn html(page: &impl Template) -> Response {
    html_with(StatusCode::OK, page)
}

fn html_with(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], visible(&text)).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown").into_response(),
    }
}

/// Escapes control and format characters, as on a terminal: senders and operators choose texts, and these characters could
/// reorder what a person reads. Templates hold none but line breaks.
fn visible(html: &str) -> String {
    inbox_aws::escape::text(html)
}

/// Renders a part of a page.
pub(crate) fn render(part: &impl Template) -> Result<String, PageError> {
    part.render().map_err(|_| PageError::Failed("This part cannot be shown.".to_owned()))
}

/// A part of a page that the script puts into the page, with the time at which it was asked for.
pub(crate) fn fragment(app: &AppParts, text: String) -> Response {
    let as_of = (HeaderName::from_static("console-as-of"), time_of_day(app.now()));
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (as_of.0, as_of.1)];
    (headers, visible(&text)).into_response()
}

/// An error that a page shows.
#[derive(Clone, Debug)]
pub(crate) enum PageError {
    /// There is no such thing, or its record has expired.
    NotFound(String),
    /// The request lacks something, or has a wrong value.
    BadRequest(String),
    /// An AWS call failed.
    Aws(AwsError),
    /// Another error of the program that serves the console.
    Failed(String),
}

impl From<AwsError> for PageError {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

impl PageError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Aws(_) | Self::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "Not found",
            Self::BadRequest(_) => "Not understood",
            Self::Aws(_) => "An AWS call failed",
            Self::Failed(_) => "It did not work",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NotFound(text) | Self::BadRequest(text) | Self::Failed(text) => text.clone(),
            Self::Aws(error) => {
                format!("{error}. Nothing is known beyond this: reload the page to try again.")
            }
        }
    }
}

/// A response that [`show_errors`] replaces by a page.
impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns errors into pages.
pub(crate) async fn show_errors(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<PageError>() {
        Some(error) => error_page(&app, error.status(), error.title(), &error.text()),
        None => response,
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    layout: Layout,
    text: &'a str,
}

/// A page that says what is wrong.
pub(crate) fn error_page(app: &App, status: StatusCode, title: &str, text: &str) -> Response {
    html_with(status, &ErrorPage { layout: Layout::new(app, Section::None, title), text })
}

/// A page for somebody who is not signed in: it tells nothing of the inbox.
#[derive(Template)]
#[template(path = "plain.html")]
pub(crate) struct PlainPage {
    title: &'static str,
    lines: Vec<&'static str>,
    link: Option<String>,
    leads_on: bool,
}

impl PlainPage {
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, lines: Vec::new(), link: None, leads_on: false }
    }

    pub(crate) fn line(mut self, line: &'static str) -> Self {
        self.lines.push(line);
        self
    }

    /// Adds a link to a page of this console.
    pub(crate) fn link(self, path: &str) -> Self {
        // Two slashes, or a backslash, would lead to another host.
        let is_own = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
        Self { link: Some(if is_own { path.to_owned() } else { "/".to_owned() }), ..self }
    }

    /// Makes the page lead on to the overview by itself.
    pub(crate) fn leading_on(self) -> Self {
        Self { leads_on: true, ..self.link("/") }
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Response {
        html_with(status, &self)
    }

    fn style(&self) -> &'static str {
        assets::STYLE
    }
}
