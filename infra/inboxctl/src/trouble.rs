//! Errors that say what was missing: which permission, or which parameter.

use std::fmt;

use inbox_aws::{AwsErrorKind, AwsError};

use crate::place::Thing;

/// What an AWS call was about.
pub(crate) trait About<T> {
    /// Names the thing, and what to do about the failure.
    fn about(self, thing: &Thing) -> anyhow::Result<T>;
}

/// A failed call on a thing.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) fault: AwsError,
    thing: Thing,
}

impl std::error::Error for Explained {}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AwsError { action, kind: cause } = &self.fault;
        match cause {
            // Where it was asked is said beside it.
            AwsErrorKind::Connection | AwsErrorKind::Timeout | AwsErrorKind::Certificate => {
                write!(f, "{action} on {}: {cause}", self.thing)
            }
            AwsErrorKind::Construction | AwsErrorKind::UnreadableResponse | AwsErrorKind::Service(_) | AwsErrorKind::UnreadableItem | AwsErrorKind::PayloadGone => {
                f.write_str(&explain(&self.fault, &self.thing))
            }
        }
    }
}

impl<T> About<T> for Result<T, AwsError> {
    fn about(self, thing: &Thing) -> anyhow::Result<T> {
        Ok(self.map_err(|fault| Explained { fault, thing: thing.clone() })?)
    }
}

/// A failed call, in words that lead on.
pub(crate) fn explain(fault: &AwsError, thing: &Thing) -> String {
    let AwsError { action, kind: cause } = fault;
    let advice = advice(fault, thing);
    format!("{action} on {thing}: {cause}{}{advice}", if advice.is_empty() { "" } else { " — " })
}

fn advice(fault: &AwsError, thing: &Thing) -> String {
    match &fault.kind {
        AwsErrorKind::Service(code) => match kind(code) {
            Kind::Denied => format!("your role needs {}", fault.action),
            Kind::Missing => {
                format!("it is not there: is it the right account and region? {} names another", thing.flag)
            }
            Kind::Credentials => "your AWS credentials are not accepted, or have expired".to_owned(),
            Kind::Rate => "too many calls at once: try again".to_owned(),
            Kind::Other => String::new(),
        },
        AwsErrorKind::Connection => "is AWS_ENDPOINT_URL or the region right?".to_owned(),
        AwsErrorKind::Timeout => "try again".to_owned(),
        AwsErrorKind::Certificate => "does AWS_CA_BUNDLE name the right certificates?".to_owned(),
        AwsErrorKind::Construction => format!("is the name right? {} names another", thing.flag),
        AwsErrorKind::PayloadGone => "the stored parts of the payload are no longer there".to_owned(),
        AwsErrorKind::UnreadableItem => "what stands there is not of the form that this version writes".to_owned(),
        AwsErrorKind::UnreadableResponse => String::new(),
    }
}

enum Kind {
    Denied,
    Missing,
    Credentials,
    Rate,
    Other,
}

fn kind(code: &str) -> Kind {
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["AccessDenied", "NotAuthorized", "AuthorizationError", "UnauthorizedOperation"]) {
        Kind::Denied
    } else if has(&["ResourceNotFound", "NonExistentQueue", "QueueDoesNotExist", "ValidationError"]) {
        Kind::Missing
    } else if has(&[
        "ExpiredToken",
        "UnrecognizedClient",
        "InvalidClientTokenId",
        "InvalidSignature",
        "SignatureDoesNotMatch",
    ]) {
        Kind::Credentials
    } else if has(&["Throttl", "ProvisionedThroughput", "TooManyRequests", "RequestLimit"]) {
        Kind::Rate
    } else {
        Kind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_missing_permission_or_parameter() {
        let table = Thing::new("table", "inbox", "--table");
        let said = |cause| explain(&AwsError { action: "dynamodb:Query", kind: cause }, &table);
        let service = |code: &str| said(AwsErrorKind::Service(code.to_owned()));
        assert_eq!(
            service("AccessDeniedException"),
            "dynamodb:Query on table inbox: AccessDeniedException — your role needs dynamodb:Query"
        );
        assert_eq!(
            service("ResourceNotFoundException"),
            "dynamodb:Query on table inbox: ResourceNotFoundException — it is not there: is it the right account and region? --table names another"
        );
        assert_eq!(service("InternalServerError"), "dynamodb:Query on table inbox: InternalServerError");
        assert!(said(AwsErrorKind::Connection).ends_with("is AWS_ENDPOINT_URL or the region right?"));
    }
}
