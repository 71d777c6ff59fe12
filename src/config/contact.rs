//! Reads the address and the token with which a program on the same machine calls the agent.

use super::host::Host;
use super::mistakes::Mistakes;
use super::vars::Vars;
use super::{credentials, raw, settings, toml_place};
use crate::client::Address;
use crate::tokens::Token;
use std::net::{Ipv4Addr, SocketAddr};

/// The variables that set the agent's address and token. Commands that call the agent, such as
/// `sidekey get`, ignore mistakes in all other variables.
const VARIABLES: [&str; 4] =
    ["SIDEKEY_PORT", "SIDEKEY_SOCKET", "SIDEKEY_TOKEN", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"];

/// The address of a running agent, and a token that the agent accepts.
#[derive(Debug)]
pub struct Contact {
    /// The Unix socket of the agent if a socket is configured, otherwise the agent's port on
    /// 127.0.0.1.
    pub(crate) address: Address,
    pub(crate) token: Option<Token>,
    /// Whether `token` comes from `SIDEKEY_TOKEN`. If not, `token` comes from another variable,
    /// such as `AWS_SESSION_TOKEN`, or is `None`.
    is_token_own: bool,
    /// The configured port of the agent. It is needed even if `address` is a Unix socket, because the
    /// name of the file with the agent's generated token contains the port.
    pub(crate) port: u16,
}

impl Contact {
    /// Replaces `token` by the token that the agent itself generated, unless the user set
    /// `SIDEKEY_TOKEN`. The function `generated_token` gets the agent's port and returns the
    /// generated token.
    ///
    /// An agent generates a token only if it found no token in its own environment variables. So
    /// the generated token has priority over a variable of the caller such as `AWS_SESSION_TOKEN`.
    pub(crate) fn or_generated(
        mut self,
        generated_token: impl FnOnce(u16) -> Option<Token>,
    ) -> Self {
        if !self.is_token_own {
            self.token = generated_token(self.port).or(self.token);
        }
        self
    }
}

/// Reads the address and the token of a running agent from the environment variables in `vars`, and
/// from the TOML file whose path is in `SIDEKEY_CONFIG`.
///
/// # Errors
///
/// Returns an error if the address or the token has a mistake, or if the TOML file cannot be read.
pub fn contact(vars: &dyn Vars, host: Host) -> Result<Contact, Mistakes> {
    let raw = raw::read(vars, host);
    let (files, unread) = match raw.file {
        Ok(file) => (file.problems.files, None),
        Err(mistake) => (Vec::new(), Some(mistake)),
    };
    let mut mistakes = Mistakes(unread.into_iter().collect());
    let texts = raw.texts.iter().filter(|text| VARIABLES.contains(&text.key.name));
    let settings = settings::typed(texts, &mut mistakes);
    let tokens =
        credentials::tokens(settings.token.as_deref(), &raw.environment, host, &mut mistakes);
    let address = match settings.socket {
        Some(path) => Address::Socket(path),
        None => Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port))),
    };
    if matches!(address, Address::Loopback(address) if address.port() == 0) {
        let problem = "the value 0 makes the agent choose a free port, which this command cannot know; set SIDEKEY_PORT to another number";
        mistakes.add("SIDEKEY_PORT", problem);
    }
    if !mistakes.is_empty() {
        toml_place::add_places(&mut mistakes, &files);
        return Err(mistakes);
    }
    Ok(Contact {
        address,
        token: tokens.into_iter().next(),
        is_token_own: settings.token.is_some(),
        port: settings.port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(pairs: &[(&str, &str)], host: Host) -> Result<(String, Option<String>), String> {
        let vars: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = |token: Token| String::from_utf8_lossy(token.reveal()).into_owned();
        contact(&vars, host)
            .map(|contact| (contact.address.to_string(), contact.token.map(text)))
            .map_err(|mistakes| mistakes.to_string())
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], address: &str, token: Option<&str>) {
        let expected = Ok((address.to_owned(), token.map(str::to_owned)));
        assert_eq!(read(pairs, Host::Standalone), expected);
    }

    #[test]
    fn address_and_token_come_from_the_variables_of_the_agent() {
        check(&[], "127.0.0.1:2773", None);
        check(&[("SIDEKEY_PORT", "99")], "127.0.0.1:99", None);
        check(&[("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "98")], "127.0.0.1:98", None);
        check(&[("SIDEKEY_PORT", "99"), ("SIDEKEY_SOCKET", "/run/s/s")], "/run/s/s", None);
        let session = ("AWS_SESSION_TOKEN", "session");
        check(&[session], "127.0.0.1:2773", Some("session"));
        check(&[session, ("AWS_TOKEN", "aws")], "127.0.0.1:2773", Some("aws"));
        check(&[session, ("SIDEKEY_TOKEN", "own")], "127.0.0.1:2773", Some("own"));
        let container = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container");
        check(&[container], "127.0.0.1:2773", Some("container"));
    }

    #[test]
    fn generated_token_is_used_unless_the_user_set_one() {
        for (set, expected) in [
            (None, "generated at 2773"),
            (Some("AWS_SESSION_TOKEN"), "generated at 2773"),
            (Some("AWS_TOKEN"), "generated at 2773"),
            (Some("SIDEKEY_TOKEN"), "set"),
        ] {
            let set = set.map(|name| (name.to_owned(), "set".to_owned()));
            let vars: BTreeMap<String, String> = set.into_iter().collect();
            let contact = contact(&vars, Host::Standalone).expect("the variables must be valid");
            let contact =
                contact.or_generated(|port| Token::new(format!("generated at {port}")).ok());
            let token = contact.token.expect("the contact must have one of the two tokens");
            assert_eq!(token.reveal(), expected.as_bytes(), "{vars:?}");
        }
        let contact = contact(&BTreeMap::new(), Host::Standalone)
            .expect("a configuration without variables must be valid");
        assert!(contact.or_generated(|_| None).token.is_none());
    }

    #[test]
    fn only_mistakes_in_address_and_token_matter() {
        check(&[("SIDEKEY_TTL", "soon"), ("SIDEKEY_TTTL", "5m")], "127.0.0.1:2773", None);
        for (name, value) in [
            ("SIDEKEY_PORT", "x"),
            ("SIDEKEY_PORT", "0"),
            ("SIDEKEY_TOKEN", "file:///nonexistent"),
            ("SIDEKEY_CONFIG", "/nonexistent"),
        ] {
            let mistakes = read(&[(name, value)], Host::Standalone)
                .expect_err("an invalid variable must be reported as a mistake");
            assert!(mistakes.starts_with(name), "{mistakes}");
        }
        let mistakes = read(&[], Host::Lambda)
            .expect_err("on Lambda, a missing token must be reported as a mistake");
        assert!(mistakes.starts_with("SIDEKEY_TOKEN: no token is configured"), "{mistakes}");
    }
}
