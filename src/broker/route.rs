//! A route: where its calls go, which secret they need, and which calls are allowed.

use super::credential::Credential;
use super::phantom::Phantom;
use super::target::PathRule;
use crate::convention::Conventions;
use crate::secret::reference::SecretId;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use std::time::Duration;

/// The methods that no route allows: `CONNECT` opens a tunnel, and an answer to `TRACE` repeats the
/// credential.
const NEVER_ALLOWED: [Method; 2] = [Method::CONNECT, Method::TRACE];

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Box<str>,
    /// The scheme, host and port of the server that receives all calls of the route.
    pub(crate) upstream: Uri,
    pub(crate) secret: SecretOfRoute,
    pub(crate) credential: Credential,
    /// The allowed HTTP methods. Empty if all methods except `CONNECT` and `TRACE` are allowed.
    pub(crate) methods: Vec<Method>,
    /// The patterns of the allowed paths. Empty if all paths are allowed.
    pub(crate) paths: Vec<PathRule>,
    /// The fields of the secret that the agent fills into the path of a call, as in
    /// `/Accounts/{twilio_account_sid}`.
    pub(crate) path_fields: Vec<Box<str>>,
    /// The path at the end of the base URL that a library needs, such as `/v1` in `/to/openai/v1`.
    /// Empty if the base URL ends with the name of the route.
    pub(crate) base_path: Box<str>,
    /// The HTTP statuses with which the server refuses a credential.
    pub(crate) refused: Vec<StatusCode>,
    pub(crate) limits: Limits,
    pub(crate) phantom: Phantom,
}

/// The time limits of a call to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The maximum time for opening a connection to the server, including the TLS handshake.
    pub(crate) connect: Duration,
    /// The maximum time from the last byte of the request until the headers of the answer.
    pub(crate) answer: Duration,
    /// The maximum time without new data while an answer arrives.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(600),
            idle: Duration::from_secs(600),
        }
    }
}

/// The secret from which the agent makes the credential for the calls of a route (calls to one
/// external API).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretOfRoute {
    /// All calls use the secret with this name or ARN.
    Own(Box<str>),
    /// Each call names a secret. The secret's name must match the name pattern of one of these
    /// conventions, such as `sms-twilio`.
    Kinds {
        kinds: Vec<Box<str>>,
        /// The secret for calls that name no secret. `None` if such calls fail.
        default: Option<Box<str>>,
    },
}

impl SecretOfRoute {
    /// Returns whether the calls of the route may use the secret with the name `name`. For a route
    /// with a secret of its own, returns `true`, because the configuration names the secret.
    pub(crate) fn includes(&self, name: &str, conventions: &Conventions) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Kinds { kinds, .. } => conventions
                .iter()
                .filter(|convention| kinds.iter().any(|kind| **kind == *convention.kind()))
                .any(|convention| convention.pattern().matches(name).is_some()),
        }
    }

    /// Returns whether the calls of the route may use the secret with the requested name or ARN. If
    /// the ARN may be full or partial, the secret has two possible names. The result is then `true`
    /// if the calls may use one of them.
    pub(crate) fn may_include(&self, id: &SecretId, conventions: &Conventions) -> bool {
        match id {
            SecretId::Name(_) | SecretId::Parameter(_) | SecretId::Path(_) => {
                self.includes(id.as_str(), conventions)
            }
            SecretId::Arn(arn) => {
                let (name, other) = arn.possible_names();
                self.includes(name, conventions)
                    || other.is_some_and(|name| self.includes(name, conventions))
            }
        }
    }
}

impl Route {
    /// Returns the value of the header `Host` in requests to the server.
    ///
    /// # Panics
    ///
    /// Panics if the URL of the server has no host. The configuration allows only URLs with a host.
    pub(crate) fn host(&self) -> HeaderValue {
        let authority = self.upstream.authority().map_or("", |authority| authority.as_str());
        HeaderValue::from_str(authority).expect("the host in a URL must be a valid header value")
    }

    /// Returns the names of the secret's fields that the calls of this route need. Empty if they need
    /// only the complete value.
    #[cfg(feature = "host")]
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.credential.fields().chain(self.path_fields.iter().map(|field| &**field))
    }

    pub(crate) fn allows_method(&self, method: &Method) -> bool {
        match self.methods.is_empty() {
            true => !NEVER_ALLOWED.contains(method),
            false => self.methods.contains(method),
        }
    }

    pub(crate) fn allows_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|rule| rule.matches(path))
    }
}

/// All routes of the agent. Each route describes the calls to one external API.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Route> {
        self.0.iter().find(|route| *route.name == *name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Returns the routes that have a secret of their own, and the names or ARNs of these secrets.
    #[cfg(feature = "host")]
    pub(crate) fn own_secrets(&self) -> impl Iterator<Item = (&Route, &str)> {
        self.iter().filter_map(|route| match &route.secret {
            SecretOfRoute::Own(reference) => Some((route, &**reference)),
            SecretOfRoute::Kinds { .. } => None,
        })
    }

    /// Returns the names of all routes, separated by commas.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|route| &*route.name).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::built_in;

    #[test]
    fn secret_of_another_kind_is_not_included() {
        let conventions = Conventions::built_in();
        let routes = Routes::new(built_in::routes());
        for (route, name, expected) in [
            ("openai", "openai-api-key/whatsapp", true),
            ("openai", "whatsapp-credentials/acme/support/twilio", false),
            ("openai", "openai-api-key/other", false),
            ("twilio", "whatsapp-credentials/acme/support/twilio", true),
            ("twilio", "sms-credentials/acme/support/twilio", true),
            ("sendgrid", "email-credentials/acme/support/sendgrid", true),
            ("sendgrid", "app/db", false),
        ] {
            let found = routes.named(route).expect("the route must be built in");
            assert_eq!(found.secret.includes(name, &conventions), expected, "{route} {name}");
            let id = SecretId::parse(name).expect("the name must be valid");
            assert_eq!(found.secret.may_include(&id, &conventions), expected, "{route} {name}");
        }
    }

    #[test]
    fn connect_and_trace_are_never_allowed_by_default() {
        let routes = built_in::routes();
        let route = &routes[0];
        for (method, expected) in [
            (Method::GET, true),
            (Method::DELETE, true),
            (Method::CONNECT, false),
            (Method::TRACE, false),
        ] {
            assert_eq!(route.allows_method(&method), expected, "{method}");
        }
    }

    #[test]
    fn host_of_a_route_has_no_user_and_keeps_its_port() {
        let route = built_in::routes().remove(0);
        let route = Route { upstream: Uri::from_static("http://127.0.0.1:8080"), ..route };
        assert_eq!(route.host(), "127.0.0.1:8080");
    }
}
