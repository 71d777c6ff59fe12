//! A table for people: plain text, its columns as wide as what is in them.

/// Writes a table. The last column is not filled up, so that nothing trails.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let all = || std::iter::once(&heads).chain(rows);
    let chars = |cell: &String| cell.chars().count();
    let width = |at: usize| all().filter_map(|row| row.get(at)).map(chars).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["ok", "a", "x y"], ["missing", "längst", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).into()).collect();
        let expected = "\
                        STATE    NAME    WHY\n\
                        ok       a       x y\n\
                        missing  längst\n";
        assert_eq!(table(&["STATE", "NAME", "WHY"], &rows), expected);
    }
}
