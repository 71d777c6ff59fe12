//! Colours the states in the table of `sidekey status`.

use crate::config::vars::Vars;

const RESET: &str = "\x1b[0m";

/// The colour of each state, as an escape sequence of terminals: green, yellow or red.
const COLOURS: [(&str, &str); 7] = [
    ("fresh", "\x1b[32m"),
    ("due", "\x1b[32m"),
    ("stale", "\x1b[33m"),
    ("expired", "\x1b[33m"),
    ("optional", "\x1b[33m"),
    ("withheld", "\x1b[31m"),
    ("missing", "\x1b[31m"),
];

/// Returns whether the environment variables `vars` allow colours on the terminal.
///
/// Source: <https://no-color.org>, and the name `dumb` in terminfo, which means a terminal without
/// escape sequences.
pub(super) fn is_wanted(vars: &dyn Vars) -> bool {
    vars.get("NO_COLOR").is_none_or(|value| value.is_empty())
        && vars.get("TERM").is_none_or(|name| name != "dumb")
}

/// Colours the first word of each line of a table if this word is a state.
pub(super) fn coloured(table: &str) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let word = line.split(' ').next().unwrap_or_default();
        match COLOURS.iter().find(|(state, _)| *state == word) {
            Some((state, colour)) => {
                text.extend([*colour, *state, RESET, &line[state.len()..], "\n"]);
            }
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_states_at_the_beginning_of_a_line_are_coloured() {
        let table = "STATE  NAME\nfresh  stale\n       missing\nmissing  x\nfreshly  x\n";
        let expected = "STATE  NAME\n\x1b[32mfresh\x1b[0m  stale\n       missing\n\
                        \x1b[31mmissing\x1b[0m  x\nfreshly  x\n";
        assert_eq!(coloured(table), expected);
    }

    #[test]
    fn variables_turn_colours_off() {
        for (name, value, expected) in [
            ("NO_COLOR", "1", false),
            ("NO_COLOR", "", true),
            ("TERM", "dumb", false),
            ("TERM", "xterm", true),
        ] {
            let vars = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(is_wanted(&vars), expected, "{name}={value}");
        }
    }
}
