//! DNS resolution of the hosts in webhook URLs.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver, except that names under `localhost` are this machine (RFC 6761, 6.3). Emulators give such names
/// to HTTP APIs, and not every system resolves them.
pub(super) struct LocalhostResolver;

impl Resolve for LocalhostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = if name.as_str().ends_with(".localhost") { "localhost" } else { name.as_str() };
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first(name: &str) -> Option<SocketAddr> {
        LocalhostResolver.resolve(name.parse().unwrap()).await.ok()?.next()
    }

    #[tokio::test]
    async fn names_under_localhost_are_this_machine_and_no_others() {
        for name in ["localhost", "abc.execute-api.localhost"] {
            assert!(first(name).await.unwrap().ip().is_loopback(), "{name}");
        }
        assert_eq!(first("abc.localhost.invalid").await, None);
    }
}
