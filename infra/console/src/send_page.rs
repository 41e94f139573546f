//! Test deliveries: a form, and the answers with the way of the event.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use inbox_core::delivery::Provider;

use crate::app::{App, AppParts};
use crate::host::{SentDelivery, TestDelivery};
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::results::{ActionResult, ResultRow};
use crate::time_text::pluralize;

type Pairs = Vec<(String, String)>;

/// A choice of the form.
struct Choice {
    /// Value of the form's field: `good`, `twice`, `alert` or a defect.
    value: String,
    text: String,
    /// The same as a command.
    command: String,
}

/// The choices for one provider.
struct ProviderChoices {
    name: &'static str,
    title: &'static str,
    choices: Vec<Choice>,
}

#[derive(Template)]
#[template(path = "send.html")]
struct SendPage {
    layout: Layout,
    providers: Vec<ProviderChoices>,
}

/// `GET /send`
pub(crate) async fn show(State(app): State<App>) -> Response {
    let providers = Provider::ALL.iter().map(|provider| choices(&app, *provider)).collect();
    html(&SendPage { layout: Layout::new(&app, Section::Send, "Send a test delivery"), providers })
}

fn choices(app: &AppParts, provider: Provider) -> ProviderChoices {
    let command = |more: &str| {
        let options = &app.facts.inboxctl_options;
        format!("inboxctl {options} send {}{more}", provider.as_str()).replace("  ", " ")
    };
    let choice = |value: &str, text: &str, more: &str| Choice {
        value: value.to_owned(),
        text: text.to_owned(),
        command: command(more),
    };
    let mut choices = vec![
        choice("good", "A good delivery: 200 received", ""),
        choice("twice", "The same delivery twice: 200 received, 200 duplicate", " --duplicate"),
    ];
    if provider == Provider::Rightfoot {
        choices.push(choice("alert", "A threshold alert instead of a completion", " --alert"));
    }
    choices.extend(app.host.defects(provider).into_iter().map(|defect| Choice {
        text: format!("Spoilt: {}", lower_first(&defect.description)),
        command: command(&format!(" --spoil {}", defect.name)),
        value: defect.name,
    }));
    let title = match provider {
        Provider::Fynapse => "Fynapse",
        Provider::Rightfoot => "Rightfoot",
    };
    ProviderChoices { name: provider.as_str(), title, choices }
}

/// The text without a capital at its beginning.
fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().to_string() + characters.as_str())
}

/// `POST /send`
pub(crate) async fn act(State(app): State<App>, Form(form): Form<Pairs>) -> Result<Response, PageError> {
    let form = Params::new(form);
    let delivery = parse(&app, &form)?;
    let sent = app.host.send_test(delivery.clone()).await.map_err(PageError::Failed)?;
    let name = app.results.keep(describe(&delivery, sent));
    Ok(Redirect::to(&href("/result", "id", &name)).into_response())
}

fn parse(app: &AppParts, form: &Params) -> Result<TestDelivery, PageError> {
    let wrong = || PageError::BadRequest("Choose a delivery to send.".to_owned());
    // One field names both: `fynapse:good`.
    let (provider, choice) = form.get("delivery").and_then(|it| it.split_once(':')).ok_or_else(wrong)?;
    let provider = Provider::from_name(provider).ok_or_else(wrong)?;
    let is_offered = choices(app, provider).choices.iter().any(|it| it.value == choice);
    if !is_offered {
        return Err(wrong());
    }
    let is_plain = matches!(choice, "good" | "twice" | "alert");
    Ok(TestDelivery {
        provider,
        is_twice: choice == "twice",
        defect: (!is_plain).then(|| choice.to_owned()),
        is_alert: choice == "alert",
    })
}

fn describe(delivery: &TestDelivery, sent: SentDelivery) -> ActionResult {
    let mut rows: Vec<_> = sent
        .answers
        .iter()
        .zip(1..)
        .map(|(answer, nth): (_, u32)| ResultRow {
            name: format!("answer {nth}"),
            link: None,
            outcome: if answer.is_expected {
                format!("{} in {} ms: as expected", answer.actual, answer.took_ms)
            } else {
                format!(
                    "{} in {} ms: NOT as expected, which is {}",
                    answer.actual,
                    answer.took_ms,
                    answer.expected.join(", or ")
                )
            },
            is_good: answer.is_expected,
        })
        .collect();
    let good = rows.iter().filter(|row| row.is_good).count();
    let answers = pluralize(rows.len() as u64, "answer is", "answers are");
    let summary = format!("{good} of {answers} as expected.");
    let back = match &sent.event_id {
        Some(id) => Some((href("/event", "id", id), "Follow the event")),
        None if delivery.defect.is_some() => Some(("/send".to_owned(), "Send another one")),
        None => None,
    };
    rows.extend(sent.event_id.map(|id| ResultRow {
        link: Some(href("/event", "id", &id)),
        name: id,
        outcome: "the event of the delivery".to_owned(),
        is_good: good > 0,
    }));
    ActionResult {
        title: format!("Test delivery as {}", delivery.provider.as_str()),
        summary,
        rows,
        back,
        is_running: false,
    }
}
