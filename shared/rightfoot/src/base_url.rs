//! The URLs of Rightfoot's API.

use inbox_http_client::{ClientConfig, HttpError};
use reqwest::Url;

/// The base URL of Rightfoot's API.
pub const BASE_URL: &str = "https://api.rightfoot.com";

/// The version of the API, as in its paths.
const API_VERSION: &str = "v1";

/// The configuration with a base URL that does not end in the API version.
pub(crate) fn without_version(mut config: ClientConfig) -> ClientConfig {
    let path = strip_version(config.base_path()).to_owned();
    config.set_base_path(&path);
    config
}

/// The URL of `/v1/<segments>`. Opaque ids may be among the segments.
pub(crate) fn endpoint(config: &ClientConfig, segments: &[&str]) -> Result<Url, HttpError> {
    config.endpoint([API_VERSION].into_iter().chain(segments.iter().copied()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(base_url: &str) -> String {
        let config = without_version(ClientConfig::new(base_url, None).unwrap());
        endpoint(&config, &["balances"]).unwrap().to_string()
    }

    #[test]
    fn endpoints_stand_below_the_base_path_and_the_version() {
        assert_eq!(endpoint_of(BASE_URL), "https://api.rightfoot.com/v1/balances");
        assert_eq!(endpoint_of("https://a.test/proxy/"), "https://a.test/proxy/v1/balances");
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
            assert_eq!(endpoint_of(same), "https://a.test/v1/balances", "{same}");
        }
        assert_eq!(endpoint_of("https://a.test/proxy/v1"), "https://a.test/proxy/v1/balances");
        for (other, path) in [("https://a.test/apiv1", "/apiv1"), ("https://a.test/v1/proxy", "/v1/proxy")] {
            assert_eq!(endpoint_of(other), format!("https://a.test{path}/v1/balances"));
        }
    }
}
