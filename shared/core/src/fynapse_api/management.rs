//! Answers about secrets and subscriptions (shared/providers/fynapse.md, "Secrets", "Subscriptions"). Only a few of their fields are
//! documented, so nothing else is relied on.

use std::fmt;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::json_tree::{DEPTH_MAX, Fields, Node, text, whole_number};
use crate::id::Id;
use crate::json::strip_bom;

/// A secret or a subscription, as far as it could be read.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagedResource {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// The address that a subscription delivers to.
    pub endpoint_url: Option<String>,
    /// The name of the secret that a subscription signs with.
    pub secret_ref: Option<String>,
}

/// The secret value in an answer. Only the answers that create, rotate or get a secret have one.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// The value, to be stored.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Finds the resources in an answer: every object with an `id` and a `name`. `None` if it is not JSON.
pub fn parse_resources(body: &[u8]) -> Option<Vec<ManagedResource>> {
    let raw: &RawValue = serde_json::from_slice(strip_bom(body)).ok()?;
    let mut found = Vec::new();
    search(raw, 0, &mut found);
    Some(found)
}

/// The secret value in an answer: `value`, or `secretValue` of a subscription that was created without a secret.
pub fn parse_secret_value(body: &[u8]) -> Option<SecretValue> {
    let fields: Fields<'_> = serde_json::from_slice(strip_bom(body)).ok()?;
    let value = fields.get("value").or_else(|| fields.get("secretValue"))?;
    let value = Zeroizing::new(text(value)?.into_owned());
    (!value.is_empty()).then_some(SecretValue(value))
}

fn search(raw: &RawValue, depth: usize, found: &mut Vec<ManagedResource>) {
    if depth > DEPTH_MAX {
        return;
    }
    match Node::of(raw) {
        Node::Object(fields) => match ManagedResource::from_fields(&fields) {
            Some(resource) => found.push(resource),
            None => fields.values().for_each(|value| search(value, depth + 1, found)),
        },
        Node::Array(elements) => elements.iter().for_each(|value| search(value, depth + 1, found)),
        Node::Scalar => {}
    }
}

impl ManagedResource {
    fn from_fields(fields: &Fields<'_>) -> Option<Self> {
        let field = |name: &str| fields.get(name).and_then(|value| text(value)).map(|text| text.into_owned());
        let id = fields.get("id")?;
        let id = text(id).map(|id| id.into_owned()).or_else(|| whole_number(id).map(|id| id.to_string()));
        Some(Self {
            id: Id::new(id?)?,
            name: field("name")?,
            endpoint_url: field("endpointUrl"),
            secret_ref: field("secretRef"),
        })
    }
}

/// Does not show the URL, which an operator may have given a password.
impl fmt::Debug for ManagedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedResource")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Does not show the value (P8).
impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_in_any_envelope() {
        let one = r#"{"id":"s-1","name":"Balance Inbox","endpointUrl":"https://a.test/x","secretRef":"balance-inbox","active":true}"#;
        for body in [format!("[{one}]"), format!(r#"{{"data":[{one}],"page":0}}"#), one.to_owned()] {
            let found = parse_resources(body.as_bytes()).unwrap();
            assert_eq!(found.len(), 1, "{body}");
            assert_eq!((found[0].id.as_str(), found[0].name.as_str()), ("s-1", "Balance Inbox"));
            assert_eq!(found[0].endpoint_url.as_deref(), Some("https://a.test/x"));
            assert_eq!(found[0].secret_ref.as_deref(), Some("balance-inbox"));
        }
        assert_eq!(parse_resources(b"[]"), Some(vec![]));
        assert_eq!(parse_resources(b"<html>"), None);
    }

    #[test]
    fn p8_a_secret_value_is_found_and_never_shown() {
        let value = |body: &str| parse_secret_value(body.as_bytes()).map(|value| value.expose().to_owned());
        assert_eq!(value(r#"{"id":"1","name":"n","value":"v-1"}"#).as_deref(), Some("v-1"));
        assert_eq!(value(r#"{"id":"1","secretValue":"v-2"}"#).as_deref(), Some("v-2"));
        for none in [r#"{"id":"1"}"#, r#"{"value":""}"#, r#"{"value":7}"#, "[]", ""] {
            assert_eq!(value(none), None, "{none}");
        }
        let shown = format!("{:?}", parse_secret_value(br#"{"value":"v-1"}"#));
        assert_eq!(shown, "Some(SecretValue(..))");
    }
}
