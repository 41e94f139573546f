//! Sockets on which `local` listens: on 127.0.0.1, and with `--bind` on another address, too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use inbox_console::{ServerLimits, serve_bounded};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::host_check::{with_host_check, with_origin_check};

/// Programs may hold many connections, and keep them for long.
const LIMITS: ServerLimits = ServerLimits {
    connections_max: 1_024,
    header_timeout: Duration::from_secs(60),
    connection_max_age: Duration::from_secs(60 * 60),
    last_request_timeout: Duration::from_secs(5 * 60),
};
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One port, open on 127.0.0.1 and, if asked for, on another address.
pub(super) struct PortListener {
    /// Address of the port for this process, and for people at this machine.
    pub url: String,
    /// Each with its URL.
    sockets: Vec<(TcpListener, String)>,
}

/// Listens on ports of 127.0.0.1 and of `bind`. The error names every port that is taken, with the option that changes
/// it.
pub(super) async fn bind_ports(
    bind: Option<IpAddr>,
    ports: impl IntoIterator<Item = (u16, &str)>,
) -> anyhow::Result<Vec<PortListener>> {
    let (mut listeners, mut taken) = (Vec::new(), Vec::new());
    for (port, option) in ports {
        match bind_loopback(bind, port).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => taken.push(format!("{port} ({option}): {error:#}")),
        }
    }
    if !taken.is_empty() {
        bail!("cannot listen on port {}; choose another port with the option", taken.join(", nor on port "));
    }
    if let Some(address) = bind.filter(|address| !includes_loopback(*address)) {
        for listener in &mut listeners {
            listener.also_listen_on(address).await?;
        }
    }
    Ok(listeners)
}

async fn bind_loopback(bind: Option<IpAddr>, port: u16) -> anyhow::Result<PortListener> {
    // A second socket on the same port would be refused.
    let address = bind.filter(|address| address.is_unspecified()).unwrap_or(LOOPBACK);
    let socket = TcpListener::bind((address, port)).await?;
    let url = format!("http://{LOOPBACK}:{}", socket.local_addr()?.port());
    Ok(PortListener { url: url.clone(), sockets: vec![(socket, url)] })
}

/// Returns `true` if a socket on 127.0.0.1 is that on this address, too.
fn includes_loopback(address: IpAddr) -> bool {
    address.is_unspecified() || address == LOOPBACK
}

impl PortListener {
    async fn also_listen_on(&mut self, address: IpAddr) -> anyhow::Result<()> {
        let (first, _) = self.sockets.first().context("no socket")?;
        let port = first.local_addr()?.port();
        let socket = TcpListener::bind((address, port))
            .await
            .with_context(|| format!("cannot listen on port {port} of {address} (--bind)"))?;
        let url = format!("http://{}", socket.local_addr()?);
        self.sockets.push((socket, url));
        Ok(())
    }

    /// Serves routes for programs on any machine, by any name of this one, but not for web pages.
    pub(super) fn serve_by_any_name(self, routes: &Router) -> Vec<JoinHandle<()>> {
        self.serve_at(|_| with_origin_check(routes.clone()))
    }

    /// Serves routes for programs that use a name of this machine's own, not for web pages. Each socket has its own routes, made for its URL.
    pub(super) fn serve_programs(self, routes: impl Fn(String) -> Router) -> Vec<JoinHandle<()>> {
        self.serve_at(|url| with_host_check(routes(url)))
    }

    fn serve_at(self, routes: impl Fn(String) -> Router) -> Vec<JoinHandle<()>> {
        let serve = |(socket, url)| tokio::spawn(serve_bounded(socket, routes(url), LIMITS));
        self.sockets.into_iter().map(serve).collect()
    }
}

/// The warning of `--bind`; `None` for an address that only this machine reaches.
pub(super) fn bind_warning(bind: Option<IpAddr>) -> Option<String> {
    let address = bind.filter(|address| !address.is_loopback())?;
    let network = if address.is_unspecified() {
        "every network of this machine".to_owned()
    } else {
        format!("the network of {address}")
    };
    Some(format!(
        "warning: --bind {address} opens every port to {network}.\n\
         The AWS endpoint asks for no credentials. Whoever reaches it can read and change\n\
         all data, read the secrets, and have requests sent to programs on this machine."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_open_on_127_0_0_1_and_on_the_address_of_bind() {
        for (bind, expected) in [
            (None, vec!["127.0.0.1"]),
            (Some("127.0.0.1"), vec!["127.0.0.1"]),
            (Some("127.0.0.2"), vec!["127.0.0.1", "127.0.0.2"]),
            (Some("0.0.0.0"), vec!["0.0.0.0"]),
        ] {
            let bind = bind.map(|address| address.parse().unwrap());
            let listeners = bind_ports(bind, [(0, "--http-port"), (0, "--aws-port")]).await.unwrap();
            for listener in &listeners {
                let addresses: Vec<_> =
                    listener.sockets.iter().map(|(socket, _)| socket.local_addr().unwrap()).collect();
                let ips: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                assert_eq!(ips, expected);
                let port = addresses[0].port();
                assert!(addresses.iter().all(|address| address.port() == port), "{addresses:?}");
                assert_eq!(listener.url, format!("http://127.0.0.1:{port}"));
            }
            assert_ne!(listeners[0].url, listeners[1].url);
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_an_error_that_names_the_option() {
        // TEST-NET-1 of RFC 5737: no machine has it.
        let error = bind_ports(Some("192.0.2.1".parse().unwrap()), [(0, "--http-port")]).await.err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains(" of 192.0.2.1 (--bind): "), "{error}");
    }

    #[test]
    fn only_an_address_that_others_reach_is_warned_of() {
        let warning = |address: &str| bind_warning(Some(address.parse().unwrap()));
        assert_eq!(bind_warning(None), None);
        assert_eq!((warning("127.0.0.1"), warning("127.0.0.2"), warning("::1")), (None, None, None));
        for (address, reachable_from) in [
            ("172.17.0.1", "--bind 172.17.0.1 opens every port to the network of 172.17.0.1."),
            ("0.0.0.0", "--bind 0.0.0.0 opens every port to every network of this machine."),
            ("::", "--bind :: opens every port to every network of this machine."),
        ] {
            let text = warning(address).unwrap();
            assert!(text.contains(reachable_from) && text.contains("asks for no credentials"), "{text}");
        }
    }
}
