//! Arguments of `inboxctl send`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use inbox_core::delivery::Provider;
use inbox_core::secret_keys::KeyCodec;
use inbox_core::subject::Subject;

use crate::confirm::ConfirmArgs;
use crate::value_parsers::provider_parser;

#[derive(Args)]
#[command(after_help = "\
Examples:
  inboxctl --stack balance-inbox send fynapse                      # signed now: 200 received
  inboxctl --stack balance-inbox send rightfoot --duplicate        # twice: 200 received, 200 duplicate
  inboxctl --stack balance-inbox send fynapse --spoil timestamp    # signed too long ago: 403, and quarantined
  inboxctl send rightfoot --url https://example.com/webhooks/rightfoot/demo.LBqw…")]
pub(crate) struct SendArgs {
    /// Provider to send as.
    #[arg(value_parser = provider_parser())]
    pub(crate) provider: Provider,
    /// Full URL to send to [default: the base URL and the provider's path].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Send the same delivery twice.
    #[arg(long)]
    pub(crate) duplicate: bool,
    /// Make the delivery invalid in this way.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) spoil: Option<SpoilKind>,
    /// Rightfoot: subject of the minted URL.
    #[arg(long, default_value = "inboxctl", value_name = "SUBJECT")]
    pub(crate) subject: Subject,
    /// Rightfoot: send a threshold alert instead of a completion.
    #[arg(long)]
    pub(crate) alert: bool,
    /// Batch id, or Fynapse's event id [default: a new one].
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Send the bytes of this file as the body.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "alert"])]
    pub(crate) body: Option<PathBuf>,
    /// Fynapse: encoding of the key in the secret (utf8, base64, hex) [default: the stack's FynapseKeyCodec, or utf8].
    #[arg(long, value_name = "CODEC")]
    pub(crate) key_codec: Option<KeyCodec>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Defect of a test delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpoilKind {
    /// Fynapse: signed with another key.
    Signature,
    /// Fynapse: signed four days ago.
    Timestamp,
    /// Fynapse: body changed after signing.
    Body,
    /// Fynapse: no signature.
    Unsigned,
    /// Rightfoot: token of an unknown key.
    Token,
    /// Valid signature or token, but not JSON.
    Json,
    /// Valid signature or token, but without the required fields.
    Fields,
    /// Rightfoot: valid token, but an unknown event type.
    Type,
    /// Valid signature or token, but an id that is too long.
    Id,
}

impl SpoilKind {
    /// Fails if deliveries of this provider cannot be spoiled in this way.
    pub(crate) fn check_provider(self, provider: Provider) -> anyhow::Result<()> {
        let only = match self {
            Self::Signature | Self::Timestamp | Self::Body | Self::Unsigned => Some(Provider::Fynapse),
            Self::Token | Self::Type => Some(Provider::Rightfoot),
            Self::Json | Self::Fields | Self::Id => None,
        };
        match only {
            Some(only) if only != provider => {
                bail!("--spoil: this kind is only for deliveries of {}", only.as_str())
            }
            Some(_) | None => Ok(()),
        }
    }
}
