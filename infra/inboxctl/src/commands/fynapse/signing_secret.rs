//! The stored value of the secret that Fynapse signs with.

use anyhow::Context;
use inbox_aws::{AwsError, AwsErrorKind, secrets};
use inbox_core::fynapse_api::management::SecretValue;
use inbox_core::limits::SECRETS_MAX;
use inbox_core::secret_keys::{KeyCodec, dropped_keys, with_new_key};
use zeroize::Zeroizing;

use crate::aws_error::{ResourceRef, WithResource};
use crate::target::Target;
use crate::webhook_keys::fynapse_key_codec;

use super::at_fynapse::Step;

/// The secret in AWS, with its value.
pub(super) struct SigningSecret {
    pub(super) resource: ResourceRef,
    stored: Zeroizing<String>,
    codec: KeyCodec,
}

impl SigningSecret {
    pub(super) async fn read(target: &Target) -> anyhow::Result<Self> {
        let resource = target.fynapse_secret()?;
        let codec = fynapse_key_codec(target).context("the stack's parameter FynapseKeyCodec")?;
        let stored = match secrets::fetch_secret(&target.secrets_manager(), &resource.name).await {
            // A secret without a value. If there is no such secret, storing fails.
            Err(AwsError { kind: AwsErrorKind::Service(code), .. }) if code.contains("ResourceNotFound") => {
                Zeroizing::default()
            }
            stored => stored.with_resource(&resource)?,
        };
        Ok(Self { resource, stored, codec })
    }

    /// The step that stores a new value.
    pub(super) fn store_step(&self, what: &str, is_needed: bool) -> Step {
        let drops = if is_needed && dropped_keys(&self.stored) > 0 {
            format!(", and drop the oldest stored value: {SECRETS_MAX} values are the most")
        } else {
            String::new()
        };
        Step::new(format!("store {what} in {}, in front of the stored ones{drops}", self.resource), is_needed)
    }

    /// The value to store when Fynapse signs with `new`; `None` if it is stored.
    pub(super) fn value_with(&self, new: &SecretValue) -> anyhow::Result<Option<Zeroizing<String>>> {
        with_new_key(&self.stored, new.expose(), self.codec)
            .context("the value of Fynapse's secret cannot be used: is the parameter FynapseKeyCodec right?")
    }

    pub(super) async fn store(&self, target: &Target, value: &str) -> anyhow::Result<()> {
        let put = target.secrets_manager().put_secret_value().secret_id(&self.resource.name);
        let result = put.secret_string(value).send().await;
        result
            .map_err(|error| AwsError::from_sdk_error("secretsmanager:PutSecretValue", &error))
            .with_resource(&self.resource)
            .context("Fynapse signs with a value that is not stored yet: run the command again")?;
        Ok(())
    }
}
