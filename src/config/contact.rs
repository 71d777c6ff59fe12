//! Where a program finds its agent, and what opens the agent's gate.

use super::vars::Vars;
use super::{Host, Mistakes, load, variables};
use crate::client::Address;
use crate::tokens::Token;
use std::net::{Ipv4Addr, SocketAddr};

/// The variables that say where the agent is and what it wants to see. A mistake in another is the
/// agent's own matter.
const TELLING: [&str; 8] = [
    "SIDEKEY_PORT",
    "SIDEKEY_SOCKET",
    "SIDEKEY_TOKEN",
    "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT",
    "AWS_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    variables::CONFIG_FILE,
];

/// Where the agent is, and what to show it.
#[derive(Debug)]
pub struct Contact {
    /// The Unix socket where one is named, else the port on 127.0.0.1.
    pub address: Address,
    /// The first of the tokens that the agent accepts, if any is known.
    pub token: Option<Token>,
    /// The agent's port, which a token that it has made itself is filed under, also where it is asked
    /// by its socket.
    pub port: u16,
}

/// Reads from the agent's own variables where it is.
///
/// # Errors
///
/// Where one of them is mistaken.
pub fn contact(vars: &dyn Vars, host: Host) -> Result<Contact, Mistakes> {
    let loaded = load(vars, host);
    let (listen, tokens) = (loaded.config.listen, loaded.config.tokens);
    let told = loaded.mistakes.0.into_iter();
    let mut mistakes = Mistakes(told.filter(|told| TELLING.contains(&&*told.name)).collect());
    let address = match listen.socket {
        Some(path) => Address::Socket(path),
        None => Address::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port))),
    };
    if matches!(address, Address::Loopback(at) if at.port() == 0) {
        mistakes.add("SIDEKEY_PORT", "0 is any free port, and nobody finds an agent there");
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(Contact { address, token: tokens.into_iter().next(), port: listen.port })
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
    fn the_agents_own_variables_say_where_it_is() {
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
    fn only_mistakes_in_those_matter() {
        check(&[("SIDEKEY_TTL", "soon"), ("SIDEKEY_TTTL", "5m")], "127.0.0.1:2773", None);
        for (name, value) in
            [("SIDEKEY_PORT", "x"), ("SIDEKEY_PORT", "0"), ("SIDEKEY_TOKEN", "file:///nonexistent")]
        {
            let told = read(&[(name, value)], Host::Standalone).expect_err("a mistake");
            assert!(told.starts_with(name), "{told}");
        }
        let told = read(&[], Host::Lambda).expect_err("no token");
        assert!(told.starts_with("SIDEKEY_TOKEN: no token is known"), "{told}");
    }
}
