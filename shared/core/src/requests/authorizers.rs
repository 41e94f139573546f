//! The authorizers of a request. Only id and threshold are interpreted; the rest of a row is passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::value::RawValue;

use super::InvalidRequest;
use super::json_fields::{JsonFields, amount, canonical_json};
use crate::id::Id;
use crate::rightfoot_api::Amount;

/// The authorizers of a request, in its order, each id once.
#[derive(Clone)]
pub struct Authorizers {
    rows: Vec<AuthorizerRow>,
    /// Finds personal data of any row; built when first needed.
    pii_matcher: OnceLock<Option<PiiMatcher>>,
}

/// Matches the values in rows, and the words in these values; the ids are excluded.
#[derive(Clone)]
struct PiiMatcher {
    /// Matches values and words that are long enough to be searched anywhere, ignoring ASCII case.
    substrings: AhoCorasick,
    /// Short values, such as some names: matched as whole words, case-sensitively.
    short_words: BTreeSet<String>,
}

#[derive(Clone)]
struct AuthorizerRow {
    id: Id,
    /// The whole row, as canonical JSON.
    json: String,
}

impl Authorizers {
    pub(super) fn parse(raw: &RawValue) -> Result<Self, InvalidRequest> {
        let rows: Vec<&RawValue> = serde_json::from_str(raw.get())
            .map_err(|_| InvalidRequest::new("authorizers", "is not an array"))?;
        if rows.is_empty() {
            return Err(InvalidRequest::new("authorizers", "is empty"));
        }
        let mut first_positions = BTreeMap::new();
        let mut parsed = Vec::with_capacity(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            let path = format!("authorizers[{at}]");
            let id = JsonFields::parse(&path, row)?.id("authorizer_unique_id")?;
            if let Some(first) = first_positions.insert(id.clone(), at) {
                let why = format!("is the same as that of authorizers[{first}]");
                return Err(InvalidRequest::new(format!("{path}.authorizer_unique_id"), why));
            }
            // Canonical, so that a repeated request gives the same bytes, whatever the order of its fields.
            parsed.push(AuthorizerRow { id, json: canonical_json(&path, row)? });
        }
        Ok(Self { rows: parsed, pii_matcher: OnceLock::new() })
    }

    /// The number of authorizers.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns `true` if there is none, which a parsed request never has.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The ids, in the request's order.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.rows.iter().map(|row| &row.id)
    }

    /// Returns `true` if one of the authorizers has this id.
    pub fn contains(&self, id: &Id) -> bool {
        self.ids().any(|one| one == id)
    }

    /// The authorizers' own thresholds.
    pub(super) fn thresholds(&self) -> Result<BTreeMap<Id, Amount>, InvalidRequest> {
        let mut thresholds = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            let path = format!("authorizers[{at}]");
            let raw: &RawValue = serde_json::from_str(&row.json)
                .map_err(|_| InvalidRequest::new(path.clone(), "is not a JSON object"))?;
            if let Some(raw) = JsonFields::parse(&path, raw)?.optional("threshold_amount") {
                thresholds.insert(row.id.clone(), amount(&format!("{path}.threshold_amount"), raw)?);
            }
        }
        Ok(thresholds)
    }

    /// All rows as a JSON array.
    pub(super) fn to_json(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(|row| row.json.as_str()).collect();
        format!("[{}]", rows.join(","))
    }

    /// Replaces in Rightfoot's own text about an authorizer (`None`: about an unknown one) everything that
    /// the request says about them by `…` (P8), and cuts it to 300 characters. These texts are stored and
    /// returned to the caller, and they may quote the request.
    pub fn redact(&self, authorizer: Option<&Id>, text: &str) -> String {
        let matcher = match authorizer {
            Some(id) => &pii_matcher_of(self.rows.iter().filter(|row| row.id == *id)),
            None => self.pii_matcher.get_or_init(|| pii_matcher_of(self.rows.iter())),
        };
        // Without a matcher, any part of the text could be personal data.
        let Some(matcher) = matcher else { return REDACTED.to_owned() };
        let mut redacted = String::with_capacity(text.len());
        matcher.substrings.replace_all_with(text, &mut redacted, |_, _, out| {
            out.push_str(REDACTED);
            true
        });
        let redacted = redact_numbers(&redact_words(&redacted, &matcher.short_words));
        // Cut last, because one half of a value would not be found.
        redacted.chars().take(REDACTED_TEXT_MAX_CHARS).collect()
    }
}

/// Longest text of Rightfoot's that is stored.
const REDACTED_TEXT_MAX_CHARS: usize = 300;
const REDACTED: &str = "…";
/// Shorter values occur within too many other words.
const SUBSTRING_MIN_BYTES: usize = 3;
/// A single letter identifies nobody.
const SHORT_WORD_MIN_BYTES: usize = 2;
/// Shorter numbers, such as a row's, identify nobody.
const UNREDACTED_DIGITS_MAX: usize = 3;

/// Builds the matcher of these rows; `None` if there is too much to search for.
fn pii_matcher_of<'a>(rows: impl Iterator<Item = &'a AuthorizerRow>) -> Option<PiiMatcher> {
    let (mut values, mut ids) = (BTreeSet::new(), Vec::new());
    for row in rows {
        ids.push(row.id.as_str());
        if let Ok(value) = serde_json::from_str(&row.json) {
            collect_values(&value, &mut values);
        }
    }
    // Ids stay, because they say which row the text is about.
    for id in ids {
        values.remove(id);
    }
    // Letters only: `redact_numbers` removes numbers of any form.
    let words = values.iter().flat_map(|value| value.split(|c: char| !c.is_alphabetic()));
    let anywhere = values.iter().map(String::as_str).chain(words);
    // A matcher searches few texts, so the time to build the automaton counts more than the time to search.
    let finder = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .ascii_case_insensitive(true)
        // A shorter match would leave the rest of a value in the text.
        .match_kind(MatchKind::LeftmostLongest)
        .build(anywhere.filter(|text| text.len() >= SUBSTRING_MIN_BYTES));
    let is_short = |value: &String| {
        (SHORT_WORD_MIN_BYTES..SUBSTRING_MIN_BYTES).contains(&value.len())
            && value.chars().all(char::is_alphabetic)
    };
    Some(PiiMatcher {
        substrings: finder.ok()?,
        short_words: values.iter().filter(|value| is_short(value)).cloned().collect(),
    })
}

/// Replaces these words where they stand alone.
fn redact_words(text: &str, words: &BTreeSet<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
        let end = piece.get(word.len()..).unwrap_or_default();
        out.push_str(if words.contains(word) { REDACTED } else { word });
        out.push_str(end);
    }
    out
}

fn collect_values(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => drop(into.insert(text.clone())),
        serde_json::Value::Number(number) => drop(into.insert(number.to_string())),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_values(item, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| collect_values(item, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
    }
}

/// Replaces every number that could be a social security, account or card number, with any separators between
/// its groups.
fn redact_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut number = String::new();
    // The added character ends a number at the end of the text.
    for character in text.chars().chain(['\0']) {
        let is_separator = !character.is_alphanumeric() && character != '\0' && !number.is_empty();
        if character.is_numeric() || is_separator {
            number.push(character);
            continue;
        }
        let digits = number.trim_end_matches(|c: char| !c.is_numeric());
        if digits.chars().filter(|c| c.is_numeric()).count() > UNREDACTED_DIGITS_MAX {
            out.push_str(REDACTED);
            out.extend(number.get(digits.len()..));
        } else {
            out.push_str(&number);
        }
        number.clear();
        out.extend((character != '\0').then_some(character));
    }
    out
}

/// Shows only their number: rows are personal data (P8).
impl fmt::Debug for Authorizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorizers({})", self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_rightfoots_messages_are_stored_without_personal_data() {
        let raw = RawValue::from_string(
            r#"[{"authorizer_unique_id":"cust-1","first_name":"Jane","last_name":"Li","ssn":"078-05-1120","address":{"street":"7 Elm \"Old\" Street","city":"Springfield","state":"CA"},"account_number":"12345678901"}]"#.to_owned(),
        )
        .unwrap();
        let authorizers = Authorizers::parse(&raw).unwrap();
        let jane = Id::new("cust-1").unwrap();
        for (text, redacted) in [
            ("Invalid SSN 078-05-1120.", "Invalid SSN …."),
            (
                "ssn 078051120 does not belong to Jane of Springfield, CA",
                "ssn … does not belong to … of …, …",
            ),
            ("078/05/1120, or 0_7_8\u{2011}05\u{2011}1120.", "…, or …."),
            ("Li of CA is in row 7, column 3", "… of … is in row 7, column 3"),
            ("row 12: account 1234 5678 901 unknown", "row 12: account … unknown"),
            ("JANE OF SPRINGFIELD", "… OF …"),
            (r#"of "7 Elm \"Old\" Street\nSpringfield""#, r#"of "7 … \"…\" …\n…""#),
            ("cust-1: routing_number is missing", "cust-1: routing_number is missing"),
        ] {
            assert_eq!(authorizers.redact(Some(&jane), text), redacted);
        }
        assert_eq!(authorizers.redact(None, "4111-1111-1111-1111 is no card"), "… is no card");
        assert_eq!(authorizers.redact(None, "row 1: Jane of Springfield"), "row 1: … of …");
        let cut_in_her_town = format!("{}Springfield", "x".repeat(293));
        assert_eq!(authorizers.redact(Some(&jane), &cut_in_her_town), format!("{}…", "x".repeat(293)));
        assert_eq!(authorizers.redact(None, &"x".repeat(1_000)).len(), 300);
        assert_eq!(format!("{authorizers:?}"), "Authorizers(1)");
    }
}
