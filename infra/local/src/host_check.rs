//! Keeps web pages away from the ports of `local`.
//!
//! A page in a browser on this machine can send requests to its ports. It can even read the answers, if its own domain
//! name resolves to this machine (DNS rebinding). Its requests carry that name in `Host`, or an `Origin`; those of AWS
//! clients and of functions do neither. A provider's requests carry no `Origin`, but may have the name of a tunnel in
//! `Host`.

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use inbox_core::local_hosts::is_container_host;

/// Answers 403 to requests that a web page may have sent, and to those for another machine's name. For ports that ask for
/// no credentials.
pub(crate) fn with_host_check(routes: Router) -> Router {
    with_origin_check(routes.layer(from_fn(check_host)))
}

/// Answers 403 to requests with an `Origin`: a web page has sent them. For ports that other machines reach by any name.
pub(crate) fn with_origin_check(routes: Router) -> Router {
    routes.layer(from_fn(check_origin))
}

async fn check_origin(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "requests of web pages (with an Origin) are not accepted\n")
            .into_response();
    }
    next.run(request).await
}

async fn check_host(request: Request, next: Next) -> Response {
    if !is_for_this_machine(request.headers()) {
        let why = "the Host of a request must be an IP address, localhost, or Docker's name for the host\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

/// Returns `true` if `Host` is no domain name that somebody else may have registered.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| Authority::try_from(value.as_bytes()).ok());
    // A `Host` has no user name; what stands before an `@` is ignored when it is parsed.
    host.filter(|authority| !authority.as_str().contains('@')).is_some_and(|authority| {
        let host = authority.host();
        let is_ip = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        is_ip || host == "localhost" || host.ends_with(".localhost") || is_container_host(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_by_another_domain_name_or_of_a_web_page_is_forbidden() {
        let routes = with_host_check(Router::new().fallback(|| async { "reached" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = crate::stack::spawn_server(listener, routes);
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let send = async |name: &str, value: &str| {
            let response = client.post(&url).header(name, value).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        for host in [
            "127.0.0.1:9001",
            "172.17.0.1:9001",
            "10.0.0.7",
            "[::1]:9001",
            "localhost:9001",
            "sqs.localhost:9001",
            "host.docker.internal:9001",
        ] {
            assert_eq!(send("host", host).await, (200, "reached".to_owned()), "{host}");
        }
        for host in [
            "evil.test",
            "evil.test:9001",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "inbox",
            "evil.test@127.0.0.1",
        ] {
            let (status, body) = send("host", host).await;
            assert_eq!(status, 403, "{host}");
            assert!(body.contains("Host"), "{body}");
        }
        for origin in ["https://evil.test", "http://127.0.0.1:9000", "null"] {
            let (status, body) = send("origin", origin).await;
            assert_eq!(status, 403, "{origin}");
            assert!(body.contains("Origin"), "{body}");
        }
        serving.abort();
    }
}
