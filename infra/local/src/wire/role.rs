//! What a call needs by IAM, read from the call itself.

use inbox_aws::calls::{Resource, Role};
use serde_json::Value;

use crate::system::{BALANCES, BUS, FYNAPSE_SECRET, QUEUE, RIGHTFOOT_API_KEY, RIGHTFOOT_URL_KEY, TABLE};

/// An IAM action, and what it is done on, if that is a thing of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// For example `dynamodb:PutItem`.
    pub action: String,
    /// What it is done on.
    pub on: Option<Resource>,
}

impl Need {
    pub(super) fn is_met_by(&self, role: &Role) -> bool {
        self.on.is_some_and(|on| role.permits(&self.action, on))
    }
}

/// What a call needs. Batches and transactions need what each of their parts does, each under the name that IAM knows.
pub(super) fn needs(operation: &str, request: &Value) -> Vec<Need> {
    let need = |action: &str, holder: &Value, name: &str| {
        let on = holder.get(name).and_then(Value::as_str).and_then(resource);
        Need { action: action.to_owned(), on }
    };
    let entries = |name: &str| request.get(name).and_then(Value::as_array).into_iter().flatten();
    let tables = || request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
    match operation {
        "GetSecretValue" => vec![need("secretsmanager:GetSecretValue", request, "SecretId")],
        "PutEvents" => {
            entries("Entries").map(|entry| need("events:PutEvents", entry, "EventBusName")).collect()
        }
        "SendMessage" | "SendMessageBatch" => vec![need("sqs:SendMessage", request, "QueueUrl")],
        "GetQueueAttributes" => vec![need("sqs:GetQueueAttributes", request, "QueueUrl")],
        "TransactWriteItems" => entries("TransactItems")
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, write)| need(&format!("dynamodb:{kind}Item"), write, "TableName"))
            .collect(),
        "BatchGetItem" | "BatchWriteItem" => tables()
            .map(|(table, _)| Need { action: format!("dynamodb:{operation}"), on: resource(table) })
            .collect(),
        "Query" if request.get("IndexName").is_some() => {
            vec![Need { action: "dynamodb:Query".to_owned(), on: Some(Resource::Due) }]
        }
        _ => vec![need(&format!("dynamodb:{operation}"), request, "TableName")],
    }
}

/// What is called so here, or has an address that ends so.
fn resource(name: &str) -> Option<Resource> {
    match name.rsplit('/').next()? {
        TABLE => Some(Resource::Inbox),
        BALANCES => Some(Resource::Balances),
        QUEUE => Some(Resource::Events),
        BUS => Some(Resource::Bus),
        FYNAPSE_SECRET => Some(Resource::FynapseSigning),
        RIGHTFOOT_URL_KEY => Some(Resource::RightfootUrlKey),
        RIGHTFOOT_API_KEY => Some(Resource::RightfootApiKey),
        _ => None,
    }
}
