//! Signing in: a random token in the printed address, which the browser swaps for a cookie.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Query parameter of the printed address that carries the token.
pub(crate) const TOKEN_PARAMETER: &str = "token";

/// Token, cookie and host name of one run of the console. All are new at each start.
pub(crate) struct Session {
    host_name: String,
    token: String,
    cookie_name: String,
    cookie_value: String,
}

impl Session {
    /// Creates the session of a console on this port. Cookies ignore ports, so the port is part of the name: two
    /// consoles on one machine do not sign each other out.
    pub(crate) fn new(port: u16) -> Self {
        Self {
            host_name: own_host_name(),
            token: random_secret(),
            cookie_name: format!("balance_inbox_console_{port}"),
            cookie_value: random_secret(),
        }
    }

    /// The host name of the printed address.
    pub(crate) fn host_name(&self) -> &str {
        &self.host_name
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Returns `true` if this is the token. Takes the same time wherever the two differ.
    pub(crate) fn is_token(&self, token: &str) -> bool {
        is_equal(&self.token, token)
    }

    /// Returns `true` if a request carries the cookie.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let own = pairs.filter(|(name, _)| *name == self.cookie_name);
        own.fold(false, |found, (_, value)| is_equal(&self.cookie_value, value) | found)
    }

    /// The header that sets the cookie, until the browser is closed.
    pub(crate) fn set_cookie(&self) -> Option<HeaderValue> {
        let (name, value) = (&self.cookie_name, &self.cookie_value);
        HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict")).ok()
    }
}

/// A name below `localhost`, which browsers take for this machine without asking anybody. Cookies ignore ports, so under
/// `127.0.0.1` every other server of this machine would get the cookie; under a name of its own nobody else does.
fn own_host_name() -> String {
    // Safari asks the system, which does not know such a name.
    if cfg!(target_os = "macos") {
        return "127.0.0.1".to_owned();
    }
    let random = Uuid::new_v4().simple().to_string();
    format!("{}.localhost", random.get(..16).unwrap_or(&random))
}

/// 244 random bits, as 64 hexadecimal digits.
fn random_secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn is_equal(secret: &str, given: &str) -> bool {
    secret.as_bytes().ct_eq(given.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn the_cookie_signs_in_and_the_token_does_not() {
        let session = Session::new(3003);
        let cookie = session.set_cookie().unwrap().to_str().unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        assert!(pair.starts_with("balance_inbox_console_3003="));
        assert!(session.is_signed_in(&with_cookies(&[pair])));
        assert!(session.is_signed_in(&with_cookies(&["a=b", &format!("c=d; {pair}; e=f")])));
        let token_as_cookie = format!("balance_inbox_console_3003={}", session.token());
        for wrong in ["", "balance_inbox_console_3003=", &token_as_cookie, &pair.replace("3003", "3004")] {
            assert!(!session.is_signed_in(&with_cookies(&[wrong])), "{wrong}");
        }
        assert!(session.is_token(session.token()) && !session.is_token("") && !session.is_token(pair));
    }

    #[test]
    fn token_and_cookie_are_new_at_each_start() {
        let (one, other) = (Session::new(1), Session::new(1));
        assert_ne!(one.token, other.token);
        assert_ne!(one.cookie_value, other.cookie_value);
        assert_eq!(one.token.len(), 64);
        assert_ne!(one.host_name, other.host_name);
        assert!(one.host_name.ends_with(".localhost"), "{}", one.host_name);
    }
}
