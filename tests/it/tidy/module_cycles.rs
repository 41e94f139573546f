//! Circles between the files of a crate.
//!
//! A file uses another one if it names an item of it, in a `use` or by a path, outside its tests. An item that is re-exported
//! counts where it is defined. A file may use the modules that it lies in, for a module and its children are one whole to
//! others; what a module uses of its children counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{SourceFile, crates_in, rust_sources};

/// A module's path from the root of its crate, which is empty.
type Module = Vec<String>;
type ItemPath = Vec<String>;

/// The modules of one crate.
#[derive(Default)]
struct Crate {
    code: BTreeMap<Module, String>,
    /// What each module imports: the path behind every name.
    imports: BTreeMap<Module, BTreeMap<String, ItemPath>>,
}

impl Crate {
    /// Reads files by their path below `src/`.
    fn read<'a>(files: impl Iterator<Item = (&'a str, String)>) -> Self {
        let mut it = Self::default();
        for (path, code) in files {
            it.code.entry(module_of(path)).or_default().push_str(&code);
        }
        let imports = |code: &String| {
            let paths = imported_paths(code).into_iter();
            paths.filter_map(|path| Some((path.last()?.clone(), path))).collect()
        };
        it.imports = it.code.iter().map(|(module, code)| (module.clone(), imports(code))).collect();
        it
    }

    /// The module that defines the item of a path in `from`; `None` for another crate's.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from.split_last()?.1.to_vec(),
            _ if self.code.contains_key(&child(from, first)) => child(from, first),
            _ => return None,
        };
        while let Some((name, after)) = rest.split_first() {
            module = match name.as_str() {
                "super" => module.split_last()?.1.to_vec(),
                name if self.code.contains_key(&child(&module, name)) => child(&module, name),
                _ => break,
            };
            rest = after;
        }
        // Far below the depth of any chain of re-exports; it ends a name that re-exports itself.
        let imported = rest.first().filter(|_| depth < 9 && module != *from);
        let imported = imported.and_then(|name| self.imports.get(&module)?.get(name));
        imported.and_then(|path| self.resolve(&module, path, depth + 1)).or(Some(module))
    }

    /// The modules that each one uses, without those that it lies in.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let used_by = |module: &Module, code: &str| {
            let paths = imported_paths(code).into_iter().chain(named_paths(code));
            let used = paths.filter_map(|path| self.resolve(module, &path, 0));
            used.filter(|used| !module.starts_with(used)).collect()
        };
        self.code.iter().map(|(module, code)| (module, used_by(module, code))).collect()
    }

    /// The modules on circles.
    fn on_circles(&self) -> BTreeSet<String> {
        let edges = self.edges();
        let reaches_itself = |start: &&Module| {
            let mut reached = BTreeSet::new();
            let mut open = vec![*start];
            while let Some(module) = open.pop() {
                open.extend(edges[module].iter().filter(|used| reached.insert(*used)));
            }
            reached.contains(start)
        };
        self.code.keys().filter(reaches_itself).map(|module| module.join("::")).collect()
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { Module::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// A file's code up to its tests, which come last.
fn code_without_tests(source: &SourceFile) -> String {
    let lines: Vec<_> = source.code().map(|(_, line)| line).collect();
    let tests = lines.windows(2).position(|it| it[0] == "#[cfg(test)]" && it[1].ends_with('{'));
    lines[..tests.unwrap_or(lines.len())].join("\n")
}

/// The path of every import.
fn imported_paths(code: &str) -> Vec<ItemPath> {
    let tree_of = |statement: &str| {
        let is_import =
            |line: &&str| line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "));
        let from = statement.lines().position(|line| is_import(&line))?;
        let import = statement.lines().skip(from).collect::<String>();
        Some(import.split_once("use ")?.1.replace(" as ", "@").replace(' ', ""))
    };
    code.split(';').filter_map(tree_of).flat_map(|tree| expand(&tree)).collect()
}

/// The paths of a tree of imports without blanks, such as `a::{b,c::{d,e}}`.
fn expand(tree: &str) -> Vec<ItemPath> {
    let Some((prefix, list)) = tree.split_once('{') else {
        // Without the new name of an import that is renamed.
        return vec![tree.split('@').next().unwrap_or(tree).split("::").map(str::to_owned).collect()];
    };
    let (mut branches, mut depth) = (vec![String::new()], 0);
    for character in list.trim_end_matches('}').chars() {
        match character {
            ',' if depth == 0 => branches.push(String::new()),
            _ => {
                depth += i32::from(character == '{') - i32::from(character == '}');
                branches.last_mut().unwrap().push(character);
            }
        }
    }
    let branches = branches.iter().filter(|branch| !branch.is_empty());
    branches.flat_map(|branch| expand(&format!("{prefix}{branch}"))).collect()
}

/// Every path in the code that is written out where it is used.
fn named_paths(code: &str) -> impl Iterator<Item = ItemPath> {
    let words = code.split(|it: char| !it.is_alphanumeric() && it != '_' && it != ':');
    let paths = words.filter(|word| word.contains("::"));
    paths.map(|path| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    let sources = rust_sources();
    let folders = ["shared", "functions", "infra"].map(|folder| (folder, crates_in(folder)));
    let crates =
        folders.iter().flat_map(|(folder, names)| names.iter().map(move |name| format!("{folder}/{name}")));
    for name in crates.chain(["tests".to_owned()]) {
        let is_part =
            |path: &&str| !path.starts_with("bin/") && !path.split('/').any(|it| it.starts_with("tests"));
        let prefix = format!("{name}/src/");
        let files = sources.iter().filter_map(|source| {
            let path = source.path.strip_prefix(&prefix).filter(is_part)?;
            Some((path, code_without_tests(source)))
        });
        assert_eq!(Crate::read(files).on_circles(), BTreeSet::new(), "{name}");
    }
}

#[test]
fn a_circle_is_found_whatever_it_leads_through() {
    let on_circles = |files: &[(&'static str, &str)]| {
        let files = files.iter().map(|(path, code)| (*path, (*code).to_owned()));
        Crate::read(files).on_circles().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        on_circles(&[("a.rs", "use crate::b::{C, d::E};"), ("b.rs", "fn f(_: crate::a::X) {}")]),
        ["a", "b"]
    );
    assert_eq!(on_circles(&[("a.rs", "use crate::b::C;"), ("b.rs", "use std::a;")]), [""; 0]);
    let parent = ("a.rs", "mod b;\npub use b::B;\nfn f() { b::g() }");
    assert_eq!(on_circles(&[parent, ("a/b.rs", "use super::f;")]), [""; 0], "a child may use its parent");
    assert_eq!(
        on_circles(&[parent, ("a/b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::f;")]),
        ["a", "a::b", "c"],
        "through a child"
    );
    let siblings = [parent, ("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::B;")];
    assert_eq!(on_circles(&siblings), ["a::b", "a::c"], "by a re-export");
}
