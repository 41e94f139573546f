//! IAM permissions that a call needs, derived from its request. The connector checks them against a function's role.

use inbox_aws::iam::{Resource, Role};
use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;
use serde_json::Value;

use crate::resource_names::{
    BALANCES_TABLE, EVENT_BUS, EVENTS_QUEUE, FYNAPSE_API_CREDENTIALS_SECRET, INBOX_TABLE,
    RIGHTFOOT_API_KEY_SECRET,
};

/// An IAM action and its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredPermission {
    /// IAM action, for example `dynamodb:PutItem`.
    pub action: String,
    /// Resource of the action; `None` if it is not one of the stack's, which no role allows.
    pub resource: Option<Resource>,
}

impl RequiredPermission {
    pub(super) fn is_granted_by(&self, role: &Role) -> bool {
        self.resource.is_some_and(|resource| role.permits(&self.action, resource))
    }
}

/// Permissions that a call needs. A transaction needs one for each write (IAM has no action for transactions), a batch one
/// for each table.
pub(super) fn required_permissions(operation: &str, request: &Value) -> Vec<RequiredPermission> {
    let permission = |action: &str, holder: &Value, name: &str| {
        let resource = holder.get(name).and_then(Value::as_str).and_then(resource_named);
        RequiredPermission { action: action.to_owned(), resource }
    };
    let entries = |name: &str| request.get(name).and_then(Value::as_array).into_iter().flatten();
    let tables = || request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
    match operation {
        "GetSecretValue" => vec![permission("secretsmanager:GetSecretValue", request, "SecretId")],
        "PutEvents" => {
            entries("Entries").map(|entry| permission("events:PutEvents", entry, "EventBusName")).collect()
        }
        "SendMessage" | "SendMessageBatch" => vec![permission("sqs:SendMessage", request, "QueueUrl")],
        "GetQueueAttributes" => vec![permission("sqs:GetQueueAttributes", request, "QueueUrl")],
        "TransactWriteItems" => entries("TransactItems")
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, write)| permission(&format!("dynamodb:{kind}Item"), write, "TableName"))
            .collect(),
        "BatchGetItem" | "BatchWriteItem" => tables()
            .map(|(table, _)| RequiredPermission {
                action: format!("dynamodb:{operation}"),
                resource: resource_named(table),
            })
            .collect(),
        // In IAM, an index is a resource of its own.
        "Query" if request.get("IndexName").is_some() => {
            let resource = match request.get("IndexName").and_then(Value::as_str) {
                Some("due") => Some(Resource::DueIndex),
                Some("listed") => Some(Resource::ListedIndex),
                Some(_) | None => None,
            };
            vec![RequiredPermission { action: "dynamodb:Query".to_owned(), resource }]
        }
        // Taken for an operation of DynamoDB. One of another service names no table, so no role allows it.
        _ => vec![permission(&format!("dynamodb:{operation}"), request, "TableName")],
    }
}

/// The resource with this name, or with a URL or ARN that ends in it after a slash.
fn resource_named(name: &str) -> Option<Resource> {
    let name = name.rsplit('/').next()?;
    let mut providers = Provider::ALL.iter().copied();
    if let Some(provider) = providers.find(|it| ProviderSpec::of(*it).secret_name == name) {
        return Some(Resource::WebhookSecret(provider));
    }
    match name {
        INBOX_TABLE => Some(Resource::InboxTable),
        BALANCES_TABLE => Some(Resource::BalancesTable),
        EVENTS_QUEUE => Some(Resource::EventsQueue),
        EVENT_BUS => Some(Resource::EventBus),
        RIGHTFOOT_API_KEY_SECRET => Some(Resource::RightfootApiKey),
        FYNAPSE_API_CREDENTIALS_SECRET => Some(Resource::FynapseApiCredentials),
        _ => None,
    }
}
