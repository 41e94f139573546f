//! Errors that say what was missing: which permission, or which parameter.

use std::fmt;

use inbox_aws::{AwsError, AwsErrorKind};

use crate::target::ResourceRef;

/// What an AWS call was about.
pub(crate) trait WithResource<T> {
    /// Names the thing, and what to do about the failure.
    fn with_resource(self, thing: &ResourceRef) -> anyhow::Result<T>;
}

/// A failed call on a thing.
#[derive(Debug)]
pub(crate) struct ResourceError {
    pub(crate) error: AwsError,
    resource: ResourceRef,
}

impl std::error::Error for ResourceError {}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AwsError { action, kind: cause } = &self.error;
        match cause {
            // Where it was asked is said beside it.
            AwsErrorKind::Connection | AwsErrorKind::Timeout | AwsErrorKind::Certificate => {
                write!(f, "{action} on {}: {cause}", self.resource)
            }
            AwsErrorKind::Construction
            | AwsErrorKind::UnreadableResponse
            | AwsErrorKind::Service(_)
            | AwsErrorKind::UnreadableItem
            | AwsErrorKind::PayloadGone => f.write_str(&explain(&self.error, &self.resource)),
        }
    }
}

impl<T> WithResource<T> for Result<T, AwsError> {
    fn with_resource(self, resource: &ResourceRef) -> anyhow::Result<T> {
        Ok(self.map_err(|fault| ResourceError { error: fault, resource: resource.clone() })?)
    }
}

/// A failed call, in words that lead on.
pub(crate) fn explain(fault: &AwsError, resource: &ResourceRef) -> String {
    let AwsError { action, kind: cause } = fault;
    let advice = advice(fault, resource);
    format!("{action} on {resource}: {cause}{}{advice}", if advice.is_empty() { "" } else { " — " })
}

fn advice(fault: &AwsError, resource: &ResourceRef) -> String {
    match &fault.kind {
        AwsErrorKind::Service(code) => match categorize(code) {
            ErrorCategory::AccessDenied => format!("your role needs {}", fault.action),
            ErrorCategory::NotFound => {
                format!(
                    "it is not there: is it the right account and region? {} names another",
                    resource.flag
                )
            }
            ErrorCategory::Credentials => "your AWS credentials are not accepted, or have expired".to_owned(),
            ErrorCategory::Throttled => "too many calls at once: try again".to_owned(),
            ErrorCategory::Other => String::new(),
        },
        AwsErrorKind::Connection => "is AWS_ENDPOINT_URL or the region right?".to_owned(),
        AwsErrorKind::Timeout => "try again".to_owned(),
        AwsErrorKind::Certificate => "does AWS_CA_BUNDLE name the right certificates?".to_owned(),
        AwsErrorKind::Construction => format!("is the name right? {} names another", resource.flag),
        AwsErrorKind::PayloadGone => "the stored parts of the payload are no longer there".to_owned(),
        AwsErrorKind::UnreadableItem => {
            "what stands there is not of the form that this version writes".to_owned()
        }
        AwsErrorKind::UnreadableResponse => String::new(),
    }
}

enum ErrorCategory {
    AccessDenied,
    NotFound,
    Credentials,
    Throttled,
    Other,
}

fn categorize(code: &str) -> ErrorCategory {
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["AccessDenied", "NotAuthorized", "AuthorizationError", "UnauthorizedOperation"]) {
        ErrorCategory::AccessDenied
    } else if has(&["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist", "ValidationError"]) {
        ErrorCategory::NotFound
    } else if has(&[
        "ExpiredToken",
        "UnrecognizedClient",
        "InvalidClientTokenId",
        "InvalidSignature",
        "SignatureDoesNotMatch",
    ]) {
        ErrorCategory::Credentials
    } else if has(&["Throttl", "ProvisionedThroughput", "TooManyRequests", "RequestLimit"]) {
        ErrorCategory::Throttled
    } else {
        ErrorCategory::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_missing_permission_or_parameter() {
        let table = ResourceRef::new("table", "inbox", "--table");
        let explained = |cause| explain(&AwsError { action: "dynamodb:Query", kind: cause }, &table);
        let service = |code: &str| explained(AwsErrorKind::Service(code.to_owned()));
        assert_eq!(
            service("AccessDeniedException"),
            "dynamodb:Query on table inbox: AccessDeniedException — your role needs dynamodb:Query"
        );
        assert_eq!(
            service("ResourceNotFoundException"),
            "dynamodb:Query on table inbox: ResourceNotFoundException — it is not there: is it the right account and region? --table names another"
        );
        assert_eq!(service("InternalServerError"), "dynamodb:Query on table inbox: InternalServerError");
        assert!(explained(AwsErrorKind::Connection).ends_with("is AWS_ENDPOINT_URL or the region right?"));
    }
}
