//! Finds the tokens that open the gate.

use super::Mistakes;
use super::vars::Vars;
use crate::tokens::Token;

/// What stands before a path where a variable names a file instead of the token itself.
pub const FILE: &str = "file://";

/// Returns the accepted tokens: `SIDEKEY_TOKEN`, else `AWS_TOKEN`, else both the session token and
/// the container authorization token.
///
/// Where the first is set and cannot be used, the function's own token opens the gate all the same,
/// so that its reads are answered with what is wrong.
pub(super) fn tokens(vars: &dyn Vars, own: Option<&str>, mistakes: &mut Mistakes) -> Vec<Token> {
    let mut read = |name: &str, value: &str| match token(value) {
        Ok(token) => Some(token),
        Err(problem) => {
            mistakes.add(name, problem);
            None
        }
    };
    if let Some(token) = own.and_then(|value| read("SIDEKEY_TOKEN", value)) {
        return vec![token];
    }
    if let Some(token) = vars.get("AWS_TOKEN").and_then(|value| read("AWS_TOKEN", &value)) {
        return vec![token];
    }
    let both = ["AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    both.iter().filter_map(|name| vars.get(name).and_then(|value| read(name, &value))).collect()
}

fn token(value: &str) -> Result<Token, String> {
    let text = match value.strip_prefix(FILE) {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("{path} cannot be read: {error}"))?
            .trim()
            .to_owned(),
        None => value.to_owned(),
    };
    Token::new(text).map_err(|empty| empty.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Tokens;
    use std::collections::BTreeMap;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], own: Option<&str>, accepted: &[&str], wrong: &[&str]) {
        let vars: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut mistakes = Mistakes::default();
        let tokens = Tokens::new(tokens(&vars, own, &mut mistakes));
        for token in ["own", "aws", "session", "container"] {
            assert_eq!(tokens.accepts(token.as_bytes()), accepted.contains(&token), "{token}");
        }
        let names: Vec<&str> = mistakes.0.iter().map(|mistake| &*mistake.name).collect();
        assert_eq!(names, wrong);
    }

    const BOTH: [(&str, &str); 2] =
        [("AWS_SESSION_TOKEN", "session"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container")];

    #[test]
    fn the_first_that_is_set_counts() {
        check(&BOTH, Some("own"), &["own"], &[]);
        check(&[("AWS_TOKEN", "aws"), BOTH[0]], None, &["aws"], &[]);
        check(&BOTH, None, &["session", "container"], &[]);
        check(&[], None, &[], &[]);
    }

    #[test]
    fn an_empty_token_is_a_mistake_and_the_function_can_still_ask() {
        check(&BOTH, Some(""), &["session", "container"], &["SIDEKEY_TOKEN"]);
        check(&[("AWS_SESSION_TOKEN", "")], None, &[], &["AWS_SESSION_TOKEN"]);
        check(&[("AWS_TOKEN", "file:///nonexistent")], None, &[], &["AWS_TOKEN"]);
    }
}
