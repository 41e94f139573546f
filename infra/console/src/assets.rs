//! Style sheet, script and icon: part of every page or served by us, so that nothing is loaded from elsewhere.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Style sheet of every page.
pub(crate) const STYLE: &str = include_str!("../assets/console.css");
/// Script of every page.
pub(crate) const SCRIPT: &str = include_str!("../assets/console.js");
/// Icon of the tab.
pub(crate) const ICON: &str = include_str!("../assets/icon.svg");

/// Content security policy of every response. Only our own style sheet and script run, named by their hashes: with
/// `script-src 'self'`, a payload that is served as a download could be named as a script.
pub(crate) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        source_hash(SCRIPT),
        source_hash(STYLE)
    )
});

/// The hash of an inline element's text, as a policy names it.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}
