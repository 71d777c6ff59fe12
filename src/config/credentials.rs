//! Reads the tokens with which callers authenticate to the agent, and checks the AWS credentials of
//! the agent.

use super::cleaning::{QUOTED, is_invisible, trimmed, unquoted};
use super::host::Host;
use super::mistakes::Mistakes;
use super::values::FILE_PREFIX;
use crate::tokens::Token;
use std::collections::BTreeMap;

/// The environment variables that contain a token or a part of AWS credentials.
pub(super) const VARIABLES: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];

/// Records a mistake for each AWS credential in `environment` that contains an invalid character,
/// such as a space. Checks nothing if the access key is incomplete, because the agent then gets
/// credentials from another source.
pub(super) fn check_aws_credentials(
    environment: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) {
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let [id, key, session] = names.map(|name| environment.get(name));
    if id.is_none() || key.is_none() {
        return;
    }
    for (name, value) in names.into_iter().zip([id, key, session]) {
        if let Some(problem) = value.and_then(|value| key_problem(value)) {
            mistakes.add(name, problem);
        }
    }
}

/// Returns an error message if `value` cannot be a part of AWS credentials. The message does not
/// contain `value`.
fn key_problem(value: &str) -> Option<String> {
    problem(value, |c| !c.is_ascii_graphic())
}

/// Returns the tokens with which callers can authenticate to the agent. The tokens come from the
/// first of these sources that has a valid token:
///
/// 1. `own`, the value of `SIDEKEY_TOKEN`
/// 2. `AWS_TOKEN` in `environment`
/// 3. `AWS_SESSION_TOKEN` and `AWS_CONTAINER_AUTHORIZATION_TOKEN` in `environment`. The agent
///    accepts both tokens.
///
/// Even if `SIDEKEY_TOKEN` is invalid, callers can authenticate with a token of the next source.
/// The agent then answers them with a description of the mistake.
pub(super) fn tokens(
    own: Option<&str>,
    environment: &BTreeMap<String, String>,
    host: Host,
    mistakes: &mut Mistakes,
) -> Vec<Token> {
    let of_aws = |name| (name, environment.get(name).map(String::as_str));
    let mut accepted = usable([("SIDEKEY_TOKEN", own)], mistakes);
    if accepted.is_empty() {
        accepted = usable([of_aws("AWS_TOKEN")], mistakes);
    }
    if accepted.is_empty() {
        let both = ["AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"].map(of_aws);
        accepted = usable(both, mistakes);
    }
    // Outside Lambda, a missing token is no mistake, because `sidekey serve` generates a token.
    if accepted.is_empty() && host == Host::Lambda {
        let problem = "no token is configured: set SIDEKEY_TOKEN, AWS_TOKEN, AWS_SESSION_TOKEN or \
                       AWS_CONTAINER_AUTHORIZATION_TOKEN";
        mistakes.add("SIDEKEY_TOKEN", problem);
    }
    accepted
}

/// Returns the valid tokens in `variables`. Records a mistake for each invalid token.
fn usable<const N: usize>(
    variables: [(&str, Option<&str>); N],
    mistakes: &mut Mistakes,
) -> Vec<Token> {
    let set = variables.into_iter().filter_map(|(name, value)| Some((name, value?)));
    set.filter_map(|(name, value)| mistakes.noted(name, token(value).map(Some))).collect()
}

pub(super) fn token(value: &str) -> Result<Token, String> {
    match value.strip_prefix(FILE_PREFIX) {
        None => parse_token(value),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("the file {path} cannot be read: {error}"))
            .and_then(|text| parse_token(&text)),
    }
}

fn parse_token(text: &str) -> Result<Token, String> {
    let text = trimmed(text);
    match token_problem(text) {
        Some(problem) => Err(problem),
        None => Token::new(text.to_owned()).map_err(|empty| empty.to_string()),
    }
}

/// Returns an error message if an HTTP header cannot contain the token, or if the token contains an
/// invisible character. The message does not contain the token.
fn token_problem(token: &str) -> Option<String> {
    problem(token, |c| c.is_control() || is_invisible(c))
}

fn problem(value: &str, is_invalid: fn(char) -> bool) -> Option<String> {
    if unquoted(value).is_some() {
        return Some(QUOTED.to_owned());
    }
    let at = value.chars().position(is_invalid)? + 1;
    Some(format!(
        "character {at} is a line break, a space, an invisible character or another character that a token or credential \
         cannot contain: copy the value again, on one line"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Tokens;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], own: Option<&str>, accepted: &[&str], wrong: &[&str]) {
        let vars: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut mistakes = Mistakes::default();
        let tokens = Tokens::new(tokens(own, &vars, Host::Standalone, &mut mistakes));
        for token in ["own", "aws", "session", "container"] {
            assert_eq!(tokens.accepts(token.as_bytes()), accepted.contains(&token), "{token}");
        }
        let names: Vec<&str> = mistakes.0.iter().map(|mistake| &*mistake.name).collect();
        assert_eq!(names, wrong);
    }

    const BOTH: [(&str, &str); 2] =
        [("AWS_SESSION_TOKEN", "session"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container")];

    #[test]
    fn first_variable_that_is_set_counts() {
        check(&BOTH, Some("own"), &["own"], &[]);
        check(&[("AWS_TOKEN", "aws"), BOTH[0]], None, &["aws"], &[]);
        check(&BOTH, None, &["session", "container"], &[]);
        check(&[], None, &[], &[]);
    }

    #[test]
    fn unusable_token_is_a_mistake_and_the_next_variable_counts() {
        for own in ["", "\"own\"", "o\nwn"] {
            check(&BOTH, Some(own), &["session", "container"], &["SIDEKEY_TOKEN"]);
        }
        check(&[("AWS_SESSION_TOKEN", "a\nb")], None, &[], &["AWS_SESSION_TOKEN"]);
        check(&[("AWS_TOKEN", "file:///nonexistent")], None, &[], &["AWS_TOKEN"]);
        check(&[("AWS_TOKEN", "'aws'"), BOTH[0]], None, &["session"], &["AWS_TOKEN"]);
    }

    #[test]
    fn token_may_have_a_byte_order_mark_and_line_breaks_around_it() {
        for text in ["own", "\u{feff}own\r\n", " own\n\n", "\u{feff} own"] {
            let tokens = Tokens::new(vec![parse_token(text).expect(text)]);
            assert!(tokens.accepts(b"own"), "{text:?}");
        }
        for text in
            ["own\naws\n", "o\twn", "\u{feff}\n", "'own'\n", "", "own\u{200b}", "\u{2060}own\n"]
        {
            let problem =
                parse_token(text).map(|_| ()).expect_err("a malformed token must be refused");
            assert!(!problem.contains("own"), "{problem}");
        }
    }

    #[test]
    fn credentials_that_aws_cannot_have_issued_are_mistakes_without_the_value() {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let problems = |values: [&str; 3]| {
            let pairs = names.map(str::to_owned).into_iter().zip(values.map(str::to_owned));
            let mut mistakes = Mistakes::default();
            check_aws_credentials(
                &pairs.filter(|(_, value)| !value.is_empty()).collect(),
                &mut mistakes,
            );
            assert!(!mistakes.to_string().contains("hunter"), "{mistakes}");
            mistakes.0.into_iter().map(|mistake| mistake.name).collect::<Vec<_>>()
        };
        assert_eq!(problems(["AKIA1", "a/b+c=", "t//=="]), [""; 0]);
        assert_eq!(problems(["AKIA1", "a/b+c=", ""]), [""; 0]);
        assert_eq!(problems(["'AKIA1'", "hunter 2", "hunter\n2"]), names);
        assert_eq!(problems(["AKIA1\u{a0}", "hunter\r2", "t"]), names[..2]);
        assert_eq!(
            problems(["AKIA 1", "", "t\n"]),
            [""; 0],
            "an incomplete access key must not be checked"
        );
    }
}
