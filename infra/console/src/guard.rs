//! The first layer of every request: who may ask, and with which method.
//!
//! ```text
//!  Host ── Sec-Fetch-Site, Origin ── token or cookie ── route
//! ```
//!
//! A page on another site cannot read these headers' protection away: a browser sets `Host`, `Origin` and `Sec-Fetch-*`
//! itself. A rebound page (its name resolves to 127.0.0.1) has another `Host`. A page on another port of this machine is
//! *same-site*, so its requests carry the cookie; they are not *same-origin*.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::assets;
use crate::layout::{PlainPage, error_page};
use crate::session::TOKEN_PARAMETER;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// `Host` is not this console's address.
    WrongHost,
    /// The request does not come from a page of this console, or a browser that says so.
    CrossSite,
    /// A link of another site leads to a page.
    LinkFromElsewhere,
}

/// Checks each request, and adds the headers that every response has.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = admit(&app, request, next).await;
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&assets::CONTENT_SECURITY_POLICY);
    headers.extend(policy.ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    for (name, value) in [
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // `no-referrer` would turn the `Origin` of a form into `null`.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admit(app: &App, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let Some(host) = own_host(uri, headers, app) else { return denied(Denied::WrongHost, uri) };
    if let Some(token) = token_of(method, uri) {
        return sign_in(app, &token, headers);
    }
    if let Err(reason) = check_origin(method, headers, &host) {
        return denied(reason, uri);
    }
    if !app.session.is_signed_in(headers) {
        return PlainPage::new("Not signed in")
            .line("Open the address that the console printed when it started.")
            .line("It holds a token, which is new at each start.")
            .with_status(StatusCode::UNAUTHORIZED);
    }
    next.run(request).await
}

/// The `Host` of a request, if it is exactly an address of this console.
fn own_host(uri: &Uri, headers: &HeaderMap, app: &App) -> Option<String> {
    let mut hosts = headers.get_all(HOST).into_iter();
    let host = hosts.next()?.to_str().ok()?;
    // A second `Host`, or another name in the request line, could be read instead of the first one.
    if hosts.next().is_some() || uri.authority().is_some_and(|authority| authority.as_str() != host) {
        return None;
    }
    // The last two are for browsers that do not find the first one.
    let names = [app.session.host_name(), "127.0.0.1", "localhost"];
    names.into_iter().map(|name| format!("{name}:{}", app.port)).find(|own| own == host)
}

/// Checks that a request comes from a page of this console or, if it only reads, from the address bar.
fn check_origin(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Denied> {
    let site = single(headers, &HeaderName::from_static("sec-fetch-site"));
    let is_document =
        single(headers, &HeaderName::from_static("sec-fetch-dest")).is_some_and(|it| it == "document");
    // Absent headers are no excuse: a rebound page and an old browser send none.
    if method == Method::GET || method == Method::HEAD {
        return match site {
            Some("same-origin") => Ok(()),
            Some("none") if is_document => Ok(()),
            Some(_) if is_document => Err(Denied::LinkFromElsewhere),
            _ => Err(Denied::CrossSite),
        };
    }
    let is_own = single(headers, &ORIGIN).is_some_and(|origin| origin == format!("http://{host}"));
    if site == Some("same-origin") && is_own { Ok(()) } else { Err(Denied::CrossSite) }
}

/// The value of a header; `None` if it is absent, or there are several.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The token of the printed address.
fn token_of(method: &Method, uri: &Uri) -> Option<String> {
    let pair = uri.query()?.split('&').find_map(|pair| pair.split_once('='))?;
    (method == Method::GET && uri.path() == "/" && pair.0 == TOKEN_PARAMETER).then(|| pair.1.to_owned())
}

/// Swaps the token for the cookie, and leads to an address without it.
fn sign_in(app: &App, token: &str, headers: &HeaderMap) -> Response {
    let site = single(headers, &HeaderName::from_static("sec-fetch-site"));
    let is_document =
        single(headers, &HeaderName::from_static("sec-fetch-dest")).is_some_and(|it| it == "document");
    let cookie = app.session.set_cookie().filter(|_| app.session.is_token(token) && is_document);
    let Some(cookie) = cookie else {
        return PlainPage::new("Wrong token")
            .line("This address is of an earlier start of the console, or was cut off.")
            .line("Open the address that it printed last.")
            .with_status(StatusCode::FORBIDDEN);
    };
    let mut response = if site == Some("none") {
        (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response()
    } else {
        // Opened by a file or link. Browsers send no `SameSite=Strict` cookie along a redirect that another site
        // began, but they send it when this page leads on.
        PlainPage::new("Signed in").leading_on().with_status(StatusCode::OK)
    };
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

fn denied(reason: Denied, uri: &Uri) -> Response {
    let page = match reason {
        Denied::WrongHost => {
            PlainPage::new("Wrong address").line("Open the address that the console printed when it started.")
        }
        Denied::CrossSite => PlainPage::new("Not allowed")
            .line("This request does not come from a page of this console.")
            .line("The browser must send Sec-Fetch-Site: Chrome and Firefox do, and Safari since 16.4."),
        Denied::LinkFromElsewhere => PlainPage::new("A link from another site")
            .line("Another site has sent you here. If you want to go on, open the page yourself:")
            .link(uri.path_and_query().map_or("/", |path| path.as_str())),
    };
    page.with_status(StatusCode::FORBIDDEN)
}

/// The answer to a request that changes something, while the console only reads.
pub(crate) async fn read_only(State(app): State<App>) -> Response {
    error_page(
        &app,
        StatusCode::FORBIDDEN,
        "Read-only",
        "This console was started with --read-only: it changes nothing.",
    )
}
