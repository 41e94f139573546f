//! `inboxctl url mint`, and the keys of the webhook secrets.

use anyhow::Context;
use inbox_aws::config::ConfigError;
use inbox_aws::secrets;
use inbox_core::keys::warnings::secret_warnings;
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_core::url_token;
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::cli::MintUrlArgs;
use crate::output::Render;
use crate::stack_parameters;
use crate::target::{ResourceRef, Target};
use crate::terminal;

/// A minted URL. It is a credential.
#[derive(Serialize)]
pub(crate) struct MintedUrl {
    subject: String,
    path: String,
    webhook_url: String,
}

pub(crate) async fn mint(target: &Target, args: MintUrlArgs) -> anyhow::Result<MintedUrl> {
    let base = target
        .base_url()
        .context("missing --base-url (WEBHOOK_BASE_URL) or --stack: the host of the URL is unknown")?;
    let path = webhook_path(target, &args.subject).await?;
    let webhook_url = format!("{base}{path}");
    Ok(MintedUrl { subject: args.subject.to_string(), path, webhook_url })
}

/// Path of the URL for a subject.
pub(crate) async fn webhook_path(target: &Target, subject: &Subject) -> anyhow::Result<String> {
    let secret = target.rightfoot_url_key()?;
    let keys = load_keys(target, &secret, KeyCodec::Utf8).await?;
    let token = url_token::mint(subject, &keys).with_context(|| format!("{secret} holds no key"))?;
    Ok(format!("/webhooks/rightfoot/{token}"))
}

/// Loads the keys of a secret as the functions do. Warns of probable mistakes in its value: a test delivery that is signed with
/// the same wrong value would pass.
pub(crate) async fn load_keys(
    target: &Target,
    secret: &ResourceRef,
    codec: KeyCodec,
) -> anyhow::Result<Keys> {
    let client = aws_sdk_secretsmanager::Client::new(&target.sdk);
    let value = secrets::fetch_secret(&client, &secret.name).await.with_resource(secret)?;
    let keys = Keys::parse(&value, codec).with_context(|| format!("{secret} cannot be used"))?;
    // With --json, stderr is for errors only; `doctor` reports the warning.
    if let Some(suspected) = suspicion_text(&value).filter(|_| !target.is_json) {
        terminal::print_notice(&format!("warning: {secret} has {suspected}: `inboxctl doctor` says more\n"));
    }
    Ok(keys)
}

/// Description of probable mistakes in a secret's value, without the value.
pub(crate) fn suspicion_text(value: &str) -> Option<String> {
    let suspected: Vec<_> = secret_warnings(value).iter().map(ToString::to_string).collect();
    (!suspected.is_empty()).then(|| suspected.join("; "))
}

/// Encoding of Fynapse's key, from the stack's parameter `FynapseKeyCodec`.
pub(crate) fn fynapse_key_codec(target: &Target) -> Result<KeyCodec, ConfigError> {
    stack_parameters::function_env(target).parsed_or("FYNAPSE_KEY_CODEC", KeyCodec::default())
}

impl Render for MintedUrl {
    fn to_text(&self, _: UnixMillis) -> String {
        self.webhook_url.clone()
    }
}
