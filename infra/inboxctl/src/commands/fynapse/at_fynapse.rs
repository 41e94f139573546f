//! What `inboxctl fynapse setup` and `rotate` share: the session at Fynapse, the secret and the subscription there, and the report.

use anyhow::{Context, anyhow, bail};
use clap::Args;
use inbox_aws::secrets;
use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::fynapse_api::management::ManagedResource;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use inbox_fynapse::{ApiError, ClientConfig, FynapseClient, FynapseSession};
use serde::Serialize;

use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::Render;
use crate::target::Target;
use crate::value_parsers::parse_fynapse_name;

/// Name at Fynapse of what belongs to an inbox without a stack.
const DEFAULT_NAME: &str = "balance-inbox";

#[derive(Args)]
pub(crate) struct ManageArgs {
    /// Address of your Fynapse instance [default: the stack's FynapseApiUrl].
    #[arg(long, env = "FYNAPSE_API_URL", value_name = "URL")]
    api_url: Option<String>,
    /// Name or ARN of the secret with the id and secret of your API client [default: the stack's].
    #[arg(long, env = "FYNAPSE_API_CREDENTIALS_SECRET_ID", value_name = "ID")]
    credentials: Option<String>,
    /// Name of the secret and the subscription at Fynapse [default: the stack's name, or balance-inbox].
    #[arg(long, value_name = "NAME", value_parser = parse_fynapse_name)]
    name: Option<String>,
    /// Only show what would be done.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// What is at Fynapse already.
pub(super) struct AtFynapse {
    pub(super) session: FynapseSession,
    /// Name of the subscription, and of the secret unless the subscription signs with another one.
    pub(super) name: String,
    pub(super) secret_name: String,
    pub(super) secret_id: Option<Id>,
    pub(super) subscription_id: Option<Id>,
}

impl AtFynapse {
    /// Reads the secret and the subscription that delivers to `webhook_url`. Changes nothing.
    pub(super) async fn read(target: &Target, args: &ManageArgs, webhook_url: &str) -> anyhow::Result<Self> {
        if let Some(why) = target.disabled_text(Provider::Fynapse) {
            bail!("{why}: nothing would receive its deliveries");
        }
        let session = open_session(target, args).await?;
        let name = args.name.as_deref().or_else(|| target.stack_name()).unwrap_or(DEFAULT_NAME).to_owned();
        let subscriptions = session.subscriptions().await.context("listing the subscriptions")?;
        let subscription = find_subscription(&subscriptions, &name, webhook_url)?;
        // A subscription that names no secret was given one of its own name.
        let signs_with = |it: &ManagedResource| it.secret_ref.as_ref().unwrap_or(&it.name).clone();
        let secret_name = subscription.map_or_else(|| name.clone(), signs_with);
        let subscription_id = subscription.map(|it| it.id.clone());
        let secrets = session.secrets().await.context("listing the secrets")?;
        let secret_id = secrets.into_iter().find(|it| it.name == secret_name).map(|it| it.id);
        if let Some(subscription) = subscription.filter(|_| secret_id.is_none()) {
            return Err(unlisted_secret(target, subscription, &secret_name));
        }
        Ok(Self { session, name, secret_name, secret_id, subscription_id })
    }
}

/// Returns why the subscription's secret cannot be used. A new one would sign nothing: a subscription keeps its secret.
fn unlisted_secret(target: &Target, subscription: &ManagedResource, secret_name: &str) -> anyhow::Error {
    let stored_in = target.fynapse_secret().map_or_else(
        |_| "the secret with Fynapse's signing keys".to_owned(),
        |resource| resource.to_string(),
    );
    anyhow!(
        "the subscription {} at Fynapse (id {}) signs with a secret that Fynapse's list does not show (searched for {secret_name}): put \
         its value into {stored_in} by hand",
        subscription.name,
        subscription.id.as_str()
    )
}

/// The subscription that delivers to this inbox.
///
/// # Errors
///
/// There is none, and its name is taken by one that delivers elsewhere.
fn find_subscription<'a>(
    subscriptions: &'a [ManagedResource],
    name: &str,
    webhook_url: &str,
) -> anyhow::Result<Option<&'a ManagedResource>> {
    let delivers_here = |it: &&ManagedResource| it.endpoint_url.as_deref() == Some(webhook_url);
    if let Some(ours) = subscriptions.iter().find(delivers_here) {
        return Ok(Some(ours));
    }
    match subscriptions.iter().find(|it| it.name == name) {
        Some(other) if other.endpoint_url.is_some() => {
            bail!("the subscription {name} at Fynapse delivers to another address: choose another --name")
        }
        other => Ok(other),
    }
}

async fn open_session(target: &Target, args: &ManageArgs) -> anyhow::Result<FynapseSession> {
    let url = target.fynapse_api_url(&args.api_url).context(
        "missing --api-url (FYNAPSE_API_URL), or --stack with a FynapseApiUrl: the address of your Fynapse instance is unknown",
    )?;
    let mut config = ClientConfig::new(url, None).context("the address of your Fynapse instance")?;
    config.ca_bundle = target.account.ca_bundle.clone();
    let secret = target.fynapse_api_credentials(&args.credentials)?;
    let value =
        secrets::fetch_secret(&target.secrets_manager(), &secret.name).await.with_resource(&secret)?;
    let credentials = ClientCredentials::parse(&value).with_context(|| format!("{secret} cannot be used"))?;
    Ok(FynapseClient::new(config)?.session(credentials))
}

/// The address that Fynapse delivers to.
pub(super) fn webhook_url(target: &Target) -> anyhow::Result<String> {
    let base = target.base_url().context(
        "missing --base-url (WEBHOOK_BASE_URL) or --stack: the address that Fynapse has to deliver to is unknown",
    )?;
    Ok(format!("{base}/webhooks/fynapse"))
}

/// Adds what was being done when Fynapse's API failed, and whether to repeat it.
pub(super) fn failed_change(error: ApiError, doing: &str) -> anyhow::Error {
    let advice = match &error {
        ApiError::Unavailable(_) | ApiError::InvalidResponse(_) => {
            ". It is unknown whether Fynapse did it: run the command again"
        }
        ApiError::Declined(_) => ". Is its name taken? --name chooses another",
        ApiError::CredentialsRefused
        | ApiError::TokenExpired
        | ApiError::Forbidden
        | ApiError::NotFound
        | ApiError::RateLimited => "",
    };
    anyhow!("{doing}: {error}{advice}")
}

/// A step of a command.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: String,
    pub(super) is_needed: bool,
}

impl Step {
    pub(super) fn new(step: impl Into<String>, is_needed: bool) -> Self {
        Self { step: step.into(), is_needed }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ManageStatus {
    Done,
    NothingToDo,
    DryRun,
    NotConfirmed,
}

/// Result of `setup` or `rotate`.
#[derive(Debug, Serialize)]
pub(crate) struct ManageReport {
    pub(super) status: ManageStatus,
    pub(super) steps: Vec<Step>,
    pub(super) subscription_id: Option<String>,
    /// What the operator has to do next.
    pub(super) next: Option<String>,
}

/// Returns how the command ends if its steps are not to be done; `None` if they are.
pub(super) fn ends_before(
    target: &Target,
    args: &ManageArgs,
    steps: &[Step],
) -> anyhow::Result<Option<ManageStatus>> {
    if steps.iter().all(|it| !it.is_needed) {
        return Ok(Some(ManageStatus::NothingToDo));
    }
    if args.dry_run {
        return Ok(Some(ManageStatus::DryRun));
    }
    let plan: String = steps.iter().filter(|it| it.is_needed).map(|it| format!("- {}\n", it.step)).collect();
    let is_confirmed = is_confirmed(target, &args.confirm, &format!("This will:\n{plan}"))?;
    Ok((!is_confirmed).then_some(ManageStatus::NotConfirmed))
}

impl Render for ManageReport {
    fn to_text(&self, _: UnixMillis) -> String {
        let state = |step: &Step| match (step.is_needed, self.status) {
            (false, _) => "there already",
            (true, ManageStatus::Done) => "done",
            (true, ManageStatus::NothingToDo | ManageStatus::DryRun | ManageStatus::NotConfirmed) => {
                "to be done"
            }
        };
        let mut lines: Vec<String> =
            self.steps.iter().map(|step| format!("{:<13}  {}", state(step), step.step)).collect();
        lines.extend(self.subscription_id.iter().map(|id| format!("\nsubscription: {id}")));
        lines.extend(self.next.clone());
        lines.join("\n")
    }

    fn is_success(&self) -> bool {
        self.status != ManageStatus::NotConfirmed
    }
}
