//! Finds the secret of a call, and makes the credential from it.

use super::failure::Failure;
use crate::broker::credential::{Made, Secret, path_text};
use crate::broker::headers::{REFERENCE, TENANT};
use crate::broker::refusal::CallRefusal;
use crate::broker::route::{Route, SecretOfRoute};
use crate::broker::target::{self, Address, BadTarget};
use crate::cache::Served;
use crate::cache::withheld::Withheld;
use crate::clock::Moment;
use crate::convention::Conventions;
use crate::message::tenant::{Tenant, TenantCheck};
use crate::secret::reference::{BorrowedReference, SeparateParts};
use crate::server::context::Context;
use crate::server::lookup::{Wanted, find, find_since};
use crate::server::problem::Problem;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::pin::pin;

/// The parts of the agent that are needed to find the secret for a call to another server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder<'a> {
    pub(super) context: &'a Context,
    pub(super) conventions: &'a Conventions,
    pub(super) tenant_check: &'a TenantCheck,
}

/// The secret for a call to another server, and the credential that was made from this secret.
#[derive(Debug)]
pub(super) struct CallSecret {
    reference: String,
    served: Served,
    pub(super) made: Made,
}

impl Finder<'_> {
    /// Reads the secret for a call to another server, and makes the credential from it. The call
    /// began at `started`.
    ///
    /// # Errors
    ///
    /// Fails if neither the call nor its route (the rules for one external API) names a secret, or
    /// if the route or the caller's tenant must not use the secret. Also fails if the secret cannot
    /// be read, or is not a valid credential.
    pub(super) async fn find(
        self,
        route: &Route,
        address: &Address<'_>,
        headers: &HeaderMap,
        started: Moment,
    ) -> Result<CallSecret, Failure> {
        let named = named(address, headers)?;
        let reference: String = match (&route.secret, &named) {
            (SecretOfRoute::Own(_), Some(_)) => return Err(CallRefusal::OwnSecret.into()),
            (SecretOfRoute::Own(own), None) => own.to_string(),
            (SecretOfRoute::Kinds { .. }, Some(named)) => named.to_string(),
            (SecretOfRoute::Kinds { default, .. }, None) => {
                default.as_deref().ok_or(CallRefusal::NoReference)?.to_owned()
            }
        };
        let wanted = self.wanted(&reference)?;
        let id = wanted.owned_key()?.id;
        if !route.secret.may_include(&id, self.conventions) {
            return Err(CallRefusal::OtherKind.into());
        }
        let tenant = named.is_some().then(|| tenant(self.tenant_check, headers));
        if let Some(tenant) = &tenant {
            self.tenant_check.check(&id, tenant).map_err(|_| CallRefusal::Tenant)?;
        }
        let served = find_since(&self.context.cache, &wanted, started).await?;
        if let Some(tenant) = &tenant {
            let name = &served.entry.version.name;
            self.tenant_check.check_answer(name, tenant).map_err(|_| CallRefusal::Tenant)?;
        }
        let made = self.credential(route, &served)?;
        Ok(CallSecret { reference, served, made })
    }

    fn wanted<'w>(&'w self, reference: &'w str) -> Result<Wanted<'w>, Problem> {
        let parsed = BorrowedReference::parse(reference, SeparateParts::default())
            .map_err(|bad| Problem::reference(reference, bad))?;
        Wanted::new(self.context, None, parsed)
    }

    fn credential(self, route: &Route, served: &Served) -> Result<Made, Failure> {
        if let Some(Withheld::Malformed(malformed)) = &served.entry.withheld {
            return Err(Problem::Malformed(malformed.clone()).into());
        }
        let name = &served.entry.version.name;
        if !route.secret.includes(name, self.conventions) {
            return Err(CallRefusal::OtherKind.into());
        }
        let convention = self.conventions.of_name(name).map(|(convention, _)| convention);
        let fields = convention.iter().flat_map(|convention| convention.fields());
        let confidential: Vec<&str> =
            fields.filter(|field| field.is_secret).map(|field| field.name()).collect();
        let secret = Secret { confidential: &confidential, ..parts(served) };
        let made = route.credential.make(&secret, &route.path_fields);
        Ok(made.map_err(CallRefusal::Credential)?)
    }

    /// Reads the secret for a call again, and returns the secret if it has another version than
    /// `used`. If the cache has no other version, fetches the secret from AWS, but at most once a
    /// second.
    ///
    /// Returns `None` if the secret has not changed, or if it cannot be read.
    pub(super) async fn changed(self, route: &Route, used: &CallSecret) -> Option<CallSecret> {
        let cache = &self.context.cache;
        let wanted = self.wanted(&used.reference).ok()?;
        let is_other = |served: &Served| served.entry.version.id != used.served.entry.version.id;
        let mut fetching = pin!(find(cache, &wanted, true));
        let served = loop {
            // The waiter is registered before the cache is read, so that no change between the two
            // steps is missed.
            let changed = cache.changed();
            if let Some(served) = cache.lookup(wanted.key()).filter(is_other) {
                break served;
            }
            tokio::select! {
                biased;
                fetched = &mut fetching => break fetched.ok().filter(is_other)?,
                () = changed => {}
            }
        };
        let made = self.credential(route, &served).ok()?;
        Some(CallSecret { reference: used.reference.clone(), served, made })
    }
}

impl CallSecret {
    /// Returns `path` with each `{field}` replaced by this field of the secret.
    pub(super) fn filled_path<'a>(
        &self,
        route: &Route,
        path: &'a str,
    ) -> Result<Cow<'a, str>, CallRefusal> {
        let secret = parts(&self.served);
        target::fill(path, &route.path_fields, |field| path_text(&secret, field))
            .map_err(CallRefusal::Credential)
    }
}

fn parts(served: &Served) -> Secret<'_> {
    let entry = &served.entry;
    Secret {
        content: &entry.version.content,
        fields: entry.fields(),
        problems: entry.malformed.as_ref().map_or(&[], |malformed| malformed.problems()),
        confidential: &[],
    }
}

/// Returns the name or ARN of the secret that a call contains in its path or in a header. Returns
/// `None` if the call contains neither.
fn named<'a>(
    address: &'a Address<'_>,
    headers: &'a HeaderMap,
) -> Result<Option<Cow<'a, str>>, CallRefusal> {
    let mut values = headers.get_all(REFERENCE).iter();
    let in_header = values.next().map(|value| value.to_str());
    let in_header = in_header.transpose().map_err(|_| CallRefusal::Target(BadTarget::Reference))?;
    match (&address.reference, in_header) {
        (Some(_), Some(_)) => Err(CallRefusal::ReferenceTwice),
        _ if values.next().is_some() => Err(CallRefusal::ReferenceTwice),
        (Some(in_path), None) => Ok(Some(Cow::Borrowed(in_path))),
        (None, in_header) => Ok(in_header.map(Cow::Borrowed)),
    }
}

/// Returns the tenant (a customer) that a call names in the header `X-Sidekey-Tenant`, such as
/// `company_name=acme`. `&` separates several tenant fields. Their values are percent-encoded.
fn tenant(check: &TenantCheck, headers: &HeaderMap) -> Tenant {
    let Some(text) = headers.get(TENANT).and_then(|value| value.to_str().ok()) else {
        return Tenant::without_message();
    };
    let value_of = |placeholder: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == placeholder)?;
        percent_decode_str(value).decode_utf8().ok().map(|value| value.into_owned().into())
    };
    Tenant::from_texts(check.placeholders().map(value_of).collect())
}
