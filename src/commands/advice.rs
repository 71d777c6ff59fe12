//! Advice for a user whose command could not read from Secrets Manager.

use crate::source::{FetchError, FetchErrorKind};

/// Returns advice about a failed read in parentheses, or an empty text if there is no advice.
///
/// For transient failures, the function does not use the usual hint, which says that the agent
/// retries by itself. A command calls Secrets Manager only once, so that hint would be wrong.
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
