//! The request that API Gateway's HTTP API invokes a webhook function with: payload format 2.0, as far as it is
//! needed.
//!
//! Header names and values are taken unchecked: a library that validates them would reject a whole delivery for
//! one odd `User-Agent`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One HTTP request, as API Gateway passes it on.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiGatewayRequest {
    headers: Option<BTreeMap<String, HeaderValues>>,
    path_parameters: Option<BTreeMap<String, String>>,
    request_context: RequestContext,
    pub(crate) body: Option<String>,
    pub(crate) is_base64_encoded: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    request_id: Option<String>,
    http: HttpContext,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpContext {
    source_ip: Option<String>,
}

/// API Gateway joins the values of a repeated header with commas.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderValues {
    One(String),
    Several(Vec<String>),
}

impl ApiGatewayRequest {
    /// Parses an invocation; `None` if it is not an HTTP API request.
    pub fn parse(event: &RawValue) -> Option<Self> {
        serde_json::from_str(event.get()).ok()
    }

    /// The caller's IP address: as API Gateway saw it, never from a header.
    pub fn source_ip(&self) -> Option<&str> {
        self.request_context.http.source_ip.as_deref()
    }

    /// The value of the path parameter `{name}` of the route.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        self.path_parameters.as_ref()?.get(name).map(String::as_str)
    }

    /// API Gateway's id of the request.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.request_context.request_id.as_deref()
    }

    /// Takes the headers out of the request, by lower-case name.
    pub(crate) fn take_headers(&mut self) -> BTreeMap<String, String> {
        let headers = self.headers.take().unwrap_or_default().into_iter();
        // Senders may write header names in any case.
        headers.map(|(name, values)| (name.to_ascii_lowercase(), values.join())).collect()
    }
}

impl HeaderValues {
    fn join(self) -> String {
        match self {
            Self::One(value) => value,
            Self::Several(values) => values.join(","),
        }
    }
}

/// Shows neither path nor payload (P8).
impl fmt::Debug for ApiGatewayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiGatewayRequest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Option<ApiGatewayRequest> {
        ApiGatewayRequest::parse(&RawValue::from_string(event.to_owned()).unwrap())
    }

    #[test]
    fn needed_fields_are_parsed_and_others_ignored() {
        let mut invocation = read(
            r#"{"version":7,"rawPath":null,"cookies":"none","headers":{"Webhook-Signature":"a","x-odd":"\u007f\u0001","b c":["d","e"]},
                "pathParameters":{"token":"t"},"stageVariables":[],"body":"{\"n\": 1.50}",
                "requestContext":{"requestId":"r-1","timeEpoch":"late","http":{"method":1,"sourceIp":"203.0.113.9"}}}"#,
        )
        .unwrap();
        assert_eq!(invocation.source_ip(), Some("203.0.113.9"));
        assert_eq!(
            (invocation.path_parameter("token"), invocation.path_parameter("other")),
            (Some("t"), None)
        );
        assert_eq!(invocation.request_id(), Some("r-1"));
        assert_eq!(
            (invocation.body.as_deref(), invocation.is_base64_encoded),
            (Some("{\"n\": 1.50}"), false)
        );
        let expected = [("b c", "d,e"), ("webhook-signature", "a"), ("x-odd", "\u{7f}\u{1}")];
        assert_eq!(
            invocation.take_headers(),
            expected.map(|(name, value)| (name.into(), value.into())).into()
        );
    }

    #[test]
    fn missing_fields_are_empty() {
        for event in ["{}", r#"{"headers":null,"pathParameters":null,"body":null}"#] {
            let mut invocation = read(event).unwrap();
            assert_eq!((invocation.source_ip(), invocation.path_parameter("token")), (None, None));
            assert_eq!((invocation.take_headers().len(), invocation.body), (0, None));
        }
    }

    #[test]
    fn an_invalid_invocation_is_not_parsed() {
        for event in [
            "7",
            "null",
            r#"{"body":7}"#,
            r#"{"headers":{"a":1}}"#,
            r#"{"requestContext":null}"#,
            r#"{"body":"\ud800"}"#,
            r#"{"isBase64Encoded":"yes"}"#,
        ] {
            assert!(read(event).is_none(), "{event}");
        }
    }
}
