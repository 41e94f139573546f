//! The place of an item in a list, between two pages.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use inbox_core::time::UnixMillis;
use uuid::Uuid;

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
        let mut bytes = self.at.0.to_be_bytes().to_vec();
        bytes.extend(pack(&format!("{}\n{}", self.pk, self.sk)));
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for ListCursor {
    type Err = InvalidListCursor;

    fn from_str(token: &str) -> Result<Self, InvalidListCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidListCursor)?;
        let (at, packed) = bytes.split_first_chunk().ok_or(InvalidListCursor)?;
        let text = unpack(packed).ok_or(InvalidListCursor)?;
        // Only the last part may hold a line break of its own.
        let (pk, sk) = text.split_once('\n').ok_or(InvalidListCursor)?;
        Ok(Self { at: UnixMillis(i64::from_be_bytes(*at)), pk: pk.to_owned(), sk: sk.to_owned() })
    }
}

// A token is copied from a terminal, so it should fit on a line beside its command. The first byte of each part tells what it is: up to
// `LITERAL_MAX`, the length of a text; the 16 bytes of a UUID, or of half a hash in hexadecimal; or a word of `WORDS`.
const LITERAL_MAX: u8 = 0x7f;
const UUID: u8 = 0x80;
const HEX: u8 = 0x81;
const FIRST_WORD: u8 = 0x82;
/// Texts that keys consist of.
const WORDS: [&str; 15] = [
    "rightfoot#batch#",
    "rightfoot#schedule#",
    "rightfoot#submission#",
    "fynapse#event#",
    "quarantine#fynapse#",
    "quarantine#rightfoot#",
    "audit#",
    "\nalert#",
    "poll-",
    "\ncompleted",
    "\ndelivery",
    "\nentry",
    "\nevent",
    "\nsubmitted",
    "\ntracked",
];

/// Writes the keys of an item in few bytes.
fn pack(text: &str) -> Vec<u8> {
    let (mut packed, mut literal, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some(next) = rest.chars().next() {
        let Some((part, length)) = pack_part(rest) else {
            let (char, after) = rest.split_at(next.len_utf8());
            literal.extend(char.as_bytes());
            rest = after;
            continue;
        };
        pack_literal(&mut packed, &std::mem::take(&mut literal));
        packed.extend(part);
        rest = rest.get(length..).unwrap_or_default();
    }
    pack_literal(&mut packed, &literal);
    packed
}

/// The packed form of the word, UUID or hash with which the text begins, and the length of that.
fn pack_part(text: &str) -> Option<(Vec<u8>, usize)> {
    let words = (FIRST_WORD..).zip(WORDS);
    let word = words.into_iter().find(|(_, word)| text.starts_with(word));
    if let Some((byte, word)) = word {
        return Some((vec![byte], word.len()));
    }
    pack_uuid(text, UUID, 36).or_else(|| pack_uuid(text, HEX, 32))
}

fn pack_uuid(text: &str, form: u8, length: usize) -> Option<(Vec<u8>, usize)> {
    let part = text.get(..length)?;
    // Another spelling of the same UUID would be read as this one.
    let uuid = Uuid::try_parse(part).ok().filter(|uuid| uuid_text(form, uuid) == part)?;
    Some(([&[form], uuid.as_bytes().as_slice()].concat(), length))
}

/// A UUID as it is written in this form.
fn uuid_text(form: u8, uuid: &Uuid) -> String {
    if form == UUID { uuid.hyphenated().to_string() } else { uuid.simple().to_string() }
}

fn pack_literal(packed: &mut Vec<u8>, literal: &[u8]) {
    for part in literal.chunks(usize::from(LITERAL_MAX)) {
        packed.extend(u8::try_from(part.len()));
        packed.extend(part);
    }
}

/// Reads what [`pack`] has written; `None` if it is something else.
fn unpack(mut packed: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    while let Some((&first, after)) = packed.split_first() {
        packed = match first {
            0 => return None,
            1..=LITERAL_MAX => {
                let (literal, after) = after.split_at_checked(usize::from(first))?;
                text.extend(literal);
                after
            }
            UUID | HEX => {
                let (bytes, after) = after.split_first_chunk()?;
                text.extend(uuid_text(first, &Uuid::from_bytes(*bytes)).as_bytes());
                after
            }
            FIRST_WORD.. => {
                text.extend(WORDS.get(usize::from(first - FIRST_WORD))?.as_bytes());
                after
            }
        };
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(pk: &str, sk: &str) -> ListCursor {
        ListCursor { at: UnixMillis(1_767_323_045_000), pk: pk.to_owned(), sk: sk.to_owned() }
    }

    #[test]
    fn a_cursor_can_be_parsed_from_its_text() {
        let uuid = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
        for (pk, sk) in [
            ("", ""),
            ("pk#1", "sk\n2"),
            ("rightfoot#batch#b-1", "alert#poll-1"),
            ("rightfoot#batch#5D3C6BBB-fc1a-46a4-93da-1ce4a54b0d83", "completed"),
            ("fynapse#event#é5d3c6bbbfc1a46a493da1ce4a54b0d8", "event"),
            (&format!("fynapse#event#x{uuid}{uuid}"), &"é".repeat(300)),
        ] {
            let cursor = cursor(pk, sk);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        let max = ListCursor { at: UnixMillis(i64::MAX), ..cursor("", "") };
        assert_eq!(max.to_string().parse(), Ok(max));
    }

    #[test]
    fn a_token_fits_on_a_line_beside_its_command() {
        let uuid = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";
        let hash = "e5bd7ec9e7285005f30d6a20eb1224a9".repeat(2);
        for (pk, sk, length) in [
            (format!("rightfoot#batch#{uuid}"), "completed".to_owned(), 36),
            (format!("fynapse#event#{uuid}"), "event".to_owned(), 36),
            (format!("rightfoot#batch#{uuid}"), format!("alert#{uuid}"), 59),
            (format!("quarantine#fynapse#{hash}"), "delivery".to_owned(), 59),
        ] {
            let cursor = cursor(&pk, &sk);
            assert_eq!(cursor.to_string().len(), length, "{pk}");
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        let at = [0_u8; 8];
        for packed in [
            vec![],
            vec![0, b'\n'],
            vec![3, b'\n'],
            vec![2, b'p', b'k'],
            vec![1, b'\n', UUID, 1],
            vec![1, b'\n', HEX],
            vec![1, b'\n', u8::MAX],
            vec![2, b'\n', 0xff],
        ] {
            let token = URL_SAFE_NO_PAD.encode([at.as_slice(), &packed].concat());
            assert_eq!(token.parse::<ListCursor>(), Err(InvalidListCursor), "{packed:?}");
        }
        for wrong in ["", "!", "cGsx", "eApwawpzaw"] {
            assert_eq!(wrong.parse::<ListCursor>(), Err(InvalidListCursor), "{wrong}");
        }
    }
}
