//! Paths of Parameter Store, whose parameters one request lists.

/// A request for all parameters under a path, such as `/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParameterPath {
    text: Box<str>,
    path: Box<str>,
    is_recursive: bool,
    filters: Option<Box<str>>,
}

impl ParameterPath {
    /// Makes a request for the parameters under `path`. If `is_recursive` is `false`, the request
    /// asks only for parameters whose names have one more part than `path`. `filters` is the JSON
    /// text of the member `ParameterFilters` of the AWS API.
    ///
    /// A slash at the end of `path` changes nothing, as in Parameter Store.
    pub(crate) fn new(path: &str, is_recursive: bool, filters: Option<&str>) -> Self {
        let path = path.trim_end_matches('/');
        let star = if is_recursive { "**" } else { "*" };
        // No reference contains `#` in its name, so no reference to a parameter equals this text.
        let text = format!("ssm:{path}/{star}#path{}", filters.unwrap_or_default());
        let path = if path.is_empty() { "/" } else { path };
        Self {
            text: text.into(),
            path: path.into(),
            is_recursive,
            filters: filters.map(Into::into),
        }
    }

    /// Returns a text that identifies this request in the cache and in logs, such as
    /// `ssm:/app/*#path`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_recursive(&self) -> bool {
        self.is_recursive
    }

    pub(crate) fn filters(&self) -> Option<&str> {
        self.filters.as_deref()
    }

    /// Returns whether the parameter `name` is under the path. Ignores the filters.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.path.trim_end_matches('/'));
        let rest = rest.and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| !rest.is_empty() && (self.is_recursive || !rest.contains('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slash_at_the_end_of_a_path_changes_nothing() {
        let path = ParameterPath::new("/app", false, None);
        assert_eq!(path, ParameterPath::new("/app/", false, None));
        assert_eq!((path.as_str(), path.path()), ("ssm:/app/*#path", "/app"));
        let root = ParameterPath::new("/", true, Some("[]"));
        assert_eq!((root.as_str(), root.path()), ("ssm:/**#path[]", "/"));
    }

    #[test]
    fn path_contains_its_children_or_all_parameters_below_it() {
        for (path, is_recursive, name, expected) in [
            ("/app", false, "/app/url", true),
            ("/app", false, "/app/a/url", false),
            ("/app", true, "/app/a/url", true),
            ("/app", true, "/apple/url", false),
            ("/app", true, "/app", false),
            ("/", false, "/url", true),
            ("/", false, "url", false),
            ("/", true, "/app/url", true),
        ] {
            let found = ParameterPath::new(path, is_recursive, None).contains(name);
            assert_eq!(found, expected, "{path} {is_recursive} {name}");
        }
    }
}
