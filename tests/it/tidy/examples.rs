//! The code in the documents is the code of the tested examples in `infra/examples/`.

use super::documents::section;
use super::read_file;

/// The code blocks of a language in a section of a document.
fn code_blocks(document: &str, title: &str, language: &str) -> Vec<String> {
    let text = section(document, title);
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_documents_show_code_of_the_examples() {
    for (document, title, language, file) in [
        ("README.md", "Consume the bus", "python", "python/handler.py"),
        ("README.md", "Consume the bus", "typescript", "typescript/handler.ts"),
        ("functions/README.md", "Messages on the queue", "python", "python/dataref.py"),
    ] {
        let blocks = code_blocks(document, title, language);
        let [block] = blocks.as_slice() else { panic!("{document} has {} {language} blocks", blocks.len()) };
        assert!(block.lines().count() > 10, "{document}: {block}");
        let path = format!("infra/examples/{file}");
        assert!(read_file(&path).contains(block.as_str()), "the code in {document} is not in {path}");
    }
}
