//! Fits a table into the width of the terminal.

use std::io;

/// The minimum width of a table's last column, in characters.
const COLUMN_CHARS_MIN: usize = 24;

/// The indentation of wrapped lines, in characters, if the terminal is too narrow for the table's
/// last column.
const INDENT: usize = 4;

/// Wraps the lines of a table between words if standard output is a terminal. The first line of
/// `table` contains the column heads.
pub(super) fn fitted(table: &str) -> String {
    match size() {
        Some((width, _)) => wrapped(table, width),
        None => table.to_owned(),
    }
}

/// Returns the width and the height of the terminal, in characters. Returns `None` if standard
/// output is not a terminal.
pub(super) fn size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

/// Wraps the lines of a table that are longer than `width` characters. A wrapped line continues
/// below the last column. Words are never divided, so that users can copy them.
pub(super) fn wrapped(table: &str, width: usize) -> String {
    let heads = table.lines().next().unwrap_or_default();
    let last = heads.rfind(' ').map_or(0, |blank| heads[..=blank].chars().count());
    let indent = if last.saturating_add(COLUMN_CHARS_MIN) <= width { last } else { INDENT };
    with_indent(table, width, indent)
}

/// Wraps the lines of a text that are longer than `width` characters.
pub(super) fn wrapped_lines(text: &str, width: usize) -> String {
    with_indent(text, width, INDENT)
}

/// Wraps long lines. A wrapped line continues after `indent` spaces.
fn with_indent(lines: &str, width: usize, indent: usize) -> String {
    let mut text = String::new();
    for line in lines.lines() {
        let (mut rest, mut room) = (line, width);
        while let Some(blank) = blank_to_break_at(rest, room) {
            text.push_str(rest[..blank].trim_end());
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            rest = rest[blank..].trim_start();
            room = width.saturating_sub(indent);
        }
        text.push_str(rest);
        text.push('\n');
    }
    text
}

/// Returns the position of the space at which to wrap a line, so that the line has at most `room`
/// characters. If the first word is longer, returns the position of the space after this word.
/// Returns `None` if the line is short enough, or has no space at which it can be wrapped.
fn blank_to_break_at(line: &str, room: usize) -> Option<usize> {
    let (limit, _) = line.char_indices().nth(room)?;
    if line[limit..].starts_with(' ') {
        return Some(limit);
    }
    let start = line.len() - line.trim_start().len();
    let before = line[..limit].rfind(' ').filter(|blank| *blank > start);
    before.or_else(|| {
        let after = limit.max(start);
        line[after..].find(' ').map(|blank| after + blank)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text;
    use proptest::prelude::*;

    #[test]
    fn long_lines_continue_below_the_last_column() {
        let table = "STATE    NAME  WHY\n\
                     missing  a     one two three four five\n\
                     \x20              six seven\n\
                     ok       b     averyverylongwordthatfitsnowhere x\n";
        let expected = "STATE    NAME  WHY\n\
                        missing  a     one two three four five\n\
                        \x20              six seven\n\
                        ok       b\n\
                        \x20              averyverylongwordthatfitsnowhere\n\
                        \x20              x\n";
        assert_eq!(wrapped(table, 39), expected);
        let narrow = "STATE    NAME  WHY\n\
                      missing  a     one\n    two three four\n    five\n";
        let lines: Vec<&str> = table.lines().take(2).collect();
        assert_eq!(wrapped(&lines.join("\n"), 18), narrow);
        assert_eq!(wrapped(table, 200), table);
    }

    proptest! {
        #[test]
        fn for_any_table_no_word_is_lost(table in text(), width in 0..50_usize) {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrapped(&table, width)), words(&table));
        }
    }
}
