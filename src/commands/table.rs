//! Formats a plain-text table for people.

/// The maximum number of characters of a table's cell. Sidekey cuts off the end of a longer cell.
const CELL_CHARS_MAX: usize = 2048;

/// The maximum width of a table's column, in characters. A longer cell shifts the rest of its row.
const COLUMN_CHARS_MAX: usize = 120;

/// The space between two columns, in characters.
const GAP: usize = 2;

/// Formats a table for a terminal. The last column gets no padding, so that no line ends in spaces.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|at| {
            let cells = all.iter().filter_map(|row| row.get(at));
            let lengths =
                cells.map(|cell| chars(cell)).filter(|length| *length <= COLUMN_CHARS_MAX);
            lengths.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let cell = shortened(cell);
            line += &cell;
            // `format!` panics if a width exceeds 65,535, so the blanks are counted here.
            let blanks = width.saturating_sub(chars(&cell)) + GAP;
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}

fn chars(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["ok", "a", "x y"], ["missing", "längst", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).into()).collect();
        let expected = "\
                        STATE    NAME    WHY\n\
                        ok       a       x y\n\
                        missing  längst\n";
        assert_eq!(table(&["STATE", "NAME", "WHY"], &rows), expected);
    }

    #[test]
    fn cell_of_any_length_is_formatted() {
        for length in [120, 121, 2048, 2049, 65_536, 1_000_000] {
            let cell = "é".repeat(length);
            let rows = [vec![cell.clone(), "b".to_owned()], vec!["a".to_owned(), "b".to_owned()]];
            let text = table(&["NAME", "WHY"], &rows);
            let lines: Vec<&str> = text.lines().collect();
            let kept = if length <= 2048 { cell } else { format!("{}…", "é".repeat(2048)) };
            assert_eq!(lines[1], format!("{kept}  b"), "{length}");
            let width = if length <= 120 { length } else { 4 };
            assert_eq!(lines[2].find('b'), Some(width + 2), "{length}");
        }
    }
}
