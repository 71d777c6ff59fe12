//! Commands of the AWS CLI as a shell takes them. Pure.

/// What a command does to a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Makes it, where it is not there.
    Create,
    /// Gives it a value, where it is there.
    Update,
}

/// Returns the words of a command: what the CLI is called, and its arguments.
pub(super) fn words(
    deed: Deed,
    program: &str,
    name: &str,
    value: &str,
    region: Option<&str>,
) -> Vec<String> {
    let (operation, named) = match deed {
        Deed::Create => ("create-secret", "--name"),
        Deed::Update => ("update-secret", "--secret-id"),
    };
    let mut words = [program, "secretsmanager", operation].map(str::to_owned).to_vec();
    let mut option = |option: &str, value: &str| match value.starts_with('-') {
        // Behind a blank it would be taken for another option.
        true => words.push(format!("{option}={value}")),
        false => words.extend([option.to_owned(), value.to_owned()]),
    };
    option(named, name);
    option("--secret-string", value);
    if let Some(region) = region {
        option("--region", region);
    }
    words
}

/// Writes words so that a shell takes each as it is.
pub(super) fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-:,".contains(c);
    // A word with '=' may be an assignment where it is the first.
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
    fn a_command_names_the_secret_and_its_value() {
        let create = words(Deed::Create, "aws", "a/b", r#"{"a":"b"}"#, None);
        let expected = r#"aws secretsmanager create-secret --name a/b --secret-string '{"a":"b"}'"#;
        assert_eq!(line(&create), expected);
        let update = words(Deed::Update, "aws", "-a", "file://x y", Some("eu-north-1"));
        let expected = "aws secretsmanager update-secret --secret-id=-a --secret-string \
                        'file://x y' --region eu-north-1";
        assert_eq!(line(&update), expected);
    }

    #[test]
    fn a_shell_takes_each_word_as_it_is() {
        let words = [
            "", "a b", "*", "$HOME", "`x`", "\"q\"", "'", "a'b''c", "\\", "\\'", "!x", "#x", "~",
            "a;b", "a&b", "a|b", "a>b", "a\nb", "\t", "(a)", "{a,b}", "[a]", "é", "-n", "%s",
        ];
        for word in words {
            let script = format!("printf '<%s>' {}", quoted(word));
            let told = Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&told.stdout), format!("<{word}>"));
        }
    }
}
