//! Explains an agent's answer to `/ping` or `/ready`.

use super::Answer;
use crate::printable::Printable;
use serde_json::Value;

impl Answer {
    /// Returns whether an agent, and not another program at its port, has sent this answer to
    /// `/ping` or `/ready`.
    pub(crate) fn is_of_an_agent(&self) -> bool {
        is_of_an_agent(self.body.expose())
    }

    /// Returns why the agent is not ready, for the end of a sentence.
    pub(crate) fn why_not_ready(&self) -> String {
        why_not_ready(self.status.as_u16(), self.body.expose())
    }
}

fn is_of_an_agent(body: &[u8]) -> bool {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    body == b"healthy" || json["ready"].is_boolean()
}

/// `body` names the missing secrets only if the request had a valid token.
fn why_not_ready(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(count) = body["listed_missing"].as_u64() else {
        return format!("answered with HTTP status {status}; another program may use this port");
    };
    let names: Vec<String> = body["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .map(|name| Printable(name).to_string())
        .collect();
    match (count, names.is_empty()) {
        (0, _) => "is not ready: it is still starting, or it is stopping".to_owned(),
        (_, true) => format!(
            "is not ready: {count} secrets of SIDEKEY_SECRETS are not cached yet; to see their names, \
             set SIDEKEY_TOKEN to the agent's token"
        ),
        (_, false) => format!(
            "is not ready: it has not cached {}; run `sidekey check` to see why",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_another_program_is_recognised() {
        for (body, expected) in [
            ("healthy", true),
            (r#"{"ready":true,"listed_missing":0}"#, true),
            ("hello", false),
            ("", false),
            (r#"{"status":"up"}"#, false),
        ] {
            assert_eq!(is_of_an_agent(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn answer_that_is_not_ready_is_explained() {
        for (body, expected) in [
            (r#"{"ready":false,"listed_missing":0}"#, "it is still starting, or it is stopping"),
            (r#"{"ready":false,"listed_missing":2}"#, "2 secrets of SIDEKEY_SECRETS"),
            (r#"{"listed_missing":2,"missing":["a","b\u001b"]}"#, "it has not cached a, b?; run"),
            ("<html>", "answered with HTTP status 503; another program"),
        ] {
            let problem = why_not_ready(503, body.as_bytes());
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
