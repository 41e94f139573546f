//! The documents' commands can be pasted into bash and into zsh, which is macOS's shell.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::documents::documents;
use super::no_offences;

/// The blocks of shell commands in every document.
fn blocks() -> Vec<String> {
    let blocks: Vec<_> = documents().iter().flat_map(|document| blocks_of(&document.text)).collect();
    assert!(blocks.len() > 25, "{} blocks", blocks.len());
    blocks
}

/// The blocks of shell commands in a document, without the indentation of a list.
fn blocks_of(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(fence) = lines.find(|line| line.trim() == "```sh") {
        let indent = fence.len() - fence.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
    }
    blocks
}

/// A block without here-documents: what stands in them is no command.
fn without_documents(block: &str) -> String {
    let mut kept = String::new();
    let mut until: Option<&str> = None;
    for line in block.lines() {
        match until {
            Some(end) if line == end => until = None,
            Some(_) => {}
            None => {
                kept += &format!("{line}\n");
                until = line.split_once("<<'").map(|(_, end)| end.trim_end_matches('\''));
            }
        }
    }
    kept
}

/// A block's commands, with `_` for what is quoted. In `"$(…)"` commands begin again.
fn bare(block: &str) -> String {
    let text = without_documents(block);
    let (mut bare, mut letters) = (String::new(), text.chars().peekable());
    // The quotes and parentheses that are open.
    let mut open = Vec::new();
    while let Some(letter) = letters.next() {
        let is_quoted = open.last() == Some(&'"');
        match letter {
            '\\' => drop(letters.next()),
            '\'' if !is_quoted => {
                letters.by_ref().take_while(|it| *it != '\'').for_each(drop);
                bare.push('_');
            }
            '"' if is_quoted => drop(open.pop()),
            '"' => {
                open.push('"');
                bare.push('_');
            }
            '$' if letters.next_if_eq(&'(').is_some() => {
                open.push('(');
                bare.push(' ');
            }
            ')' if open.last() == Some(&'(') => drop(open.pop()),
            _ if is_quoted => {}
            _ => bare.push(letter),
        }
    }
    assert!(open.is_empty(), "{block}");
    bare
}

/// The words that an interactive zsh takes for a pattern, a path of a command or an argument: it has no comments.
fn wrong_in_zsh(block: &str) -> Vec<String> {
    let is_wrong = |word: &&str| {
        let is_pattern = word.contains(['?', '*', '^']) || word.contains('[') && *word != "[";
        word.starts_with(['#', '!']) || word.starts_with('=') && *word != "=" || is_pattern
    };
    bare(block).split_whitespace().filter(is_wrong).map(str::to_owned).collect()
}

#[test]
fn the_documents_commands_have_no_comments_and_no_pattern_outside_of_quotes() {
    for (block, wrong) in [
        ("a # b", vec!["#", ""]),
        ("a 'x # y' \"z # '\" 'q?'", vec![]),
        ("a --url http://h/?x=1", vec!["http://h/?x=1"]),
        ("a \"$(b \"c?\" d?)\"", vec!["d?"]),
        ("[ -n \"$x\" ] && a x[1] =b", vec!["x[1]", "=b"]),
        ("test \"$x\" = b", vec![]),
        ("cat > f <<'END'\n# it's data?\nEND\na ?", vec!["?"]),
    ] {
        let wrong: Vec<_> = wrong.into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect();
        assert_eq!(wrong_in_zsh(block), wrong, "{block}");
    }
    for block in blocks() {
        assert_eq!(wrong_in_zsh(&block), no_offences(), "{block}");
    }
}

/// An empty folder for the files that commands write.
fn scratch(shell: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("documents-{shell}"));
    drop(fs::remove_dir_all(&dir));
    for folder in [".ci", "target", "tests/fixtures/events"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    dir
}

/// Instead of the tools: nothing is built, asked or deleted. What they print has two words, as an output of a stack.
const INSTEAD: &str = "PS1= PS2=\n\
    for tool in . .ci/nightly .ci/pin .ci/release .ci/run .ci/start-up aws cargo cd curl git inboxctl npm openssl pip python3 rm sam \
      sha256sum tar infra/console/tests/browser/run tests/e2e/run zip; do\n\
      eval \"function $tool { echo Name value; }\"\n\
    done\n";

/// Runs a block as if it were pasted into an interactive shell. `None`: there is no such shell.
fn pasted(shell: &str, options: &[&str], block: &str) -> Option<Output> {
    let mut command = Command::new(shell);
    command.args(options).current_dir(scratch(shell)).env("HOME", env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(format!("{INSTEAD}{block}").as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

/// The shell's own errors, not those of a tool that was given nothing.
fn errors(shell: &str, output: &Output) -> Vec<String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    errors.lines().filter(|line| line.contains(&format!("{shell}: "))).map(str::to_owned).collect()
}

#[test]
fn the_documents_commands_run_in_an_interactive_zsh_if_it_is_there() {
    const SHELL: &str = "zsh";
    let options = ["-f", "-i", "-s"];
    let Some(output) = pasted(SHELL, &options, "echo a?b\n") else { return };
    assert_eq!(errors(SHELL, &output).len(), 1, "an error is seen: {output:?}");
    for block in blocks() {
        let output = pasted(SHELL, &options, &block).unwrap();
        assert_eq!(errors(SHELL, &output), no_offences(), "{block}");
    }
}
