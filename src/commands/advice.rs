//! What whoever runs a command can do about a failed call to Secrets Manager.

use crate::source::{FetchError, FetchErrorKind};

/// Returns advice in brackets, where there is any. That an agent tries again by itself helps nobody
/// here: a command asks once.
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
    fn no_advice_says_that_sidekey_tries_again() {
        for kind in FetchErrorKind::ALL {
            let advice = of(&FetchError::new(kind, "C", "m"));
            assert!(!advice.contains("by itself"), "{advice}");
            let is_known = kind != FetchErrorKind::Denied;
            assert!(is_known || advice.starts_with(" (grant secretsmanager:Get"), "{advice}");
        }
    }
}
