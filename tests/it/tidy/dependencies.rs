//! Dependencies, read from `Cargo.toml` and `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::{crates_in, file_names, no_offences, read_file, repository_root, text_files};

/// Cargo.lock: the dependencies of each (name, version). It covers every platform and every feature that any member
/// enables, so a package that is absent here is used nowhere.
struct LockFile(BTreeMap<(String, String), Vec<String>>);

impl LockFile {
    fn read() -> Self {
        let text = read_file("Cargo.lock");
        let packages = text.split("[[package]]").skip(1).map(|package| {
            let field = |name: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim_matches(['"', ' ', '=']).to_owned()
            };
            let list = package.split_once("dependencies = [").map_or("", |(_, list)| list);
            let list = list.split(']').next().unwrap();
            let depends_on = list.split(',').map(|it| it.trim().trim_matches('"').to_owned());
            let depends_on = depends_on.filter(|it| !it.is_empty()).collect();
            ((field("name"), field("version")), depends_on)
        });
        Self(packages.collect())
    }

    /// Finds a dependency as written in the lock: its name, and its version if there are several.
    fn resolve(&self, written: &str) -> (String, String) {
        let mut words = written.split(' ');
        let (name, version) = (words.next().unwrap(), words.next());
        let fits = |it: &&(String, String)| it.0 == name && version.is_none_or(|version| it.1 == version);
        self.0.keys().find(fits).unwrap_or_else(|| panic!("{written} is not in Cargo.lock")).clone()
    }

    /// All packages in a member's build, without those for tests and benches only.
    fn closure(&self, member: &str) -> BTreeSet<(String, String)> {
        let members = members();
        let mut seen = BTreeSet::new();
        let mut open = vec![self.resolve(member)];
        while let Some(package) = open.pop() {
            let manifest = members.get(&package.0);
            let counts = |written: &&String| {
                let name = written.split(' ').next().unwrap();
                manifest.is_none_or(|manifest| dependencies_of(manifest).contains(name))
            };
            let next: Vec<_> = self.0[&package].iter().filter(counts).map(|it| self.resolve(it)).collect();
            if seen.insert(package) {
                open.extend(next);
            }
        }
        seen
    }
}

/// A built package and its features.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BuiltPackage {
    name: String,
    version: String,
    features: BTreeSet<String>,
}

/// Runs `cargo tree` with these arguments. A package that users or cargo-lambda build alone has other features than
/// in the tests, which build the whole workspace.
fn cargo_tree(words: &str) -> BTreeSet<BuiltPackage> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--prefix=none", "--format={p}|{f}|"]);
    let done = cargo.args(words.split(' ')).current_dir(repository_root()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let built = |line: &str| {
        let mut parts = line.split('|');
        let mut package = parts.next()?.split(' ');
        let features = parts.next()?.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Some(BuiltPackage { name: package.next()?.to_owned(), version: package.next()?.to_owned(), features })
    };
    text.lines().filter_map(built).collect()
}

/// Manifests of the workspace's members, by package name.
pub(crate) fn members() -> BTreeMap<String, String> {
    let folders = ["functions", "shared"]
        .into_iter()
        .flat_map(|top| crates_in(top).into_iter().map(move |name| format!("{top}/{name}")));
    folders
        .chain(["infra/local".to_owned(), "tests".to_owned()])
        .map(|folder| {
            let manifest = read_file(&format!("{folder}/Cargo.toml"));
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap();
            (name.trim_end_matches('"').to_owned(), manifest)
        })
        .collect()
}

/// Names under `[dependencies]`.
fn dependencies_of(manifest: &str) -> BTreeSet<String> {
    let section = manifest.split_once("\n[dependencies]\n").map_or("", |(_, section)| section);
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn the_core_depends_on_nothing_that_could_do_something() {
    const DOES: [&str; 13] = [
        "aws",
        "axum",
        "futures",
        "getrandom",
        "http",
        "hyper",
        "lambda",
        "metrics",
        "mio",
        "rand",
        "reqwest",
        "tokio",
        "tracing",
    ];
    let closure = LockFile::read().closure("inbox-core");
    assert!(closure.len() > 20 && closure.iter().any(|package| package.0 == "sha2"), "{closure:?}");
    let does = |name: &str| {
        DOES.iter().any(|it| {
            name == *it || name.starts_with(&format!("{it}-")) || name.starts_with(&format!("{it}_"))
        })
    };
    // The manifest counts as well, because the lock may not have been updated yet.
    let named = dependencies_of(&members()["inbox-core"]).into_iter();
    let all = named.chain(closure.into_iter().map(|package| package.0));
    assert_eq!(all.filter(|name| does(name)).collect::<Vec<_>>(), no_offences());
}

/// sha2 0.10 uses software on Graviton unless a feature enables the instructions; 0.11 detects them at run time.
#[test]
fn the_functions_hold_one_generation_of_crypto_and_of_http() {
    for function in crates_in("functions") {
        let built = cargo_tree(&format!("--edges=normal --package={function}"));
        for (name, generation) in
            [("sha2", "v0.11."), ("hmac", "v0.13."), ("hyper", "v1."), ("rustls", "v0.23.")]
        {
            let of_name = built.iter().filter(|it| it.name == name);
            let versions: BTreeSet<_> = of_name.map(|it| it.version.as_str()).collect();
            assert_eq!(versions.len(), 1, "{function} holds {name} {versions:?}");
            assert!(
                versions.iter().all(|it| it.starts_with(generation)),
                "{function} holds {name} {versions:?}"
            );
        }
    }
}

/// The end-to-end tests use each kind of profile; this test names the feature that is missing.
#[test]
fn the_installed_inboxctl_takes_every_kind_of_profile() {
    let built = cargo_tree("--edges=normal --package=inboxctl");
    let config = built.iter().find(|it| it.name == "aws-config").unwrap();
    for feature in ["credentials-login", "credentials-process", "sso"] {
        assert!(config.features.contains(feature), "{feature}: {:?}", config.features);
    }
}

/// Features that the tests enable in dependencies of `inboxctl` and that do not change its behaviour.
const OF_TESTS_ONLY: [(&str, &[&str]); 4] = [
    ("aws-config", &["default"]),
    ("aws-smithy-runtime-api", &["http-02x"]),
    ("tokio", &["full", "io-std", "parking_lot", "signal"]),
    ("uuid", &["sha1", "v5", "v7"]),
];

#[test]
fn the_tests_of_inboxctl_see_what_is_installed() {
    let alone = cargo_tree("--edges=normal --depth=1 --package=inboxctl");
    assert!(alone.len() > 20, "{alone:?}");
    let together = cargo_tree("--edges=all --workspace");
    for own in &alone {
        let of_tests = OF_TESTS_ONLY.iter().find(|it| it.0 == own.name).map_or([].as_slice(), |it| it.1);
        let same = together.iter().filter(|it| (&it.name, &it.version) == (&own.name, &own.version));
        let more = same.flat_map(|it| it.features.difference(&own.features));
        let more: BTreeSet<_> = more.filter(|it| !of_tests.contains(&it.as_str())).collect();
        assert!(more.is_empty(), "{} has {more:?} in the tests, and not where it is installed", own.name);
    }
}

/// Neither the README's second command nor a plain `cargo build` compiles again what its first command has compiled.
#[test]
fn the_local_system_the_tests_and_a_plain_build_share_what_they_compile() {
    let tests = cargo_tree("--edges=all --workspace");
    for (command, words) in [
        ("cargo run -p local", "--edges=normal,build --package=local"),
        ("cargo build", "--edges=normal,build"),
    ] {
        let built = cargo_tree(words);
        assert!(built.len() > 250, "{command}: {}", built.len());
        let missing = built.difference(&tests).map(|own| {
            let same = tests.iter().filter(|it| (&it.name, &it.version) == (&own.name, &own.version));
            let more: BTreeSet<_> = same.flat_map(|it| it.features.difference(&own.features)).collect();
            format!("`{command}` builds {} without {more:?}: infra/local/Cargo.toml can name them", own.name)
        });
        assert_eq!(missing.collect::<Vec<_>>(), no_offences());
    }
}

/// Without the list, `cargo lambda build` would build the tests and the local system, too.
#[test]
fn cargo_lambda_builds_the_functions_and_nothing_else() {
    let manifest = read_file("Cargo.toml");
    let settings = manifest.split_once("[workspace.metadata.lambda.build]\npackages = [").unwrap().1;
    let listed: Vec<_> = settings.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, crates_in("functions"));
}

#[test]
fn a_functions_folder_package_and_binary_have_one_name() {
    for function in crates_in("functions") {
        let manifest = read_file(&format!("functions/{function}/Cargo.toml"));
        let names: Vec<_> = manifest.lines().filter(|line| line.starts_with("name =")).collect();
        assert_eq!(names, vec![format!("name = \"{function}\""); 2], "the package's and the binary's");
        assert!(!manifest.contains("\npath ="), "{function} has other files");
        let mut sources = file_names(&format!("functions/{function}/src"));
        sources.retain(|name| name == "main.rs" || name == "bin");
        assert_eq!(sources, ["main.rs"], "{function}");
    }
}

/// An environment in the manifest would replace the stack's.
#[test]
fn no_manifest_says_how_cargo_lambda_shall_deploy() {
    for (name, manifest) in members() {
        assert!(!manifest.contains("metadata.lambda.deploy"), "{name}");
    }
    assert!(!read_file("Cargo.toml").contains("metadata.lambda.deploy"));
}

/// A nearer `.clippy.toml` replaces the root one, so settings that it lacks are off.
#[test]
fn the_cores_clippy_settings_repeat_the_roots() {
    let core = read_file("shared/core/.clippy.toml");
    for line in read_file(".clippy.toml").lines().filter(|line| !line.trim().is_empty()) {
        assert!(core.contains(line), "shared/core/.clippy.toml lacks {line}");
    }
}

#[test]
fn a_dependency_has_one_version_and_it_stands_at_the_top() {
    for (name, manifest) in members() {
        for line in manifest.lines().skip_while(|line| !line.ends_with("dependencies]")) {
            let is_dependency = line.contains('=') && !line.starts_with('[');
            let own = is_dependency && line.contains('"') && line.contains("version");
            assert!(!own, "{name}: {line}");
        }
    }
}

/// An unpinned package could change between two builds of what is deployed.
#[test]
fn packages_from_pypi_are_pinned_with_hashes_and_what_they_need_too() {
    let files = text_files();
    let lists: Vec<_> = files.iter().filter(|file| file.path.ends_with("requirements.in")).collect();
    assert_eq!(lists.len(), 4);
    for list in lists {
        let path = list.path.replace(".in", ".txt");
        let pinned = read_file(&path);
        let entries: Vec<_> = pinned.replace("\\\n", "").lines().map(str::to_owned).collect();
        let entries: Vec<_> = entries.iter().filter(|entry| !entry.starts_with('#')).collect();
        for entry in &entries {
            assert!(entry.contains("==") && entry.contains(" --hash=sha256:"), "{path}: {entry}");
        }
        for wanted in list.text.lines().filter(|line| !line.starts_with('#')) {
            assert!(wanted.contains("=="), "{}: {wanted}", list.path);
            let is_there = entries.iter().any(|entry| entry.split_whitespace().next() == Some(wanted));
            assert!(is_there, "{path} has no {wanted}: run .ci/pin");
        }
    }
    let is_script = |path: &str| !path.ends_with(".rs");
    let lines = files.iter().filter(|file| is_script(&file.path)).flat_map(|file| file.text.lines());
    let installs: Vec<_> =
        lines.map(|line| line.replace('"', "")).filter(|line| line.contains("pip install ")).collect();
    assert!(installs.len() >= 3, "{installs:?}");
    for install in installs {
        assert!(install.contains("--no-deps --require-hashes"), "{install}");
    }
}
