//! `inboxctl send`: sends a test delivery and checks the response.

mod args;
mod test_delivery;

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use inbox_aws::ca_bundle::is_certificate_error;
use inbox_aws::config::BaseUrl;
use inbox_core::delivery::{Provider, RejectReason};
use inbox_core::providers::ParseError;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::reply::{DeliveryOutcome, Reply, reply_for};
use inbox_core::time::UnixMillis;
use reqwest::{Client, Url};
use serde::Serialize;

use crate::confirm;
use crate::loopback::is_loopback;
use crate::output::{Render, colours, line, render_fields};
use crate::target::Target;
use test_delivery::{TestDelivery, build_delivery};

pub(crate) use args::{SendArgs, SpoilKind};

/// Time-out of a request; longer than API Gateway waits for the function.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(35);

/// A test delivery and its responses.
#[derive(Serialize)]
pub(crate) struct SendReport {
    provider: &'static str,
    /// Id of the event, if the delivery is valid.
    pub(crate) event: Option<String>,
    pub(crate) responses: Vec<DeliveryResponse>,
}

#[derive(Serialize)]
pub(crate) struct DeliveryResponse {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) took_ms: u64,
    /// Acceptable responses.
    pub(crate) expected: Vec<ExpectedResponse>,
    pub(crate) is_expected: bool,
}

#[derive(Serialize)]
pub(crate) struct ExpectedResponse {
    pub(crate) status: u16,
    pub(crate) body: String,
}

pub(crate) async fn send(target: &Target, args: SendArgs) -> anyhow::Result<SendReport> {
    if let Some(spoil) = args.spoil {
        spoil.check_provider(args.provider)?;
    }
    if let Some(why) = target.disabled_text(args.provider).filter(|_| args.url.is_none()) {
        bail!("{why}: it has no such webhook route");
    }
    let delivery = Box::pin(build_delivery(target, &args)).await?;
    let url = parse_target_url(&delivery.url)?;
    // `local` affects nothing else, and a tunnel to another machine was opened on purpose.
    if !is_loopback(&url)
        && !confirm::is_confirmed(target, &args.confirm, &plan_text(&args, &delivery, &url))?
    {
        return Ok(SendReport { provider: args.provider.as_str(), event: None, responses: Vec::new() });
    }
    let client = target.account.http_client(RESPONSE_TIMEOUT)?;
    let mut responses = Vec::new();
    // One after the other: the second one must find the record of the first.
    for nth in 0..=usize::from(args.duplicate) {
        let expected = expected_replies(&args, nth);
        responses.push(deliver(&client, &delivery, &url, expected).await?);
    }
    Ok(SendReport { provider: args.provider.as_str(), event: delivery.event, responses })
}

/// Parses the URL. Errors do not contain it, as it may be a credential.
fn parse_target_url(url: &str) -> anyhow::Result<Url> {
    url.parse::<BaseUrl>().context("--url")?;
    Url::parse(url).map_err(|error| anyhow!("--url: {error}"))
}

/// Text of the confirmation.
fn plan_text(args: &SendArgs, delivery: &TestDelivery, url: &Url) -> String {
    let times = if args.duplicate { "twice, " } else { "" };
    let subject = match &delivery.event {
        Some(event) => format!("a genuine event, {event}"),
        None => "a delivery".to_owned(),
    };
    let host = url.origin().ascii_serialization();
    format!(
        "This sends {subject}, {times}to {host}, as {} would. Its effects are real.",
        args.provider.as_str()
    )
}

/// Acceptable replies to the nth delivery, counted from 0.
fn expected_replies(args: &SendArgs, nth: usize) -> Vec<Reply> {
    let outcomes = match args.spoil {
        None if nth > 0 => vec![DeliveryOutcome::Duplicate],
        // A chosen id or body may have been sent before.
        None if args.id.is_some() || args.body.is_some() => {
            vec![DeliveryOutcome::Recorded, DeliveryOutcome::Duplicate]
        }
        None => vec![DeliveryOutcome::Recorded],
        Some(SpoilKind::Signature | SpoilKind::Body | SpoilKind::Token) => {
            vec![DeliveryOutcome::Rejected(RejectReason::Mismatch)]
        }
        Some(SpoilKind::Unsigned) => vec![DeliveryOutcome::Rejected(RejectReason::Malformed)],
        Some(SpoilKind::Timestamp) => vec![DeliveryOutcome::Stale],
        Some(SpoilKind::Json) => vec![DeliveryOutcome::Unreadable(ParseError::NotJson)],
        Some(SpoilKind::Fields) => {
            let missing = match args.provider {
                Provider::Rightfoot => vec!["event_uuid", "batch_id"],
                Provider::Fynapse => vec!["event_id"],
            };
            vec![DeliveryOutcome::Unreadable(ParseError::MissingFields(missing))]
        }
        Some(SpoilKind::Type) => vec![DeliveryOutcome::Quarantined(QuarantineReason::UnknownType)],
        Some(SpoilKind::Id) => vec![DeliveryOutcome::Quarantined(QuarantineReason::UnusableId)],
    };
    outcomes.iter().map(|outcome| reply_for(args.provider, outcome)).collect()
}

async fn deliver(
    client: &Client,
    delivery: &TestDelivery,
    url: &Url,
    expected: Vec<Reply>,
) -> anyhow::Result<DeliveryResponse> {
    let started = Instant::now();
    let mut request = client.post(url.clone()).header("content-type", "application/json");
    for (name, value) in &delivery.headers {
        request = request.header(*name, value);
    }
    // The URL is dropped from errors: it may be a credential.
    let response = request.body(delivery.body.clone()).send().await.map_err(reqwest::Error::without_url);
    let host = url.origin().ascii_serialization();
    let response = response.map_err(|error| {
        let problem = if is_certificate_error(&error) { "certificate not trusted" } else { "no answer" };
        anyhow::Error::new(error).context(format!("{problem}: {host}"))
    })?;
    let status = response.status().as_u16();
    let body =
        response.text().await.map_err(reqwest::Error::without_url).context("the response was cut off")?;
    let is_expected = expected.iter().any(|reply| reply.status == status && reply.body == body);
    let expected =
        expected.into_iter().map(|Reply { status, body }| ExpectedResponse { status, body }).collect();
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(DeliveryResponse { status, body, took_ms, expected, is_expected })
}

impl Render for SendReport {
    fn to_text(&self, _: UnixMillis) -> String {
        if self.responses.is_empty() {
            return "Nothing was sent.".to_owned();
        }
        let mut text = render_fields([("event", self.event.clone())]);
        for response in &self.responses {
            let result = if response.is_expected {
                "as it should be".to_owned()
            } else {
                let one = |it: &ExpectedResponse| format!("{} {}", it.status, it.body);
                let all: Vec<_> = response.expected.iter().map(one).collect();
                format!("NOT as it should be; expected: {}", all.join(", or "))
            };
            let body = line(&response.body);
            text += &format!("{} {body} in {} ms: {result}\n", response.status, response.took_ms);
        }
        text
    }

    fn paint(&self, text: &str) -> String {
        let style = if self.is_success() { colours::good() } else { colours::bad() };
        // The end of each line, after the response's own text.
        let paint_line = |line: &str| match line.rsplit_once(" ms: ") {
            Some((response, result)) => format!("{response} ms: {}", colours::paint(style, result)),
            None => line.to_owned(),
        };
        text.split_inclusive('\n').map(paint_line).collect()
    }

    fn is_success(&self) -> bool {
        !self.responses.is_empty() && self.responses.iter().all(|response| response.is_expected)
    }
}
