//! `inboxctl fynapse rotate`.

use anyhow::{Context, anyhow, bail};
use inbox_fynapse::ApiError;

use super::at_fynapse::{
    AtFynapse, ManageArgs, ManageReport, ManageStatus, Step, ends_before, failed_change, webhook_url,
};
use super::signing_secret::SigningSecret;
use crate::target::Target;

pub(super) async fn rotate(target: &Target, args: ManageArgs) -> anyhow::Result<ManageReport> {
    let there = AtFynapse::read(target, &args, &webhook_url(target)?).await?;
    let name = &there.secret_name;
    let Some(secret_id) = &there.secret_id else {
        bail!("Fynapse has no secret {name}: `inboxctl fynapse setup` makes one");
    };
    let signing = SigningSecret::read(target).await?;
    let current = there.session.secret_value(secret_id).await.context("reading the secret at Fynapse")?;
    // An earlier rotation was interrupted. Another one would leave two values that are not stored.
    let not_stored = signing.value_with(&current)?;
    let steps = vec![
        Step::new(format!("have Fynapse make a new value of its secret {name}"), not_stored.is_none()),
        signing.store_step("it", true),
    ];
    let subscription_id = there.subscription_id.as_ref().map(|id| id.as_str().to_owned());
    let report = |status, next| ManageReport { status, steps: steps.clone(), subscription_id, next };
    if let Some(status) = ends_before(target, &args, &steps)? {
        return Ok(report(status, None));
    }
    let (to_store, next) = match not_stored {
        Some(value) => (
            Some(value),
            Some("The value of an earlier rotation is stored now. The secret was not rotated again."),
        ),
        None => {
            let rotated = there.session.rotate_secret(secret_id).await;
            let value = rotated.map_err(|error| failed_rotation(error, name))?;
            (signing.value_with(&value)?, None)
        }
    };
    if let Some(value) = to_store {
        signing.store(target, &value).await?;
    }
    Ok(report(ManageStatus::Done, next.map(str::to_owned)))
}

fn failed_rotation(error: ApiError, name: &str) -> anyhow::Error {
    // The operation is documented, its path is not.
    if matches!(error, ApiError::NotFound | ApiError::Declined(405)) {
        return anyhow!(
            "Fynapse's API does not rotate a secret at the path that is assumed here: rotate {name} at Fynapse, then \
             `inboxctl fynapse setup` stores the new value"
        );
    }
    // The secret has a name already.
    if matches!(error, ApiError::Declined(_)) {
        return anyhow!("rotating the secret: {error}");
    }
    failed_change(error, "rotating the secret")
}
