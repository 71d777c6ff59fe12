//! Why the agent does not make a call, or why a call has no answer. Each reason has an error type, a
//! message, a hint, and an HTTP status.

use super::credential::BadCredential;
use super::target::BadTarget;
use hyper::StatusCode;
use std::time::Duration;

/// Why the agent answers a call itself, instead of passing on the answer of the other server. The
/// error texts contain no path, header or body of the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallRefusal {
    #[error("the agent has no route with this name; the routes are: {0}")]
    UnknownRoute(String),
    #[error("the path of the call must follow the name of the route, as in /to/ROUTE/PATH")]
    NoPath,
    #[error("Sidekey refused the call: {0}")]
    Target(BadTarget),
    #[error("the route does not allow this method")]
    Method,
    #[error("no pattern in the route's list 'paths' matches the path of the call")]
    Path,
    #[error("the call names no secret, and the route has no secret of its own")]
    NoReference,
    #[error("the call names a secret, but the route has a secret of its own")]
    OwnSecret,
    #[error("the call names a secret twice: in the path, and in the header X-Sidekey-Reference")]
    ReferenceTwice,
    #[error("the name of the secret does not match the route's convention")]
    OtherKind,
    #[error(
        "the secret belongs to another tenant than the header X-Sidekey-Tenant says, or the header \
         is missing"
    )]
    Tenant,
    #[error("no credential can be made from the secret: {0}")]
    Credential(BadCredential),
    #[error("the server of the route could not be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke before the server of the route began its answer")]
    Broken,
    #[error("the server asks to switch the connection to a protocol other than HTTP")]
    Upgrade,
    #[error("the server of the route is the Sidekey agent itself")]
    OwnAddress,
    #[error("no connection to the server of the route could be opened within {0:?}")]
    ConnectTooSlow(Duration),
    #[error("the server of the route did not begin its answer within {0:?}")]
    AnswerTooSlow(Duration),
    #[error("the body of the call ended early")]
    IncompleteBody,
}

impl CallRefusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownRoute(_) => StatusCode::NOT_FOUND,
            Self::Target(_)
            | Self::NoPath
            | Self::NoReference
            | Self::OwnSecret
            | Self::ReferenceTwice
            | Self::IncompleteBody => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path | Self::OtherKind | Self::Tenant => StatusCode::FORBIDDEN,
            Self::Credential(_) => StatusCode::FAILED_DEPENDENCY,
            Self::Unreachable(_) | Self::Broken | Self::Upgrade | Self::OwnAddress => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTooSlow(_) | Self::AnswerTooSlow(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns the error type that the caller receives, such as `RouteNotFoundException`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::UnknownRoute(_) => "RouteNotFoundException",
            Self::Target(_) | Self::NoPath => "BadTargetException",
            Self::NoReference | Self::OwnSecret | Self::ReferenceTwice => "ValidationException",
            Self::IncompleteBody => "BadRequestException",
            Self::Method => "MethodNotAllowedException",
            Self::Path | Self::OtherKind | Self::Tenant => "AccessDeniedException",
            Self::Credential(_) => "CredentialException",
            Self::Unreachable(_) | Self::Broken | Self::Upgrade | Self::OwnAddress => {
                "UpstreamException"
            }
            Self::ConnectTooSlow(_) | Self::AnswerTooSlow(_) => "UpstreamTimeoutException",
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::UnknownRoute(_) => {
                "correct the name after /to/, or add a table [[route]] to the configuration file"
            }
            Self::NoPath => "send GET /to/ROUTE to get the route's base URL, token and rules",
            Self::Target(_) => {
                "correct the path or the query: see the section 'Refused targets' in docs/calls.md"
            }
            Self::Method => "use another method, or add the method to the route's list 'methods'",
            Self::Path => "use another path, or add a pattern to the route's list 'paths'",
            Self::NoReference => {
                "name a secret in the header X-Sidekey-Reference or in the path, as in \
                 /to/ROUTE@REFERENCE/PATH with a percent-encoded reference"
            }
            Self::OwnSecret => "remove the name of the secret from the call",
            Self::ReferenceTwice => "name the secret only once",
            Self::OtherKind => "name a secret that matches the 'convention' of the route",
            Self::Tenant => {
                "send the placeholders of [resolve.tenant] in the header X-Sidekey-Tenant, as in \
                 company_name=acme"
            }
            Self::Credential(_) => {
                "correct the value of the secret; `sidekey check` shows problems"
            }
            Self::Unreachable(_) => {
                "check the network to the server, the 'upstream' of the route, and AWS_CA_BUNDLE \
                 for a server with a private certificate authority"
            }
            Self::Broken => {
                "send the call again, but only if the server can safely receive it twice"
            }
            Self::Upgrade => "use an interface of the server that works over plain HTTP/1.1",
            Self::OwnAddress => "correct the 'upstream' of the route",
            Self::ConnectTooSlow(_) => "check the network, or raise connect_timeout of the route",
            Self::AnswerTooSlow(_) => "raise answer_timeout of the route",
            Self::IncompleteBody => "send the complete body of the call",
        }
    }

    /// Returns the word under which the metrics count this refusal.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::UnknownRoute(_) => "route",
            Self::Target(_) | Self::NoPath => "target",
            Self::Method => "method",
            Self::Path => "path",
            Self::NoReference
            | Self::OwnSecret
            | Self::ReferenceTwice
            | Self::OtherKind
            | Self::Tenant => "reference",
            Self::Credential(_) => "credential",
            Self::Unreachable(_) | Self::Broken | Self::Upgrade | Self::OwnAddress => "upstream",
            Self::ConnectTooSlow(_) | Self::AnswerTooSlow(_) => "timeout",
            Self::IncompleteBody => "body",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::REASONS;

    #[test]
    fn every_label_is_a_reason_of_the_metrics() {
        for refusal in [
            CallRefusal::UnknownRoute(String::new()),
            CallRefusal::NoPath,
            CallRefusal::Target(BadTarget::Control),
            CallRefusal::Method,
            CallRefusal::Path,
            CallRefusal::NoReference,
            CallRefusal::Tenant,
            CallRefusal::Credential(BadCredential::Empty),
            CallRefusal::Broken,
            CallRefusal::AnswerTooSlow(Duration::ZERO),
            CallRefusal::IncompleteBody,
        ] {
            assert!(REASONS.contains(&refusal.label()), "{refusal:?}");
        }
    }
}
