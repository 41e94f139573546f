//! Comments, messages and documents cite headings as a path, a comma, and a heading in quotation marks. The file and the
//! heading exist. And shared/README.md names files, types, attributes, replies and permissions as they are in the code.

use std::collections::BTreeSet;

use inbox_aws::iam::ROLES;
use inbox_aws::items::attribute_names;
use serde_json::Value;

use super::documents::{documents, headings, prose};
use super::{no_offences, read_file, repository_root, rust_sources, text_files};

const ARCHITECTURE: &str = "shared/README.md";
const CITATION: &str = concat!(".md", ", \"");

/// A text as one line, without what makes its lines comments.
fn in_one_line(text: &str) -> String {
    let bare = |line: &str| line.trim().trim_start_matches(['/', '!', '#', '>']).trim().to_owned();
    text.lines().map(bare).collect::<Vec<_>>().join(" ").replace("\\\"", "\"")
}

/// The headings that a text cites, each with its document: in parentheses one or several, elsewhere one.
fn citations(text: &str) -> Vec<(String, String)> {
    let text = in_one_line(text);
    let mut cited = Vec::new();
    for (at, _) in text.match_indices(CITATION) {
        let (before, after) = (&text[..at], &text[at + CITATION.len() - 1..]);
        let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "/_-.".contains(letter);
        let start = before.trim_end_matches(is_of_path).len();
        let inside = after.split(')').next().unwrap_or_default();
        let headings_max = if before[..start].ends_with('(') { usize::MAX } else { 1 };
        let headings = inside.split('"').skip(1).step_by(2).take(headings_max);
        cited.extend(headings.map(|heading| (format!("{}.md", &before[start..]), heading.to_owned())));
    }
    cited
}

fn is_there(path: &str, heading: &str) -> bool {
    let is_cited = |(_, text): &(usize, &str)| *text == heading;
    repository_root().join(path).is_file() && headings(&read_file(path)).iter().any(is_cited)
}

#[test]
fn every_citation_leads_to_a_heading() {
    let text = format!("//! A (a/b-c{CITATION}One, two\" and\n//! \"Three\", a note), b{CITATION}Four\".");
    let of = |path: &str, heading: &str| (path.to_owned(), heading.to_owned());
    assert_eq!(citations(&text), [of("a/b-c.md", "One, two"), of("a/b-c.md", "Three"), of("b.md", "Four")]);
    let (mut found, mut count) = (no_offences(), 0);
    // What looks for citations quotes their form.
    for source in text_files().iter().filter(|source| !source.is_in("tests/it/tidy/")) {
        for (path, heading) in citations(&source.text) {
            count += 1;
            if !is_there(&path, &heading) {
                found.push(format!("{}: ({path}, \"{heading}\")", source.path));
            }
        }
    }
    assert_eq!(found, no_offences());
    assert!(count >= 25, "{count} citations");
}

/// They led to documents outside of the repository.
#[test]
fn nothing_cites_what_a_reader_does_not_have() {
    let is_cited = |text: &str| {
        ["(spec", "(design", "the spec's"].iter().any(|word| {
            let after = text.split(word).skip(1);
            after.into_iter().any(|rest| rest.starts_with([' ', ',', '.', ':', ';', ')']))
        })
    };
    assert!(is_cited(concat!("A (spec", ", 1)")) && is_cited(concat!("A (design", " 3)")));
    assert!(!is_cited("A (specified) and (designed)"));
    let hits = text_files().into_iter().filter(|source| is_cited(&in_one_line(&source.text)));
    assert_eq!(hits.map(|source| source.path).collect::<Vec<_>>(), no_offences());
}

/// The text in backticks outside of blocks of code.
fn code_spans(document: &str) -> Vec<String> {
    prose(document).join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_path(span: &str) -> bool {
    const ENDS: [&str; 6] = [".rs", ".md", ".yaml", ".json", ".toml", "/"];
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "/_-.".contains(letter);
    span.chars().all(legal) && !span.starts_with(['/', '.']) && ENDS.iter().any(|end| span.ends_with(end))
}

#[test]
fn every_path_that_the_documents_of_shared_name_exists() {
    assert!(is_path("shared/core/src/lib.rs") && is_path("infra/local/"));
    assert!(!is_path("/v1/balances") && !is_path("data") && !is_path("GET x/"));
    let documents: Vec<_> = documents().into_iter().filter(|it| it.is_in("shared/")).collect();
    let (mut wrong, mut count) = (no_offences(), 0);
    for document in &documents {
        for path in code_spans(&document.text).into_iter().filter(|span| is_path(span)) {
            count += 1;
            if !repository_root().join(&path).exists() {
                wrong.push(format!("{}: {path}", document.path));
            }
        }
    }
    assert_eq!(wrong, no_offences());
    assert!(documents.len() >= 3 && count >= 40, "{count} paths in {} documents", documents.len());
}

/// Every word of the code of a folder: its identifiers, and the words in its strings.
fn words_of(folder: &str) -> BTreeSet<String> {
    let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let sources = rust_sources().into_iter().filter(|source| source.is_in(folder));
    let words = sources.flat_map(|source| {
        let words = source.text.split(|letter| !is_of_word(letter));
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    words.collect()
}

#[test]
fn the_types_that_the_architecture_names_exist() {
    let code = words_of("shared/");
    let is_type = |span: &String| {
        let mut letters = span.chars();
        let is_upper = letters.next().is_some_and(|letter| letter.is_ascii_uppercase());
        is_upper && span.chars().all(char::is_alphanumeric) && letters.any(|letter| letter.is_lowercase())
    };
    let document = read_file(ARCHITECTURE);
    let named: BTreeSet<_> = code_spans(&document).into_iter().filter(is_type).collect();
    let wrong: Vec<_> = named.iter().filter(|name| !code.contains(*name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(named.len() >= 3, "{named:?}");
}

/// The example items of the architecture, as one object each.
fn examples(document: &str) -> Vec<Value> {
    let blocks = document.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let items = blocks.filter(|block| block.contains("\"pk\""));
    items.map(|item| serde_json::from_str(item).unwrap_or_else(|error| panic!("{error}: {item}"))).collect()
}

#[test]
fn the_attributes_of_the_example_items_are_those_of_the_code() {
    let mut code = words_of("shared/aws/src/balances.rs");
    code.extend(attribute_names().map(str::to_owned));
    let (document, mut wrong) = (read_file(ARCHITECTURE), no_offences());
    let items = examples(&document);
    for item in &items {
        let attributes = item.as_object().unwrap();
        assert!(attributes.contains_key("sk"), "{item}");
        wrong.extend(attributes.keys().filter(|name| !code.contains(*name)).cloned());
    }
    assert_eq!(wrong, no_offences());
    assert!(items.len() >= 11, "{} examples", items.len());
}

#[test]
fn the_architecture_lists_every_promise() {
    let document = read_file(ARCHITECTURE);
    for number in 1..=10 {
        assert_eq!(document.matches(&format!("\n| P{number} |")).count(), 1, "P{number}");
    }
}

/// The bodies stand in the table that a test of the code compares with what is answered.
#[test]
fn the_architecture_shows_every_reply() {
    let (document, code) = (read_file(ARCHITECTURE), read_file("shared/core/src/reply.rs"));
    let bodies: BTreeSet<_> =
        code.split("r#\"{").skip(1).filter_map(|rest| rest.split("\"#").next()).collect();
    assert!(bodies.len() >= 7, "{bodies:?}");
    for body in bodies {
        assert!(document.contains(&format!("`{{{body}`")), "{{{body}");
    }
}

#[test]
fn the_architecture_lists_what_each_function_may_call() {
    let document = read_file(ARCHITECTURE);
    for role in &ROLES {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{}` | `", role.function)));
        let row = row.unwrap_or_else(|| panic!("{ARCHITECTURE} has no permissions of {}", role.function));
        let named: BTreeSet<_> =
            code_spans(row).into_iter().skip(1).filter(|span| span.contains(':')).collect();
        let actions = role.allowed().map(|(_, action)| action.to_owned());
        assert_eq!(named, actions.collect(), "{}", role.function);
    }
}
