//! The tokens that callers can use to authenticate to the agent.

use super::host::Host;
use super::mistakes::Mistakes;
use super::values::FILE_PREFIX;
use crate::tokens::Token;
use std::collections::BTreeMap;

/// Returns the tokens that callers can use to authenticate to the agent. The first of these sources
/// that has a usable token is used:
///
/// 1. `own`, the value of `SIDEKEY_TOKEN`
/// 2. `AWS_TOKEN` in `environment`
/// 3. `AWS_SESSION_TOKEN` and `AWS_CONTAINER_AUTHORIZATION_TOKEN` in `environment`. Both tokens are
///    accepted.
///
/// If `SIDEKEY_TOKEN` is set but unusable, the next source is used. Callers can then still
/// authenticate, and read the error that describes the mistake.
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

/// Returns the tokens in those `variables` that are set. Records a mistake for each unusable token.
fn usable<const N: usize>(
    variables: [(&str, Option<&str>); N],
    mistakes: &mut Mistakes,
) -> Vec<Token> {
    let set = variables.into_iter().filter_map(|(name, value)| Some((name, value?)));
    set.filter_map(|(name, value)| mistakes.noted(name, token(value).map(Some))).collect()
}

fn token(value: &str) -> Result<Token, String> {
    let text = match value.strip_prefix(FILE_PREFIX) {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("the file {path} cannot be read: {error}"))?
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
        check(&BOTH, Some(""), &["session", "container"], &["SIDEKEY_TOKEN"]);
        check(&[("AWS_SESSION_TOKEN", "")], None, &[], &["AWS_SESSION_TOKEN"]);
        check(&[("AWS_TOKEN", "file:///nonexistent")], None, &[], &["AWS_TOKEN"]);
    }
}
