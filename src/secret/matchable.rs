//! Refuses patterns that can match no secret and no parameter, such as the regular expression
//! `^app/.*$`.

use super::arn::{is_account, is_region, is_word};
use super::glob::{Glob, Token};
use super::name::{NAME_CHARS_MAX, PARAMETER_NAME_CHARS_MAX, is_name_char, is_parameter_char};
use super::secret_parameter::SecretParameter;
use super::service::Service;

/// A phrase that describes one part of an ARN, and a function that checks this part.
type ArnPart = (&'static str, fn(&str) -> bool);

const SECRET_ARN: &[ArnPart] = &[
    ("'arn'", |part| part == "arn"),
    ("a partition like 'aws'", is_word),
    ("'secretsmanager' or 'ssm'", |part| part == "secretsmanager"),
    ("a region like 'eu-north-1'", is_region),
    ("an account id of 12 digits", is_account),
    ("'secret'", |part| part == "secret"),
    ("the name of a secret", |part| !part.is_empty()),
];

const PARAMETER_ARN: &[ArnPart] = &[
    ("'arn'", |part| part == "arn"),
    ("a partition like 'aws'", is_word),
    ("'secretsmanager' or 'ssm'", |part| part == "ssm"),
    ("a region like 'eu-north-1'", is_region),
    ("an account id of 12 digits", |part| part.is_empty() || is_account(part)),
    ("'parameter/' and a name", |part| {
        part.strip_prefix("parameter/").is_some_and(|name| !name.is_empty())
    }),
];

/// The index of the service's name among the parts of an ARN, counted from 0.
const SERVICE: usize = 2;
/// The index of the part that begins with `secret` or `parameter/` in an ARN, counted from 0.
const RESOURCE_TYPE: usize = 5;

/// The reason why a pattern matches no secret and no parameter. The error message says what to
/// write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmatchable {
    #[error(
        "a secret's name cannot contain {character:?}: {advice}",
        advice = advice(*character)
    )]
    Character { character: char },
    #[error(
        "the brackets of a pattern can contain only A-Za-z0-9_+=.@!-, and a range such as [a-z] \
         must be in ascending order"
    )]
    Class,
    #[error(
        "a pattern with wildcards matches no name with the part '.' or '..' between slashes: write \
         the complete name, without wildcards"
    )]
    DotSegment,
    #[error(
        "a parameter's name cannot contain {character:?}: use A-Za-z0-9/_.- and the wildcards '*', \
         '?' and '[abc]'"
    )]
    ParameterCharacter { character: char },
    #[error(
        "the names under /aws/reference/secretsmanager/ mean secrets of Secrets Manager: write the \
         secret's name, without 'ssm:/aws/reference/secretsmanager/'"
    )]
    SecretParameter,
    #[error("the pattern is too long: a name has at most {max} characters")]
    TooLong { max: usize },
    #[error(
        "expected {expected}, but found '{found}': an ARN has the form \
         arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME or \
         arn:aws:ssm:REGION:ACCOUNT:parameter/NAME"
    )]
    ArnPart { expected: &'static str, found: Box<str> },
    #[error(
        "the number of colons is wrong: an ARN has the form \
         arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME or \
         arn:aws:ssm:REGION:ACCOUNT:parameter/NAME"
    )]
    ArnParts,
}

/// Returns advice for the user who wrote `character` in a pattern, although no secret's name can
/// contain this character.
fn advice(character: char) -> &'static str {
    match character {
        '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' => {
            "write the patterns without quotes and brackets, separated by commas"
        }
        '{' | '}' => "write one pattern for each alternative, as in app/a,app/b",
        '^' | '$' | '(' | ')' | '|' | '\\' => {
            "a pattern is not a regular expression; write '*' for any characters except '/', and \
             remove '^' and '$'"
        }
        '#' => "a pattern matches secrets and not single fields; remove the '#' and the field",
        ':' => "a pattern with ':' must begin with 'arn:' or 'ssm:'",
        '[' | ']' => "write the patterns without brackets, separated by commas",
        _ => "use A-Za-z0-9/_+=.@!- and the wildcards '*', '?' and '[abc]'",
    }
}

/// Checks that a pattern can match the name of a secret or parameter. A pattern for parameters must
/// be given without the `ssm:` at its beginning.
///
/// # Errors
///
/// Returns the first reason why the pattern matches no name.
pub(super) fn check_name(glob: &Glob, service: Service) -> Result<(), Unmatchable> {
    let max = match service {
        Service::SecretsManager => {
            check_characters(glob, is_name_char, |character| Unmatchable::Character { character })?;
            NAME_CHARS_MAX
        }
        Service::ParameterStore => {
            let refused = |character| Unmatchable::ParameterCharacter { character };
            check_characters(glob, is_parameter_char, refused)?;
            check_is_no_secret(glob.as_str())?;
            PARAMETER_NAME_CHARS_MAX
        }
    };
    let characters = glob.tokens().iter().filter(|token| **token != Token::Star).count();
    if characters > max { Err(Unmatchable::TooLong { max }) } else { Ok(()) }
}

/// Checks that a pattern that begins with `arn:` can match the ARN of a secret or parameter.
///
/// # Errors
///
/// Returns the first reason why the pattern matches no ARN.
pub(super) fn check_arn(glob: &Glob) -> Result<(), Unmatchable> {
    let is_arn_char = |c| c == ':' || is_name_char(c);
    check_characters(glob, is_arn_char, |character| Unmatchable::Character { character })?;
    check_arn_parts(glob)?;
    let resource = glob.as_str().splitn(RESOURCE_TYPE + 1, ':').nth(RESOURCE_TYPE);
    match resource.and_then(|resource| resource.strip_prefix("parameter")) {
        Some(name) => check_is_no_secret(name),
        None => Ok(()),
    }
}

/// Returns an error if a parameter's name or a pattern of such names begins with
/// `/aws/reference/secretsmanager/`. Callers read a secret by such a name, but Sidekey compares
/// patterns only with the secret's own name.
fn check_is_no_secret(name: &str) -> Result<(), Unmatchable> {
    match SecretParameter::of(name) {
        Some(_) => Err(Unmatchable::SecretParameter),
        None => Ok(()),
    }
}

/// Checks that each part of a pattern can match a character that `is_allowed` accepts. `refused`
/// makes the error for any other character in the pattern.
fn check_characters(
    glob: &Glob,
    is_allowed: fn(char) -> bool,
    refused: fn(char) -> Unmatchable,
) -> Result<(), Unmatchable> {
    for token in glob.tokens() {
        match token {
            Token::Star | Token::Any => {}
            Token::Char(c) if is_allowed(*c) => {}
            Token::Char(c) => return Err(refused(*c)),
            Token::Class { is_negated, ranges } => check_class(*is_negated, ranges)?,
        }
    }
    if has_dot_segment(glob.tokens()) { Err(Unmatchable::DotSegment) } else { Ok(()) }
}

/// Checks that the characters in brackets, such as `[a-z]`, can match a character of a secret's
/// name. Also refuses brackets that were not meant as a wildcard, such as a list of patterns in
/// JSON.
fn check_class(is_negated: bool, ranges: &[(char, char)]) -> Result<(), Unmatchable> {
    // Brackets never match a slash.
    let mut name_chars = (' '..='~').filter(|c| is_name_char(*c) && *c != '/');
    let matches = |(first, last): &(char, char), c: char| (*first..=*last).contains(&c);
    if is_negated {
        let is_possible = name_chars.any(|c| !ranges.iter().any(|range| matches(range, c)));
        return if is_possible { Ok(()) } else { Err(Unmatchable::Class) };
    }
    let is_possible = |range: &(char, char)| name_chars.clone().any(|c| matches(range, c));
    let single = |range: &(char, char)| (range.0 == range.1).then_some(range.0);
    if ranges.iter().any(|range| single(range).is_none() && !is_possible(range)) {
        return Err(Unmatchable::Class);
    }
    if ranges.iter().any(is_possible) && !is_list(ranges) {
        return Ok(());
    }
    let invalid = ranges.iter().filter_map(single).find(|c| !is_name_char(*c));
    match invalid {
        Some(character) => Err(Unmatchable::Character { character }),
        None if ranges.iter().any(is_possible) => Ok(()),
        None => Err(Unmatchable::Class),
    }
}

/// Returns whether the characters in brackets look like a list of patterns, as in `["a"]` or
/// `[a,b/*]`, or like a negation of a regular expression, as in `[^a]`.
fn is_list(ranges: &[(char, char)]) -> bool {
    let is_in_quotes = ranges.len() > 1
        && ranges.first() == ranges.last()
        && ['"', '\'', '`'].into_iter().any(|quote| ranges[0] == (quote, quote));
    let has = |c| ranges.contains(&(c, c));
    is_in_quotes || has(',') || has('/') || ranges.first() == Some(&('^', '^'))
}

/// Returns whether a pattern with wildcards has the part `.` or `..` between two slashes. Sidekey
/// lets such a pattern match nothing, because a program could use a matching name as a file path.
fn has_dot_segment(tokens: &[Token]) -> bool {
    let has_wildcard = tokens.iter().any(|token| !matches!(token, Token::Char(_)));
    let dots = |segment: &[Token]| {
        matches!(segment.len(), 1 | 2) && segment.iter().all(|token| *token == Token::Char('.'))
    };
    has_wildcard && tokens.split(|token| *token == Token::Char('/')).any(dots)
}

/// Checks the parts of an ARN pattern that contain no wildcard. A wildcard can also match colons.
/// So only the parts before the first wildcard are checked, unless the pattern has all colons of an
/// ARN.
fn check_arn_parts(glob: &Glob) -> Result<(), Unmatchable> {
    let parts: Vec<&[Token]> = glob.tokens().split(|token| *token == Token::Char(':')).collect();
    let literals = parts.iter().map(|part| literal(part));
    let has_wildcard = literals.clone().any(|part| part.is_none());
    // A wildcard before the service may match colons, so it would be unknown where the service is.
    let service = literals.clone().take(SERVICE + 1).collect::<Option<Vec<_>>>();
    let is_parameter = service.is_some_and(|parts| parts.last().is_some_and(|part| part == "ssm"));
    let (form, resource_type) = match is_parameter {
        true => (PARAMETER_ARN, "parameter/"),
        false => (SECRET_ARN, "secret"),
    };
    let has_all_parts = parts.len() == form.len();
    if parts.len() > form.len() || !(has_all_parts || has_wildcard) {
        return Err(Unmatchable::ArnParts);
    }
    // A wildcard before this part may match colons, so it would be unknown where the part begins.
    let is_placed = literals.clone().take(RESOURCE_TYPE).all(|part| part.is_some());
    if let Some(part) = parts.get(RESOURCE_TYPE).filter(|_| is_placed)
        && let Some(found) = other_resource_type(part, resource_type)
    {
        return Err(Unmatchable::ArnPart { expected: form[RESOURCE_TYPE].0, found });
    }
    let placed = literals.take_while(|part| has_all_parts || part.is_some());
    for (part, (expected, is_valid)) in placed.zip(form) {
        if let Some(found) = part.filter(|part| !is_valid(part)) {
            return Err(Unmatchable::ArnPart { expected, found: found.into() });
        }
    }
    Ok(())
}

/// Returns the text before the first wildcard in `part`, the resource part of an ARN pattern, if
/// this text does not fit the resource type `expected` (`secret` or `parameter/`). For example,
/// `document/` in `document/*` does not fit.
fn other_resource_type(part: &[Token], expected: &str) -> Option<Box<str>> {
    let wildcard = part.iter().position(|token| !matches!(token, Token::Char(_)));
    let start = literal(&part[..wildcard?])?;
    let is_other = match expected.ends_with('/') {
        true => !start.starts_with(expected) && !expected.starts_with(&start),
        false => !expected.starts_with(&start),
    };
    is_other.then(|| start.into())
}

/// Returns the text of a part of a pattern, or `None` if this part contains a wildcard.
fn literal(tokens: &[Token]) -> Option<String> {
    tokens.iter().map(|token| if let Token::Char(c) = token { Some(*c) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(pattern: &str) -> Option<Unmatchable> {
        let name = pattern.strip_prefix("ssm:");
        let glob = Glob::new(name.unwrap_or(pattern)).expect("the pattern must be valid");
        match name {
            Some(_) => check_name(&glob, Service::ParameterStore).err(),
            None if pattern.starts_with("arn:") => check_arn(&glob).err(),
            None => check_name(&glob, Service::SecretsManager).err(),
        }
    }

    #[test]
    fn patterns_that_match_a_secret_are_accepted() {
        for pattern in [
            "app/db",
            "/app/*/db?",
            "rds!db-*",
            "a_b+c=d.e@f",
            "app/[a-z0-9]*",
            "app/[!a]",
            "app/[!^]",
            "[+-9]",
            "*",
            "odd/..",
            "odd/.../*",
            "[a\"]",
            "app/[a(]",
            "[/a]",
            "arn:*",
            "arn:aws:secretsmanager:*",
            "arn:aws:secretsmanager:*:secret:app/*",
            "arn:aws-cn:secretsmanager:cn-*:123456789012:secret:*",
            "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-??????",
            "arn:*:secretsmanager:eu-north-?:[0-9]*:secret:app",
            "arn:aws:secretsmanager:eu-north-1:123456789012:*",
            "arn:aws:secretsmanager:eu-north-1:123456789012:sec*",
            "ssm:/app/*",
            "ssm:*",
            "ssm:/aws/reference/*",
            "ssm:/app/[a-z]*/db-?",
            "arn:aws:ssm:*",
            "arn:aws:ssm:eu-north-1:123456789012:parameter/app/*",
            "arn:aws:ssm:eu-north-1:123456789012:*",
            "arn:aws:ssm:eu-north-1::parameter/aws/service/*",
            "arn:*:ssm:*:parameter/app/*",
            &format!("ssm:{}", "a".repeat(1011)),
            &"a".repeat(512),
            &format!("{}*", "?".repeat(512)),
        ] {
            assert_eq!(problem(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn other_syntaxes_are_refused_with_advice() {
        for (pattern, advice) in [
            ("\"app/*\"", "without quotes"),
            ("'app'", "without quotes"),
            ("\u{201c}app\u{201d}", "without quotes"),
            ("[\"app/*\"]", "without quotes and brackets"),
            ("app/{a}", "write one pattern for each alternative"),
            ("^app/.*$", "not a regular expression"),
            ("app/.*$", "not a regular expression"),
            ("app/(a|b)", "not a regular expression"),
            ("app\\.db", "not a regular expression"),
            ("app/db]", "without brackets"),
            ("[app/*]", "use A-Za-z0-9/_+=.@!-"),
            ("app/[^a]", "not a regular expression"),
            ("app/[z-a]", "ascending order"),
            ("app[/]db", "the brackets of a pattern can contain only"),
            ("app/[(]", "not a regular expression"),
            ("[\"app\"]", "without quotes and brackets"),
            ("['a','b']", "without quotes and brackets"),
            ("app/../*", "write the complete name, without wildcards"),
            ("?/.", "write the complete name, without wildcards"),
            ("./[a]", "write the complete name, without wildcards"),
            ("app/[#-%]", "ascending order"),
            ("app/[!!-~]", "the brackets of a pattern can contain only"),
            ("app/db#user", "not single fields; remove the '#' and the field"),
            ("ssm:/app/a+b", "a parameter's name cannot contain '+'"),
            ("ssm:/app/db:3", "a parameter's name cannot contain ':'"),
            ("ssm:/aws/reference/secretsmanager/*", "write the secret's name"),
            ("ssm:/aws/reference/secretsmanager/app/db", "write the secret's name"),
            ("ssm:/app/../*", "write the complete name, without wildcards"),
            (&format!("ssm:{}", "a".repeat(1012)), "at most 1011 characters"),
            ("app/db:AWSCURRENT", "must begin with 'arn:'"),
            ("ARN:aws:secretsmanager:*", "must begin with 'arn:'"),
            ("app/my db", "use A-Za-z0-9/_+=.@!-"),
            ("app%2Fdb", "use A-Za-z0-9/_+=.@!-"),
            ("app/<name>", "use A-Za-z0-9/_+=.@!-"),
            ("\u{e4}pp", "use A-Za-z0-9/_+=.@!-"),
            ("\u{200b}app", "a secret's name cannot contain '\\u{200b}'"),
            (&"a".repeat(513), "at most 512 characters"),
        ] {
            let problem = problem(pattern).map(|problem| problem.to_string());
            assert!(problem.as_ref().is_some_and(|text| text.contains(advice)), "{problem:?}");
        }
    }

    #[test]
    fn arns_of_no_secret_are_refused() {
        const HOME: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret";
        for (pattern, advice) in [
            ("arn:aws:s3:*", "expected 'secretsmanager' or 'ssm', but found 's3'"),
            ("arn:aws:ssm:eu-north-1:12345:parameter/*", "expected an account id"),
            ("arn:aws:ssm:eu-north-1:123456789012:secret:*", "the number of colons is wrong"),
            ("arn:aws:ssm:eu-north-1:123456789012:app/*", "but found 'app/'"),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/", "expected 'parameter/' and a name"),
            (
                "arn:aws:ssm:*:123456789012:parameter/aws/reference/secretsmanager/*",
                "write the secret's name",
            ),
            ("arn:aws:secretsmanager:Stockholm:*", "expected a region"),
            ("arn:aws:secretsmanager:eu-north-1:12345:secret:*", "expected an account id"),
            ("arn:aws:secretsmanager:*:*:secrets:app", "expected 'secret', but found 'secrets'"),
            (&format!("{HOME}:"), "expected the name of a secret"),
            (&format!("{HOME}:app:*"), "the number of colons is wrong"),
            (HOME, "the number of colons is wrong"),
            ("arn:aws:secretsmanager:eu-north-1:123456789012:app/*", "but found 'app/'"),
            (&format!("{HOME}/app/*"), "but found 'secret/app/'"),
            (&format!("{HOME}:app/{{a}}"), "write one pattern for each alternative"),
        ] {
            let problem = problem(pattern).map(|problem| problem.to_string());
            assert!(problem.as_ref().is_some_and(|text| text.contains(advice)), "{problem:?}");
        }
    }
}
