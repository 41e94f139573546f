//! DynamoDB emulator: dynoxide, called in this process, in DynamoDB's wire format.
//!
//! dynoxide's own server is not used: it lets a web page of any origin read and write the tables.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use winterbaume_core::MockResponse;

/// How dynoxide marks the kind of an error at the beginning of serde's message.
const VALIDATION_MARKERS: [&str; 3] = ["VALIDATION:", "VALIDATION_REQUEST:", "VALIDATION_AS_READ:"];
const SERIALIZATION_MARKERS: [&str; 2] = ["SERIALIZATION:", "SERIALIZATION_AS_READ:"];
/// Parts of serde's messages for what DynamoDB calls a validation error, too.
const VALIDATION_MESSAGES: [&str; 4] =
    ["missing field", "unknown variant", "invalid type: null", "AttributeValue"];

/// Handles a request of any client. Its signature must be there, and is not verified.
pub(super) fn handle(database: &Database, headers: &HeaderMap, operation: &str, body: &[u8]) -> MockResponse {
    if let Some(error) = missing_signature(headers) {
        return MockResponse::json(400, error);
    }
    match call_operation(database, operation, body) {
        Some(Ok(response)) => MockResponse::json(200, response),
        Some(Err(error)) => MockResponse::json(error.status_code(), error.to_json()),
        None => MockResponse::json(400, r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#),
    }
}

/// DynamoDB's error for a request that is not signed.
fn missing_signature(headers: &HeaderMap) -> Option<String> {
    auth_material::validate(AuthMaterial {
        authorization: headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()),
        query: "",
        has_date_header: headers.contains_key("x-amz-date") || headers.contains_key(header::DATE),
    })
}

/// Calls an operation. Returns the body of its response; `None` if DynamoDB has no such operation.
fn call_operation(database: &Database, operation: &str, body: &[u8]) -> Option<Result<Bytes>> {
    let result = match operation {
        "BatchExecuteStatement" => call(body, |request| database.batch_execute_statement(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "DeleteTable" => call(body, |request| database.delete_table(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
        "ExecuteStatement" => call(body, |request| database.execute_statement(request)),
        "ExecuteTransaction" => call(body, |request| database.execute_transaction(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "ListTables" => call(body, |request| database.list_tables(request)),
        "ListTagsOfResource" => call(body, |request| database.list_tags_of_resource(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "Query" => call(body, |request| database.query(request)),
        "Scan" => call(body, |request| database.scan(request)),
        "SearchVectors" => call(body, |request| database.search_vectors(request)),
        "TagResource" => call(body, |request| database.tag_resource(request)),
        "TransactGetItems" => call(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "UntagResource" => call(body, |request| database.untag_resource(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "UpdateTable" => call(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        _ => return None,
    };
    Some(result)
}

fn call<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> Result<Response>,
) -> Result<Bytes> {
    let request = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let response = serde_json::to_vec(&operation(request)?);
    response.map(Bytes::from).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// DynamoDB's error for a request that cannot be read.
fn unreadable(error: &serde_json::Error) -> DynoxideError {
    if error.classify() != Category::Data {
        // DynamoDB gives no message with it.
        return DynoxideError::SerializationException(String::new());
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let without = |markers: &[&str]| markers.iter().find_map(|marker| message.strip_prefix(marker));
    if let Some(message) = without(&VALIDATION_MARKERS) {
        DynoxideError::ValidationException(message.to_owned())
    } else if let Some(message) = without(&SERIALIZATION_MARKERS) {
        DynoxideError::SerializationException(message.to_owned())
    } else if VALIDATION_MESSAGES.iter().any(|part| message.contains(part)) {
        DynoxideError::ValidationException(message.to_owned())
    } else {
        DynoxideError::SerializationException(message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a request to a database with the table `tab` and the item `k` = "there". Returns the status, and the type and the
    /// message of the error.
    fn error_of(operation: &str, body: &str) -> (u16, String, String) {
        let database = Database::memory().unwrap();
        let mut headers = HeaderMap::new();
        let signature = "AWS4-HMAC-SHA256 Credential=k/20260102/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=s";
        headers.insert(header::AUTHORIZATION, signature.parse().unwrap());
        headers.insert("x-amz-date", "20260102T030405Z".parse().unwrap());
        let send = |operation: &str, body: &str| handle(&database, &headers, operation, body.as_bytes());
        let table = r#"{"TableName":"tab","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],
            "AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}"#;
        assert_eq!(send("CreateTable", table).status, 200);
        assert_eq!(send("PutItem", r#"{"TableName":"tab","Item":{"k":{"S":"there"}}}"#).status, 200);
        let response = send(operation, body);
        assert_eq!(response.headers["content-type"], "application/x-amz-json-1.0");
        let error: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let message = error.get("message").or_else(|| error.get("Message"));
        let text = |value: Option<&serde_json::Value>| {
            value.and_then(|value| value.as_str()).unwrap_or_default().to_owned()
        };
        (response.status, text(error.get("__type")), text(message))
    }

    #[test]
    fn errors_have_dynamodbs_wire_format() {
        let put = r#"{"Item":{"k":{"S":"there"}},"TableName":"tab","ConditionExpression":"attribute_not_exists(k)"}"#;
        let transact = format!(r#"{{"TransactItems":[{{"Put":{put}}}]}}"#);
        let unknown_table = r#"{"TableName":"none","Key":{"k":{"S":"there"}}}"#;
        for (operation, body, error_type, message) in [
            ("GetItem", "{", ".coral.service#SerializationException", ""),
            ("GetItem", "", ".coral.service#SerializationException", ""),
            ("Nothing", "{}", ".coral.service#UnknownOperationException", ""),
            (
                "GetItem",
                r#"{"TableName":5}"#,
                ".coral.service#SerializationException",
                "invalid type: integer `5`, expected a string",
            ),
            (
                "GetItem",
                r#"{"TableName":"tab"}"#,
                ".coral.validate#ValidationException",
                "1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null",
            ),
            (
                "GetItem",
                unknown_table,
                "aws.dynamodb.v20120810#ResourceNotFoundException",
                "Requested resource not found",
            ),
            (
                "PutItem",
                put,
                "aws.dynamodb.v20120810#ConditionalCheckFailedException",
                "The conditional request failed",
            ),
            (
                "TransactWriteItems",
                &transact,
                "aws.dynamodb.v20120810#TransactionCanceledException",
                "Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]",
            ),
        ] {
            let expected = (400, format!("com.amazon{error_type}"), message.to_owned());
            assert_eq!(error_of(operation, body), expected, "{operation} {body}");
        }
    }

    #[test]
    fn a_request_without_a_signature_is_refused() {
        let database = Database::memory().unwrap();
        let response = handle(&database, &HeaderMap::new(), "ListTables", b"{}");
        assert_eq!(response.status, 400);
        let body = r#"{"__type":"com.amazon.coral.service#MissingAuthenticationTokenException","message":"Request is missing Authentication Token"}"#;
        assert_eq!(std::str::from_utf8(&response.body).unwrap(), body);
    }
}
