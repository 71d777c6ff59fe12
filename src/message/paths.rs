//! Where a message has its references.

use super::path::{BadPath, Path};

/// The most paths that can be configured.
const PATHS_MAX: usize = 32;

/// The paths at which a message has references. A [`Default`] finds none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<Path>);

/// Why a list of paths cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPaths {
    /// There is none.
    #[error("must not be empty")]
    None,
    /// There are too many.
    #[error("more than {PATHS_MAX} given")]
    TooMany,
    /// One of them is none.
    #[error("'{text}': {problem}")]
    One {
        /// The path as it is written.
        text: Box<str>,
        /// What is wrong with it.
        problem: BadPath,
    },
}

impl Paths {
    /// Parses paths.
    ///
    /// # Errors
    ///
    /// Where there is none or too many, or names the first that is bad.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPaths> {
        let parsed = texts.into_iter().map(|text| {
            Path::parse(text).map_err(|problem| BadPaths::One { text: text.into(), problem })
        });
        let paths: Vec<Path> = parsed.collect::<Result<_, _>>()?;
        match paths.len() {
            0 => Err(BadPaths::None),
            1..=PATHS_MAX => Ok(Self(paths)),
            _ => Err(BadPaths::TooMany),
        }
    }

    /// Returns the paths.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_list_names_the_path() {
        let problem = |texts: &[&str]| Paths::parse(texts.iter().copied()).expect_err("bad paths");
        assert_eq!(problem(&[]), BadPaths::None);
        assert_eq!(problem(&["a"; PATHS_MAX + 1]), BadPaths::TooMany);
        let message = problem(&["a.b", "a..b"]).to_string();
        assert_eq!(message, "'a..b': a key or '*' expected at character 3");
        let good = Paths::parse(["a", "b.*"]).expect("good paths");
        assert_eq!(good.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b.*"]);
    }
}
