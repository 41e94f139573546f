//! Keys and paths of the webhook routes, for the commands that sign, mint and check.

use anyhow::Context;
use inbox_aws::config::ConfigError;
use inbox_aws::secrets;
use inbox_core::secret_keys::{KeyCodec, Keys, secret_warnings};
use inbox_core::subject::Subject;
use inbox_core::url_token;

use crate::aws_error::{ResourceRef, WithResource};
use crate::stack_parameters;
use crate::target::Target;
use crate::terminal;

/// Loads the keys that Fynapse signs with. `codec` overrides the one of the stack.
pub(crate) async fn load_fynapse_keys(target: &Target, codec: Option<KeyCodec>) -> anyhow::Result<Keys> {
    let secret = target.fynapse_secret()?;
    let codec = match codec {
        Some(codec) => codec,
        None => fynapse_key_codec(target).context("the stack's parameter FynapseKeyCodec")?,
    };
    load_keys(target, &secret, codec).await
}

/// Encoding of Fynapse's key, from the stack's parameter `FynapseKeyCodec`.
pub(crate) fn fynapse_key_codec(target: &Target) -> Result<KeyCodec, ConfigError> {
    stack_parameters::function_env(target).parsed_or("FYNAPSE_KEY_CODEC", KeyCodec::default())
}

/// Mints the path of Rightfoot's webhook for a subject.
pub(crate) async fn mint_rightfoot_path(target: &Target, subject: &Subject) -> anyhow::Result<String> {
    let secret = target.rightfoot_url_key()?;
    let keys = load_keys(target, &secret, KeyCodec::Utf8).await?;
    let token = url_token::mint(subject, &keys).with_context(|| format!("{secret} holds no key"))?;
    Ok(format!("/webhooks/rightfoot/{token}"))
}

/// Loads the keys of a secret as the functions do. Warns of probable mistakes in its value: a test delivery that is signed with
/// the same wrong value would pass.
async fn load_keys(target: &Target, secret: &ResourceRef, codec: KeyCodec) -> anyhow::Result<Keys> {
    let value = secrets::fetch_secret(&target.secrets_manager(), &secret.name).await.with_resource(secret)?;
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
