//! Advice for a user whose command could not read from Secrets Manager.

use crate::source::{FetchError, FetchErrorKind};

/// Returns a hint for the user about a failed read from Secrets Manager, in parentheses. Returns an
/// empty string if there is no hint.
///
/// A transient failure, such as throttling, gets no hint. The usual hint says that the agent
/// retries by itself, but a command calls Secrets Manager only once.
pub(super) fn of(error: &FetchError) -> String {
    match error.kind {
        FetchErrorKind::Throttled
        | FetchErrorKind::Service
        | FetchErrorKind::Overloaded
        | FetchErrorKind::Lagging => String::new(),
        kind => format!(" ({})", kind.hint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_never_says_that_sidekey_retries() {
        for kind in FetchErrorKind::ALL {
            let advice = of(&FetchError::new(kind, "C", "m"));
            assert!(!advice.contains("by itself"), "{advice}");
            let is_known = kind != FetchErrorKind::Denied;
            assert!(is_known || advice.starts_with(" (grant secretsmanager:Get"), "{advice}");
        }
    }
}
