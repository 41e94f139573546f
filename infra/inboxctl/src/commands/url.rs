//! `inboxctl url mint`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use inbox_core::delivery::Provider;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::{Render, Rendered};
use crate::target::Target;
use crate::webhook_keys::mint_rightfoot_path;

#[derive(Subcommand)]
pub(crate) enum UrlCommand {
    /// Mint the URL to give to Rightfoot for this subject. The URL is a credential.
    Mint(MintUrlArgs),
}

impl UrlCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::Mint(args) => target.render(&mint(target, args).await?),
        }
    }
}

#[derive(Args)]
pub(crate) struct MintUrlArgs {
    /// Name that the URL is minted for: 1 to 64 characters of A-Z a-z 0-9 _ -. Do not use personal data.
    subject: Subject,
}

/// A minted URL. It is a credential.
#[derive(Serialize)]
struct MintedUrl {
    subject: String,
    path: String,
    webhook_url: String,
}

async fn mint(target: &Target, args: MintUrlArgs) -> anyhow::Result<MintedUrl> {
    if let Some(why) = target.disabled_text(Provider::Rightfoot) {
        bail!("{why}: the URL would lead to no route");
    }
    let base = target
        .base_url()
        .context("missing --base-url (WEBHOOK_BASE_URL) or --stack: the host of the URL is unknown")?;
    let path = mint_rightfoot_path(target, &args.subject).await?;
    let webhook_url = format!("{base}{path}");
    Ok(MintedUrl { subject: args.subject.to_string(), path, webhook_url })
}

impl Render for MintedUrl {
    fn to_text(&self, _: UnixMillis) -> String {
        self.webhook_url.clone()
    }
}
