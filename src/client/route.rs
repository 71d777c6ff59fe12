//! Asks a running agent how a program uses a route (the agent's rules for calls to one external
//! API).

use super::secret::{ReadError, refusal};
use super::{Answer, Client};
use crate::secret::value::SecretValue;
use serde::Deserialize;

/// The settings with which a client library sends its calls through a route of the agent to an
/// external API.
#[derive(Clone, Debug)]
pub(crate) struct RouteAccess {
    /// The agent's URL for calls to one external API. A client library uses this URL instead of the
    /// URL of the API itself.
    pub(crate) base_url: SecretValue,
    /// The phantom token: the text that a client library sends to the agent instead of the API key.
    pub(crate) token: SecretValue,
}

/// The JSON body of the agent's answer to `GET /to/{route}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    base_url: String,
    token: String,
}

impl Client {
    /// Asks the agent for the base URL and the phantom token (the replacement for an API key) of a
    /// route. `segment` is the name of the route, and optionally `@` with a percent-encoded
    /// reference to a secret.
    pub(crate) async fn route(&mut self, segment: &str) -> Result<RouteAccess, ReadError> {
        let answer = self.get(&format!("/to/{segment}")).await;
        access(&answer.map_err(|error| ReadError::NoAnswer(error.to_string()))?)
    }
}

fn access(answer: &Answer) -> Result<RouteAccess, ReadError> {
    let body = answer.body.expose();
    let parsed = match answer.status.is_success() {
        true => serde_json::from_slice::<Body>(body).ok().ok_or(None),
        false => Err(refusal(body)),
    };
    match parsed {
        Ok(Body { base_url, token }) => {
            Ok(RouteAccess { base_url: base_url.into(), token: token.into() })
        }
        Err(refusal) => {
            Err(refusal.unwrap_or(ReadError::NotSidekey { status: answer.status.as_u16() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{HeaderMap, StatusCode};

    fn parsed(status: StatusCode, body: &str) -> Result<RouteAccess, ReadError> {
        let body = SecretValue::from(body.to_owned());
        access(&Answer { status, headers: HeaderMap::new(), body })
    }

    #[test]
    fn answer_contains_the_base_url_and_the_token() {
        let body = r#"{"route":"crm","baseUrl":"http://127.0.0.1:2773/to/crm","token":"t"}"#;
        let access = parsed(StatusCode::OK, body).expect("the answer is complete");
        assert_eq!(access.base_url.expose(), b"http://127.0.0.1:2773/to/crm");
        assert_eq!(access.token.expose(), b"t");
    }

    #[test]
    fn other_answers_are_errors() {
        let body = r#"{"__type":"RouteNotFoundException","message":"none","hint":"h"}"#;
        let error = parsed(StatusCode::NOT_FOUND, body).expect_err("the route is unknown");
        assert_eq!(error.to_string(), "RouteNotFoundException: none (h)");
        let error = parsed(StatusCode::OK, "<html>").expect_err("not an agent");
        assert_eq!(error, ReadError::NotSidekey { status: 200 });
    }
}
