//! The columns of a table, and the choice of the columns that fit into a terminal.

use crate::commands::table::table;

/// The minimum width of the last column of a table, in characters. Longer texts in this column are
/// wrapped.
const LAST_CHARS_MIN: usize = 24;

/// The space between two columns, in characters.
const GAP: usize = 2;

/// A column of a table, with one cell for each row.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Columns with a low rank are removed first if a table is too wide. `None` means that a column
    /// always stays.
    pub(super) rank: Option<u8>,
    pub(super) cells: Vec<String>,
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.head.len()]).max().unwrap_or_default()
    }
}

/// Removes the least important columns until the table fits into `width` characters. Returns the
/// remaining columns, and the heads of the removed columns.
pub(super) fn fitting(mut columns: Vec<Column>, width: usize) -> (Vec<Column>, Vec<&'static str>) {
    let mut removed = Vec::new();
    while needed(&columns) > width {
        let ranked = columns.iter().enumerate();
        let least = ranked.filter_map(|(at, column)| Some((column.rank?, at))).min();
        let Some((_, at)) = least else { break };
        removed.push(columns.remove(at).head);
    }
    (columns, removed)
}

fn needed(columns: &[Column]) -> usize {
    let Some((last, others)) = columns.split_last() else { return 0 };
    let others: usize = others.iter().map(|column| column.width() + GAP).sum();
    others + last.width().min(LAST_CHARS_MIN)
}

/// Formats columns as a table.
pub(super) fn lines(columns: &[Column]) -> String {
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let count = columns.iter().map(|column| column.cells.len()).max().unwrap_or_default();
    let row = |at: usize| {
        columns.iter().map(|column| column.cells.get(at).cloned().unwrap_or_default()).collect()
    };
    table(&heads, &(0..count).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(head: &'static str, rank: Option<u8>, cell: &str) -> Column {
        Column { head, rank, cells: vec![cell.to_owned()] }
    }

    #[test]
    fn least_important_columns_are_removed_until_the_table_fits() {
        let columns = || {
            vec![
                column("STATE", None, "fresh"),
                column("NAME", None, "app/db"),
                column("VERSION", Some(1), "7f7adc2c"),
                column("AGE", Some(3), "2m"),
                column("READS", Some(2), "100"),
                column("PROBLEM", None, "a text that is much longer than its column"),
            ]
        };
        for (width, expected) in [
            (61, &[][..]),
            (60, &["VERSION"]),
            (51, &["VERSION"]),
            (50, &["VERSION", "READS"]),
            (43, &["VERSION", "READS", "AGE"]),
            (1, &["VERSION", "READS", "AGE"]),
        ] {
            let (kept, removed) = fitting(columns(), width);
            assert_eq!(removed, expected, "{width}");
            assert_eq!(kept.len() + removed.len(), 6);
        }
        let (kept, _) = fitting(columns(), 60);
        let expected = "STATE  NAME    AGE  READS  PROBLEM\n\
                        fresh  app/db  2m   100    a text that is much longer than its column\n";
        assert_eq!(lines(&kept), expected);
    }
}
