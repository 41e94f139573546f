//! The repository's rules as tests.

mod access_log_metrics;
mod alarm_runbook;
mod cargo_targets;
mod citations;
mod console_pages;
mod cost_table;
mod dependencies;
mod doctor;
pub(crate) mod documents;
mod emitted_metrics;
mod event_schemas;
mod examples;
mod iam_permissions;
mod module_cycles;
mod monitoring;
mod sam_local;
mod shell_blocks;
mod template;
mod template_parameters;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use inbox_core::delivery::Provider;

pub(crate) use monitoring::as_written;
pub(crate) use template::{resources, template, template_at};

/// A file of the repository, by its path from the root.
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// Numbered lines of code, without comment lines and trailing comments.
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

pub(crate) fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn read_file(path: &str) -> String {
    fs::read_to_string(repository_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names in a folder of the repository, sorted.
fn file_names(folder: &str) -> Vec<String> {
    let entries =
        fs::read_dir(repository_root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The crates in a folder of the repository, by their own folders' names, sorted.
fn crates_in(folder: &str) -> Vec<String> {
    let is_crate = |name: &String| repository_root().join(folder).join(name).join("Cargo.toml").is_file();
    file_names(folder).into_iter().filter(is_crate).collect()
}

/// Every hand-written text file.
fn text_files() -> Vec<SourceFile> {
    const IGNORED: [&str; 12] = [
        ".git",
        ".venv",
        ".local",
        ".aws-sam",
        "target",
        "corpus",
        "artifacts",
        "coverage",
        "Cargo.lock",
        "node_modules",
        "dist",
        "package-lock.json",
    ];
    let mut folders = vec![String::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for name in file_names(&folder).into_iter().filter(|name| !IGNORED.contains(&name.as_str())) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if repository_root().join(&path).is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(repository_root().join(&path)) {
                files.push(SourceFile { path, text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(files.len() > 60, "the walk lost its way: {} files", files.len());
    files
}

fn rust_sources() -> Vec<SourceFile> {
    text_files().into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

/// Lines of code for which `wrong` returns true, as `path:line: code`.
fn offences(sources: &[SourceFile], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let of_one = |source: &SourceFile| -> Vec<String> {
        let lines = source.code().filter(|(_, line)| wrong(line));
        lines.map(|(number, line)| format!("{}:{number}: {line}", source.path)).collect()
    };
    sources.iter().flat_map(of_one).collect()
}

fn no_offences() -> Vec<String> {
    Vec::new()
}

/// Every string literal in a piece of code. Escaped quotes are not supported; no code that is searched has any.
fn string_literals(code: &str) -> impl Iterator<Item = &str> {
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
    let core: Vec<_> = rust_sources().into_iter().filter(|source| source.is_in("shared/core/src/")).collect();
    assert!(core.len() >= 10);
    assert_eq!(offences(&core, |line| IMPURE.iter().any(|word| line.contains(word))), no_offences());
}

#[test]
fn the_environment_and_the_clock_are_read_in_one_place_each() {
    let ours: Vec<_> = rust_sources()
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
    assert_eq!(
        offences(&rust_sources(), |line| attribute(line) && !line.contains("skip_all")),
        no_offences()
    );
}

#[test]
fn a_lint_is_expected_with_a_reason_and_never_allowed() {
    let (allowed, allowed_inside) = (concat!("#[", "allow("), concat!("#![", "allow("));
    assert_eq!(
        offences(&rust_sources(), |line| line.contains(allowed) || line.contains(allowed_inside)),
        no_offences()
    );
    let expects = [concat!("#[", "expect("), concat!("#![", "expect(")];
    for source in rust_sources() {
        let code: String = source.code().map(|(_, line)| line).collect();
        for start in expects.iter().flat_map(|start| code.match_indices(start)) {
            let attribute = code[start.0..].split(")]").next().unwrap();
            assert!(attribute.contains("reason ="), "{}: {attribute}", source.path);
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read_and_entry_points_to_be_seen_at_once() {
    let length = |source: &SourceFile| source.text.lines().count();
    let too_long = |source: &SourceFile| length(source) > 500;
    let long: Vec<_> = rust_sources().into_iter().filter(too_long).map(|source| source.path).collect();
    assert_eq!(long, no_offences(), "more than 500 lines");
    let entry = |source: &SourceFile| source.is_in("functions/") && source.path.ends_with("/main.rs");
    let long_mains: Vec<_> = rust_sources()
        .into_iter()
        .filter(|source| entry(source) && length(source) > 40)
        .map(|it| it.path)
        .collect();
    assert_eq!(long_mains, no_offences(), "more than 40 lines");
}

#[test]
fn nothing_is_left_unfinished() {
    const WORDS: [&str; 4] =
        [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = no_offences();
    for source in text_files() {
        let hits = source.text.lines().zip(1..);
        let hits = hits.filter(|(line, _)| WORDS.iter().any(|word| line.contains(word)));
        found.extend(hits.map(|(line, number)| format!("{}:{number}: {line}", source.path)));
    }
    // The issue that asks for this rule, and its description, quote the words.
    found.retain(|hit| !hit.contains("git grep"));
    assert_eq!(found, no_offences());
}

#[test]
fn every_promise_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    for source in rust_sources() {
        for (_, line) in source.code() {
            let Some(name) = line.trim_start_matches("async ").strip_prefix("fn p") else { continue };
            let words = format!("p{name}");
            let promise = |word: &str| word.strip_prefix('p').and_then(|number| number.parse::<u8>().ok());
            named.extend(words.split(['_', '(']).map_while(promise));
        }
    }
    assert_eq!(named, BTreeSet::from_iter(1..=10), "promises, and the numbers in tests' names");
    let list = read_file("shared/core/src/lib.rs");
    for number in 1..=10 {
        assert!(list.contains(&format!("//! | P{number} |")), "P{number} is not in the list of promises");
    }
}

/// Returns `true` if the item around line `at` has `#[cfg(unix)]` above that line.
fn is_for_unix_alone(lines: &[&str], at: usize) -> bool {
    lines[..at].iter().rev().take_while(|line| !line.is_empty()).any(|line| line.trim() == "#[cfg(unix)]")
}

/// These files are built on Windows, too, where the compiler would find it; the tests run elsewhere.
#[test]
fn what_only_unix_has_is_compiled_for_unix_alone() {
    const UNIX: [&str; 4] = [
        concat!("signal::", "unix"),
        concat!("os::", "unix"),
        concat!("os::", "fd"),
        concat!("os::", "linux"),
    ];
    let mut found = no_offences();
    for source in rust_sources() {
        let lines: Vec<_> = source.text.lines().collect();
        let hits = (0..lines.len()).filter(|at| UNIX.iter().any(|word| lines[*at].contains(word)));
        let open = hits.filter(|at| !is_for_unix_alone(&lines, *at));
        found.extend(open.map(|at| format!("{}:{}: {}", source.path, at + 1, lines[at])));
    }
    assert_eq!(found, no_offences());
    let item = ["}", "", "/// Waits.", "#[cfg(unix)]", "async fn f() {", "    use a;"];
    assert!(is_for_unix_alone(&item, 5) && !is_for_unix_alone(&item[..1], 1));
}

#[test]
fn a_provider_has_everything_that_a_provider_needs() {
    for name in Provider::ALL.iter().map(|provider| provider.as_str()) {
        for path in [format!("shared/core/src/providers/{name}.rs"), format!("shared/providers/{name}.md")] {
            assert!(repository_root().join(&path).is_file(), "{path}");
        }
        let row = format!("| `{name}-webhook` |");
        assert!(read_file("functions/README.md").contains(&row), "functions/README.md has no {row}");
        for folder in [format!("functions/{name}-webhook"), format!("tests/fixtures/{name}")] {
            assert!(repository_root().join(&folder).is_dir(), "{folder}");
        }
        let fixture = format!("{name}-");
        assert!(
            file_names("tests/fixtures/events").iter().any(|event| event.starts_with(&fixture)),
            "{name}"
        );
        let route = format!("RouteKey: POST /webhooks/{name}");
        assert!(read_file("template.yaml").contains(&route), "template.yaml has no {route}");
    }
}

/// In there, every name and value is behind a placeholder, and an update names the `rev` or the claim that was seen.
#[test]
fn expressions_of_dynamodb_are_put_together_in_the_table_module_only() {
    const TABLE: &str = "shared/aws/src/table";
    let (inside, outside): (Vec<_>, Vec<_>) = rust_sources()
        .into_iter()
        .filter(|source| {
            let folders = ["shared/", "functions/", "infra/console/src/", "infra/inboxctl/src/"];
            folders.iter().any(|folder| source.is_in(folder))
        })
        .partition(|source| source.is_in(TABLE));
    let is_expression = |line: &str| line.contains("_expression(");
    assert_eq!(offences(&outside, is_expression), no_offences());
    assert!(offences(&inside, is_expression).len() >= 5);
}
