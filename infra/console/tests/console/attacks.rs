//! Attacks: other sites, other ports, rebound names, forged headers, and those who are not signed in.

use reqwest::{Method, StatusCode};
use tests::extract_body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Browser, FROM_OWN_PAGE, TYPED, encode, form_headers};

const REPLAY: [(&str, &str); 4] =
    [("id", "fynapse/event/e-1"), ("plan", "0123456789ab"), ("by", "ada"), ("why", "test")];

/// A browser, and one event that is done.
async fn browser_with_done_event() -> Browser {
    let browser = Browser::new().await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.mark_done("fynapse/event/e-1").await;
    browser
}

/// Number of replays of the event.
async fn replays(browser: &Browser) -> usize {
    let item = browser.world.item("fynapse#event#e-1", "event").await.unwrap();
    item.get("audit_entries").map_or(0, |entries| entries.as_l().unwrap().len())
}

/// Sends bytes as they are, and returns the status line.
async fn raw(browser: &Browser, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", browser.port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn it_listens_on_the_loopback_address_only() {
    let browser = Browser::new().await;
    let own_address = local_address().await;
    let reached = TcpStream::connect((own_address.as_str(), browser.port)).await.is_ok();
    assert!(!reached || own_address == "127.0.0.1", "reached at {own_address}");
}

/// An address of this machine in its network; the loopback address if there is none.
async fn local_address() -> String {
    // Nothing is sent: connecting a UDP socket only chooses the address.
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    match socket.connect("192.0.2.1:9").await {
        Ok(()) => socket.local_addr().unwrap().ip().to_string(),
        Err(_) => "127.0.0.1".to_owned(),
    }
}

#[tokio::test]
async fn a_rebound_name_is_not_answered_whatever_else_it_sends() {
    let browser = browser_with_done_event().await;
    let port = browser.port;
    for host in [
        format!("evil.example:{port}"),
        "evil.example".to_owned(),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port - 1),
        format!("127.0.0.1:{port}."),
        format!("127.0.0.1.evil.example:{port}"),
        format!("[::1]:{port}"),
        format!("LOCALHOST:{port}"),
        format!("user@127.0.0.1:{port}"),
        format!("0.0.0.0:{port}"),
    ] {
        let mut headers = FROM_OWN_PAGE.to_vec();
        headers.push(("host", &host));
        let page = browser.request(Method::GET, "/events", &headers, "").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{host}");
        assert!(!page.text.contains("payments-inbox"), "{host} learns the stack's name");
        // On a POST, a rebound page's `Origin` equals its `Host`.
        let origin = format!("http://{host}");
        let mut headers = form_headers(&origin).to_vec();
        headers.push(("host", &host));
        let page = browser.request(Method::POST, "/events/replay", &headers, &encode(&REPLAY)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{host}");
    }
    assert_eq!(replays(&browser).await, 0);
}

#[tokio::test]
async fn a_second_host_and_a_host_in_the_request_line_do_not_help() {
    let browser = Browser::new().await;
    let (port, cookie) = (browser.port, &browser.cookie);
    let rest = format!("Sec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    let good = format!("GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{rest}");
    assert_eq!(raw(&browser, &good).await, "HTTP/1.1 200 OK");
    for (line, hosts) in [
        ("/icon.svg".to_owned(), format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n")),
        ("/icon.svg".to_owned(), String::new()),
        ("/icon.svg".to_owned(), "Host: \r\n".to_owned()),
        (format!("http://evil.example:{port}/icon.svg"), format!("Host: 127.0.0.1:{port}\r\n")),
        (format!("http://127.0.0.1:{port}/icon.svg"), format!("Host: evil.example:{port}\r\n")),
    ] {
        let answer = raw(&browser, &format!("GET {line} HTTP/1.1\r\n{hosts}{rest}")).await;
        assert!(answer.contains(" 403 ") || answer.contains(" 400 "), "{line} {hosts}: {answer}");
    }
}

#[tokio::test]
async fn only_pages_of_the_console_and_the_address_bar_may_read() {
    let browser = Browser::new().await;
    let status = async |headers: &[(&str, &str)]| {
        let page = browser.request(Method::GET, "/events", headers, "").await;
        page.status.as_u16()
    };
    assert_eq!(status(&FROM_OWN_PAGE).await, 200);
    assert_eq!(status(&TYPED).await, 200);
    // A fragment that the script fetches.
    assert_eq!(status(&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")]).await, 200);
    for (site, dest) in [
        // A rebound page and an old browser send none.
        ("", ""),
        ("", "document"),
        // A page on another port of this machine is same-site, and its requests carry the cookie.
        ("same-site", "empty"),
        ("same-site", "document"),
        ("cross-site", "empty"),
        ("cross-site", "document"),
        ("cross-site", "iframe"),
        ("none", ""),
        ("none", "empty"),
        ("none", "iframe"),
        ("none", "script"),
        ("same-origin, cross-site", "document"),
    ] {
        let headers = [("sec-fetch-site", site), ("sec-fetch-dest", dest)];
        assert_eq!(status(&headers).await, 403, "{site} {dest}");
    }
    // HEAD as well.
    let page = browser.request(Method::HEAD, "/events", &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_a_form_of_the_console_may_change_something() {
    let browser = browser_with_done_event().await;
    let own = format!("http://127.0.0.1:{}", browser.port);
    let other_port = format!("http://127.0.0.1:{}", browser.port - 1);
    let localhost = format!("http://localhost:{}", browser.port);
    let secure = format!("https://127.0.0.1:{}", browser.port);
    for (site, origin) in [
        ("same-origin", ""),
        ("same-origin", "null"),
        ("same-origin", &other_port),
        // The origin of the other name, under this one.
        ("same-origin", &localhost),
        ("same-origin", &secure),
        ("same-origin", "http://evil.example"),
        ("", &own),
        ("none", &own),
        ("same-site", &own),
        ("same-site", &other_port),
        ("cross-site", &own),
        ("cross-site", "http://evil.example"),
        ("", ""),
    ] {
        let headers = [
            ("sec-fetch-site", site),
            ("sec-fetch-dest", "document"),
            ("origin", origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let page = browser.request(method.clone(), "/events/replay", &headers, &encode(&REPLAY)).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{method} {site} {origin}");
        }
    }
    assert_eq!(replays(&browser).await, 0);
    // Neither does a GET with the form's values.
    let path = format!("/events/replay?{}", encode(&REPLAY));
    assert_eq!(browser.open(&path).await.texts("h1"), ["Replay 1 event?"]);
    assert_eq!(replays(&browser).await, 0);
    // The same request from the console's own form does it.
    assert_eq!(browser.post("/events/replay", &REPLAY).await.status, StatusCode::SEE_OTHER);
    assert_eq!(replays(&browser).await, 1);
}

#[tokio::test]
async fn the_name_localhost_works_as_well() {
    let browser = browser_with_done_event().await;
    let host = format!("localhost:{}", browser.port);
    let origin = format!("http://{host}");
    let mut headers = form_headers(&origin).to_vec();
    headers.push(("host", &host));
    let page = browser.request(Method::POST, "/events/replay", &headers, &encode(&REPLAY)).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_link_of_another_site_leads_to_a_page_that_asks_first_and_tells_nothing() {
    let browser = Browser::new().await;
    let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")];
    let page = browser.request(Method::GET, "/events?state=done", &headers, "").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(page.attributes("main a", "href"), ["/events?state=done"]);
    assert!(!page.text.contains("payments-inbox"));
    // A path that would lead to another host leads to the overview.
    for path in ["//evil.example/x", "/\\evil.example", "//evil.example"] {
        let page = browser.request(Method::GET, path, &headers, "").await;
        assert!(!page.text.contains("evil.example\""), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn nobody_reads_without_the_cookie_and_nothing_is_told() {
    let browser = browser_with_done_event().await;
    for cookie in ["", "a=b", "balance_inbox_console=x", &format!("balance_inbox_console_{}=", browser.port)]
    {
        for path in [
            "/",
            "/events",
            "/event?id=fynapse/event/e-1",
            "/audit",
            "/authorizer?id=user-1",
            "/overview/flow",
            "/icon.svg",
            "/nowhere",
        ] {
            let mut headers = FROM_OWN_PAGE.to_vec();
            headers.push(("cookie", cookie));
            let page = browser.request(Method::GET, path, &headers, "").await;
            assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path} {cookie}");
            assert!(!page.text.contains("payments-inbox") && !page.text.contains("e-1"), "{path}");
        }
        let origin = format!("http://127.0.0.1:{}", browser.port);
        let mut headers = form_headers(&origin).to_vec();
        headers.push(("cookie", cookie));
        let page = browser.request(Method::POST, "/events/replay", &headers, &encode(&REPLAY)).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(replays(&browser).await, 0);
}

#[tokio::test]
async fn the_token_is_swapped_for_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let browser = Browser::new().await;
    let sign_in = format!("/?token={}", browser.token);
    let page = browser.request(Method::GET, &sign_in, &TYPED, "").await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/"), "a clean address");
    let cookie = page.header("set-cookie");
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with(&format!("balance_inbox_console_{}=", browser.port)), "cookies ignore ports");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert!(!pair.contains(&browser.token), "the cookie is not the token");
    for wrong in [
        "/?token=".to_owned(),
        "/?token=x".to_owned(),
        sign_in[..sign_in.len() - 1].to_owned(),
        format!("{sign_in}0"),
        format!("{sign_in}&a=b#").to_uppercase(),
    ] {
        let mut headers = TYPED.to_vec();
        headers.push(("cookie", ""));
        let page = browser.request(Method::GET, &wrong, &headers, "").await;
        assert!(page.status.is_client_error(), "{wrong}: {}", page.status);
        assert_eq!(page.header("set-cookie"), "", "{wrong}");
    }
    // A frame, an image or a script of another site cannot swap it.
    for (site, dest) in [("cross-site", "iframe"), ("cross-site", "image"), ("same-site", "empty"), ("", "")]
    {
        let headers = [("sec-fetch-site", site), ("sec-fetch-dest", dest)];
        let page = browser.request(Method::GET, &sign_in, &headers, "").await;
        assert_eq!((page.status, page.header("set-cookie")), (StatusCode::FORBIDDEN, ""), "{site} {dest}");
    }
}

/// The private page that opens the browser is another site: along a redirect that it began, no strict cookie is sent.
#[tokio::test]
async fn the_token_opened_from_a_file_leads_on_by_a_page_of_the_console() {
    let browser = Browser::new().await;
    let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document"), ("cookie", "")];
    let page = browser.request(Method::GET, &format!("/?token={}", browser.token), &headers, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("set-cookie").ends_with("HttpOnly; SameSite=Strict"));
    assert_eq!(page.attributes("meta[http-equiv=refresh]", "content"), ["0; url=/"]);
}

#[tokio::test]
async fn every_response_forbids_frames_foreign_scripts_and_caching() {
    let browser = Browser::new().await;
    let cross_site = [("sec-fetch-site", "cross-site")];
    for page in [
        browser.get("/events").await,
        browser.get("/nowhere").await,
        browser.get("/icon.svg").await,
        browser.get("/overview/flow").await,
        browser.request(Method::GET, "/events", &cross_site, "").await,
        browser.post("/event/payload", &[("id", "fynapse/event/none")]).await,
    ] {
        let policy = page.header("content-security-policy");
        for directive in [
            "default-src 'none'",
            "connect-src 'self'",
            "img-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|it| it == directive), "{directive}: {policy}");
        }
        for source in ["script-src", "style-src"] {
            let sources = policy.split("; ").find_map(|it| it.strip_prefix(source)).unwrap();
            assert!(sources.starts_with(" 'sha256-") && !sources.trim().contains(' '), "{sources}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            // `no-referrer` would make the `Origin` of our own forms `null`.
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(page.header(name), value, "{name} of {}", page.status);
        }
    }
}

#[tokio::test]
async fn pages_hold_nothing_that_the_policy_blocks_and_load_nothing_from_elsewhere() {
    let browser = browser_with_done_event().await;
    browser.world.store_balances("b-1", None, &[("user-1", Some("1"))]).await;
    for path in [
        "/",
        "/events",
        "/event?id=fynapse/event/e-1",
        "/authorizer?id=user-1",
        "/send",
        "/quarantine",
        "/dead-letters",
        "/batches",
        "/audit",
    ] {
        let page = browser.open(path).await;
        for attribute in ["style", "onclick", "onload", "onsubmit", "onerror"] {
            assert_eq!(page.attributes(&format!("[{attribute}]"), attribute), [""; 0], "{path}");
        }
        assert_eq!(
            page.attributes("script[src], link[rel=stylesheet], iframe, object, embed", "src"),
            [""; 0]
        );
        for link in page.attributes("[href]", "href").iter().chain(&page.attributes("[action]", "action")) {
            assert!(
                link.starts_with('/') && !link.starts_with("//") || link.starts_with('#'),
                "{path}: {link}"
            );
        }
    }
}

#[tokio::test]
async fn a_read_only_console_has_no_route_that_acts() {
    let browser = Browser::read_only().await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.mark_done("fynapse/event/e-1").await;
    for path in [
        "/events/replay",
        "/events/replay-all",
        "/quarantine/replay",
        "/dead-letters/look",
        "/dead-letters/redrive",
        "/send",
        "/batches/track",
        "/nowhere",
    ] {
        let page = browser.post(path, &REPLAY).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(page.texts("h1"), ["Read-only"], "{path}");
    }
    assert_eq!(replays(&browser).await, 0);
    assert!(browser.host.sent.lock().unwrap().is_empty());
    // The pages that ask before an act are gone as well, and no page offers one.
    for path in ["/events/replay?id=fynapse/event/e-1", "/quarantine/replay?reason=stale", "/batches/track"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        "/events",
        "/event?id=fynapse/event/e-1",
        "/send",
        "/dead-letters",
        "/quarantine",
        "/batches",
        "/audit",
    ] {
        let page = browser.open(path).await;
        let actions = page.attributes("form[method=post]", "action");
        let reads = ["/event/payload", "/event/download"];
        assert!(actions.iter().all(|action| reads.contains(&action.as_str())), "{path}: {actions:?}");
        assert!(page.attributes("main a", "href").iter().all(|link| !link.contains("replay")), "{path}");
        assert_eq!(page.texts("header .badge"), ["production", "read-only"]);
    }
    // What only reads still works: a payload is revealed by POST.
    let revealed = browser.post("/event/payload", &[("id", "fynapse/event/e-1")]).await;
    assert_eq!(revealed.status, StatusCode::OK);
}

#[tokio::test]
async fn characters_that_reorder_text_are_shown_as_escapes() {
    let browser = Browser::new().await;
    let body = "{\"event_id\":\"e-1\",\"event_type\":\"T\u{202e}txt\u{2066}\",\"metadata\":{},\
                \"event_timestamp\":\"2026-01-02T03:04:05Z\",\"data\":{}}";
    browser.world.deliver_fynapse(body).await;
    for path in ["/events", "/", "/event?id=fynapse%2Fevent%2Fe-1"] {
        let page = browser.open(path).await;
        assert!(!page.text.contains(['\u{202e}', '\u{2066}']), "{path}");
        assert!(page.text.contains("T\\u{202e}txt\\u{2066}"), "{path}");
    }
    for name in ["ada\u{202e}", "\u{202e}"] {
        let form = [("id", "fynapse/event/e-1"), ("plan", "0123456789ab"), ("by", name), ("why", "w")];
        assert_eq!(browser.post("/events/replay", &form).await.status, StatusCode::BAD_REQUEST, "{name:?}");
    }
}
