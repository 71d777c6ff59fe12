//! Formats AWS CLI commands as lines for a shell. This module has no side effects.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Run `aws secretsmanager create-secret`, which fails if the secret exists already.
    Create,
    /// Run `aws secretsmanager update-secret`, which fails if the secret does not exist.
    Update,
}

pub(super) fn command_words(
    operation: Operation,
    program: &str,
    name: &str,
    value: &str,
    region: Option<&str>,
) -> Vec<String> {
    let (subcommand, name_option) = match operation {
        Operation::Create => ("create-secret", "--name"),
        Operation::Update => ("update-secret", "--secret-id"),
    };
    let mut words = [program, "secretsmanager", subcommand].map(str::to_owned).to_vec();
    add_option(&mut words, name_option, name);
    add_option(&mut words, "--secret-string", value);
    if let Some(region) = region {
        add_option(&mut words, "--region", region);
    }
    words
}

fn add_option(words: &mut Vec<String>, option: &str, value: &str) {
    match value.starts_with('-') {
        // The option and its value are one word. If the value were a separate word, the AWS CLI
        // could take it for another option.
        true => words.push(format!("{option}={value}")),
        false => words.extend([option.to_owned(), value.to_owned()]),
    }
}

/// Formats a command so that a user can paste it into a shell. The words are quoted, so that the
/// shell does not change or split them.
pub(super) fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-:,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn command_names_the_secret_and_its_value() {
        let create = command_words(Operation::Create, "aws", "a/b", r#"{"a":"b"}"#, None);
        let expected = r#"aws secretsmanager create-secret --name a/b --secret-string '{"a":"b"}'"#;
        assert_eq!(command_line(&create), expected);
        let update =
            command_words(Operation::Update, "aws", "-a", "file://x y", Some("eu-north-1"));
        let expected = "aws secretsmanager update-secret --secret-id=-a --secret-string \
                        'file://x y' --region eu-north-1";
        assert_eq!(command_line(&update), expected);
    }

    #[test]
    fn shell_gets_each_word_unchanged() {
        let words = [
            "", "a b", "*", "$HOME", "`x`", "\"q\"", "'", "a'b''c", "\\", "\\'", "!x", "#x", "~",
            "a;b", "a&b", "a|b", "a>b", "a\nb", "\t", "(a)", "{a,b}", "[a]", "é", "-n", "%s",
        ];
        for word in words {
            let script = format!("printf '<%s>' {}", quoted(word));
            let output = Command::new("sh")
                .args(["-c", &script])
                .output()
                .expect("the test must be able to start a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("<{word}>"));
        }
    }
}
