//! Addresses of this machine.

use std::net::IpAddr;

use reqwest::Url;

/// Returns `true` for a URL of this machine: `local`, or a tunnel that the user has opened.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_names_of_this_machine_are_loopback() {
        let is_loopback = |url: &str| is_loopback(&url.parse().unwrap());
        for url in
            ["http://127.0.0.1:9001", "http://[::1]:9001/", "https://localhost", "http://aws.localhost"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["http://0.0.0.0:9001", "https://example.com", "http://localhost.example.com", "http://10.0.0.1"]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
