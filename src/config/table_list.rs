//! Reads lists of tables of the configuration file, such as `[[policy]]`.

use super::key::Key;
use super::misspelt::{is_guard, nearest};
use super::mistakes::{Problems, Unknown};
use super::toml_setting::{is_key, text_of, variable_name};
use super::variables::CONFIG_FILE;
use toml::{Table, Value};

/// A list of tables with the same heading: their keys, and how many tables are allowed.
#[derive(Debug)]
pub(super) struct TableList<T: 'static> {
    /// The heading of each table, without brackets, such as `policy`.
    pub(super) heading: &'static str,
    pub(super) tables_max: usize,
    pub(super) keys: &'static [Key<T>],
}

/// A parsed table.
#[derive(Debug)]
pub(super) struct NamedTable<T> {
    /// The name of the table in error messages, such as `SIDEKEY_CONFIG: policy[1]`. The first
    /// table has the number 1.
    pub(super) name: String,
    pub(super) parsed: T,
}

impl<T> TableList<T> {
    /// Returns the name of all tables in error messages, such as `SIDEKEY_CONFIG: policy`.
    pub(super) fn name(&self) -> String {
        format!("{CONFIG_FILE}: {}", self.heading)
    }

    /// Parses the tables in `value`. Stores the keys of each table in a value that `initial`
    /// creates, and then calls `check` for the complete table. Omits each table with a mistake, and
    /// adds the mistake to `problems`.
    pub(super) fn read(
        &self,
        value: Value,
        problems: &mut Problems,
        initial: fn() -> T,
        check: fn(&Table, &mut T) -> Result<(), String>,
    ) -> Vec<NamedTable<T>> {
        let heading = self.heading;
        let Some(tables) = tables_of(value) else {
            let problem =
                format!("the value must be a list of tables, each with the heading [[{heading}]]");
            problems.mistakes.add(self.name(), problem);
            return Vec::new();
        };
        let tables_max = self.tables_max;
        if tables.len() > tables_max {
            let problem = format!("at most {tables_max} [[{heading}]] tables are allowed");
            problems.mistakes.add(self.name(), problem);
            return Vec::new();
        }
        let mut read = Vec::new();
        for (table, number) in tables.into_iter().zip(1..) {
            let name = format!("{}[{number}]", self.name());
            let mistakes_before = problems.mistakes.0.len();
            let mut parsed = initial();
            for (key, value) in &table {
                let key_name = format!("{name}.{key}");
                let Some(known) = self.keys.iter().find(|known| known.name == key) else {
                    problems.unknown.push(self.unknown(key_name, key));
                    continue;
                };
                let set = text_of(value)
                    .map_err(str::to_owned)
                    .and_then(|text| (known.parse)(&mut parsed, text.trim()));
                problems.mistakes.noted(&key_name, set);
            }
            problems.mistakes.noted(&name, check(&table, &mut parsed));
            if problems.mistakes.0.len() == mistakes_before {
                read.push(NamedTable { name, parsed });
            }
        }
        read
    }

    fn unknown(&self, key_name: String, key: &str) -> Unknown {
        let heading = self.heading;
        let hint = if is_key(key) {
            // In TOML, every key below the header of a table belongs to this table.
            format!(
                "a [[{heading}]] table has no such key; to set the key for all secrets, move its line \
                 above the first [[{heading}]]"
            )
        } else {
            let known = self.keys.iter().map(|known| known.name);
            let nearest = nearest(known, &key.to_ascii_lowercase()).unwrap_or_default();
            format!("a [[{heading}]] table has no such key; did you mean {nearest}?")
        };
        // A security setting inside a table has no effect, just like a misspelt security setting.
        Unknown { name: key_name, hint, is_guard: is_guard(&variable_name(key)) }
    }
}

fn tables_of(value: Value) -> Option<Vec<Table>> {
    let Value::Array(items) = value else { return None };
    items
        .into_iter()
        .map(|item| match item {
            Value::Table(table) => Some(table),
            _ => None,
        })
        .collect()
}
