//! `inboxctl fynapse setup`.

use anyhow::Context;
use inbox_core::id::Id;
use inbox_fynapse::NewSubscription;

use super::at_fynapse::{
    AtFynapse, ManageArgs, ManageReport, ManageStatus, Step, ends_before, failed_change, webhook_url,
};
use super::signing_secret::SigningSecret;
use crate::target::Target;

/// The types of events that a subscription delivers.
const EVENT_TYPES: [&str; 1] = ["balance.extracted"];

pub(super) async fn setup(target: &Target, args: ManageArgs) -> anyhow::Result<ManageReport> {
    let webhook_url = webhook_url(target)?;
    let there = AtFynapse::read(target, &args, &webhook_url).await?;
    let signing = SigningSecret::read(target).await?;
    let to_store = match &there.secret_id {
        Some(id) => {
            let value = there.session.secret_value(id).await.context("reading the secret at Fynapse")?;
            signing.value_with(&value)?
        }
        None => None,
    };
    let steps = vec![
        Step::new(format!("make the secret {} at Fynapse", there.secret_name), there.secret_id.is_none()),
        signing.store_step("its value", there.secret_id.is_none() || to_store.is_some()),
        Step::new(
            format!("make the subscription {} to {}, at {webhook_url}", there.name, EVENT_TYPES.join(", ")),
            there.subscription_id.is_none(),
        ),
    ];
    if let Some(status) = ends_before(target, &args, &steps)? {
        let subscription_id = there.subscription_id.as_ref();
        return Ok(report(target, status, steps, subscription_id));
    }
    // The value is stored before anything is signed with it.
    let to_store = match &there.secret_id {
        Some(_) => to_store,
        None => {
            let made = there.session.create_secret(&there.secret_name).await;
            signing.value_with(&made.map_err(|error| failed_change(error, "making the secret"))?)?
        }
    };
    if let Some(value) = to_store {
        signing.store(target, &value).await?;
    }
    let subscription_id = match &there.subscription_id {
        Some(id) => Some(id.clone()),
        None => subscribe(&there, &webhook_url).await?,
    };
    Ok(report(target, ManageStatus::Done, steps, subscription_id.as_ref()))
}

async fn subscribe(there: &AtFynapse, webhook_url: &str) -> anyhow::Result<Option<Id>> {
    let new = NewSubscription {
        name: &there.name,
        endpoint_url: webhook_url,
        secret_ref: &there.secret_name,
        event_types: &EVENT_TYPES,
    };
    let made = there.session.create_subscription(&new).await;
    match made.map_err(|error| failed_change(error, "making the subscription"))? {
        Some(made) => Ok(Some(made.id)),
        // The form of the answer is not documented.
        None => {
            let listed = there.session.subscriptions().await.context("listing the subscriptions")?;
            Ok(listed.into_iter().find(|it| it.name == there.name).map(|it| it.id))
        }
    }
}

fn report(
    target: &Target,
    status: ManageStatus,
    steps: Vec<Step>,
    subscription_id: Option<&Id>,
) -> ManageReport {
    let is_checked = |id: &&Id| target.parameter("FynapseSubscriptionId") == Some(id.as_str());
    let next = subscription_id.filter(|id| !is_checked(id)).map(|id| {
        let id = id.as_str();
        format!(
            "Deploy the stack with FynapseApiUrl and FynapseSubscriptionId={id}: then fynapse-auditor finds what is not delivered."
        )
    });
    ManageReport { status, steps, subscription_id: subscription_id.map(|id| id.as_str().to_owned()), next }
}
