//! Signed requests to services whose SDK would add minutes to the build for a single call.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_config::Region;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use inbox_aws::ca_bundle::is_certificate_error;
use inbox_aws::{AwsError, AwsErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::target::Target;

/// Most bytes that are read of a response with an error.
const ERROR_MAX_BYTES: usize = 64 * 1024;
/// Most bytes that are read of a response that is parsed. A page of 100 alarms has some 200 KB.
const RESPONSE_MAX_BYTES: usize = 1024 * 1024;

/// Names of an AWS service.
pub(crate) struct AwsService {
    /// Id in the AWS configuration: `AWS_ENDPOINT_URL_…` and the sections of a profile.
    pub(crate) sdk_id: &'static str,
    /// Name in signatures and host names.
    pub(crate) signing_name: &'static str,
}

/// HTTP client that signs with the credentials of the target.
pub(crate) struct SigV4Client<'a> {
    target: &'a Target,
    http: reqwest::Client,
}

impl<'a> SigV4Client<'a> {
    /// A client that waits for a whole response up to `timeout`.
    pub(crate) fn new(target: &'a Target, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self { target, http: target.account.http_client(timeout)? })
    }

    /// Sends a GET for a path whose special characters are encoded.
    ///
    /// # Errors
    ///
    /// There is no response, or it has an error code of the service.
    pub(crate) async fn get(
        &self,
        service: &AwsService,
        action: &'static str,
        path: &str,
        now: SystemTime,
    ) -> Result<reqwest::Response, AwsError> {
        let url = format!("{}{path}", self.endpoint(service));
        self.send(service, action, http::Request::get(url).body(Vec::new()), now).await
    }

    /// Sends a GET, and parses the JSON of the response.
    ///
    /// # Errors
    ///
    /// As for [`SigV4Client::get`], or the response is not that JSON.
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        service: &AwsService,
        action: &'static str,
        path: &str,
        now: SystemTime,
    ) -> Result<T, AwsError> {
        parse_json(action, self.get(service, action, path, now).await?).await
    }

    /// Calls an operation of a service that speaks AWS JSON 1.0: `target` is the value of `x-amz-target`.
    ///
    /// # Errors
    ///
    /// As for [`SigV4Client::get_json`].
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        service: &AwsService,
        action: &'static str,
        target: &str,
        body: &impl Serialize,
        now: SystemTime,
    ) -> Result<T, AwsError> {
        let body =
            serde_json::to_vec(body).map_err(|_| AwsError { action, kind: AwsErrorKind::Construction })?;
        let request = http::Request::post(format!("{}/", self.endpoint(service)))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(body);
        parse_json(action, self.send(service, action, request, now).await?).await
    }

    /// Calls an operation of a service that speaks AWS's query protocol: `form` is encoded. Returns the XML of the response.
    ///
    /// # Errors
    ///
    /// As for [`SigV4Client::get`], or the response is too long.
    pub(crate) async fn post_query(
        &self,
        service: &AwsService,
        action: &'static str,
        form: String,
        now: SystemTime,
    ) -> Result<String, AwsError> {
        let request = http::Request::post(format!("{}/", self.endpoint(service)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.into_bytes());
        let fault = |kind| AwsError { action, kind };
        let response = self.send(service, action, request, now).await?;
        let body = read_body(response, RESPONSE_MAX_BYTES).await.map_err(fault)?;
        String::from_utf8(body).map_err(|_| fault(AwsErrorKind::UnreadableResponse))
    }

    async fn send(
        &self,
        service: &AwsService,
        action: &'static str,
        request: http::Result<http::Request<Vec<u8>>>,
        now: SystemTime,
    ) -> Result<reqwest::Response, AwsError> {
        let fault = |cause| AwsError { action, kind: cause };
        let request = match request {
            Ok(request) => self.sign(service, request, now).await,
            Err(error) => Err(error.into()),
        };
        let request = request.map_err(|_| fault(AwsErrorKind::Construction))?;
        let response = self.http.execute(request).await.map_err(|error| {
            fault(if error.is_timeout() {
                AwsErrorKind::Timeout
            } else if is_certificate_error(&error) {
                AwsErrorKind::Certificate
            } else {
                AwsErrorKind::Connection
            })
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let kind =
            response.headers().get("x-amzn-errortype").and_then(|it| it.to_str().ok()).map(str::to_owned);
        let body = read_body(response, ERROR_MAX_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        // Only a code is shown: a body may hold anything, terminal escapes included.
        let code = kind.or_else(|| parse_xml_error_code(&body).map(str::to_owned));
        let code = code.or_else(|| parse_json_error_code(&body));
        let code = code.as_deref().and_then(sanitize_error_code);
        Err(fault(AwsErrorKind::Service(code.map_or_else(|| status.to_string(), str::to_owned))))
    }

    async fn sign(
        &self,
        service: &AwsService,
        mut request: http::Request<Vec<u8>>,
        now: SystemTime,
    ) -> anyhow::Result<reqwest::Request> {
        let provider = self.target.sdk.credentials_provider().context("no credentials")?;
        let identity = provider.provide_credentials().await?.into();
        let mut settings = SigningSettings::default();
        // S3 requires these settings; for paths that need no encoding, the other services accept them.
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.target.sdk.region().context("no region")?.as_ref())
            .name(service.signing_name)
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let url = request.uri().to_string();
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.push((name.as_str(), value.to_str()?));
        }
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), url, headers.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.try_into()?)
    }

    /// Endpoint of the service, as the SDK resolves it.
    fn endpoint(&self, service: &AwsService) -> String {
        match self.target.account.endpoint_url(service.sdk_id) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => default_endpoint(service, self.target.sdk.region()),
        }
    }
}

fn default_endpoint(service: &AwsService, region: Option<&Region>) -> String {
    let region = region.map_or("us-east-1", Region::as_ref);
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{}.{region}.{suffix}", service.signing_name)
}

async fn parse_json<T: DeserializeOwned>(
    action: &'static str,
    response: reqwest::Response,
) -> Result<T, AwsError> {
    let fault = |kind| AwsError { action, kind };
    let body = read_body(response, RESPONSE_MAX_BYTES).await.map_err(fault)?;
    serde_json::from_slice(&body).map_err(|_| fault(AwsErrorKind::UnreadableResponse))
}

/// Reads a body of at most this many bytes.
///
/// # Errors
///
/// It is longer, or did not come whole.
async fn read_body(mut response: reqwest::Response, max_bytes: usize) -> Result<Vec<u8>, AwsErrorKind> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| AwsErrorKind::Connection)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(AwsErrorKind::UnreadableResponse);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Error code in S3's XML.
fn parse_xml_error_code(body: &str) -> Option<&str> {
    Some(body.split_once("<Code>")?.1.split_once("</Code>")?.0)
}

/// Error code in AWS JSON, without its namespace: `com.amazonaws.cloudwatch#…`.
fn parse_json_error_code(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(body.get("__type")?.as_str()?.rsplit('#').next()?.to_owned())
}

/// Error code without the URL that some services append; `None` if it does not look like a code.
fn sanitize_error_code(code: &str) -> Option<&str> {
    let code = code.split(':').next().unwrap_or_default();
    (!code.is_empty() && code.chars().all(|it| it.is_ascii_alphanumeric())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_is_read_from_header_xml_or_json_and_nothing_else_is_shown() {
        assert_eq!(
            parse_xml_error_code("<Error><Code>NoSuchKey</Code><Key>k</Key></Error>"),
            Some("NoSuchKey")
        );
        assert_eq!(parse_xml_error_code("<html>"), None);
        for (body, code) in [
            (r#"{"__type":"com.amazonaws.cloudwatch#AccessDenied","Message":"no"}"#, Some("AccessDenied")),
            (r#"{"__type":"UnknownOperationException"}"#, Some("UnknownOperationException")),
            (r#"{"message":"no"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(parse_json_error_code(body).as_deref(), code, "{body}");
        }
        for (code, alone) in [
            ("AccessDeniedException", Some("AccessDeniedException")),
            ("AccessDeniedException:http://internal.amazon.com/", Some("AccessDeniedException")),
            ("", None),
            ("a\u{1b}[2J", None),
        ] {
            assert_eq!(sanitize_error_code(code), alone, "{code:?}");
        }
    }

    #[test]
    fn a_service_is_found_in_its_region() {
        let lambda = AwsService { sdk_id: "Lambda", signing_name: "lambda" };
        for (region, url) in [
            ("eu-west-1", "https://lambda.eu-west-1.amazonaws.com"),
            ("cn-north-1", "https://lambda.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(default_endpoint(&lambda, Some(&Region::new(region))), url);
        }
    }
}
