//! The page of an action's result, and the progress of one that is still running.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::app::{App, AppParts};
use crate::layout::{Layout, PageError, Section, fragment, html, render};
use crate::links::{Params, href};
use crate::prose::Prose;
use crate::results::ActionResult;

type Pairs = Vec<(String, String)>;

/// What changes while the action is running.
#[derive(Template)]
#[template(path = "result_body.html")]
struct ResultBody {
    summary: Prose,
    result: ActionResult,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for ResultBody {}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage {
    layout: Layout,
    body: ResultBody,
    live_link: Option<String>,
    back: Option<(String, &'static str)>,
}

/// `GET /result?id=…`
pub(crate) async fn show(State(app): State<App>, Query(query): Query<Pairs>) -> Result<Response, PageError> {
    let params = Params::new(query);
    let result = find(&app, &params)?;
    let id = params.get("id").unwrap_or_default();
    Ok(html(&ResultPage {
        layout: Layout::new(&app, Section::None, result.title.clone()),
        live_link: result.is_running.then(|| href("/result/live", "id", id)),
        back: result.back.clone(),
        body: ResultBody::new(result),
    }))
}

/// `GET /result/live?id=…`
pub(crate) async fn show_live(
    State(app): State<App>,
    Query(query): Query<Pairs>,
) -> Result<Response, PageError> {
    let result = find(&app, &Params::new(query))?;
    Ok(fragment(&app, render(&ResultBody::new(result))?))
}

fn find(app: &AppParts, params: &Params) -> Result<ActionResult, PageError> {
    let result = params.get("id").and_then(|id| app.results.get(id));
    result.ok_or_else(|| {
        let text = "Results are kept only for a while. The audit trail of each item has the rest.";
        PageError::NotFound(text.to_owned())
    })
}

impl ResultBody {
    fn new(result: ActionResult) -> Self {
        Self { summary: Prose::new(&result.summary), result }
    }
}
