//! The routes that exist without configuration, for the built-in conventions.

use super::credential::{Credential, Template};
use super::phantom::Phantom;
use super::route::{Limits, Route, SecretOfRoute};
use hyper::{StatusCode, Uri};

struct Row {
    name: &'static str,
    upstream: &'static str,
    kinds: &'static [&'static str],
    /// The template of the user name for Basic authentication. `None` if the route sends a bearer
    /// token.
    user: Option<&'static str>,
    secret: &'static str,
    path_fields: &'static [&'static str],
    base_path: &'static str,
    token_prefix: &'static str,
}

const ROWS: [Row; 3] = [
    Row {
        name: "openai",
        upstream: "https://api.openai.com",
        kinds: &["openai-api-key"],
        user: None,
        secret: "#ai_api_key",
        path_fields: &[],
        base_path: "/v1",
        token_prefix: "sk-phantom-",
    },
    Row {
        name: "sendgrid",
        upstream: "https://api.sendgrid.com",
        kinds: &["email-sendgrid"],
        user: None,
        secret: "#sendgrid_auth_value",
        path_fields: &[],
        base_path: "",
        // SendGrid's library for Node.js warns about API keys that do not begin with `SG.`.
        token_prefix: "SG.phantom-",
    },
    Row {
        name: "twilio",
        upstream: "https://api.twilio.com",
        kinds: &["whatsapp-twilio", "sms-twilio"],
        user: Some("#twilio_account_sid"),
        secret: "#twilio_auth_token",
        path_fields: &["twilio_account_sid"],
        base_path: "",
        token_prefix: "phantom-",
    },
];

pub(crate) fn routes() -> Vec<Route> {
    ROWS.iter().map(Row::route).collect()
}

impl Row {
    fn route(&self) -> Route {
        let secret = Template::parse(self.secret);
        let boxed = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
        Route {
            name: self.name.into(),
            upstream: Uri::from_static(self.upstream),
            secret: SecretOfRoute::Kinds { kinds: boxed(self.kinds), default: None },
            credential: match self.user {
                Some(user) => Credential::Basic { user: Template::parse(user), password: secret },
                None => Credential::Bearer(secret),
            },
            methods: Vec::new(),
            paths: Vec::new(),
            path_fields: boxed(self.path_fields),
            base_path: self.base_path.into(),
            refused: vec![StatusCode::UNAUTHORIZED],
            limits: Limits::default(),
            phantom: Phantom::generated(self.token_prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Conventions;

    #[test]
    fn built_in_routes_use_kinds_and_fields_of_the_built_in_conventions() {
        let conventions = Conventions::built_in();
        for route in routes() {
            let SecretOfRoute::Kinds { kinds, .. } = &route.secret else {
                panic!("the route {} must name conventions", route.name);
            };
            for kind in kinds {
                let convention =
                    conventions.of_kind(kind).expect("the convention must be built in");
                let confidential: Vec<&str> = convention
                    .fields()
                    .iter()
                    .filter(|field| field.is_secret)
                    .map(|field| field.name())
                    .collect();
                let row =
                    ROWS.iter().find(|row| row.name == &*route.name).expect("the row must exist");
                assert_eq!(confidential, [row.secret.trim_start_matches('#')], "{kind}");
            }
        }
    }
}
