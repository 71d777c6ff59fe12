//! Advice for a user whose command could not read from Secrets Manager.

use crate::source::{FetchError, FetchErrorKind};

/// Returns a hint, in parentheses, that tells the user how to fix a failed read from Secrets
/// Manager. Returns an empty string if the failure is temporary, such as throttling.
pub(super) fn of(error: &FetchError) -> String {
    match error.kind {
        FetchErrorKind::Throttled
        | FetchErrorKind::Service
        | FetchErrorKind::Overloaded
        | FetchErrorKind::Lagging => String::new(),
        _ => format!(" ({})", error.hint()),
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
