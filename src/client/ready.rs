//! Explains an agent's answer to `/ping` or `/ready`.

use super::Answer;
use crate::printable::Printable;
use serde_json::Value;

impl Answer {
    /// Returns whether this answer to `/ping` or `/ready` comes from an agent, and not from another
    /// program at the same port.
    pub(crate) fn is_of_an_agent(&self) -> bool {
        is_of_an_agent(self.body.expose())
    }

    /// Returns a sentence that says why the agent is not ready.
    pub(crate) fn why_not_ready(&self) -> String {
        why_not_ready(self.status.as_u16(), self.body.expose())
    }
}

fn is_of_an_agent(body: &[u8]) -> bool {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    body == b"healthy" || json["ready"].is_boolean()
}

/// Returns a sentence that explains the answer of an agent that is not ready. `body`, the JSON of
/// the answer, contains the names of missing secrets only if the request had a valid token.
fn why_not_ready(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(count) = body["listed_missing"].as_u64() else {
        return format!(
            "the HTTP status of the answer is {status}, so another program may use this port"
        );
    };
    let names: Vec<String> = body["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .map(|name| Printable(name).to_string())
        .collect();
    match (count, names.is_empty()) {
        (0, _) => "the agent is still starting, or it is stopping".to_owned(),
        (_, true) => format!(
            "the agent has not cached {count} secrets of SIDEKEY_SECRETS yet; to see their names, \
             set SIDEKEY_TOKEN to the agent's token"
        ),
        (_, false) => {
            format!("the agent has not cached {}; run `sidekey check` to see why", names.join(", "))
        }
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
            (
                r#"{"ready":false,"listed_missing":0}"#,
                "the agent is still starting, or it is stopping",
            ),
            (r#"{"ready":false,"listed_missing":2}"#, "2 secrets of SIDEKEY_SECRETS"),
            (r#"{"listed_missing":2,"missing":["a","b\u001b"]}"#, "has not cached a, b?; run"),
            ("<html>", "the HTTP status of the answer is 503"),
        ] {
            let problem = why_not_ready(503, body.as_bytes());
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
