//! The paths at which JSON messages contain names or ARNs of secrets, such as
//! `channel_config.*.credentials_id`.

use super::path::{BadPath, Path};

/// The default of the setting `SIDEKEY_RESOLVE_PATHS`: paths in JSON messages, separated by commas.
///
/// `build.rs` reads these paths from `presets/channel-processors/sidekey.toml` when Sidekey is
/// built. Parsing TOML at run time would slow down every start.
pub(crate) const BUILT_IN_PATHS: &str = env!("BUILT_IN_RESOLVE_PATHS");

const PATHS_MAX: usize = 32;

/// The paths at which a JSON message contains names or ARNs of secrets. The value of `default()` is
/// an empty list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths(Vec<Path>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPaths {
    #[error("the list of paths must not be empty")]
    None,
    #[error("the list has more than {PATHS_MAX} paths")]
    TooMany,
    #[error("'{text}': {problem}")]
    One { text: Box<str>, problem: BadPath },
}

impl Paths {
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPaths> {
        let mut paths = Vec::new();
        for text in texts {
            match Path::parse(text) {
                Ok(path) => paths.push(path),
                Err(problem) => return Err(BadPaths::One { text: text.into(), problem }),
            }
        }
        match paths.len() {
            0 => Err(BadPaths::None),
            1..=PATHS_MAX => Ok(Self(paths)),
            _ => Err(BadPaths::TooMany),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESET: &str = include_str!("../../presets/channel-processors/sidekey.toml");

    #[test]
    fn built_in_paths_are_valid_and_equal_the_preset() {
        let preset: toml::Table = PRESET.parse().expect("the preset must be TOML");
        let paths = preset["resolve_paths"]
            .as_array()
            .expect("the key `resolve_paths` in the preset must be a list");
        let paths: Vec<&str> = paths.iter().filter_map(|path| path.as_str()).collect();
        assert_eq!(paths, ["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"]);
        assert_eq!(paths.join(","), BUILT_IN_PATHS);
        assert!(Paths::parse(paths).is_ok());
    }

    #[test]
    fn error_quotes_the_invalid_path() {
        let problem = |texts: &[&str]| {
            Paths::parse(texts.iter().copied()).expect_err("the list must be refused")
        };
        assert_eq!(problem(&[]), BadPaths::None);
        assert_eq!(problem(&["a"; PATHS_MAX + 1]), BadPaths::TooMany);
        let message = problem(&["a.b", "a..b"]).to_string();
        assert_eq!(message, "'a..b': expected a key or '*' at character 3 of the path");
        let paths = Paths::parse(["a", "b.*"]).expect("the paths must be valid");
        assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b.*"]);
    }
}
