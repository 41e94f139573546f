//! Warnings about a secret's value that is accepted but looks like a mistake.

use strum::VariantArray;

use std::collections::BTreeSet;
use std::fmt;

use super::{parse_elements, strip_newline};

/// A likely mistake in a secret's value that is accepted nevertheless. Never contains the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum SecretWarning {
    /// White space at either end.
    SurroundingWhitespace,
    /// A blank or line break inside, or a character that is not ASCII, such as a byte order mark or a
    /// zero-width space.
    NotVisibleAscii,
    /// A quotation mark at either end.
    Quoted,
    /// A line break at the end, written as `\n`.
    LiteralLineBreak,
    /// The name of an HTTP header or scheme at the beginning.
    HeaderPrefix,
    /// A variable's name and an equals sign at the beginning.
    Assignment,
    /// Two elements that are the same.
    DuplicateElement,
}

impl SecretWarning {
    fn applies_to(self, string: &str) -> bool {
        let trimmed = string.trim();
        match self {
            Self::SurroundingWhitespace => trimmed.len() < string.len(),
            Self::NotVisibleAscii => !trimmed.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::Quoted => {
                const MARKS: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];
                trimmed.starts_with(MARKS) || trimmed.ends_with(MARKS)
            }
            Self::LiteralLineBreak => trimmed.ends_with("\\n") || trimmed.ends_with("\\r"),
            Self::HeaderPrefix => {
                let lower = trimmed.to_ascii_lowercase();
                let names = ["bearer", "basic", "authorization", "webhook-signature"];
                let mut rests = names.into_iter().filter_map(|name| lower.strip_prefix(name));
                // A secret may begin with such a word by chance, as in `bearer_of_news`.
                rests.any(|rest| rest.starts_with([' ', ':', '=', '\t', '\u{a0}']))
            }
            Self::Assignment => {
                // Base64 has equals signs, too, so only a typical name of a variable counts.
                let is_name = |name: &str| {
                    name.starts_with(|c: char| c.is_ascii_uppercase())
                        && name.contains('_')
                        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                };
                trimmed.split_once('=').is_some_and(|(name, rest)| is_name(name) && !rest.is_empty())
            }
            Self::DuplicateElement => false,
        }
    }
}

impl fmt::Display for SecretWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SurroundingWhitespace => "a blank or a line break at its beginning or end",
            Self::NotVisibleAscii => {
                "a blank, a line break, or a character that is not ASCII (such as a byte-order mark) inside"
            }
            Self::Quoted => "a quotation mark at its beginning or end",
            Self::LiteralLineBreak => "a line break spelt out as \\n at its end",
            Self::HeaderPrefix => "the name of an HTTP header or scheme (such as Bearer) at its beginning",
            Self::Assignment => "a variable's name and = at its beginning",
            Self::DuplicateElement => "the same element twice",
        })
    }
}

/// The likely mistakes in a secret's value. [`Keys::parse`](super::Keys::parse) and
/// [`parse_api_key`](super::parse_api_key) take every character as part of the secret. Empty if the value
/// cannot be parsed at all.
pub fn secret_warnings(value: &str) -> BTreeSet<SecretWarning> {
    let Ok(strings) = parse_elements(value) else { return BTreeSet::new() };
    let strings: Vec<_> = strings.iter().map(|string| strip_newline(string)).collect();
    let mut found = BTreeSet::new();
    for string in &strings {
        found.extend(SecretWarning::VARIANTS.iter().copied().filter(|warning| warning.applies_to(string)));
    }
    let different: BTreeSet<_> = strings.iter().collect();
    found.extend((different.len() < strings.len()).then_some(SecretWarning::DuplicateElement));
    found
}

#[cfg(test)]
mod tests {
    use super::SecretWarning::{
        Assignment, DuplicateElement, HeaderPrefix, LiteralLineBreak, NotVisibleAscii, Quoted,
        SurroundingWhitespace,
    };
    use super::*;

    fn warnings(value: &str) -> Vec<SecretWarning> {
        secret_warnings(value).into_iter().collect()
    }

    #[test]
    fn ordinary_secrets_give_no_warning() {
        for usual in [
            "rf_live_1",
            "rf_live_1\n",
            "rf_live_1\r\n",
            "fys_7Qk2vX9mB4nT1cR8",
            "a2V5PT0=",
            "ABC==",
            "bearer_of_news",
            r#"["new","old"]"#,
        ] {
            assert_eq!(warnings(usual), [], "{usual:?}");
        }
    }

    #[test]
    fn secrets_pasted_with_extra_text_give_warnings() {
        for (value, expected) in [
            ("rf_live_1 ", vec![SurroundingWhitespace]),
            ("\trf_live_1", vec![SurroundingWhitespace]),
            ("rf_live_1\u{a0}", vec![SurroundingWhitespace]),
            ("secret\n\n", vec![SurroundingWhitespace]),
            ("\nsecret", vec![SurroundingWhitespace]),
            ("\u{feff}secret", vec![NotVisibleAscii]),
            ("sec\u{200b}ret", vec![NotVisibleAscii]),
            ("one\ntwo", vec![NotVisibleAscii]),
            ("schlüssel", vec![NotVisibleAscii]),
            (r#""secret""#, vec![Quoted]),
            ("'secret'", vec![Quoted]),
            ("“secret”", vec![NotVisibleAscii, Quoted]),
            (r" 'secret' ", vec![SurroundingWhitespace, Quoted]),
            (r"secret\n", vec![LiteralLineBreak]),
            ("Bearer rf_live_1", vec![NotVisibleAscii, HeaderPrefix]),
            ("authorization:rf_live_1", vec![HeaderPrefix]),
            ("RIGHTFOOT_API_KEY=rf_live_1", vec![Assignment]),
            (r#"["new ","old"]"#, vec![SurroundingWhitespace]),
            (r#"["same","same"]"#, vec![DuplicateElement]),
            ("\u{feff}[\"new\",\"old\"]", vec![NotVisibleAscii]),
        ] {
            assert_eq!(warnings(value), expected, "{value:?}");
        }
    }

    #[test]
    fn p8_a_warning_does_not_show_the_value() {
        for warning in SecretWarning::VARIANTS {
            let text = format!("{warning} {warning:?}");
            assert!(!text.contains("s3cr3t") && !warning.to_string().is_empty(), "{text}");
        }
    }
}
