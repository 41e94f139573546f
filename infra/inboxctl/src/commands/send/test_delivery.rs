//! Test deliveries: body, URL and signature, as a provider would send them, or spoiled.

use anyhow::Context;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::providers::ProviderSpec;
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::{UnixMillis, UnixSecs};
use uuid::Uuid;

use super::args::{SendArgs, SpoilKind};
use crate::target::Target;
use crate::webhook_keys::{load_fynapse_keys, mint_rightfoot_path};

/// Age of a stale test signature; larger than any tolerance that the template accepts.
const STALE_AGE_SECS: i64 = 4 * 86_400;

/// A delivery before it is sent.
pub(crate) struct TestDelivery {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) event: Option<String>,
}

pub(crate) async fn build_delivery(target: &Target, args: &SendArgs) -> anyhow::Result<TestDelivery> {
    let (body, event) = build_body(args, target.now())?;
    match args.provider {
        Provider::Fynapse => {
            let keys = load_fynapse_keys(target, args.key_codec).await?;
            let url = match &args.url {
                Some(url) => url.clone(),
                None => format!("{}{}", base_url(target)?, ProviderSpec::of(args.provider).route),
            };
            Ok(sign_delivery(url, body, event, &keys, args.spoil, target.now().secs()))
        }
        Provider::Rightfoot => {
            let url = match &args.url {
                Some(url) => url.clone(),
                None => format!("{}{}", base_url(target)?, mint_rightfoot_path(target, &args.subject).await?),
            };
            let url = if args.spoil == Some(SpoilKind::Token) { with_invalid_token(&url) } else { url };
            Ok(TestDelivery { url, headers: Vec::new(), body, event })
        }
    }
}

fn base_url(target: &Target) -> anyhow::Result<String> {
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
    let id = Id::new(id)?;
    let key = match args.provider {
        Provider::Fynapse => EventKey::signed(args.provider, id)?,
        Provider::Rightfoot if args.alert => EventKey::alert(id, Id::new(uuid)?)?,
        Provider::Rightfoot => EventKey::RightfootCompletion { batch_id: id },
    };
    Some(key.event_id())
}
