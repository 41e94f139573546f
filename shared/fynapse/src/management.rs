//! The calls about secrets and subscriptions (shared/providers/fynapse.md, "Secrets", "Subscriptions").

use inbox_core::fynapse_api::management::{
    ManagedResource, SecretValue, parse_resources, parse_secret_value,
};
use inbox_core::id::Id;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{ApiError, FynapseSession};

/// A subscription to create.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSubscription<'a> {
    /// Its name.
    pub name: &'a str,
    /// The address that it delivers to.
    pub endpoint_url: &'a str,
    /// The name of the secret that it signs with.
    pub secret_ref: &'a str,
    /// The types of events that it delivers. An empty list means all.
    pub event_types: &'a [&'a str],
}

impl FynapseSession {
    /// Lists the secrets, without their values. How pages of this list look is not documented, so only the first one is read.
    pub async fn secrets(&self) -> Result<Vec<ManagedResource>, ApiError> {
        resources(&self.get(self.endpoint(&["secrets"])?).await?)
    }

    /// Creates a secret of this name. Fynapse makes its value.
    pub async fn create_secret(&self, name: &str) -> Result<SecretValue, ApiError> {
        let body = json!({ "name": name }).to_string();
        secret_value(self.post(self.endpoint(&["secrets"])?, body).await?)
    }

    /// Reads the value of a secret.
    pub async fn secret_value(&self, id: &Id) -> Result<SecretValue, ApiError> {
        secret_value(self.get(self.endpoint(&["secrets", id.as_str()])?).await?)
    }

    /// Has Fynapse make a new value of a secret; returns that. Fynapse names the operation and not its path, so this one is assumed.
    pub async fn rotate_secret(&self, id: &Id) -> Result<SecretValue, ApiError> {
        secret_value(self.post(self.endpoint(&["secrets", id.as_str(), "rotate"])?, "{}".to_owned()).await?)
    }

    /// Lists the subscriptions; only the first page, as of the secrets.
    pub async fn subscriptions(&self) -> Result<Vec<ManagedResource>, ApiError> {
        resources(&self.get(self.endpoint(&["subscriptions"])?).await?)
    }

    /// Creates a subscription. It is active at once. `None` if the answer does not show it.
    pub async fn create_subscription(
        &self,
        subscription: &NewSubscription<'_>,
    ) -> Result<Option<ManagedResource>, ApiError> {
        const NO_JSON: ApiError = ApiError::InvalidResponse("a subscription that is not JSON");
        let body = serde_json::to_string(subscription).map_err(|_| NO_JSON)?;
        let answer = self.post(self.endpoint(&["subscriptions"])?, body).await?;
        Ok(parse_resources(&answer).and_then(|found| found.into_iter().next()))
    }
}

fn resources(body: &[u8]) -> Result<Vec<ManagedResource>, ApiError> {
    parse_resources(body).ok_or(ApiError::InvalidResponse("a list that is not JSON"))
}

fn secret_value(body: Vec<u8>) -> Result<SecretValue, ApiError> {
    parse_secret_value(&Zeroizing::new(body))
        .ok_or(ApiError::InvalidResponse("an answer without the secret's value"))
}
