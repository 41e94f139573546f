//! The page of an action's result.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::app::App;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::Params;
use crate::results::ActionResult;

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage {
    layout: Layout,
    result: ActionResult,
}

/// `GET /result?id=…`
pub(crate) async fn show(
    State(app): State<App>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let params = Params::new(query);
    let result = params.get("id").and_then(|id| app.results.get(id)).ok_or_else(|| {
        PageError::NotFound(
            "Results are kept only for a while. The audit trail of each item has the rest.".to_owned(),
        )
    })?;
    Ok(html(&ResultPage { layout: Layout::new(&app, Section::None, result.title.clone()), result }))
}
