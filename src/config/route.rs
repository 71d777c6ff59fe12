//! The `[[route]]` tables of the configuration file. Each table adds a route for calls, or changes a
//! built-in route.

use super::credentials::token;
use super::file::ROUTE;
use super::key::Key;
use super::misspelt::nearest;
use super::mistakes::{Mistakes, Problems, Unknown};
use super::toml_setting::text_of;
use super::values::{FILE_PREFIX, list, positive_span};
use super::variables::CONFIG_FILE;
use crate::broker::built_in;
use crate::broker::credential::{Credential, Template};
use crate::broker::phantom::Phantom;
use crate::broker::route::{Limits, Route, Routes, SecretOfRoute};
use crate::broker::target::{PathRule, check};
use crate::cache::withheld::{RouteOfSecrets, SecretsOfRoute};
use crate::convention::Conventions;
use crate::outbound::is_loopback;
use crate::secret::key;
use crate::secret::reference::{Reference, SecretId};
use crate::tokens::Token;
use hyper::header::HeaderName;
use hyper::{Method, StatusCode, Uri};
use std::time::Duration;
use toml::{Table, Value};

/// The maximum number of `[[route]]` tables in the configuration file.
const TABLES_MAX: usize = 100;

/// The maximum length of a route's name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The maximum of `idle_timeout` and `answer_timeout`. The server closes connections that are idle
/// for 15 minutes.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// The keys of a `[[route]]` table in the configuration file, in the order of
/// `docs/configuration.md`.
pub const KEYS: &[Key<Draft>] = &[
    Key {
        name: "name",
        default: "",
        help: "Required. The name of the route in the path `/to/NAME`: letters, digits, `-` and `_`. The name of a built-in route changes that route.",
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
        help: "Instead of `secret`: the kinds of the conventions whose secrets calls can name.",
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
        help: "Instead of `bearer`: a list with the user and the password of Basic authentication, such as `[\"#user\", \"#password\"]`.",
        parse: |draft, text| {
            let parts: Vec<&str> = list(text).collect();
            let [user, password] = parts[..] else {
                return Err("the value must be a list of two strings: user and password".to_owned());
            };
            let (user, password) = (Template::parse(user), template(password)?);
            draft.credential = Some(Credential::Basic { user, password });
            Ok(())
        },
    },
    Key {
        name: "header",
        default: "",
        help: "Instead of `bearer`: a header, such as `{ name = \"X-Api-Key\", value = \"#api_key\" }`. The value can begin with a constant text, as in `Key #api_key`.",
        parse: |draft, text| {
            let (name, value) = text.split_once(':').unwrap_or((text, ""));
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| "the name is not a valid name of a header".to_owned())?;
            draft.credential = Some(Credential::Header { name, value: template(value)? });
            Ok(())
        },
    },
    Key {
        name: "methods",
        default: "",
        help: "The allowed methods. If unset, all except `CONNECT` and `TRACE` are allowed.",
        parse: |draft, text| {
            let methods: Result<Vec<Method>, _> = list(text)
                .map(|method| method.parse().map_err(|_| format!("'{method}' is no method")))
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
        help: "Patterns of the allowed paths, such as `/v2/*`. A `*` at the end matches all further segments, and any other `*` matches within one segment. If unset, all paths are allowed.",
        parse: |draft, text| {
            let rules: Result<Vec<PathRule>, String> = list(text).map(path_rule).collect();
            set(&mut draft.paths, rules)
        },
    },
    Key {
        name: "path_fields",
        default: "",
        help: "Fields of the secret that are filled into paths, as in `/Accounts/{twilio_account_sid}`.",
        parse: |draft, text| {
            draft.path_fields = Some(list(text).map(Into::into).collect());
            Ok(())
        },
    },
    Key {
        name: "base_path",
        default: "",
        help: "The end of the base URL that a library needs, such as `/v1`.",
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
        help: "The statuses that mean that the server refused the credential. Sidekey then fetches the secret, and makes the call once more if the secret has changed.",
        parse: |draft, text| {
            let statuses: Result<Vec<StatusCode>, String> = list(text)
                .map(|status| status.parse().map_err(|_| format!("'{status}' is no HTTP status")))
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
        help: "The maximum time from the last byte of a call until the answer begins; at most 10m.",
        parse: |draft, text| set(&mut draft.answer, wait(text)),
    },
    Key {
        name: "idle_timeout",
        default: "10m",
        help: "The maximum time between two pieces of an answer; at most 10m.",
        parse: |draft, text| set(&mut draft.idle, wait(text)),
    },
    Key {
        name: "token",
        default: "",
        help: "file://PATH of a file with the phantom token. If unset, the agent makes a random token.",
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
    secret: Option<SecretOfRoute>,
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

/// Parses the `[[route]]` tables of the configuration file, and returns all routes: the built-in
/// routes, and the routes of the tables. Omits each table with a mistake.
///
/// `listed` are the secrets in `SIDEKEY_SECRETS`. If exactly one of them is a secret of a route's
/// conventions, calls that name no secret use it.
pub(super) fn read(
    value: Option<Value>,
    conventions: &Conventions,
    listed: &[key::Key],
    problems: &mut Problems,
) -> Routes {
    let mut routes = built_in::routes();
    routes.retain(|route| match &route.secret {
        SecretOfRoute::Own(_) => true,
        SecretOfRoute::Kinds { kinds, .. } => {
            kinds.iter().any(|kind| conventions.of_kind(kind).is_some())
        }
    });
    for (number, table) in (1..).zip(tables(value, &mut problems.mistakes)) {
        let name = format!("{}[{number}]", location());
        if let Some(route) = read_table(&name, &table, conventions, &mut routes, problems) {
            routes.push(route);
        }
    }
    for route in &mut routes {
        set_default(route, conventions, listed);
    }
    Routes::new(routes)
}

fn tables(value: Option<Value>, mistakes: &mut Mistakes) -> Vec<Table> {
    let Some(value) = value else { return Vec::new() };
    let tables: Option<Vec<Table>> = match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Table(table) => Some(table),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    match tables {
        Some(tables) if tables.len() <= TABLES_MAX => tables,
        Some(_) => {
            mistakes.add(location(), format!("at most {TABLES_MAX} [[route]] tables are allowed"));
            Vec::new()
        }
        None => {
            let problem = "the value must be a list of tables, each with the heading [[route]]";
            mistakes.add(location(), problem);
            Vec::new()
        }
    }
}

fn location() -> String {
    format!("{CONFIG_FILE}: {ROUTE}")
}

/// Parses one table. If the table has the name of a route in `routes`, removes this route, and uses
/// its settings for the keys that the table omits.
fn read_table(
    name: &str,
    table: &Table,
    conventions: &Conventions,
    routes: &mut Vec<Route>,
    problems: &mut Problems,
) -> Option<Route> {
    let mistakes_before = problems.mistakes.0.len();
    let mut draft = Draft::default();
    for (key, value) in table {
        let key_name = format!("{name}.{key}");
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let nearest = nearest(KEYS.iter().map(|known| known.name), &key.to_ascii_lowercase());
            let nearest = nearest.unwrap_or_default();
            let hint = format!("a [[route]] table has no such key; did you mean {nearest}?");
            // A misspelt `methods` or `paths` would allow more calls than intended.
            problems.unknown.push(Unknown { name: key_name, hint, is_guard: true });
            continue;
        };
        let set = text(known.name, value).and_then(|text| (known.parse)(&mut draft, text.trim()));
        problems.mistakes.noted(&key_name, set);
    }
    let both = ["secret", "convention"];
    check_exclusive(name, table, &both, &mut problems.mistakes);
    check_exclusive(name, table, &["bearer", "basic", "header"], &mut problems.mistakes);
    if let Some(SecretOfRoute::Kinds { kinds, .. }) = &draft.secret {
        for kind in kinds.iter().filter(|kind| conventions.of_kind(kind).is_none()) {
            let problem = format!("no convention has the kind '{kind}'");
            problems.mistakes.add(format!("{name}.convention"), problem);
        }
    }
    if problems.mistakes.0.len() > mistakes_before {
        return None;
    }
    let built = draft.into_route(routes);
    problems.mistakes.noted(name, built.map(Some))
}

/// Converts the value of a key to text. The table of the key `header` becomes `NAME:VALUE`.
fn text(key: &str, value: &Value) -> Result<String, String> {
    if key != "header" {
        return text_of(value).map_err(str::to_owned);
    }
    let texts = value
        .as_table()
        .filter(|table| table.len() == 2)
        .and_then(|table| Some((table.get("name")?.as_str()?, table.get("value")?.as_str()?)));
    match texts {
        Some((name, value)) => Ok(format!("{name}:{value}")),
        None => {
            Err("the value must be a table such as { name = \"X-Api-Key\", value = \"#api_key\" }"
                .to_owned())
        }
    }
}

fn check_exclusive(name: &str, table: &Table, keys: &[&str], mistakes: &mut Mistakes) {
    let set: Vec<&str> = keys.iter().copied().filter(|key| table.contains_key(*key)).collect();
    if set.len() > 1 {
        mistakes.add(name, format!("the table has the keys {}: keep one of them", set.join(", ")));
    }
}

impl Draft {
    fn into_route(self, routes: &mut Vec<Route>) -> Result<Route, String> {
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

/// Sets the secret of calls that name no secret, if `SIDEKEY_SECRETS` has only one secret that the
/// route can use.
fn set_default(route: &mut Route, conventions: &Conventions, listed: &[key::Key]) {
    let usable = |key: &&key::Key| {
        matches!(key.id, SecretId::Name(_)) && route.secret.may_include(&key.id, conventions)
    };
    let mut names = listed.iter().filter(usable).map(|key| key.id.as_str());
    let only = names.next().filter(|first| names.all(|name| name == *first)).map(Box::from);
    if let SecretOfRoute::Kinds { default, .. } = &mut route.secret {
        *default = only;
    }
}

/// Returns the secrets of each route, for errors that name the route to use.
pub(super) fn secrets_of(routes: &Routes) -> Vec<RouteOfSecrets> {
    let secrets = |secret: &SecretOfRoute| match secret {
        SecretOfRoute::Own(reference) => {
            Reference::parse(reference).ok().map(|parsed| SecretsOfRoute::One(parsed.id))
        }
        SecretOfRoute::Kinds { kinds, .. } => Some(SecretsOfRoute::Kinds(kinds.clone())),
    };
    let found = routes.iter().filter_map(|route| Some((route, secrets(&route.secret)?)));
    found.map(|(route, secrets)| RouteOfSecrets { name: route.name.clone(), secrets }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(text: &str) -> (Routes, Vec<String>) {
        let mut table: Table = text.parse().expect("the text is TOML");
        let mut problems = Problems::default();
        let listed = |name: &str| {
            let id = SecretId::parse(name).expect("the name is valid");
            key::Key::own(id, crate::secret::selector::Selector::current())
        };
        let listed = [listed("openai-api-key/sms"), listed("app/db")];
        let conventions = Conventions::built_in();
        let routes = read(table.remove("route"), &conventions, &listed, &mut problems);
        let Problems { unknown, mut mistakes, .. } = problems;
        unknown.into_iter().for_each(|unknown| mistakes.add(unknown.name, unknown.hint));
        (routes, mistakes.0.iter().map(ToString::to_string).collect())
    }

    const CRM: &str = "[[route]]\nname = \"crm\"\nupstream = \"https://api.crm.example\"\n\
                       secret = \"crm-key/production\"\n";

    #[test]
    fn table_adds_a_route() {
        let text = format!(
            "{CRM}basic = [\"api\", \"#key\"]\nmethods = [\"GET\"]\npaths = [\"/v2/*\"]\n\
             refused_statuses = [\"401\", \"403\"]\nidle_timeout = \"30s\""
        );
        let (routes, mistakes) = routes(&text);
        assert_eq!(mistakes, [""; 0]);
        let crm = routes.named("crm").expect("the route exists");
        assert_eq!(crm.upstream, "https://api.crm.example");
        assert_eq!(crm.secret, SecretOfRoute::Own("crm-key/production".into()));
        assert!(matches!(crm.credential, Credential::Basic { .. }));
        assert!(crm.allows_method(&Method::GET) && !crm.allows_method(&Method::POST));
        assert!(crm.allows_path("/v2/x") && !crm.allows_path("/v1/x"));
        assert_eq!(crm.limits.idle, Duration::from_secs(30));
        assert_eq!(routes.names(), "openai, sendgrid, twilio, crm");
    }

    #[test]
    fn table_with_the_name_of_a_built_in_route_changes_that_route() {
        let (routes, mistakes) =
            routes("[[route]]\nname = \"openai\"\nupstream = \"http://127.0.0.1:9000\"");
        assert_eq!(mistakes, [""; 0]);
        let openai = routes.named("openai").expect("the route exists");
        assert_eq!(openai.upstream, "http://127.0.0.1:9000");
        assert_eq!(&*openai.base_path, "/v1");
        let SecretOfRoute::Kinds { default, .. } = &openai.secret else { panic!("a convention") };
        assert_eq!(default.as_deref(), Some("openai-api-key/sms"));
        assert_eq!(routes.names(), "sendgrid, twilio, openai");
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        for (text, expected) in [
            ("route = 1", "SIDEKEY_CONFIG: route: the value must be a list of tables"),
            ("[[route]]\nname = \"a/b\"", "route[1].name: the name must have"),
            ("[[route]]\nname = \"crm\"", "route[1]: the key 'upstream' is missing"),
            ("[[route]]\npath = [\"/\"]\nname = \"x\"", "did you mean paths?"),
            ("[[route]]\nname = \"x\"\nconvention = \"y\"", "no convention has the kind 'y'"),
            ("[[route]]\nname = \"x\"\nupstream = \"http://a.example\"", "would cross the network"),
            ("[[route]]\nname = \"x\"\nupstream = \"https://u:p@a.example\"", "without a user"),
            (
                "[[route]]\nname = \"x\"\nupstream = \"https://a.example/v1\"",
                "without a user, a path",
            ),
            ("[[route]]\nname = \"x\"\ntoken = \"abc\"", "must not contain a token"),
            ("[[route]]\nname = \"x\"\nidle_timeout = \"11m\"", "not be longer than 10m"),
            ("[[route]]\nname = \"x\"\nmethods = [\"CONNECT\"]", "without CONNECT"),
            ("[[route]]\nname = \"x\"\nsecret = \"a#b\"", "must not select a field"),
            ("[[route]]\nname = \"x\"\nheader = \"X\"", "must be a table such as"),
            ("[[route]]\nname = \"x\"\nsecret = \"a\"\nconvention = \"sms-twilio\"", "keep one"),
        ] {
            let (_, mistakes) = routes(text);
            assert!(mistakes.iter().any(|found| found.contains(expected)), "{text}: {mistakes:?}");
        }
        let (_, mistakes) = routes(&format!("{CRM}bearer = \"api_key\""));
        assert!(mistakes[0].contains("must name a field"), "{mistakes:?}");
        let (_, mistakes) = routes(CRM);
        assert_eq!(
            mistakes,
            ["SIDEKEY_CONFIG: route[1]: the key 'bearer', 'basic' or 'header' is missing"]
        );
    }
}
