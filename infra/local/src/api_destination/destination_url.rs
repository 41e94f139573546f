//! URL of an API destination.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// Hosts beside this machine that may be addressed without TLS: names of the host in Docker's and Podman's containers.
const CONTAINER_HOST_NAMES: [&str; 3] =
    ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"];

/// URL of an API destination: `https`, or `http` on this machine. `Display` leaves out its query, which may be a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct DestinationUrl(Url);

/// The text is no URL of an API destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDestinationUrl;

impl fmt::Display for InvalidDestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a URL is https://… without a user name and fragment; http:// is for this machine only (localhost, \
             127.0.0.1, host.docker.internal)",
        )
    }
}

impl std::error::Error for InvalidDestinationUrl {}

impl FromStr for DestinationUrl {
    type Err = InvalidDestinationUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDestinationUrl> {
        let url = Url::parse(text).map_err(|_| InvalidDestinationUrl)?;
        let is_allowed = match url.scheme() {
            "https" => true,
            "http" => is_this_machine(url.host_str().unwrap_or_default()),
            _ => false,
        };
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (is_allowed && is_bare).then_some(Self(url)).ok_or(InvalidDestinationUrl)
    }
}

impl fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DestinationUrl({self})")
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local_name =
        host == "localhost" || host.ends_with(".localhost") || CONTAINER_HOST_NAMES.contains(&host);
    address.map_or(is_local_name, |address| address.is_loopback())
}

impl DestinationUrl {
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_this_machine_only() {
        for url in [
            "https://example.com/hook?key=1",
            "http://localhost:3000",
            "http://127.0.0.1/a",
            "http://[::1]:8/",
            "http://api.localhost/",
            "http://host.docker.internal:3000/events",
        ] {
            assert!(url.parse::<DestinationUrl>().is_ok(), "{url}");
        }
        for url in [
            "http://example.com",
            "http://localhost.evil.test",
            "http://192.168.0.1",
            "http://host.docker.internal.evil.test",
            "https://user@example.com",
            "https://example.com/#a",
            "ftp://localhost",
            "localhost:3000",
            "",
        ] {
            assert_eq!(url.parse::<DestinationUrl>(), Err(InvalidDestinationUrl), "{url}");
        }
    }

    #[test]
    fn p8_a_printed_url_has_no_query() {
        let url: DestinationUrl = "https://example.com/hook?key=s3cret".parse().unwrap();
        assert_eq!(url.to_string(), "https://example.com/hook");
        assert_eq!(format!("{url:?}"), "DestinationUrl(https://example.com/hook)");
    }
}
