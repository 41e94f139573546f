//! The place of an item in a list, between two pages.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use inbox_core::time::UnixMillis;

use crate::table::key::Key;

/// The place of an item in a list. As text it is a token for URLs and command lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListCursor {
    /// The time by which the list is ordered.
    pub at: UnixMillis,
    /// The partition key of the item.
    pub pk: String,
    /// The sort key of the item.
    pub sk: String,
}

/// The error of parsing a [`ListCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a page token of this list")]
pub struct InvalidListCursor;

impl ListCursor {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.pk, &self.sk)
    }
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}\n{}\n{}", self.at.0, self.pk, self.sk);
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for ListCursor {
    type Err = InvalidListCursor;

    fn from_str(token: &str) -> Result<Self, InvalidListCursor> {
        let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(InvalidListCursor)?;
        // Only the last part may hold a line break of its own.
        let mut parts = text.splitn(3, '\n');
        let mut next = || parts.next().ok_or(InvalidListCursor);
        let at = next()?.parse().map_err(|_| InvalidListCursor)?;
        Ok(Self { at: UnixMillis(at), pk: next()?.to_owned(), sk: next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_can_be_parsed_from_its_text() {
        let cursor = ListCursor { at: UnixMillis(5), pk: "pk#1".to_owned(), sk: "sk\n2".to_owned() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "!", "cGsx", "eApwawpzaw"] {
            assert_eq!(wrong.parse::<ListCursor>(), Err(InvalidListCursor), "{wrong}");
        }
    }
}
