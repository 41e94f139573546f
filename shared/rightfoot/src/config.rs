//! Configuration of the client: the API's URL, time-outs and retries; and the API key.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use inbox_aws::ca_bundle::CaBundle;
use inbox_core::limits::SUBMIT_TIMEOUT_SECS;
use inbox_core::local_hosts::{is_container_host, is_loopback};
use inbox_core::secret_keys::is_valid_api_key;

use crate::ApiError;

/// The base URL of Rightfoot's API.
pub const BASE_URL: &str = "https://api.rightfoot.com";

/// The version of the API, as in its paths.
const API_VERSION: &str = "v1";

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
    /// Time limit for one `GET`, from the connection to the last byte of the response.
    pub request_timeout: Duration,
    /// Time limit for one `POST`, and the time after which none is retried. It is longer because Rightfoot
    /// checks every row before it answers.
    pub post_timeout: Duration,
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
    /// Creates the configuration for the API at this URL, usually [`BASE_URL`], with time-outs of 2 s, 10 s and
    /// 25 s.
    ///
    /// Every request contains the key, so the URL must be `https`, or `http` for `localhost`, `127.0.0.1` and
    /// `::1`; it has no user name, query or fragment. A trailing API version, `/v1`, is ignored.
    pub fn new(base_url: impl AsRef<str>) -> Result<Self, InvalidApiUrl> {
        Self::with_aws_endpoint(base_url, None)
    }

    /// Creates the configuration like [`new`](Self::new), for a process whose AWS endpoint is `aws_endpoint`;
    /// `None` for AWS's own.
    ///
    /// If that is one of [`CONTAINER_HOSTS`](inbox_core::local_hosts::CONTAINER_HOSTS), AWS is emulated on the
    /// host of this container, and the URL may be `http` for any of them. A function on AWS has no such endpoint,
    /// so it never sends its key over plain HTTP.
    pub fn with_aws_endpoint(
        base_url: impl AsRef<str>,
        aws_endpoint: Option<&str>,
    ) -> Result<Self, InvalidApiUrl> {
        let mut base = Url::parse(base_url.as_ref()).map_err(|_| InvalidApiUrl)?;
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
        let path = strip_version(base.path()).to_owned();
        base.set_path(&path);
        Ok(Self {
            base,
            ca_bundle: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            post_timeout: Duration::from_secs(SUBMIT_TIMEOUT_SECS),
            backoff_base: Duration::from_millis(200),
            pause_max: Duration::from_secs(2),
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The URL of `/v1/<segments>`. Opaque ids may be among the segments.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Result<Url, ApiError> {
        // By the URL standard, these two are never a path segment, however they are encoded.
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(ApiError::InvalidResponse("an id that is not a valid path segment"));
        }
        let encoded: Vec<_> =
            segments.iter().map(|segment| utf8_percent_encode(segment, PATH_SEGMENT).to_string()).collect();
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{API_VERSION}/{}",
            self.base.path().trim_end_matches('/'),
            encoded.join("/")
        ));
        Ok(url)
    }
}

/// Returns `true` for a URL whose host is the host of this container.
fn leads_to_container_host(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_container_host))
}

/// A base path without the API version at its end.
fn strip_version(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    // Only a whole segment is the version: `/apiv1` is another path.
    match path.strip_suffix(API_VERSION).filter(|rest| rest.ends_with('/')) {
        // Rightfoot's own documents show URLs with the version, and with it twice.
        Some(rest) => strip_version(rest),
        None => path,
    }
}

/// Does not show the URL.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("post_timeout", &self.post_timeout)
            .field("backoff_base", &self.backoff_base)
            .field("pause_max", &self.pause_max)
            .finish_non_exhaustive()
    }
}

/// The key of Rightfoot's API.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

/// The text cannot be an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is not empty and of visible ASCII characters")]
pub struct InvalidApiKey;

impl ApiKey {
    /// Creates a key of visible ASCII characters.
    pub fn new(key: &str) -> Result<Self, InvalidApiKey> {
        is_valid_api_key(key).then(|| Self(Zeroizing::new(key.to_owned()))).ok_or(InvalidApiKey)
    }

    /// The value of the `Authorization` header.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        // Visible ASCII is always a valid header value; an empty one would be answered 401.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        // Keeps the key out of `Debug` output (P8).
        value.set_sensitive(true);
        value
    }
}

/// Does not show the key (P8).
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base_url: &str, elements: &[&str]) -> String {
        ClientConfig::new(base_url).unwrap().endpoint(elements).unwrap().to_string()
    }

    #[test]
    fn the_key_never_leaves_this_machine_in_the_clear() {
        for private in
            [BASE_URL, "https://a.test/b/", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8"]
        {
            assert!(ClientConfig::new(private).is_ok(), "{private}");
        }
        for open in
            ["http://api.rightfoot.com", "http://127.0.0.2", "http://localhost.evil.test", "ftp://localhost"]
        {
            assert_eq!(ClientConfig::new(open).err(), Some(InvalidApiUrl), "{open}");
        }
    }

    #[test]
    fn the_key_goes_to_a_containers_host_in_the_clear_only_if_aws_is_emulated_there() {
        let accepts =
            |base_url: &str, aws_endpoint| ClientConfig::with_aws_endpoint(base_url, aws_endpoint).is_ok();
        let emulated = [
            "http://host.docker.internal:9001",
            "http://gateway.docker.internal:9001/",
            "http://host.containers.internal:9001",
            "http://172.17.0.1:9001",
        ];
        // Every pair of them: a container may have several names for its host.
        for host in emulated {
            assert!(emulated.iter().all(|aws_endpoint| accepts(host, Some(aws_endpoint))), "{host}");
            for real in [
                None,
                Some("https://dynamodb.us-east-1.amazonaws.com"),
                Some("http://10.0.0.7:9001"),
                Some("http://127.0.0.1:9001"),
                Some("http://host.docker.internal.evil.test"),
                Some("http://evil.test/host.docker.internal"),
                Some("http://host.docker.internal@evil.test"),
                Some("host.docker.internal:9001"),
                Some(""),
            ] {
                assert!(!accepts(host, real), "{host} with {real:?}");
            }
        }
        let aws_endpoint = Some(emulated[0]);
        for others in [
            "http://api.rightfoot.com",
            "http://172.18.0.1",
            "http://docker.internal",
            "http://a.host.docker.internal",
        ] {
            assert!(!accepts(others, aws_endpoint), "{others}");
        }
        for always in [BASE_URL, "http://localhost:9002"] {
            assert!(accepts(always, aws_endpoint) && accepts(always, None), "{always}");
        }
    }

    #[test]
    fn a_base_url_holds_nothing_that_would_be_lost_or_shown() {
        for invalid in [
            "",
            "api.rightfoot.com",
            "https://",
            "https://u@a.test",
            "https://:p@a.test",
            "https://a.test?b",
            "https://a.test#b",
        ] {
            assert_eq!(ClientConfig::new(invalid).err(), Some(InvalidApiUrl), "{invalid}");
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = ClientConfig::new(BASE_URL).unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(2));
        assert_eq!(config.request_timeout, Duration::from_secs(10));
        assert_eq!(config.backoff_base, Duration::from_millis(200));
        assert_eq!(config.pause_max, Duration::from_secs(2));
    }

    #[test]
    fn endpoints_stand_below_the_base_path() {
        assert_eq!(endpoint(BASE_URL, &["balances"]), "https://api.rightfoot.com/v1/balances");
        assert_eq!(endpoint("https://a.test/proxy/", &["a", "b"]), "https://a.test/proxy/v1/a/b");
    }

    #[test]
    fn a_base_url_with_the_version_at_its_end_is_the_same_one() {
        for same in [
            "https://a.test",
            "https://a.test/",
            "https://a.test//",
            "https://a.test/v1",
            "https://a.test/v1/",
            "https://a.test//v1//",
            "https://a.test/v1/v1",
        ] {
            assert_eq!(endpoint(same, &["balances"]), "https://a.test/v1/balances", "{same}");
        }
        assert_eq!(endpoint("https://a.test/proxy/v1", &["balances"]), "https://a.test/proxy/v1/balances");
        for (other, path) in [("https://a.test/apiv1", "/apiv1"), ("https://a.test/v1/proxy", "/v1/proxy")] {
            assert_eq!(endpoint(other, &["balances"]), format!("https://a.test{path}/v1/balances"));
        }
        assert_eq!(ClientConfig::new("https://a.test/v1?x=1").err(), Some(InvalidApiUrl));
    }

    #[test]
    fn an_id_is_always_exactly_one_element_of_the_path() {
        for (id, segment) in [
            ("a1b2-C3_~.", "a1b2-C3_~."),
            ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"),
            ("%2e%2e", "%252e%252e"),
            ("tab\tline\nend", "tab%09line%0Aend"),
            ("\\é ;", "%5C%C3%A9%20%3B"),
            ("...", "..."),
        ] {
            let expected = format!("https://a.test/v1/monitoring/schedules/{segment}");
            assert_eq!(endpoint("https://a.test", &["monitoring", "schedules", id]), expected);
        }
        for dots in [".", ".."] {
            let refused = ClientConfig::new(BASE_URL).unwrap().endpoint(&["monitoring", "schedules", dots]);
            assert_eq!(refused, Err(ApiError::InvalidResponse("an id that is not a valid path segment")));
        }
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for bad in ["", " rf_live_1", "rf_live_1\n", "rf live", "schlüssel"] {
            assert_eq!(ApiKey::new(bad).err(), Some(InvalidApiKey), "{bad:?}");
        }
        let bearer = ApiKey::new("rf_live_1~!").unwrap().bearer();
        assert_eq!(bearer, "Bearer rf_live_1~!");
        assert!(bearer.is_sensitive());
    }
}
