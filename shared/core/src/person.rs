//! A person's id in stored bytes and texts, and when what holds it may be erased.
//!
//! An id counts as a whole: `user-1` is not in `user-10`, nor in `user-1-b`.

use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::audit::{AuditEntry, message_expiry};
use crate::id::Id;
use crate::json::strip_bom;
use crate::lifecycle::Lifecycle;
use crate::limits::{ORPHAN_AGE_MIN_SECS, PARTS_MARGIN_DAYS, QUARANTINE_RETENTION_DAYS};
use crate::time::{UnixMillis, UnixSecs};

/// Returns `true` if a payload names the person: a string or a field's name is the id, or a number in a field whose name ends in
/// `id` or `ids`. Bytes that are not JSON name the person if the id is anywhere in them.
pub fn names_person(payload: &[u8], person: &Id) -> bool {
    let json = strip_bom(payload);
    // What comes before an error is searched, too, because a value may be escaped there.
    JsonTokens::new(json).any(|token| token.is_id(person))
        || (serde_json::from_slice::<IgnoredAny>(json).is_err()
            && mentions_person(&String::from_utf8_lossy(json), person))
}

/// Returns `true` if a text mentions the person.
pub fn mentions_person(text: &str, person: &Id) -> bool {
    mentions(text, person).next().is_some()
}

/// Returns `true` if a string in a document of ours mentions the person.
pub fn document_mentions_person(document: &Value, person: &Id) -> bool {
    match document {
        Value::String(text) => mentions_person(text, person),
        Value::Array(all) => all.iter().any(|one| document_mentions_person(one, person)),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| mentions_person(name, person) || document_mentions_person(value, person)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Replaces the person's id in all strings of a document of ours.
pub fn replace_person(document: &mut Value, person: &Id, replacement: &str) {
    match document {
        Value::String(text) => *text = replace_mentions(text, person, replacement),
        Value::Array(all) => all.iter_mut().for_each(|one| replace_person(one, person, replacement)),
        Value::Object(fields) => {
            let replaced = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                replace_person(&mut value, person, replacement);
                (replace_mentions(&name, person, replacement), value)
            });
            *fields = replaced.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns `true` if an event has ended, so that its payload may be erased: it is done or quarantined, or no queue can hold its
/// message any more, and no worker holds it.
pub fn is_event_over(lifecycle: &Lifecycle, entries: &[AuditEntry], now: UnixMillis) -> bool {
    if lifecycle.due_at.is_some() || lifecycle.claim_until.is_some_and(|until| until > now) {
        return false;
    }
    let is_finished = lifecycle.done_at.is_some() || lifecycle.quarantined_at.is_some();
    // Without a worker, no event is ever done.
    is_finished || lifecycle.sent_at.is_some_and(|sent_at| message_expiry(sent_at, entries) <= now)
}

/// Returns `true` if a payload part that no item names is so old that no item will name it: parts are stored before the item that
/// names them. Its age follows from its expiry.
pub fn is_old_orphan(expires_at: UnixSecs, retention_days: u64, now: UnixMillis) -> bool {
    let kept_days = retention_days.max(QUARANTINE_RETENTION_DAYS) + PARTS_MARGIN_DAYS;
    let latest = now.minus(Duration::from_secs(ORPHAN_AGE_MIN_SECS)).secs();
    expires_at <= latest.plus_days(kept_days)
}

fn mentions<'a>(text: &'a str, person: &'a Id) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(person.as_str()).map(|(at, _)| at).filter(move |at| {
        let before = text.get(..*at).unwrap_or_default().chars().rev();
        let after = text.get(at + person.as_str().len()..).unwrap_or_default().chars();
        !continues_id(before) && !continues_id(after)
    })
}

/// Returns `true` if an id goes on with these characters. Punctuation is part of an id only if a letter or digit follows.
fn continues_id(mut rest: impl Iterator<Item = char>) -> bool {
    match rest.next() {
        Some('-' | '_') => true,
        Some('.' | ':' | '@' | '/' | '+' | '#') => rest.next().is_some_and(char::is_alphanumeric),
        next => next.is_some_and(char::is_alphanumeric),
    }
}

fn replace_mentions(text: &str, person: &Id, replacement: &str) -> String {
    let (mut replaced, mut end) = (String::new(), 0);
    for at in mentions(text, person) {
        replaced += text.get(end..at).unwrap_or_default();
        replaced += replacement;
        end = at + person.as_str().len();
    }
    replaced + text.get(end..).unwrap_or_default()
}

/// The strings and numbers of a JSON text, one after another. It neither recurses nor fails, so that deep nesting and broken JSON
/// can be searched, too.
struct JsonTokens<'a> {
    rest: &'a [u8],
    /// True if the last field's name ends in `id` or `ids`.
    in_id_field: bool,
}

enum JsonToken<'a> {
    /// With its quotation marks.
    String(&'a [u8]),
    Number {
        text: &'a [u8],
        in_id_field: bool,
    },
}

impl<'a> JsonTokens<'a> {
    const fn new(json: &'a [u8]) -> Self {
        Self { rest: json, in_id_field: false }
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for JsonTokens<'a> {
    type Item = JsonToken<'a>;

    fn next(&mut self) -> Option<JsonToken<'a>> {
        let is_start = |byte: &u8| matches!(byte, b'"' | b'-' | b'0'..=b'9');
        let start = self.rest.iter().position(is_start)?;
        self.take(start);
        if self.rest.first() != Some(&b'"') {
            let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
            let length = self.rest.iter().position(|byte| !is_number(byte)).unwrap_or(self.rest.len());
            return Some(JsonToken::Number { text: self.take(length), in_id_field: self.in_id_field });
        }
        let string = self.take(string_length(self.rest));
        if self.rest.trim_ascii_start().first() == Some(&b':') {
            let name = string.to_ascii_lowercase();
            self.in_id_field = name.ends_with(b"id\"") || name.ends_with(b"ids\"");
        }
        Some(JsonToken::String(string))
    }
}

impl JsonToken<'_> {
    fn is_id(&self, person: &Id) -> bool {
        match self {
            Self::Number { text, in_id_field } => *in_id_field && *text == person.as_str().as_bytes(),
            Self::String(quoted) if quoted.contains(&b'\\') => {
                serde_json::from_slice::<String>(quoted).is_ok_and(|text| text == person.as_str())
            }
            Self::String(quoted) => {
                quoted.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""))
                    == Some(person.as_str().as_bytes())
            }
        }
    }
}

/// The length of the string at the start of a JSON text, with its quotation marks.
fn string_length(json: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.iter().enumerate().skip(1) {
        if *byte == b'"' && !is_escaped {
            return at + 1;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Operator, OperatorAction};
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: UnixMillis = UnixMillis(1_795_356_000_000);

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn names(payload: &str, person: &str) -> bool {
        names_person(payload.as_bytes(), &id(person))
    }

    #[test]
    fn a_payload_names_a_person_by_a_whole_string_in_any_field() {
        for payload in [
            r#"{"alerts":[{"authorizer_unique_id":"user-1","balance":150.00}]}"#,
            r#"{"data":{"deep":[[{"owner":"user-1"}]]}}"#,
            r#"{"data":{"user-1":{"amount":1}}}"#,
            r#"{"owner":"user\u002d1"}"#,
            "\u{feff}[\"user-1\"]",
        ] {
            assert!(names(payload, "user-1"), "{payload}");
            assert!(!names(payload, "user-10") && !names(payload, "user-"), "{payload}");
        }
        for payload in [
            r#"{"alerts":[{"authorizer_unique_id":"user-10"}]}"#,
            r#"{"note":"about user-1 alone"}"#,
            r#"{"a":"\"user-1","b":"user-1\\"}"#,
            "{}",
        ] {
            assert!(!names(payload, "user-1"), "{payload}");
        }
        let deep = format!("{}\"user-1\"{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(names(&deep, "user-1") && !names(&deep, "user-2"));
    }

    #[test]
    fn a_number_is_an_id_only_in_a_field_of_ids() {
        assert!(names(r#"{"authorizer_unique_id": 150,"balance":7}"#, "150"));
        assert!(names(r#"{"customerId":-5}"#, "-5") && names(r#"{"ids":[1,22,3]}"#, "22"));
        assert!(!names(r#"{"authorizer_unique_id":"a","balance":150}"#, "150"));
        assert!(!names(r#"{"id":1500,"x_id":150.0}"#, "150"));
    }

    #[test]
    fn what_is_not_json_names_whom_it_mentions() {
        for payload in [r#"{"half":"user-1"#, "id=user-1&x=2", "user-1", r#"{"a":"user\u002d1"} and more"#] {
            assert!(names(payload, "user-1"), "{payload}");
        }
        for payload in ["id=user-10", "superuser-1", "user-1.b", "user-1@example", "x/user-1"] {
            assert!(!names(payload, "user-1"), "{payload}");
        }
        assert!(names_person(b"\xff user-1 \xff", &id("user-1")));
    }

    #[test]
    fn documents_mention_a_person_inside_a_text_and_lose_only_that_id() {
        let mut document = json!({
            "batch_id": "b-1", "warnings": ["user-10 is slow"],
            "failed_authorizers": [{"authorizer_unique_id": "user-1", "error": "user-1: no account (user-1)."}],
        });
        assert!(document_mentions_person(&document, &id("user-1")));
        replace_person(&mut document, &id("user-1"), "erased");
        assert_eq!(
            document,
            json!({
                "batch_id": "b-1", "warnings": ["user-10 is slow"],
                "failed_authorizers": [{"authorizer_unique_id": "erased", "error": "erased: no account (erased)."}],
            })
        );
        assert!(!document_mentions_person(&document, &id("user-1")));
        let mut keyed = json!({"authorizers": {"user-1": 1, "user-2": 2}});
        assert!(document_mentions_person(&keyed, &id("user-1")));
        replace_person(&mut keyed, &id("user-1"), "x");
        assert_eq!(keyed, json!({"authorizers": {"x": 1, "user-2": 2}}));
    }

    #[test]
    fn an_event_is_over_when_nobody_will_read_its_payload_again() {
        let (past, future) = (Some(UnixMillis(NOW.0 - 1)), Some(UnixMillis(NOW.0 + 1)));
        let is_over = |lifecycle: Lifecycle| is_event_over(&lifecycle, &[], NOW);
        let new = Lifecycle { due_at: past, ..Lifecycle::default() };
        assert!(!is_over(new));
        let done = Lifecycle { done_at: past, sent_at: past, ..Lifecycle::default() };
        assert!(is_over(done) && is_over(Lifecycle { claim_until: past, ..done }));
        assert!(!is_over(Lifecycle { claim_until: future, ..done }));
        assert!(is_over(Lifecycle { quarantined_at: past, ..Lifecycle::default() }));
        let fortnight = 14 * 86_400_000;
        let sent = Lifecycle { sent_at: Some(UnixMillis(NOW.0 - fortnight)), ..Lifecycle::default() };
        assert!(is_over(sent), "its message is gone");
        assert!(!is_over(Lifecycle { sent_at: Some(UnixMillis(NOW.0 - fortnight + 1)), ..sent }));
        let operator = Operator { name: "ada".to_owned(), reason: "outage".to_owned() };
        let redrive = operator.audit_entry(OperatorAction::Redrive, UnixMillis(NOW.0 - 1));
        assert!(!is_event_over(&sent, &[redrive], NOW), "its message was sent again");
    }

    #[test]
    fn an_orphan_is_old_an_hour_after_it_was_stored() {
        let stored_at = NOW.secs();
        for (retention, kept_days) in [(30, 120), (90, 120), (400, 430)] {
            let expires_at = stored_at.plus_days(kept_days);
            let old_at = UnixMillis(NOW.0 + 3_600_000);
            assert!(is_old_orphan(expires_at, retention, old_at), "{retention}");
            assert!(!is_old_orphan(expires_at, retention, UnixMillis(old_at.0 - 1_000)), "{retention}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_found_in_every_json_that_holds_it(person in "\\PC{1,20}", other in "\\PC{1,20}", depth in 0_usize..200) {
            prop_assume!(person != other);
            let value = serde_json::to_string(&person).unwrap();
            let payload = format!("{}{value}{}", "[".repeat(depth), "]".repeat(depth));
            prop_assert!(names(&payload, &person));
            prop_assert!(!names(&payload, &other));
        }

        #[test]
        fn no_bytes_make_the_search_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200), person in "\\PC{1,5}") {
            names_person(&bytes, &id(&person));
        }

        #[test]
        fn a_replaced_id_is_gone(text in "[a-c -]{0,40}", person in "[a-c]{1,3}") {
            let mut document = Value::String(text);
            replace_person(&mut document, &id(&person), "erased");
            prop_assert!(!document_mentions_person(&document, &id(&person)));
        }
    }
}
