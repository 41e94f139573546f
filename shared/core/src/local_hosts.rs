//! Hosts that are the machine on which a program runs, as they stand in a URL.
//!
//! What is sent to them over plain HTTP does not leave the machine. `AllowedPattern` of `AwsEndpointUrl` in
//! template.yaml repeats both lists.

/// This machine, for a program that runs directly on it.
pub const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// This machine, for a program in one of its containers: the names that Docker and Podman give it, and the address
/// that it has on Docker's default bridge.
///
/// Elsewhere the address may belong to another machine, and the names may be anybody's.
pub const CONTAINER_HOSTS: [&str; 4] =
    ["host.docker.internal", "gateway.docker.internal", "host.containers.internal", "172.17.0.1"];

/// Returns `true` for one of [`LOOPBACK_HOSTS`].
pub fn is_loopback(host: &str) -> bool {
    LOOPBACK_HOSTS.contains(&host)
}

/// Returns `true` for one of [`CONTAINER_HOSTS`].
pub fn is_container_host(host: &str) -> bool {
    CONTAINER_HOSTS.contains(&host)
}
