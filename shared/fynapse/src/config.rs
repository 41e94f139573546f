//! Configuration of the client: the API's URL, time-outs and retries.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::Url;

use inbox_aws::ca_bundle::CaBundle;
use inbox_core::id::Id;
use inbox_core::local_hosts::{is_container_host, is_loopback};

use crate::ApiError;

/// Characters that are not encoded in a path segment: RFC 3986's unreserved characters.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The API's URL, time-outs and retries.
#[derive(Clone)]
pub struct ClientConfig {
    base: Url,
    /// Certificate authorities that are trusted in addition to the system's.
    pub ca_bundle: Option<CaBundle>,
    /// Time limit for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Time limit for one request, from the connection to the last byte of the answer.
    pub request_timeout: Duration,
    /// Upper limit of the random pause before the second attempt; twice as much before the third.
    pub backoff_base: Duration,
    /// Longest pause before a retry. If `Retry-After` asks for more, there is no retry.
    pub pause_max: Duration,
}

/// The URL cannot be the base URL of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a base URL is https://host, with or without a path, and without user name, query or fragment; \
     http is for localhost only, and for a container's host if AWS_ENDPOINT_URL leads to one, too"
)]
pub struct InvalidApiUrl;

impl ClientConfig {
    /// Creates the configuration for the instance at this URL, with time-outs of 2 s and 10 s.
    ///
    /// The token endpoint and the API are below the URL. Requests contain credentials, so it must be `https`, or `http` for this
    /// machine. If `aws_endpoint`, the endpoint of an emulated AWS, leads to a container's host, it may be `http` for one, too: a
    /// function on AWS has no such endpoint.
    pub fn new(base_url: impl AsRef<str>, aws_endpoint: Option<&str>) -> Result<Self, InvalidApiUrl> {
        let base = Url::parse(base_url.as_ref()).map_err(|_| InvalidApiUrl)?;
        let is_secure = match (base.scheme(), base.host_str()) {
            ("https", _) => true,
            ("http", Some(host)) => {
                is_loopback(host)
                    || is_container_host(host) && aws_endpoint.is_some_and(leads_to_container_host)
            }
            _ => false,
        };
        let is_bare = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !is_secure || !is_bare {
            return Err(InvalidApiUrl);
        }
        Ok(Self {
            base,
            ca_bundle: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            backoff_base: Duration::from_millis(200),
            pause_max: Duration::from_secs(2),
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The URL of the token endpoint.
    pub(crate) fn token_url(&self) -> Url {
        self.url_below("auth/token")
    }

    /// The URL of the deliveries of a subscription.
    pub(crate) fn deliveries_url(&self, subscription_id: &Id) -> Result<Url, ApiError> {
        let id = path_segment(subscription_id)?;
        Ok(self.url_below(&format!("api/v1/event-deliveries/subscriptions/{id}/deliveries")))
    }

    /// The URL of the secrets.
    pub(crate) fn secrets_url(&self) -> Url {
        self.url_below("api/v1/event-deliveries/secrets")
    }

    /// The URL of one secret.
    pub(crate) fn secret_url(&self, id: &Id) -> Result<Url, ApiError> {
        Ok(self.url_below(&format!("api/v1/event-deliveries/secrets/{}", path_segment(id)?)))
    }

    /// The URL that rotates a secret. Fynapse names the operation and not its path, so this one is assumed.
    pub(crate) fn rotation_url(&self, id: &Id) -> Result<Url, ApiError> {
        Ok(self.url_below(&format!("api/v1/event-deliveries/secrets/{}/rotate", path_segment(id)?)))
    }

    /// The URL of the subscriptions.
    pub(crate) fn subscriptions_url(&self) -> Url {
        self.url_below("api/v1/event-deliveries/subscriptions")
    }

    fn url_below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

/// An id as one segment of a path.
fn path_segment(id: &Id) -> Result<PercentEncode<'_>, ApiError> {
    // By the URL standard, these two are never a path segment, however they are encoded.
    match id.as_str() {
        "." | ".." => Err(ApiError::InvalidResponse("an id that is not a valid path segment")),
        id => Ok(utf8_percent_encode(id, PATH_SEGMENT)),
    }
}

/// Returns `true` for a URL whose host is the host of this container.
fn leads_to_container_host(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_container_host))
}

/// Does not show the URL.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("backoff_base", &self.backoff_base)
            .field("pause_max", &self.pause_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_never_leave_this_machine_in_the_clear() {
        let accepts = |url: &str, aws_endpoint| ClientConfig::new(url, aws_endpoint).is_ok();
        for private in ["https://a.fynapse.test", "https://a.test/b/", "http://localhost:1", "http://[::1]:8"]
        {
            assert!(accepts(private, None), "{private}");
        }
        for open in ["http://a.fynapse.test", "http://127.0.0.2", "ftp://localhost", "a.fynapse.test", ""] {
            assert!(!accepts(open, None), "{open}");
        }
        for lost in ["https://u@a.test", "https://:p@a.test", "https://a.test?b", "https://a.test#b"] {
            assert!(!accepts(lost, None), "{lost}");
        }
        let docker = "http://host.docker.internal:9001";
        assert!(accepts(docker, Some("http://172.17.0.1:9001")) && !accepts(docker, None));
        assert!(!accepts(docker, Some("https://sqs.us-east-1.amazonaws.com")));
    }

    #[test]
    fn endpoints_stand_below_the_base_path_and_an_id_is_one_element_of_it() {
        let id = Id::new("s/../1?x").unwrap();
        for (base, before) in
            [("https://a.test", "https://a.test"), ("https://a.test/b/", "https://a.test/b")]
        {
            let config = ClientConfig::new(base, None).unwrap();
            assert_eq!(config.token_url().as_str(), format!("{before}/auth/token"));
            let deliveries = config.deliveries_url(&id).unwrap();
            let path = "api/v1/event-deliveries/subscriptions/s%2F..%2F1%3Fx/deliveries";
            assert_eq!(deliveries.as_str(), format!("{before}/{path}"));
        }
        let dots = ClientConfig::new("https://a.test", None).unwrap().deliveries_url(&Id::new("..").unwrap());
        assert_eq!(dots, Err(ApiError::InvalidResponse("an id that is not a valid path segment")));
    }
}
