//! What a secret's value may hold by mistake although it is accepted.

use std::collections::BTreeSet;
use std::fmt;

use super::{strings_of, without_newline};

/// A part of a secret's value that is accepted and almost surely a mistake. Never says what the value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// White space at either end.
    BlankAround,
    /// A blank or a line break inside, or a character that is not ASCII: a byte-order mark, a blank of no width.
    NotVisibleAscii,
    /// A quotation mark at either end.
    Quoted,
    /// A line break at the end that is spelt out, as `\n`.
    SpeltLineBreak,
    /// The name of an HTTP header or of its scheme at the beginning.
    HeaderName,
    /// A variable's name and an equals sign at the beginning.
    Assignment,
    /// Two elements that are the same.
    Repeated,
}

impl Suspicion {
    /// Every suspicion there is.
    const ALL: [Self; 7] = [
        Self::BlankAround,
        Self::NotVisibleAscii,
        Self::Quoted,
        Self::SpeltLineBreak,
        Self::HeaderName,
        Self::Assignment,
        Self::Repeated,
    ];

    fn is_of(self, string: &str) -> bool {
        let trimmed = string.trim();
        match self {
            Self::BlankAround => trimmed.len() < string.len(),
            Self::NotVisibleAscii => !trimmed.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::Quoted => {
                const MARKS: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];
                trimmed.starts_with(MARKS) || trimmed.ends_with(MARKS)
            }
            Self::SpeltLineBreak => trimmed.ends_with("\\n") || trimmed.ends_with("\\r"),
            Self::HeaderName => {
                let lower = trimmed.to_ascii_lowercase();
                let names = ["bearer", "basic", "authorization", "webhook-signature"];
                let mut rests = names.into_iter().filter_map(|name| lower.strip_prefix(name));
                rests.any(|rest| rest.starts_with([' ', ':', '=', '\t', '\u{a0}']))
            }
            Self::Assignment => {
                let is_name = |name: &str| {
                    name.starts_with(|c: char| c.is_ascii_uppercase())
                        && name.contains('_')
                        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                };
                trimmed.split_once('=').is_some_and(|(name, rest)| is_name(name) && !rest.is_empty())
            }
            Self::Repeated => false,
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlankAround => "a blank or a line break at its beginning or end",
            Self::NotVisibleAscii => {
                "a blank, a line break, or a character that is not ASCII (such as a byte-order mark) inside"
            }
            Self::Quoted => "a quotation mark at its beginning or end",
            Self::SpeltLineBreak => "a line break spelt out as \\n at its end",
            Self::HeaderName => "the name of an HTTP header or scheme (such as Bearer) at its beginning",
            Self::Assignment => "a variable's name and = at its beginning",
            Self::Repeated => "the same element twice",
        })
    }
}

/// What of a secret's value is almost surely a mistake, whether it is accepted or not: [`Keys::parse`](super::Keys::parse)
/// and [`api_key`](super::api_key) take every character as part of the secret.
pub fn suspicions(value: &str) -> BTreeSet<Suspicion> {
    let Ok(strings) = strings_of(value) else { return BTreeSet::new() };
    let strings: Vec<_> = strings.iter().map(|string| without_newline(string)).collect();
    let mut found = BTreeSet::new();
    for string in &strings {
        found.extend(Suspicion::ALL.into_iter().filter(|suspicion| suspicion.is_of(string)));
    }
    let different: BTreeSet<_> = strings.iter().collect();
    found.extend((different.len() < strings.len()).then_some(Suspicion::Repeated));
    found
}

#[cfg(test)]
mod tests {
    use super::Suspicion::{
        Assignment, BlankAround, HeaderName, NotVisibleAscii, Quoted, Repeated, SpeltLineBreak,
    };
    use super::*;

    fn found(value: &str) -> Vec<Suspicion> {
        suspicions(value).into_iter().collect()
    }

    #[test]
    fn what_a_provider_would_give_out_is_not_suspected() {
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
            assert_eq!(found(usual), [], "{usual:?}");
        }
    }

    #[test]
    fn what_is_pasted_with_more_than_the_secret_is_suspected() {
        for (value, expected) in [
            ("rf_live_1 ", vec![BlankAround]),
            ("\trf_live_1", vec![BlankAround]),
            ("rf_live_1\u{a0}", vec![BlankAround]),
            ("secret\n\n", vec![BlankAround]),
            ("\nsecret", vec![BlankAround]),
            ("\u{feff}secret", vec![NotVisibleAscii]),
            ("sec\u{200b}ret", vec![NotVisibleAscii]),
            ("one\ntwo", vec![NotVisibleAscii]),
            ("schlüssel", vec![NotVisibleAscii]),
            (r#""secret""#, vec![Quoted]),
            ("'secret'", vec![Quoted]),
            ("“secret”", vec![NotVisibleAscii, Quoted]),
            (r" 'secret' ", vec![BlankAround, Quoted]),
            (r"secret\n", vec![SpeltLineBreak]),
            ("Bearer rf_live_1", vec![NotVisibleAscii, HeaderName]),
            ("authorization:rf_live_1", vec![HeaderName]),
            ("RIGHTFOOT_API_KEY=rf_live_1", vec![Assignment]),
            (r#"["new ","old"]"#, vec![BlankAround]),
            (r#"["same","same"]"#, vec![Repeated]),
            ("\u{feff}[\"new\",\"old\"]", vec![NotVisibleAscii]),
        ] {
            assert_eq!(found(value), expected, "{value:?}");
        }
    }

    #[test]
    fn p8_a_suspicion_says_nothing_of_the_value() {
        for suspicion in Suspicion::ALL {
            let text = format!("{suspicion} {suspicion:?}");
            assert!(!text.contains("s3cr3t") && !suspicion.to_string().is_empty(), "{text}");
        }
    }
}
