//! Templates and assets of the console: nothing that a sender wrote is markup, and nothing is loaded from elsewhere.

use super::{SourceFile, crates_in, file_names, no_offences, read_file, rust_sources, text_files};

fn console_files(folder: &str) -> Vec<SourceFile> {
    let files: Vec<_> = text_files().into_iter().filter(|file| file.is_in(folder)).collect();
    assert!(!files.is_empty(), "{folder}");
    files
}

/// Lines with one of these texts.
fn lines_with(files: &[SourceFile], texts: &[&str]) -> Vec<String> {
    let of_one = |file: &SourceFile| {
        let lines = file.text.lines().filter(|line| texts.iter().any(|text| line.contains(text)));
        lines.map(|line| format!("{}: {}", file.path, line.trim())).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_one).collect()
}

#[test]
fn templates_escape_everything_but_the_consoles_own_style_sheet_and_script() {
    let templates = console_files("infra/console/templates/");
    assert_eq!(
        lines_with(&templates, &["safe", "autoescape", "escape"]),
        [
            "infra/console/templates/layout.html: <style>{{ layout.style()|safe }}</style>",
            "infra/console/templates/layout.html: <script>{{ layout.script()|safe }}</script>",
            "infra/console/templates/plain.html: <style>{{ self.style()|safe }}</style>",
        ]
    );
    let code: Vec<_> = rust_sources().into_iter().filter(|it| it.is_in("infra/console/src/")).collect();
    assert_eq!(
        lines_with(&code, &["PreEscaped", "escape = \"none\"", "source = \"", "filters::Safe"]),
        no_offences()
    );
    // A type is shown as it is only if it is itself the output of a template.
    let marked = lines_with(&code, &["HtmlSafe for "]);
    let names: Vec<_> = marked.iter().filter_map(|line| line.split("HtmlSafe for ").nth(1)).collect();
    assert_eq!(
        names,
        [
            "EventStatusView {}",
            "Rendered {}",
            "Prose {}",
            "ResultBody {}",
            "TimeTag {}",
            "TrackedStatusView {}",
        ]
    );
}

#[test]
fn pages_hold_no_inline_style_or_handler_and_load_nothing_from_elsewhere() {
    let mut files = console_files("infra/console/templates/");
    files.extend(console_files("infra/console/assets/"));
    // The namespace of SVG is a name, and is not loaded.
    let foreign = ["https://", "http://", "url(", "@import", "src=\"//"];
    let found = lines_with(&files, &foreign).into_iter().filter(|line| !line.contains("xmlns="));
    assert_eq!(found.collect::<Vec<_>>(), no_offences());
    let templates = console_files("infra/console/templates/");
    let blocked = [
        " style=\"",
        " onclick",
        " onload",
        " onsubmit",
        " onchange",
        "javascript:",
        "<iframe",
        "<script src",
    ];
    assert_eq!(lines_with(&templates, &blocked), no_offences());
    let script = read_file("infra/console/assets/console.js");
    for word in ["eval(", "new Function", "document.write"] {
        assert!(!script.contains(word), "{word}");
    }
}

#[test]
fn the_console_depends_on_neither_of_the_programs_that_serve_it() {
    assert!(crates_in("infra").contains(&"console".to_owned()), "{:?}", file_names("infra"));
    let manifest = read_file("infra/console/Cargo.toml");
    let own = manifest.split_once("\n[dependencies]\n").unwrap().1.split("\n[").next().unwrap();
    assert!(own.contains("inbox-core") && own.contains("inbox-aws"));
    assert!(!own.contains("inboxctl") && !own.contains("local"), "{own}");
}
