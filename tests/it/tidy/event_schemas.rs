//! The schemas of bus events in `infra/schemas/` are generated from the types.

use std::fs;

use inbox_core::bus::detail::schemas;

use super::{file_names, read_file, repository_root};

/// Environment variable: if set, the files are written.
const WRITE: &str = "WRITE_SCHEMAS";

#[test]
fn the_schemas_are_those_of_the_types() {
    let mut names = Vec::new();
    for (name, schema) in schemas() {
        let path = format!("infra/schemas/{name}.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os(WRITE).is_some() {
            fs::write(repository_root().join(&path), &text).unwrap();
        }
        let is_written = fs::exists(repository_root().join(&path)).unwrap() && read_file(&path) == text;
        assert!(
            is_written,
            "{path} is another one; {WRITE}=1 cargo test -p tests --test it tidy::event_schemas:: writes it"
        );
        names.push(format!("{name}.json"));
    }
    names.sort();
    assert_eq!(file_names("infra/schemas"), names);
}
