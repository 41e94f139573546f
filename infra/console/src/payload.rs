//! Payloads: hidden until they are asked for, shown as escaped text, and downloaded as they were received.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::time_text::size;

/// Longest payload that a page shows. A browser stands still over larger ones.
const SHOWN_MAX_BYTES: usize = 64 * 1024;

/// A revealed payload.
pub(crate) struct RevealedPayload {
    /// The bytes as received, as text; `None` if they are not UTF-8.
    pub(crate) raw: Option<String>,
    /// The same JSON with line breaks and blanks between its tokens; `None` if it is not JSON, or has them already.
    pub(crate) indented: Option<String>,
    /// Why it is not shown, or not all of it.
    pub(crate) note: Option<String>,
}

impl RevealedPayload {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let shown = bytes.get(..SHOWN_MAX_BYTES).unwrap_or(bytes);
        let is_cut = shown.len() < bytes.len();
        let (raw, is_text) = match std::str::from_utf8(shown) {
            Ok(text) => (text, true),
            // A cut may split the last character.
            Err(error) if is_cut && error.error_len().is_none() => {
                let valid = shown.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), true)
            }
            Err(_) => ("", false),
        };
        let note = if !is_text {
            Some("It is not UTF-8 text: download it.".to_owned())
        } else if is_cut {
            Some(format!(
                "Only the first {} of {} are shown: download it to see all.",
                size(SHOWN_MAX_BYTES),
                size(bytes.len())
            ))
        } else {
            None
        };
        let indented = (is_text && !is_cut).then(|| indent_json(raw)).flatten();
        Self { raw: is_text.then(|| raw.to_owned()), indented, note }
    }
}

/// The bytes as a download. A browser does not show or run an attachment.
pub(crate) fn download(bytes: Vec<u8>, name: &str) -> Response {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, bytes).into_response()
}

/// Deepest JSON that is indented.
const INDENTED_DEPTH_MAX: usize = 32;

/// Puts line breaks and blanks between the tokens of JSON. The tokens stay as they are: a number that was parsed and
/// printed again could be another one. `None` if brackets or quotes do not match, or if they
/// are nested too deeply.
pub(crate) fn indent_json(json: &str) -> Option<String> {
    if !json.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut out = String::with_capacity(json.len() * 2);
    let (mut open, mut characters) = (Vec::new(), json.chars().peekable());
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                out.push('"');
                loop {
                    let inner = characters.next()?;
                    out.push(inner);
                    match inner {
                        '"' => break,
                        '\\' => out.push(characters.next()?),
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                // A sender chooses the depth, and each level adds blanks to every line within.
                if open.len() == INDENTED_DEPTH_MAX {
                    return None;
                }
                out.push(character);
                open.push(character);
                while characters.next_if(|next| matches!(next, ' ' | '\t' | '\n' | '\r')).is_some() {}
                if !characters.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    break_line(&mut out, open.len());
                }
            }
            '}' | ']' => {
                let opened = open.pop()?;
                if (opened == '{') != (character == '}') {
                    return None;
                }
                if !out.ends_with(opened) {
                    break_line(&mut out, open.len());
                }
                out.push(character);
            }
            ',' => {
                out.push(',');
                break_line(&mut out, open.len());
            }
            ':' => out.push_str(": "),
            _ => out.push(character),
        }
    }
    (open.is_empty() && out != json).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_tokens_stay_as_they_were() {
        let json = r#"{"a": 1.10,"b":[ ],"c":["x, {y}: \"z\"",1e400, 12345678901234567890.00 ],"d":{}}"#;
        let indented = "{\n  \"a\": 1.10,\n  \"b\": [],\n  \"c\": [\n    \"x, {y}: \\\"z\\\"\",\n    1e400,\n    \
                        12345678901234567890.00\n  ],\n  \"d\": {}\n}";
        assert_eq!(indent_json(json).as_deref(), Some(indented));
        assert_eq!(indent_json(indented), None, "it is indented already");
        for broken in ["", "x", "{\"a", "{]", "[1}", "{\"a\":1", "}"] {
            assert_eq!(indent_json(broken), None, "{broken}");
        }
    }

    #[test]
    fn deeply_nested_json_is_not_indented() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(indent_json(&nested(33)), None);
        assert!(indent_json(&nested(32)).is_some());
        // The most that 64 KiB become.
        let wide = format!("{}{}{}", "[".repeat(32), "1,".repeat(32_000), "]".repeat(32));
        assert!(indent_json(&wide).is_some_and(|it| it.len() < 64 * wide.len()));
    }

    #[test]
    fn at_most_64_kib_are_shown_and_only_whole_characters() {
        let long = format!("{}é!", "x".repeat(SHOWN_MAX_BYTES - 1));
        let revealed = RevealedPayload::new(long.as_bytes());
        assert_eq!(revealed.raw.map(|raw| raw.len()), Some(SHOWN_MAX_BYTES - 1));
        assert_eq!(
            revealed.note.as_deref(),
            Some("Only the first 64 KiB of 64 KiB are shown: download it to see all.")
        );
        let exact = RevealedPayload::new("x".repeat(SHOWN_MAX_BYTES).as_bytes());
        assert_eq!((exact.raw.map(|raw| raw.len()), exact.note), (Some(SHOWN_MAX_BYTES), None));
        let binary = RevealedPayload::new(&[b'{', 0xff]);
        assert_eq!(binary.raw, None);
        assert_eq!(binary.note.as_deref(), Some("It is not UTF-8 text: download it."));
    }

    #[test]
    fn a_download_has_a_harmless_name() {
        let response = download(vec![1], "fynapse/event/a\"b\r\n.json");
        let disposition = response.headers().get(CONTENT_DISPOSITION).unwrap();
        assert_eq!(disposition, "attachment; filename=\"fynapse_event_a_b__.json\"");
        assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), "application/octet-stream");
    }
}
