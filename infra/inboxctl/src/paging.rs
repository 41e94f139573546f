//! Pages of a list: `--limit`, `--page`, and the token of the next page.

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use inbox_aws::stores::ScanCursor;

/// Limits and paging of a list.
#[derive(Args)]
pub(crate) struct PageArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Token of the next page, as printed by the previous one.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page: Option<String>,
}

impl PageArgs {
    /// Position in a table scan that `--page` names.
    pub(crate) fn scan_cursor(&self) -> anyhow::Result<Option<ScanCursor>> {
        let decode = |token: &str| decode_cursor(token).map(|[pk, sk]| ScanCursor { pk, sk });
        self.page.as_deref().map(decode).transpose()
    }
}

/// Token of the next page of a table scan.
pub(crate) fn scan_token(next: Option<ScanCursor>) -> Option<String> {
    next.map(|cursor| encode_cursor(&[&cursor.pk, &cursor.sk]))
}

/// Hint at the next page of a list; empty on the last page.
pub(crate) fn next_page_hint(next: Option<&String>) -> String {
    next.map(|token| format!("\nThere is more: --page {token}\n")).unwrap_or_default()
}

/// Encodes a position in a list as the token of `--page`.
pub(crate) fn encode_cursor(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(parts.join("\n"))
}

/// Decodes a token of `--page`.
///
/// # Errors
///
/// The token is not of this list.
pub(crate) fn decode_cursor<const N: usize>(token: &str) -> anyhow::Result<[String; N]> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Only the last part may hold a line break of its own.
    let parts = text.map(|text| text.splitn(N, '\n').map(str::to_owned).collect::<Vec<_>>());
    parts
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| anyhow::anyhow!("--page: not a token of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_can_be_decoded() {
        let token = encode_cursor(&["pk#1", "sk\n2"]);
        assert_eq!(decode_cursor::<2>(&token).unwrap(), ["pk#1", "sk\n2"]);
        for wrong in ["", "!", "cGsx"] {
            assert!(decode_cursor::<2>(wrong).is_err(), "{wrong}");
        }
    }
}
