//! No test is skipped, and no test target is built without a test in it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{SourceFile, no_offences, repository_root, rust_sources};

/// A library, binary, test or bench of the workspace.
struct CargoTarget {
    kind: String,
    /// Path of its root file.
    path: String,
    has_tests_run: bool,
    has_doctests_run: bool,
}

/// All targets, as `cargo metadata` lists them.
fn cargo_targets() -> Vec<CargoTarget> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]);
    let done = cargo.current_dir(repository_root()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
    let target = |target: &Value| CargoTarget {
        kind: target["kind"][0].as_str().unwrap().to_owned(),
        path: relative_path(target["src_path"].as_str().unwrap()),
        has_tests_run: target["test"].as_bool().unwrap(),
        has_doctests_run: target["doctest"].as_bool().unwrap(),
    };
    targets.map(target).collect()
}

fn relative_path(path: &str) -> String {
    Path::new(path).strip_prefix(repository_root()).unwrap().to_str().unwrap().to_owned()
}

/// Modules that a file declares.
fn modules(source: &SourceFile) -> impl Iterator<Item = &str> {
    source.code().filter_map(|(_, line)| line.split_once("mod ")?.1.strip_suffix(';'))
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

/// Sources of a target: its root file and, if that declares modules, all files beside and below it.
fn sources_of<'a>(
    target: &CargoTarget,
    all: &'a [SourceFile],
    targets: &[CargoTarget],
) -> Vec<&'a SourceFile> {
    let first = all.iter().find(|source| source.path == target.path).unwrap();
    let folder = format!("{}/", folder(&first.path));
    let has_modules = modules(first).next().is_some();
    let is_anothers = |source: &SourceFile| targets.iter().any(|target| target.path == source.path);
    let others = all.iter().filter(|it| has_modules && it.is_in(&folder) && !is_anothers(it));
    std::iter::once(first).chain(others).collect()
}

fn holds_a_test(source: &SourceFile) -> bool {
    source.code().any(|(_, line)| line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// Language of a code fence in a line of a doc comment.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("//! ```").or_else(|| line.strip_prefix("/// ```"))
}

/// Returns `true` if the file has an example that rustdoc compiles.
fn holds_a_doctest(source: &SourceFile) -> bool {
    source.text.lines().filter_map(fence).step_by(2).any(|language| language != "text")
}

#[test]
fn tests_are_run_of_each_target_that_holds_some_and_of_no_other() {
    let (all, targets) = (rust_sources(), cargo_targets());
    let mut wrong = no_offences();
    for target in targets.iter().filter(|target| ["bin", "lib", "test"].contains(&target.kind.as_str())) {
        let sources = sources_of(target, &all, &targets);
        if target.has_tests_run != sources.iter().any(|source| holds_a_test(source)) {
            wrong.push(format!("{}: test = {}", target.path, target.has_tests_run));
        }
        let has_doctests = target.kind == "lib" && sources.iter().any(|source| holds_a_doctest(source));
        if target.has_doctests_run != has_doctests {
            wrong.push(format!("{}: doctest = {}", target.path, target.has_doctests_run));
        }
    }
    assert_eq!(wrong, no_offences());
}

/// A file that no module declares is not compiled.
#[test]
fn every_file_is_a_target_or_a_module_of_one() {
    let (all, targets) = (rust_sources(), cargo_targets());
    let declares = |path: &str, name: &str| {
        let source = all.iter().find(|source| source.path == path);
        source.is_some_and(|source| modules(source).any(|module| module == name))
    };
    let is_compiled = |path: &str| {
        let module = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap();
        let (folder, name) = module.rsplit_once('/').unwrap();
        let firsts = targets.iter().map(|target| &target.path);
        let mut parents = firsts.filter(|first| self::folder(first) == folder);
        targets.iter().any(|target| target.path == path)
            || declares(&format!("{folder}.rs"), name)
            || declares(&format!("{folder}/mod.rs"), name)
            || parents.any(|parent| declares(parent, name))
    };
    // The fuzz target is a workspace of its own.
    let ours = all.iter().filter(|source| !source.is_in("shared/core/fuzz/"));
    let lost: Vec<_> = ours.map(|source| &source.path).filter(|path| !is_compiled(path)).collect();
    assert_eq!(lost, Vec::<&String>::new());
}
