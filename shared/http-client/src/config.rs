//! Configuration of a client: the API's URL, time-outs and retries.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use inbox_aws::ca_bundle::CaBundle;
use inbox_core::limits::SUBMIT_TIMEOUT_SECS;
use inbox_core::local_hosts::{is_container_host, is_loopback};

use crate::HttpError;

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
    /// Time limit for one request that changes nothing, from the connection to the last byte of the response.
    pub request_timeout: Duration,
    /// Time limit for one `POST` that changes something. It is longer, because Rightfoot checks every row before it answers, and because
    /// its outcome is unknown if nothing comes back.
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
    /// Creates the configuration for the API at this URL, with time-outs of 2 s, 10 s and 25 s.
    ///
    /// Requests carry credentials, so the URL must be `https`, or `http` for `localhost`, `127.0.0.1` and `::1`; it has no user name,
    /// query or fragment.
    ///
    /// `aws_endpoint` is the AWS endpoint of this process; `None` for AWS's own. If it is one of
    /// [`CONTAINER_HOSTS`](inbox_core::local_hosts::CONTAINER_HOSTS), AWS is emulated on the host of this container, and the URL may be
    /// `http` for any of them. A function on AWS has no such endpoint, so it never sends credentials over plain HTTP.
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
            post_timeout: Duration::from_secs(SUBMIT_TIMEOUT_SECS),
            backoff_base: Duration::from_millis(200),
            pause_max: Duration::from_secs(2),
        })
    }

    /// The path of the base URL.
    pub fn base_path(&self) -> &str {
        self.base.path()
    }

    /// Replaces the path of the base URL.
    pub fn set_base_path(&mut self, path: &str) {
        self.base.set_path(path);
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The URL of a path below the base URL. Opaque ids may be among its segments.
    pub fn endpoint<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, HttpError> {
        let mut path = self.base.path().trim_end_matches('/').to_owned();
        for segment in segments {
            // By the URL standard, these two are never a path segment, however they are encoded.
            if matches!(segment, "." | "..") {
                return Err(HttpError::InvalidResponse("an id that is not a valid path segment"));
            }
            path.push('/');
            path.extend(utf8_percent_encode(segment, PATH_SEGMENT));
        }
        let mut url = self.base.clone();
        url.set_path(&path);
        Ok(url)
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
            .field("post_timeout", &self.post_timeout)
            .field("backoff_base", &self.backoff_base)
            .field("pause_max", &self.pause_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base URL of an API.
    const BASE_URL: &str = "https://api.rightfoot.com";

    fn endpoint(base_url: &str, segments: &[&str]) -> String {
        ClientConfig::new(base_url, None).unwrap().endpoint(segments.iter().copied()).unwrap().to_string()
    }

    #[test]
    fn credentials_never_leave_this_machine_in_the_clear() {
        for private in
            [BASE_URL, "https://a.test/b/", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8"]
        {
            assert!(ClientConfig::new(private, None).is_ok(), "{private}");
        }
        for open in
            ["http://api.rightfoot.com", "http://127.0.0.2", "http://localhost.evil.test", "ftp://localhost"]
        {
            assert_eq!(ClientConfig::new(open, None).err(), Some(InvalidApiUrl), "{open}");
        }
    }

    #[test]
    fn credentials_go_to_a_containers_host_in_the_clear_only_if_aws_is_emulated_there() {
        let accepts = |base_url: &str, aws_endpoint| ClientConfig::new(base_url, aws_endpoint).is_ok();
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
            assert_eq!(ClientConfig::new(invalid, None).err(), Some(InvalidApiUrl), "{invalid}");
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = ClientConfig::new(BASE_URL, None).unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(2));
        assert_eq!(config.request_timeout, Duration::from_secs(10));
        assert_eq!(config.post_timeout, Duration::from_secs(25));
        assert_eq!(config.backoff_base, Duration::from_millis(200));
        assert_eq!(config.pause_max, Duration::from_secs(2));
    }

    #[test]
    fn endpoints_stand_below_the_base_path() {
        assert_eq!(endpoint(BASE_URL, &["balances"]), "https://api.rightfoot.com/balances");
        for base in ["https://a.test/proxy", "https://a.test/proxy/", "https://a.test/proxy//"] {
            assert_eq!(endpoint(base, &["a", "b"]), "https://a.test/proxy/a/b", "{base}");
        }
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
            let expected = format!("https://a.test/monitoring/schedules/{segment}");
            assert_eq!(endpoint("https://a.test", &["monitoring", "schedules", id]), expected);
        }
        for dots in [".", ".."] {
            let refused =
                ClientConfig::new(BASE_URL, None).unwrap().endpoint(["monitoring", "schedules", dots]);
            assert_eq!(refused, Err(HttpError::InvalidResponse("an id that is not a valid path segment")));
        }
    }
}
