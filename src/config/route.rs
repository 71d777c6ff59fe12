//! The `[[route]]` tables of the configuration file. Each table adds a route (the rules for calls
//! to one external server), or changes a built-in route.

use super::file::ROUTE;
use super::misspelt::nearest;
use super::mistakes::{Mistakes, Problems, Unknown};
use super::route_keys::{Draft, KEYS};
use super::toml_setting::text_of;
use super::variables::CONFIG_FILE;
use crate::broker::built_in;
use crate::broker::route::{Route, Routes, SecretOfRoute};
use crate::cache::withheld::{RouteOfSecrets, SecretsOfRoute};
use crate::convention::Conventions;
use crate::secret::key;
use crate::secret::reference::{Reference, SecretId};
use toml::{Table, Value};

/// The maximum number of `[[route]]` tables in the configuration file.
const TABLES_MAX: usize = 100;

/// Parses the `[[route]]` tables of the configuration file, and returns all routes: the built-in
/// routes, and the routes of the tables. Omits each table with a mistake.
///
/// `listed` are the secrets in `SIDEKEY_SECRETS`. If exactly one of them matches the conventions of
/// a route, calls to this route that name no secret use that secret.
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
    let tables = tables(value, &mut problems.mistakes);
    for (number, table) in (1..).zip(&tables) {
        let name = format!("{}[{number}]", location());
        let is_repeated = |earlier: &Table| {
            table.contains_key("name") && earlier.get("name") == table.get("name")
        };
        if tables[..number - 1].iter().any(is_repeated) {
            let problem =
                "an earlier [[route]] table has the same name; write one table for each route";
            problems.mistakes.add(format!("{name}.name"), problem);
            continue;
        }
        if let Some(route) = read_table(&name, table, conventions, &mut routes, problems) {
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

/// Parses one table. If the table has the name of a route in `routes`, removes this route from
/// `routes`, and uses the settings of the removed route for the keys that the table omits.
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

/// Returns the secrets of each route, for error messages that tell the caller which route to use.
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
    use crate::broker::credential::Credential;
    use hyper::Method;
    use std::time::Duration;

    fn routes(text: &str) -> (Routes, Vec<String>) {
        let mut table: Table = text.parse().expect("the text must be valid TOML");
        let mut problems = Problems::default();
        let listed = |name: &str| {
            let id = SecretId::parse(name).expect("the name must be valid");
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
        let crm = routes.named("crm").expect("the route must exist");
        assert_eq!(crm.upstream, "https://api.crm.example");
        assert_eq!(crm.secret, SecretOfRoute::Own("crm-key/production".into()));
        assert!(matches!(crm.credential, Credential::Basic { .. }));
        assert!(crm.allows_method(&Method::GET) && !crm.allows_method(&Method::POST));
        assert!(crm.allows_path("/v2/x") && !crm.allows_path("/v1/x"));
        assert_eq!(crm.limits.idle, Duration::from_secs(30));
        assert_eq!(routes.names(), "openai, sendgrid, twilio, crm");
    }

    #[test]
    fn user_or_password_of_basic_authentication_can_be_empty() {
        for basic in ["[\"#api_key\", \"\"]", "[\"\", \"#api_key\"]"] {
            let (_, mistakes) = routes(&format!("{CRM}basic = {basic}"));
            assert_eq!(mistakes, [""; 0], "{basic}");
        }
        for basic in ["[\"#api_key\"]", "[\"\", \"\", \"#api_key\"]"] {
            let (_, mistakes) = routes(&format!("{CRM}basic = {basic}"));
            assert!(mistakes[0].contains("a list of two strings"), "{basic}: {mistakes:?}");
        }
    }

    #[test]
    fn table_with_the_name_of_a_built_in_route_changes_that_route() {
        let (routes, mistakes) =
            routes("[[route]]\nname = \"openai\"\nupstream = \"http://127.0.0.1:9000\"");
        assert_eq!(mistakes, [""; 0]);
        let openai = routes.named("openai").expect("the route must exist");
        assert_eq!(openai.upstream, "http://127.0.0.1:9000");
        assert_eq!(&*openai.base_path, "/v1");
        let SecretOfRoute::Kinds { default, .. } = &openai.secret else {
            panic!("the route must use conventions")
        };
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
            ("[[route]]\nname = \"x\"\npaths = []", "route[1].paths: the list is empty"),
            (
                "[[route]]\nname = \"x\"\nheader = { name = \"Host\", value = \"#key\" }",
                "the header 'host' cannot contain a credential",
            ),
            (
                "[[route]]\nname = \"openai\"\n[[route]]\nname = \"openai\"",
                "route[2].name: an earlier [[route]] table has the same name",
            ),
            ("[[route]]\nname = \"x\"\nsecret = \"a\"\nconvention = \"sms-twilio\"", "keep one"),
        ] {
            let (_, mistakes) = routes(text);
            assert!(mistakes.iter().any(|found| found.contains(expected)), "{text}: {mistakes:?}");
        }
        for credential in ["bearer = \"api_key\"", "basic = [\"api_key\", \"\"]"] {
            let (_, mistakes) = routes(&format!("{CRM}{credential}"));
            assert!(mistakes[0].contains("must name a field"), "{mistakes:?}");
        }
        let (_, mistakes) = routes(CRM);
        assert_eq!(
            mistakes,
            ["SIDEKEY_CONFIG: route[1]: the key 'bearer', 'basic' or 'header' is missing"]
        );
    }
}
