//! Formats a plain-text table for people.

/// Formats a table for a terminal. The last column is not padded, so that no line ends in blanks.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|at| {
            all.iter().filter_map(|row| row.get(at)).map(|cell| chars(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
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
}
