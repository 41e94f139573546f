//! The dead-letter queue: looked at only when somebody asks, because looking hides its messages for a moment and counts
//! as a receive.

use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use inbox_aws::dead_letters::{DeadLetter, DeadLetterQueue};
use inbox_core::audit::OperatorAction;

use crate::app::{App, AppParts};
use crate::event_text::state_class;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::operator_form::operator;
use crate::results::{ActionResult, ResultRow};
use crate::time_text::{TimeTag, pluralize, size};

/// Most messages of one look.
const LOOK_MAX: usize = 50;
/// Time for which a look hides them, if the console stops before it releases them.
const LOOK_VISIBILITY: Duration = Duration::from_secs(30);
/// Time for which a redrive hides them.
const REDRIVE_VISIBILITY: Duration = Duration::from_secs(600);

type Pairs = Vec<(String, String)>;

/// A message of the dead-letter queue.
struct MessageRow {
    id: String,
    event: Option<(String, String)>,
    state: &'static str,
    state_class: &'static str,
    size: String,
    sent: Option<TimeTag>,
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersPage {
    layout: Layout,
    /// `None` before somebody looks.
    rows: Option<Vec<MessageRow>>,
    note: String,
    operator_name: String,
}

/// `GET /dead-letters`: does not look.
pub(crate) async fn show(State(app): State<App>) -> Response {
    html(&page(&app, None, String::new()))
}

/// `POST /dead-letters/look`
pub(crate) async fn look(State(app): State<App>) -> Result<Response, PageError> {
    let queue = queue(&app);
    let mut messages = queue.receive(LOOK_MAX, LOOK_VISIBILITY).await?;
    messages.sort_by_key(|message| std::cmp::Reverse(message.sent_at));
    // An error is shown only after the messages are visible to others again.
    let rows = rows(&app, &messages).await;
    for message in &messages {
        queue.release(message).await?;
    }
    let rows = rows?;
    let note = match rows.len() {
        0 => {
            "No message was received: the queue is empty, or somebody else holds its messages at the moment."
                .to_owned()
        }
        LOOK_MAX => format!("{LOOK_MAX} messages were received; there may be more."),
        count => format!("{} received.", pluralize(count as u64, "message was", "messages were")),
    };
    Ok(html(&page(&app, Some(rows), note)))
}

/// `POST /dead-letters/redrive`: moves the checked messages back to the queue.
pub(crate) async fn redrive(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let form = Params::new(form);
    let wanted = form.up_to(LOOK_MAX, "id").map_err(PageError::BadRequest)?;
    if wanted.is_empty() {
        return Err(PageError::BadRequest("Check the messages to redrive.".to_owned()));
    }
    let operator = operator(&app, &form)?;
    let queue = queue(&app);
    let (mut rows, mut missing) = (Vec::new(), wanted.clone());
    for message in queue.receive(LOOK_MAX, REDRIVE_VISIBILITY).await? {
        if !wanted.contains(&message.message_id) {
            queue.release(&message).await?;
            continue;
        }
        missing.retain(|id| *id != message.message_id);
        let by = operator.audit_entry(OperatorAction::Redrive, app.now());
        let redriven = queue.redrive(&app.stores().operator, &message, &by).await;
        let event_id = message.event.as_ref().map(|key| key.event_id());
        rows.push(ResultRow {
            name: event_id.clone().unwrap_or_else(|| message.message_id.clone()),
            link: event_id.map(|id| href("/event", "id", &id)),
            is_good: redriven.is_ok(),
            outcome: redriven.map_or_else(|error| error.to_string(), |()| "back on the queue".to_owned()),
        });
    }
    rows.extend(missing.into_iter().map(|name| ResultRow {
        name,
        link: None,
        outcome: "not received: somebody else holds it, or has moved it; look again".to_owned(),
        is_good: false,
    }));
    let good = rows.iter().filter(|row| row.is_good).count();
    let name = app.results.keep(ActionResult {
        title: "Redrive of dead letters".to_owned(),
        summary: format!(
            "{good} of {} back on the queue.",
            pluralize(rows.len() as u64, "message is", "messages are")
        ),
        rows,
        back: Some(("/dead-letters".to_owned(), "Dead letters")),
        is_running: false,
    });
    Ok(Redirect::to(&href("/result", "id", &name)).into_response())
}

fn queue(app: &AppParts) -> DeadLetterQueue {
    let inbox = &app.inbox;
    DeadLetterQueue::new(
        inbox.sqs.clone(),
        inbox.dead_letter_queue_url.clone(),
        inbox.events_queue_url.clone(),
    )
}

fn page(app: &AppParts, rows: Option<Vec<MessageRow>>, note: String) -> DeadLettersPage {
    DeadLettersPage {
        layout: Layout::new(app, Section::DeadLetters, "Dead letters"),
        rows,
        note,
        operator_name: app.operator_name(),
    }
}

async fn rows(app: &AppParts, messages: &[DeadLetter]) -> Result<Vec<MessageRow>, PageError> {
    let (mut rows, now) = (Vec::new(), app.now());
    for message in messages {
        let event = match &message.event {
            Some(key) => app.stores().operator.event(key).await?,
            None => None,
        };
        let state = event.map(|event| event.lifecycle.state(now));
        let event_id = message.event.as_ref().map(|key| key.event_id());
        rows.push(MessageRow {
            id: message.message_id.clone(),
            event: event_id.map(|id| (href("/event", "id", &id), id)),
            state: state.map_or("not recorded", |state| state.as_str()),
            state_class: state.map_or("", state_class),
            size: size(message.bytes),
            sent: TimeTag::optional(message.sent_at, now),
        });
    }
    Ok(rows)
}
