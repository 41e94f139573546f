//! Colours of the text output. They are dropped where stdout is no terminal, or NO_COLOR is set.

use anstyle::{AnsiColor, Style};

/// Heading of the columns that hold a state.
const STATE_HEADING: &str = "STATE";
/// Name of the field that holds a state.
const STATE_FIELD: &str = "state";

/// Paints the headings of tables, the states in their columns, and the state among fields.
///
/// A sender may have chosen any other text, so a colour depends only on the column and on a known word in it.
pub(crate) fn paint_states(text: &str) -> String {
    let mut state_column = None;
    let mut painted = String::new();
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            // A table ends with its last row.
            state_column = None;
        }
        if is_header(line) {
            state_column = column_of(line, STATE_HEADING);
            painted += &paint(Style::new().bold(), line);
        } else {
            let cell = state_column.or_else(|| column_of_field(line));
            painted += &cell.and_then(|column| paint_word_at(line, column)).unwrap_or(line.to_owned());
        }
    }
    painted
}

/// Paints the first word of a line by the style that it has.
pub(crate) fn paint_first_word(line: &str, style_of: impl Fn(&str) -> Option<Style>) -> String {
    let word = line.split([' ', '\n']).next().unwrap_or_default();
    let rest = line.get(word.len()..).unwrap_or_default();
    style_of(word).map_or_else(|| line.to_owned(), |style| paint(style, word) + rest)
}

/// Style of what needs somebody.
pub(crate) fn bad() -> Style {
    Style::new().bold().fg_color(Some(AnsiColor::Red.into()))
}

/// Style of what may need somebody.
pub(crate) fn doubtful() -> Style {
    Style::new().fg_color(Some(AnsiColor::Yellow.into()))
}

/// Style of what is as it should be.
pub(crate) fn good() -> Style {
    Style::new().fg_color(Some(AnsiColor::Green.into()))
}

/// Text in a style, without the line break at its end.
pub(crate) fn paint(style: Style, text: &str) -> String {
    let shown = text.trim_end_matches('\n');
    let end = text.get(shown.len()..).unwrap_or_default();
    format!("{style}{shown}{style:#}{end}")
}

/// Style of a state; `None` for one in which there is nothing to do, and for any other word.
pub(crate) fn style_of_state(state: &str) -> Option<Style> {
    match state {
        "done" | "settled" => Some(good()),
        "recorded" | "waiting" | "unknown" => Some(doubtful()),
        "quarantined" | "overdue" | "declined" => Some(bad()),
        // On their way: nothing to do.
        _ => None,
    }
}

/// Returns `true` for a line of column headings: several words in capitals, without digits.
fn is_header(line: &str) -> bool {
    let is_heading = |it: char| it.is_ascii_uppercase() || it.is_whitespace();
    line.chars().all(is_heading) && line.split_whitespace().count() > 1
}

/// Position of a heading in the line, in characters.
fn column_of(header: &str, heading: &str) -> Option<usize> {
    // The words of the headings are ASCII.
    header.find(heading)
}

/// Position of the state in a line of name and value, in characters.
fn column_of_field(line: &str) -> Option<usize> {
    let value = line.strip_prefix(STATE_FIELD).filter(|value| value.starts_with("  "))?;
    let padding = value.len() - value.trim_start().len();
    Some(STATE_FIELD.len() + padding)
}

/// Paints the word at a position, in characters, if it is a known state at the beginning of a cell.
fn paint_word_at(line: &str, column: usize) -> Option<String> {
    let start = line.char_indices().nth(column)?.0;
    let (before, cell) = (line.get(..start)?, line.get(start..)?);
    let is_cell = before.is_empty() || before.ends_with("  ");
    is_cell.then(|| before.to_owned() + &paint_first_word(cell, style_of_state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_state_in_its_column_is_painted_and_nothing_else() {
        let table = "EVENT  STATE        TYPE\nb-é    quarantined  done\ndone   sent         quarantined\n\nquarantined is no cell\n";
        let painted = paint_states(table);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), table);
        let (bold, red) = (Style::new().bold(), bad());
        assert_eq!(
            painted,
            format!(
                "{bold}EVENT  STATE        TYPE{bold:#}\nb-é    {red}quarantined{red:#}  done\n\
                 done   sent         quarantined\n\nquarantined is no cell\n"
            )
        );
    }

    #[test]
    fn a_reason_beside_the_state_keeps_its_colour() {
        let painted = paint_states("EVENT  STATE\ne-1    waiting (not_ready)\n");
        let yellow = doubtful();
        assert!(painted.ends_with(&format!("e-1    {yellow}waiting{yellow:#} (not_ready)\n")), "{painted:?}");
    }

    #[test]
    fn the_state_among_fields_is_painted() {
        let green = good();
        let painted = paint_states("event   e-1\nstate   done\nstated  done\nstate done\n");
        assert_eq!(painted, format!("event   e-1\nstate   {green}done{green:#}\nstated  done\nstate done\n"));
    }

    #[test]
    fn text_without_a_table_stays_as_it_is() {
        let text = "Nothing was sent.\nNOT as it should be; done\n";
        assert_eq!(paint_states(text), text);
    }
}
