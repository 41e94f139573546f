//! The rules of the house, as tests: what a reader would otherwise have to look after.

mod citations;
mod dependencies;
mod gateway;
mod metrics_emitted;
mod monitoring;
mod parameters;
mod permissions;
mod readme;
mod runbook;
mod schemas;
mod targets;
mod template;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use inbox_core::delivery::Provider;

/// A file of the repository, by its path from the top.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are no comments, without the comments that end them, and their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line| if starts_comment(line) { "" } else { line.split(" // ").next().unwrap_or(line) };
        self.text.lines().map(str::trim).map(code).zip(1..).map(|(line, number)| (number, line))
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn starts_comment(line: &str) -> bool {
    line.starts_with("//")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names in a folder of the repository, sorted.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The crates in a folder of the repository, by their own folders' names, sorted.
fn crates_in(folder: &str) -> Vec<String> {
    let is_crate = |name: &String| root().join(folder).join(name).join("Cargo.toml").is_file();
    names_in(folder).into_iter().filter(is_crate).collect()
}

/// Every text file that somebody wrote.
fn written() -> Vec<Source> {
    const NOT_WRITTEN: [&str; 9] =
        [".git", ".venv", ".local", ".aws-sam", "target", "corpus", "artifacts", "coverage", "Cargo.lock"];
    let mut folders = vec![String::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for name in names_in(&folder).into_iter().filter(|name| !NOT_WRITTEN.contains(&name.as_str())) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(root().join(&path)) {
                files.push(Source { path, text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(files.len() > 60, "the walk lost its way: {} files", files.len());
    files
}

fn rust() -> Vec<Source> {
    written().into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

/// The lines of code that `wrong` points at, as `path:line: code`.
fn offences(sources: &[Source], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let of_one = |source: &Source| -> Vec<String> {
        let lines = source.code().filter(|(_, line)| wrong(line));
        lines.map(|(number, line)| format!("{}:{number}: {line}", source.path)).collect()
    };
    sources.iter().flat_map(of_one).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

/// Every quoted string in a piece of code (none of ours holds an escaped quote where this is asked).
fn strings(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

#[test]
fn the_core_has_no_clock_no_environment_and_no_io() {
    const IMPURE: [&str; 15] = [
        "std::env",
        "std::fs",
        "std::io",
        "std::process",
        "std::thread",
        "std::{",
        "net::Tcp",
        "net::Udp",
        "net::ToSocketAddrs",
        "SystemTime",
        "Instant",
        "now_utc",
        "async fn",
        "tokio",
        "thread_local!",
    ];
    let core: Vec<_> = rust().into_iter().filter(|source| source.is_in("shared/core/src/")).collect();
    assert!(core.len() >= 10);
    assert_eq!(offences(&core, |line| IMPURE.iter().any(|word| line.contains(word))), none());
}

#[test]
fn the_environment_and_the_clock_are_read_in_one_place_each() {
    let ours: Vec<_> = rust()
        .into_iter()
        .filter(|source| source.is_in("shared/") || source.is_in("functions/"))
        .filter(|source| !source.is_in("shared/core/fuzz/") && !source.is_in("shared/core/benches/"))
        .filter(|source| !source.path.contains("/src/tests/"))
        .collect();
    let reads = offences(&ours, |line| line.contains("env::var"));
    assert!(!reads.is_empty());
    assert!(reads.iter().all(|place| place.starts_with("shared/aws/src/config.rs:")), "{reads:?}");
    let clocks = offences(&ours, |line| line.contains("SystemTime::now()"));
    assert!(clocks.iter().all(|place| place.starts_with("shared/aws/src/clock.rs:")), "{clocks:?}");
}

#[test]
fn p8_no_span_records_the_arguments_of_a_function() {
    let attribute = |line: &str| line.starts_with("#[") && line.contains("instrument");
    assert_eq!(offences(&rust(), |line| attribute(line) && !line.contains("skip_all")), none());
}

#[test]
fn a_lint_is_expected_with_a_reason_and_never_allowed() {
    let (allowed, allowed_inside) = (concat!("#[", "allow("), concat!("#![", "allow("));
    assert_eq!(offences(&rust(), |line| line.contains(allowed) || line.contains(allowed_inside)), none());
    let expects = [concat!("#[", "expect("), concat!("#![", "expect(")];
    for source in rust() {
        let code: String = source.code().map(|(_, line)| line).collect();
        for start in expects.iter().flat_map(|start| code.match_indices(start)) {
            let attribute = code[start.0..].split(")]").next().unwrap();
            assert!(attribute.contains("reason ="), "{}: {attribute}", source.path);
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read_and_entry_points_to_be_seen_at_once() {
    let length = |source: &Source| source.text.lines().count();
    let too_long = |source: &Source| length(source) > 500;
    let long: Vec<_> = rust().into_iter().filter(too_long).map(|source| source.path).collect();
    assert_eq!(long, none(), "more than 500 lines");
    let entry = |source: &Source| source.is_in("functions/") && source.path.ends_with("/main.rs");
    let long_mains: Vec<_> =
        rust().into_iter().filter(|source| entry(source) && length(source) > 40).map(|it| it.path).collect();
    assert_eq!(long_mains, none(), "more than 40 lines");
}

#[test]
fn nothing_is_left_unfinished() {
    const WORDS: [&str; 4] =
        [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = none();
    for source in written() {
        let hits = source.text.lines().zip(1..);
        let hits = hits.filter(|(line, _)| WORDS.iter().any(|word| line.contains(word)));
        found.extend(hits.map(|(line, number)| format!("{}:{number}: {line}", source.path)));
    }
    // The issue that asks for this rule, and this rule's own description, quote the words.
    found.retain(|hit| !hit.contains("git grep"));
    assert_eq!(found, none());
}

#[test]
fn every_promise_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    for source in rust() {
        for (_, line) in source.code() {
            let Some(name) = line.trim_start_matches("async ").strip_prefix("fn p") else { continue };
            let words = format!("p{name}");
            let promise = |word: &str| word.strip_prefix('p').and_then(|number| number.parse::<u8>().ok());
            named.extend(words.split(['_', '(']).map_while(promise));
        }
    }
    assert_eq!(named, BTreeSet::from_iter(1..=10), "promises, and the numbers in tests' names");
    let list = read("shared/core/src/lib.rs");
    for number in 1..=10 {
        assert!(list.contains(&format!("//! | P{number} |")), "P{number} is not in the list of promises");
    }
}

/// Whether some line of an item, above the given one, restricts it to Unix.
fn is_for_unix_alone(lines: &[&str], at: usize) -> bool {
    lines[..at].iter().rev().take_while(|line| !line.is_empty()).any(|line| line.trim() == "#[cfg(unix)]")
}

/// What is built on Windows, too: the compiler there would find it, and is not there to be asked.
#[test]
fn what_only_unix_has_is_compiled_for_unix_alone() {
    const UNIX: [&str; 4] = [
        concat!("signal::", "unix"),
        concat!("os::", "unix"),
        concat!("os::", "fd"),
        concat!("os::", "linux"),
    ];
    let mut found = none();
    for source in rust() {
        let lines: Vec<_> = source.text.lines().collect();
        let hits = (0..lines.len()).filter(|at| UNIX.iter().any(|word| lines[*at].contains(word)));
        let open = hits.filter(|at| !is_for_unix_alone(&lines, *at));
        found.extend(open.map(|at| format!("{}:{}: {}", source.path, at + 1, lines[at])));
    }
    assert_eq!(found, none());
    let item = ["}", "", "/// Waits.", "#[cfg(unix)]", "async fn f() {", "    use a;"];
    assert!(is_for_unix_alone(&item, 5) && !is_for_unix_alone(&item[..1], 1));
}

#[test]
fn a_provider_has_everything_that_a_provider_needs() {
    for name in Provider::ALL.map(Provider::as_str) {
        let path = format!("shared/core/src/providers/{name}.rs");
        assert!(root().join(&path).is_file(), "{path}");
        for folder in [format!("functions/{name}-webhook"), format!("tests/fixtures/{name}")] {
            assert!(root().join(&folder).is_dir(), "{folder}");
        }
        let fixture = format!("{name}-");
        assert!(names_in("tests/fixtures/events").iter().any(|event| event.starts_with(&fixture)), "{name}");
        let route = format!("RouteKey: POST /webhooks/{name}");
        assert!(read("template.yaml").contains(&route), "template.yaml has no {route}");
    }
}
