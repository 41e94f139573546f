//! AWS errors with the resource and advice: the missing permission, or the option that names another resource.

use std::fmt;

use inbox_aws::{AwsError, AwsErrorKind};

/// An AWS resource and the option that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceRef {
    kind: &'static str,
    pub(crate) name: String,
    pub(crate) flag: &'static str,
}

impl ResourceRef {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>, flag: &'static str) -> Self {
        Self { kind, name: name.into(), flag }
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last part of a URL or an ARN is the familiar name.
        let name = self.name.rsplit(['/', ':']).next().unwrap_or_default();
        write!(f, "{} {name}", self.kind)
    }
}

/// Adds the resource to the error of an AWS call.
pub(crate) trait WithResource<T> {
    /// Names the resource in the error, and what to do.
    fn with_resource(self, resource: &ResourceRef) -> anyhow::Result<T>;
}

/// A failed AWS call on a resource.
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
            // Without advice: `AwsAccount::with_location` adds the endpoint and advice.
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

/// Text of a failed call, with advice.
pub(crate) fn explain(fault: &AwsError, resource: &ResourceRef) -> String {
    let AwsError { action, kind: cause } = fault;
    let advice = advice(fault, resource);
    format!("{action} on {resource}: {cause}{}{advice}", if advice.is_empty() { "" } else { " — " })
}

/// Returns `true` if the caller has no permission for the call.
pub(crate) fn is_access_denied(kind: &AwsErrorKind) -> bool {
    matches!(kind, AwsErrorKind::Service(code) if matches!(categorize(code), ErrorCategory::AccessDenied))
}

fn advice(fault: &AwsError, resource: &ResourceRef) -> String {
    match &fault.kind {
        AwsErrorKind::Service(code) => match categorize(code) {
            ErrorCategory::AccessDenied => format!("your role needs {}", fault.action),
            ErrorCategory::NotFound => {
                format!(
                    "it does not exist: are account and region right? {} names another one",
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
        AwsErrorKind::Construction => format!("is the name right? {} names another one", resource.flag),
        AwsErrorKind::PayloadGone => {
            "the stored payload is no longer there: it has expired, or was erased".to_owned()
        }
        AwsErrorKind::UnreadableItem => "the item does not have the format of this version".to_owned(),
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
    // Substrings, since some services add a prefix or suffix: `AWS.SimpleQueueService.NonExistentQueue`.
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
            "dynamodb:Query on table inbox: ResourceNotFoundException — it does not exist: are account and region right? --table names another one"
        );
        assert_eq!(service("InternalServerError"), "dynamodb:Query on table inbox: InternalServerError");
        assert!(explained(AwsErrorKind::Connection).ends_with("is AWS_ENDPOINT_URL or the region right?"));
    }
}
