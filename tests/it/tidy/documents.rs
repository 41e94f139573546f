//! Links, lists of contents, and what README.md repeats of other documents and of the demo.

use super::{SourceFile, no_offences, read_file, repository_root, rust_sources, text_files};

/// Every document.
pub(super) fn documents() -> Vec<SourceFile> {
    let documents: Vec<_> = text_files().into_iter().filter(|source| source.path.ends_with(".md")).collect();
    assert!(documents.len() >= 6, "{} documents", documents.len());
    documents
}

/// The lines, each with true if it is outside of code blocks.
fn lines(document: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut is_code = false;
    document.lines().map(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence, line)
    })
}

/// The lines outside of code blocks.
pub(super) fn prose(document: &str) -> Vec<&str> {
    lines(document).filter(|(is_prose, _)| *is_prose).map(|(_, line)| line).collect()
}

/// The level and the text of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (level > 0 && text.starts_with(' ')).then(|| (level, text.trim()))
}

/// The headings of any level, each with its level.
pub(super) fn headings(document: &str) -> Vec<(usize, &str)> {
    prose(document).into_iter().filter_map(heading).collect()
}

/// The text under a heading of any level, up to the next one that is not below it.
pub(crate) fn section(document: &str, title: &str) -> String {
    let text = read_file(document);
    let heading = |(is_prose, line)| if is_prose { heading(line) } else { None };
    let mut lines = lines(&text).skip_while(|it| heading(*it).is_none_or(|(_, text)| text != title));
    let level =
        lines.next().and_then(heading).unwrap_or_else(|| panic!("{document} has no heading {title}")).0;
    let inside = lines.take_while(|it| heading(*it).is_none_or(|(next, _)| next > level));
    inside.map(|(_, line)| format!("{line}\n")).collect()
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// The targets of the links outside of code.
fn links(document: &str) -> Vec<String> {
    let lines = prose(document).join("\n");
    let targets = lines.split("](").skip(1).map(|rest| rest.split([')', ' ']).next().unwrap_or_default());
    targets.map(str::to_owned).collect()
}

/// A path without `..`, from the top of the repository.
fn resolved(from: &str, relative: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// What is wrong with a link of a document.
fn broken(document: &SourceFile, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let path = if file.is_empty() { document.path.clone() } else { resolved(&document.path, file) };
    let is_there = repository_root().join(&path).exists()
        && (fragment.is_empty() || headings(&read_file(&path)).iter().any(|(_, it)| anchor(it) == fragment));
    (!is_there).then(|| format!("{}: {link}", document.path))
}

#[test]
fn every_link_in_a_document_leads_to_a_file_and_a_heading() {
    assert_eq!(anchor("What `local` is for: a, b"), "what-local-is-for-a-b");
    assert_eq!(resolved("infra/local/README.md", "../README.md"), "infra/README.md");
    let document = |text: &str| SourceFile { path: "README.md".to_owned(), text: text.to_owned() };
    for (text, count) in
        [("[a](no.md)", 1), ("[a](README.md#no)", 1), ("[a](README.md)\n```\n[a](no.md)\n```", 0)]
    {
        let document = document(text);
        assert_eq!(links(text).iter().filter_map(|link| broken(&document, link)).count(), count, "{text}");
    }
    let documents = documents();
    let found =
        documents.iter().flat_map(|it| links(&it.text).into_iter().filter_map(|link| broken(it, &link)));
    assert_eq!(found.collect::<Vec<_>>(), no_offences());
}

#[test]
fn the_readme_is_short() {
    let lines = read_file("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// Lists its second-level headings above the first of them.
fn has_contents(document: &str) -> bool {
    let listed = links(document.split("\n## ").next().unwrap_or_default());
    let second = headings(document).into_iter().filter(|(level, _)| *level == 2);
    second.map(|(_, heading)| format!("#{}", anchor(heading))).all(|link| listed.contains(&link))
}

#[test]
fn a_long_document_begins_with_a_list_of_contents() {
    const TWO_SCREENS: usize = 100;
    let is_long = |it: &SourceFile| it.path != "README.md" && it.text.lines().count() > TWO_SCREENS;
    let without = documents().into_iter().filter(|it| is_long(it) && !has_contents(&it.text));
    assert_eq!(without.map(|it| it.path).collect::<Vec<_>>(), no_offences());
}

/// The README's commands are those that the longer documents explain.
#[test]
fn the_readmes_deployment_is_the_documented_one() {
    let sections = ["Install a release", "Build from source", "First deployment"];
    let long = sections.map(|title| section("infra/README.md", title)).concat();
    let short = section("README.md", "Deploy");
    let of = |text: &str| -> Vec<String> {
        let code = text.split("```").skip(1).step_by(2).collect::<String>();
        code.lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty() && line != "sh")
            .collect()
    };
    let (short, long) = (of(&short), of(&long));
    assert!((1..=6).contains(&short.len()), "{short:?}");
    for line in short {
        assert!(long.contains(&line), "infra/README.md has no {line}");
    }
}

/// The words of a line that the demo prints, without its figures and the time that it begins with.
fn fixed_words(line: &str) -> Vec<&str> {
    let text = line.rsplit(" s  ").next().unwrap_or_default();
    let between = text.split(|letter: char| letter.is_ascii_digit() || letter == '…');
    between.map(|words| words.trim_matches([' ', '.', ';', ':'])).filter(|words| words.len() > 5).collect()
}

#[test]
fn the_readme_quotes_what_the_demo_prints() {
    let sources = rust_sources().into_iter().filter(|source| source.is_in("infra/local/src/demo/"));
    // A string over several lines is one.
    let lines = sources.map(|source| source.text).collect::<String>().replace("\\\n", "\n");
    let code = lines.split_whitespace().collect::<Vec<_>>().join(" ");
    let quoted = section("README.md", "Try it");
    let quoted = quoted.split_once("```text\n").unwrap().1.split("```").next().unwrap();
    let words: Vec<_> = quoted.lines().flat_map(fixed_words).collect();
    assert!(words.len() >= 6, "{words:?}");
    for words in words {
        assert!(code.contains(words), "the demo does not print: {words}");
    }
}
