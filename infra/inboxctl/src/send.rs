//! `inboxctl send`: sends a test delivery and checks the response.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use inbox_aws::ca_bundle::is_certificate_error;
use inbox_aws::config::BaseUrl;
use inbox_core::delivery::{Provider, RejectReason};
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::providers::ParseError;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::reply::{DeliveryOutcome, Reply, reply_for};
use inbox_core::signature;
use inbox_core::time::{UnixMillis, UnixSecs};
use reqwest::{Certificate, Client, Url};
use serde::Serialize;
use uuid::Uuid;

use crate::aws_account::CONNECT_TIMEOUT;
use crate::cli::{SendArgs, SpoilKind};
use crate::confirm;
use crate::output::{Render, render_fields};
use crate::target::Target;
use crate::url::{fynapse_key_codec, load_keys, webhook_path};

/// Time-out of a request; longer than API Gateway waits for the function.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(35);
/// Age of a stale test signature; larger than any tolerance that the template accepts.
const STALE_AGE_SECS: i64 = 4 * 86_400;

/// A test delivery and its responses.
#[derive(Serialize)]
pub(crate) struct SendReport {
    provider: &'static str,
    /// Id of the event, if the delivery is valid.
    event: Option<String>,
    responses: Vec<DeliveryResponse>,
}

#[derive(Serialize)]
struct DeliveryResponse {
    status: u16,
    body: String,
    took_ms: u64,
    /// Acceptable responses.
    expected: Vec<ExpectedResponse>,
    is_expected: bool,
}

#[derive(Serialize)]
struct ExpectedResponse {
    status: u16,
    body: String,
}

/// A delivery before it is sent.
struct TestDelivery {
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    event: Option<String>,
}

pub(crate) async fn send(target: &Target, args: SendArgs) -> anyhow::Result<SendReport> {
    if let Some(spoil) = args.spoil {
        check_spoil(args.provider, spoil)?;
    }
    let delivery = Box::pin(build_delivery(target, &args)).await?;
    let url = parse_target_url(&delivery.url)?;
    // `local` affects nothing else, and a tunnel to another machine was opened on purpose.
    if !is_loopback(&url)
        && !confirm::is_confirmed(target, &args.confirm, &plan_text(&args, &delivery, &url))?
    {
        return Ok(SendReport { provider: args.provider.as_str(), event: None, responses: Vec::new() });
    }
    let client = build_http_client(target, RESPONSE_TIMEOUT)?;
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

/// Returns `true` for a URL of this machine: `local`, or a tunnel that the user has opened.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
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

/// HTTP client that trusts the system's certificates and those of the AWS clients.
pub(crate) fn build_http_client(target: &Target, timeout: Duration) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(bundle) = &target.account.ca_bundle {
        let certificates = Certificate::from_pem_bundle(bundle.pem().as_bytes()).context("the CA bundle")?;
        client = client.tls_certs_merge(certificates);
    }
    client.build().context("no HTTP client")
}

/// Fails if deliveries of this provider cannot be spoiled in this way.
fn check_spoil(provider: Provider, spoil: SpoilKind) -> anyhow::Result<()> {
    let only = match spoil {
        SpoilKind::Signature | SpoilKind::Timestamp | SpoilKind::Body | SpoilKind::Unsigned => {
            Some(Provider::Fynapse)
        }
        SpoilKind::Token | SpoilKind::Type => Some(Provider::Rightfoot),
        SpoilKind::Json | SpoilKind::Fields | SpoilKind::Id => None,
    };
    match only {
        Some(only) if only != provider => {
            bail!("--spoil: this kind is only for deliveries of {}", only.as_str())
        }
        Some(_) | None => Ok(()),
    }
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

async fn build_delivery(target: &Target, args: &SendArgs) -> anyhow::Result<TestDelivery> {
    let (body, event) = build_body(args, target.now())?;
    match args.provider {
        Provider::Fynapse => {
            let secret = target.fynapse_secret()?;
            let codec = match args.key_codec {
                Some(codec) => codec,
                None => fynapse_key_codec(target).context("the stack's parameter FynapseKeyCodec")?,
            };
            let keys = load_keys(target, &secret, codec).await?;
            let url = match &args.url {
                Some(url) => url.clone(),
                None => format!("{}/webhooks/fynapse", require_base_url(target)?),
            };
            Ok(sign_delivery(url, body, event, &keys, args.spoil, target.now().secs()))
        }
        Provider::Rightfoot => {
            let url = match &args.url {
                Some(url) => url.clone(),
                None => {
                    format!("{}{}", require_base_url(target)?, webhook_path(target, &args.subject).await?)
                }
            };
            let url = if args.spoil == Some(SpoilKind::Token) { with_invalid_token(&url) } else { url };
            Ok(TestDelivery { url, headers: Vec::new(), body, event })
        }
    }
}

fn require_base_url(target: &Target) -> anyhow::Result<String> {
    target
        .base_url()
        .context("missing --url, --base-url (WEBHOOK_BASE_URL) or --stack: the URL to send to is unknown")
}

/// Changes the last but one character of the token: it stays well-formed, but no key signs it.
fn with_invalid_token(url: &str) -> String {
    let mut characters: Vec<_> = url.chars().collect();
    // The last character is not free: some of its bits must be zero in base64.
    let second_last = characters.len().saturating_sub(2);
    if let Some(character) = characters.get_mut(second_last) {
        *character = if *character == 'A' { 'B' } else { 'A' };
    }
    characters.into_iter().collect()
}

fn sign_delivery(
    url: String,
    mut body: Vec<u8>,
    event: Option<String>,
    keys: &Keys,
    spoil: Option<SpoilKind>,
    now: UnixSecs,
) -> TestDelivery {
    let signed_at = if spoil == Some(SpoilKind::Timestamp) {
        UnixSecs(now.0.saturating_sub(STALE_AGE_SECS))
    } else {
        now
    };
    let random_keys = Keys::parse(&Uuid::new_v4().to_string(), KeyCodec::Utf8).unwrap_or_default();
    let keys = if spoil == Some(SpoilKind::Signature) { &random_keys } else { keys };
    let signature = signature::sign(signed_at, &body, keys);
    if spoil == Some(SpoilKind::Body) {
        // A blank, so that the JSON stays valid and only the signature is wrong.
        body.push(b' ');
    }
    let mut headers = vec![("idempotency-key", Uuid::new_v4().to_string())];
    headers.extend((spoil != Some(SpoilKind::Unsigned)).then_some((signature::HEADER, signature)));
    TestDelivery { url, headers, body, event }
}

/// Builds the body, and the id of its event if the delivery is valid.
fn build_body(args: &SendArgs, now: UnixMillis) -> anyhow::Result<(Vec<u8>, Option<String>)> {
    if let Some(file) = &args.body {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        // Any bytes are sent, so it is unknown which event they are, if any.
        return Ok((bytes, None));
    }
    let new_uuid = || Uuid::new_v4().to_string();
    let id = match args.spoil {
        Some(SpoilKind::Id) => "x".repeat(inbox_core::limits::ID_MAX_BYTES + 1),
        _ => args.id.clone().unwrap_or_else(new_uuid),
    };
    let mut fields = match args.provider {
        Provider::Fynapse => serde_json::json!({
            "event_id": id, "event_type": "balance.extracted", "metadata": {"sent_by": "inboxctl"},
            "event_timestamp": now.rfc3339(), "data": {},
        }),
        Provider::Rightfoot if args.alert => serde_json::json!({
            "event_uuid": new_uuid(), "type": "BALANCE_THRESHOLD_ALERT", "batch_id": id, "alerts": [],
        }),
        Provider::Rightfoot => {
            serde_json::json!({"event_uuid": new_uuid(), "type": "BALANCE_BATCH_COMPLETED", "batch_id": id})
        }
    };
    let uuid = fields.get("event_uuid").and_then(|uuid| uuid.as_str()).unwrap_or_default().to_owned();
    if let Some(fields) = fields.as_object_mut() {
        match args.spoil {
            Some(SpoilKind::Fields) => {
                fields.retain(|name, _| !["event_id", "event_uuid", "batch_id"].contains(&name.as_str()));
            }
            Some(SpoilKind::Type) => drop(fields.insert("type".to_owned(), "NOBODY_KNOWS".into())),
            _ => {}
        }
    }
    let json = fields.to_string();
    let text = if args.spoil == Some(SpoilKind::Json) { json.trim_end_matches('}').to_owned() } else { json };
    let key = args.spoil.is_none().then(|| event_id_of(args, &id, &uuid)).flatten();
    Ok((text.into_bytes(), key))
}

fn event_id_of(args: &SendArgs, id: &str, uuid: &str) -> Option<String> {
    use inbox_core::event::EventKey;
    use inbox_core::id::Id;
    let id = Id::new(id)?;
    let key = match args.provider {
        Provider::Fynapse => EventKey::signed(args.provider, id)?,
        Provider::Rightfoot if args.alert => EventKey::alert(id, Id::new(uuid)?)?,
        Provider::Rightfoot => EventKey::RightfootCompletion { batch_id: id },
    };
    Some(key.event_id())
}

async fn deliver(
    client: &Client,
    delivery: &TestDelivery,
    url: &Url,
    expected: Vec<Reply>,
) -> anyhow::Result<DeliveryResponse> {
    let started = std::time::Instant::now();
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
            let body = crate::output::line(&response.body);
            text += &format!("{} {body} in {} ms: {result}\n", response.status, response.took_ms);
        }
        text
    }

    fn is_success(&self) -> bool {
        !self.responses.is_empty() && self.responses.iter().all(|response| response.is_expected)
    }
}
