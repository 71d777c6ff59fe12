//! The keys of a `[[route]]` table in the configuration file.

use super::credentials::token;
use super::key::Key;
use super::values::{FILE_PREFIX, is_separator, list, positive_span};
use crate::broker::credential::{Credential, Template};
use crate::broker::headers::is_reserved;
use crate::broker::phantom::Phantom;
use crate::broker::route::{Limits, Route, SecretOfRoute};
use crate::broker::target::{PathRule, check};
use crate::outbound::is_loopback;
use crate::secret::reference::Reference;
use crate::tokens::Token;
use hyper::header::HeaderName;
use hyper::{Method, StatusCode, Uri};
use std::time::Duration;

/// The maximum length of a route's name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The maximum value of `idle_timeout` and `answer_timeout`: less than the 15 minutes after which
/// the agent closes an idle connection of a caller.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// The keys of a `[[route]]` table in the configuration file, in the order of
/// `docs/configuration.md`.
pub const KEYS: &[Key<Draft>] = &[
    Key {
        name: "name",
        default: "",
        help: "Required. The name of the route, made of letters, digits, `-` and `_`. Programs send calls for the server to the path `/to/NAME`. A table with the name of a built-in route changes that route.",
        parse: |draft, text| {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(is_valid) {
                return Err("the name must have 1 to 64 letters, digits, '-' or '_'".to_owned());
            }
            draft.name = Some(text.into());
            Ok(())
        },
    },
    Key {
        name: "upstream",
        default: "",
        help: "The URL of the server, without a path: https, or http with a loopback address. All calls of the route go to this server.",
        parse: |draft, text| set(&mut draft.upstream, upstream(text)),
    },
    Key {
        name: "secret",
        default: "",
        help: "The name or ARN of the secret that all calls of the route use.",
        parse: |draft, text| {
            let Reference { field, .. } = Reference::parse(text).map_err(|bad| bad.to_string())?;
            if field.is_some() {
                return Err("the reference must not select a field; name the field in 'bearer', 'basic' or 'header'".to_owned());
            }
            draft.secret = Some(SecretOfRoute::Own(text.into()));
            Ok(())
        },
    },
    Key {
        name: "convention",
        default: "",
        help: "Instead of `secret`: a list of kinds of secrets, such as `sms-twilio`. Each call can name a secret of one of these kinds.",
        parse: |draft, text| {
            let kinds = list(text).map(Into::into).collect();
            draft.secret = Some(SecretOfRoute::Kinds { kinds, default: None });
            Ok(())
        },
    },
    Key {
        name: "bearer",
        default: "",
        help: "The bearer token of the header `Authorization`, such as `#api_key`. `#FIELD` is a field of the secret, and `#` is the complete value.",
        parse: |draft, text| set(&mut draft.credential, template(text).map(Credential::Bearer)),
    },
    Key {
        name: "basic",
        default: "",
        help: "Instead of `bearer`: a list with the user and the password of Basic authentication. `[\"#user\", \"#password\"]` takes both from the secret's fields `user` and `password`. One of the two can be empty, or a constant that is not confidential.",
        parse: |draft, text| {
            // Unlike other lists, this list can have an empty item.
            let parts: Vec<&str> = match text.contains(',') {
                true => text.split(',').map(str::trim).collect(),
                false => list(text).collect(),
            };
            if parts.iter().any(|part| part.contains(is_separator)) {
                return Err("the user and the password must not contain white space".to_owned());
            }
            let [user, password] = parts[..] else {
                return Err("the value must be a list of two strings: user and password".to_owned());
            };
            let (user, password) = (Template::parse(user), Template::parse(password));
            if !user.has_field() && !password.has_field() {
                return Err(
                    "the user or the password must name a field of the secret, such as #api_key"
                        .to_owned(),
                );
            }
            draft.credential = Some(Credential::Basic { user, password });
            Ok(())
        },
    },
    Key {
        name: "header",
        default: "",
        help: "Instead of `bearer`: the header for the credential, such as `{ name = \"X-Api-Key\", value = \"#api_key\" }` for the secret's field `api_key`. The value can begin with a constant text, as in `Key #api_key`.",
        parse: |draft, text| {
            let (name, value) = text.split_once(':').unwrap_or((text, ""));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                "the value of 'name' is not a valid name of an HTTP header".to_owned()
            })?;
            if is_reserved(&name) {
                return Err(format!("the header '{name}' cannot contain a credential"));
            }
            draft.credential = Some(Credential::Header { name, value: template(value)? });
            Ok(())
        },
    },
    Key {
        name: "methods",
        default: "",
        help: "The allowed HTTP methods. If unset, all methods except `CONNECT` and `TRACE` are allowed.",
        parse: |draft, text| {
            let methods: Result<Vec<Method>, _> = list(text)
                .map(|method| {
                    method.parse().map_err(|_| format!("'{method}' is not an HTTP method"))
                })
                .collect();
            let methods = methods?;
            if methods.is_empty() || methods.contains(&Method::CONNECT) {
                return Err("the value must be a list of methods without CONNECT".to_owned());
            }
            draft.methods = Some(methods);
            Ok(())
        },
    },
    Key {
        name: "paths",
        default: "",
        help: "Patterns of the allowed paths, such as `/v2/*`. A `/*` at the end matches all further segments, and any other `*` matches within one segment. If unset, all paths are allowed.",
        parse: |draft, text| {
            let rules: Result<Vec<PathRule>, String> = list(text).map(path_rule).collect();
            let rules = rules?;
            if rules.is_empty() {
                return Err("the list is empty; omit the key to allow all paths".to_owned());
            }
            draft.paths = Some(rules);
            Ok(())
        },
    },
    Key {
        name: "path_fields",
        default: "",
        help: "Fields of the secret that Sidekey fills into the paths of calls, as in `/Accounts/{twilio_account_sid}`.",
        parse: |draft, text| {
            draft.path_fields = Some(list(text).map(Into::into).collect());
            Ok(())
        },
    },
    Key {
        name: "base_path",
        default: "",
        help: "The path at the end of the base URL that a client library needs, such as `/v1`.",
        parse: |draft, text| {
            if !text.is_empty() && (!text.starts_with('/') || check(text, "").is_err()) {
                return Err("the value must be a path that begins with '/'".to_owned());
            }
            draft.base_path = Some(text.trim_end_matches('/').into());
            Ok(())
        },
    },
    Key {
        name: "refused_statuses",
        default: "401",
        help: "The HTTP statuses with which the server rejects a credential. Sidekey then fetches the secret again, and repeats the call once if the secret has changed.",
        parse: |draft, text| {
            let statuses: Result<Vec<StatusCode>, String> = list(text)
                .map(|status| {
                    status.parse().map_err(|_| format!("'{status}' is not an HTTP status"))
                })
                .collect();
            set(&mut draft.refused, statuses)
        },
    },
    Key {
        name: "connect_timeout",
        default: "5s",
        help: "The timeout for opening a connection to the server.",
        parse: |draft, text| {
            draft.connect = Some(positive_span(text)?);
            Ok(())
        },
    },
    Key {
        name: "answer_timeout",
        default: "10m",
        help: "The maximum time from the end of a request until its answer begins; at most 10m.",
        parse: |draft, text| set(&mut draft.answer, wait(text)),
    },
    Key {
        name: "idle_timeout",
        default: "10m",
        help: "The maximum time without new data while an answer arrives; at most 10m.",
        parse: |draft, text| set(&mut draft.idle, wait(text)),
    },
    Key {
        name: "token",
        default: "",
        help: "file://PATH of a file with the phantom token: the text that programs send instead of a key. If unset, the agent generates a random token.",
        parse: |draft, text| {
            if !text.starts_with(FILE_PREFIX) {
                return Err("the configuration file must not contain a token; write file://PATH with the path of a file that contains the token".to_owned());
            }
            set(&mut draft.token, token(text))
        },
    },
];

/// The settings of one `[[route]]` table. A setting that the table omits is `None`.
#[derive(Debug, Default)]
pub struct Draft {
    name: Option<Box<str>>,
    upstream: Option<Uri>,
    pub(super) secret: Option<SecretOfRoute>,
    credential: Option<Credential>,
    methods: Option<Vec<Method>>,
    paths: Option<Vec<PathRule>>,
    path_fields: Option<Vec<Box<str>>>,
    base_path: Option<Box<str>>,
    refused: Option<Vec<StatusCode>>,
    connect: Option<Duration>,
    answer: Option<Duration>,
    idle: Option<Duration>,
    token: Option<Token>,
}

fn set<T>(field: &mut Option<T>, parsed: Result<T, String>) -> Result<(), String> {
    *field = Some(parsed?);
    Ok(())
}

fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text);
    match template.has_field() {
        true => Ok(template),
        false => Err("the text must name a field of the secret, such as #api_key".to_owned()),
    }
}

fn path_rule(text: &str) -> Result<PathRule, String> {
    if !text.starts_with('/') {
        return Err(format!("the pattern '{text}' must begin with '/'"));
    }
    PathRule::parse(text).map_err(|bad| format!("pattern '{text}': {bad}"))
}

fn wait(text: &str) -> Result<Duration, String> {
    let span = positive_span(text)?;
    if span > WAIT_MAX {
        Err("the duration must not be longer than 10m".to_owned())
    } else {
        Ok(span)
    }
}

fn upstream(text: &str) -> Result<Uri, String> {
    const EXPECTED: &str = "the value must be a URL such as https://api.crm.example, without a user, a path or a query";
    let uri: Uri = text.parse().map_err(|_| EXPECTED.to_owned())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if has_user || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(EXPECTED.to_owned());
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err("the URL uses http with a host that is not a loopback address, so the credential would cross the network unencrypted; use https".to_owned()),
        _ => Err(EXPECTED.to_owned()),
    }
}

impl Draft {
    pub(super) fn into_route(self, routes: &mut Vec<Route>) -> Result<Route, String> {
        let missing = |key: &str| format!("the key '{key}' is missing");
        let name = self.name.ok_or_else(|| missing("name"))?;
        let known = routes.iter().position(|route| route.name == name);
        let base = known.map(|index| routes.remove(index));
        let base = base.as_ref();
        let upstream = self.upstream.or_else(|| Some(base?.upstream.clone()));
        let secret = self.secret.or_else(|| Some(base?.secret.clone()));
        let credential = self.credential.or_else(|| Some(base?.credential.clone()));
        let limits = base.map_or_else(Limits::default, |base| base.limits);
        Ok(Route {
            upstream: upstream.ok_or_else(|| missing("upstream"))?,
            secret: secret.ok_or_else(|| missing("secret' or 'convention"))?,
            credential: credential.ok_or_else(|| missing("bearer', 'basic' or 'header"))?,
            methods: self.methods.unwrap_or_default(),
            paths: self.paths.unwrap_or_default(),
            path_fields: self
                .path_fields
                .or_else(|| Some(base?.path_fields.clone()))
                .unwrap_or_default(),
            base_path: self.base_path.or_else(|| Some(base?.base_path.clone())).unwrap_or_default(),
            refused: self.refused.unwrap_or_else(|| vec![StatusCode::UNAUTHORIZED]),
            limits: Limits {
                connect: self.connect.unwrap_or(limits.connect),
                answer: self.answer.unwrap_or(limits.answer),
                idle: self.idle.unwrap_or(limits.idle),
            },
            phantom: match (self.token, base) {
                (Some(token), _) => Phantom::configured(token),
                (None, Some(base)) => Phantom::generated(base.phantom.prefix()),
                (None, None) => Phantom::generated("phantom-"),
            },
            name,
        })
    }
}
