//! Parses the settings, and finds every mistake. This is step 2 of reading the configuration.

use super::credentials;
use super::file::File;
use super::host::Host;
use super::mistakes::{Mistake, Mistakes, Problems};
use super::policy;
use super::raw::{Raw, RawText};
use super::role::{self, RoleTable};
use super::table_list::NamedTable;
use super::values;
use super::variables::Settings;
use super::{conventions, failover, resolve, route};
use crate::broker::route::Routes;
use crate::cache::freshness::Policy;
use crate::cache::policies::{Policies, Rule};
use crate::convention::Conventions;
use crate::message::tenant::{TenantBinding, TenantCheck};
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::role_rules::RoleRules;
use crate::secret::scope::Home;
use crate::secret::service::PerService;
use crate::source::aws::{AssumableRole, Endpoint, Trust};
use crate::tokens::Token;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Value;

/// The parsed values of all settings. A setting with an invalid value has its default value here.
pub(super) struct Resolved {
    pub(super) settings: Settings,
    /// The TTL of each secret, and how long the cache may serve the secret's value after the TTL
    /// has ended.
    pub(super) policies: Policies,
    pub(super) conventions: Arc<Conventions>,
    /// The roles in the tables `[[role]]`.
    pub(super) roles: Vec<AssumableRole>,
    pub(super) role_rules: RoleRules,
    /// The check that a message to `/resolve` names only secrets of its own tenant (customer).
    pub(super) tenant_check: TenantCheck,
    /// The external servers to which the agent forwards calls of programs, with the secrets that it
    /// adds to these calls.
    pub(super) routes: Routes,
    pub(super) tokens: Vec<Token>,
    pub(super) trust: Trust,
    /// The environment variables whose names do not begin with `SIDEKEY_`.
    pub(super) environment: BTreeMap<String, String>,
}

pub(super) fn resolve(raw: Raw, host: Host, problems: &mut Problems) -> Resolved {
    problems.unknown.extend(raw.unknown);
    let mut tables = Tables::read(raw.file, problems);
    let mut settings = typed(raw.texts.iter(), &mut problems.mistakes);
    let allowed_roles = settings.allowed_roles.take();
    let (roles, role_rules) =
        role::resolved(std::mem::take(&mut tables.roles), allowed_roles, &mut problems.mistakes);
    for key in &mut settings.listed.keys {
        key.role = role_rules.role_of_id(&key.id).cloned();
    }
    check_relations(&settings, &mut problems.mistakes);
    problems.warnings.extend(settings.listed.warnings(&settings.scope));
    problems.warnings.extend(settings.listed.role_warnings(&role_rules));
    check_aws_variables(&settings, &raw.environment, &mut problems.mistakes);
    let default_policies = settings.ttl.map(|ttl| Policy {
        ttl: *ttl,
        stale_while_revalidate: settings.stale_while_revalidate,
        stale_if_error: settings.stale_if_error,
        denied_grace: settings.denied_grace,
        ..Policy::default()
    });
    policy::check(&tables.policies, &default_policies, &mut problems.mistakes);
    let conventions = load_conventions(&settings, &tables, problems);
    let routes = route::read(tables.routes, &conventions, &settings.listed.keys, problems);
    let own_token = settings.token.as_deref();
    Resolved {
        policies: policy::resolved(default_policies, tables.policies),
        tenant_check: TenantCheck::new(conventions.clone(), tables.tenant_bindings),
        conventions,
        roles,
        role_rules,
        routes,
        tokens: credentials::tokens(own_token, &raw.environment, host, &mut problems.mistakes),
        trust: trust(&raw.environment, &mut problems.mistakes),
        environment: raw.environment,
        settings,
    }
}

/// Parses the settings in `texts`. Records a mistake for each invalid value, and uses the default
/// value instead.
pub(super) fn typed<'a>(
    texts: impl Iterator<Item = &'a RawText>,
    mistakes: &mut Mistakes,
) -> Settings {
    let mut settings = Settings::default();
    for raw in texts {
        let set = match &raw.text {
            Ok(text) => (raw.key.parse)(&mut settings, text.trim()),
            Err(problem) => Err((*problem).to_owned()),
        };
        mistakes.noted(&raw.name(), set);
    }
    settings
}

pub(super) struct Tables {
    policies: Vec<NamedTable<Rule>>,
    roles: Vec<NamedTable<RoleTable>>,
    tenant_bindings: Vec<TenantBinding>,
    /// The tables `[[route]]`, which are parsed after the conventions, because they refer to
    /// conventions.
    routes: Option<Value>,
}

impl Tables {
    /// Parses the tables `[[policy]]`, `[[role]]` and `[resolve.tenant]` of the configuration file.
    /// Records all mistakes in the file.
    pub(super) fn read(file: Result<File, Mistake>, problems: &mut Problems) -> Self {
        let file = file.unwrap_or_else(|mistake| {
            problems.mistakes.0.push(mistake);
            File::default()
        });
        problems.extend(file.problems);
        let policies = file.policy.map(|value| policy::read(value, problems));
        let roles = file.role.map(|value| role::read(value, problems));
        let tenant_bindings = file
            .resolve
            .map(|value| resolve::read(value, &mut problems.unknown, &mut problems.mistakes));
        Self {
            policies: policies.unwrap_or_default(),
            roles: roles.unwrap_or_default(),
            tenant_bindings: tenant_bindings.unwrap_or_default(),
            routes: file.route,
        }
    }
}

/// Loads the conventions: the patterns for the names of secrets, and the rules for their values.
/// Also checks that each key of the table `[resolve.tenant]` is a placeholder in such a pattern.
pub(super) fn load_conventions(
    settings: &Settings,
    tables: &Tables,
    problems: &mut Problems,
) -> Arc<Conventions> {
    let path = settings.conventions.as_deref();
    let loaded = conventions::load(path, problems);
    resolve::check(&tables.tenant_bindings, &loaded, &mut problems.mistakes);
    Arc::new(loaded)
}

/// Checks the settings whose valid values depend on other settings.
fn check_relations(settings: &Settings, mistakes: &mut Mistakes) {
    let PerService { secrets, parameters } = settings.upstream_timeout;
    if secrets.duration.max(parameters.duration) > settings.reader_wait {
        mistakes.add(
            "SIDEKEY_READER_WAIT",
            "the value must not be shorter than SIDEKEY_UPSTREAM_TIMEOUT (or \
             SECRETS_MANAGER_TIMEOUT_MILLIS, or SSM_PARAMETER_STORE_TIMEOUT_MILLIS); otherwise \
             callers would stop waiting before a call to AWS times out",
        );
    }
    if !settings.allow_http_endpoint {
        for name in exposed_endpoints(settings) {
            mistakes.add(
                name,
                "the URL uses http with a host that is not a loopback address, so secrets would \
                 cross the network unencrypted; use https, or for development with an emulator of \
                 AWS, set SIDEKEY_ALLOW_HTTP_ENDPOINT=true",
            );
        }
    }
    check_listed(settings, mistakes);
}

/// Returns the names of the variables whose endpoint URLs send secrets over the network without
/// encryption.
pub(super) fn exposed_endpoints(settings: &Settings) -> impl Iterator<Item = &'static str> {
    let endpoints = [
        ("SIDEKEY_ENDPOINT", &settings.endpoint),
        ("SIDEKEY_SSM_ENDPOINT", &settings.parameter_store_endpoint),
        ("SIDEKEY_STS_ENDPOINT", &settings.sts_endpoint),
    ];
    endpoints
        .into_iter()
        .filter(|(_, endpoint)| endpoint.as_ref().is_some_and(Endpoint::is_exposed))
        .map(|(name, _)| name)
}

/// Checks that callers may read all secrets and paths in `SIDEKEY_SECRETS`.
fn check_listed(settings: &Settings, mistakes: &mut Mistakes) {
    let unknown_home = Home { region: "".into(), account: None };
    for Key { id, .. } in &settings.listed.keys {
        let problem = match id {
            // ARNs cannot be checked yet, because the agent's own account may be unknown.
            SecretId::Arn(_) => continue,
            _ if settings.scope.may_admit(id, &unknown_home) => continue,
            SecretId::Path(path) => format!(
                "no pattern in SIDEKEY_ALLOW matches all parameters of the path {0}: add the pattern {0}, or remove the path from SIDEKEY_SECRETS",
                path.pattern()
            ),
            SecretId::Name(_) | SecretId::Parameter(_) => format!(
                "no pattern in SIDEKEY_ALLOW matches the secret {}: add a pattern, or remove the secret from SIDEKEY_SECRETS",
                id.as_str()
            ),
        };
        mistakes.add("SIDEKEY_SECRETS", problem);
    }
}

/// Checks the AWS credentials and the region in `environment`, because every call to AWS fails if
/// they are invalid.
fn check_aws_variables(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) {
    credentials::check_aws_credentials(environment, mistakes);
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .find_map(|name| Some((name, environment.get(name)?)));
    let home = settings.region.as_ref().or_else(|| region.map(|(_, text)| text));
    failover::check(settings, home.map(String::as_str), mistakes);
    if let Some((name, text)) = region.filter(|_| settings.region.is_none()) {
        mistakes.noted(name, values::region(text));
    }
}

/// Reads additional root certificates for TLS connections to AWS, from the file whose path is in
/// `AWS_CA_BUNDLE` or `SSL_CERT_FILE`.
fn trust(environment: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Trust {
    let given = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"]
        .into_iter()
        .find_map(|name| environment.get(name).map(|path| (name, path)));
    let Some((name, path)) = given else {
        return Trust::default();
    };
    let trust = std::fs::read(path)
        .map_err(|error| format!("the file {path} cannot be read: {error}"))
        .and_then(|pem| {
            Trust::with_bundle(&pem)
                .map_err(|bad| format!("the file {path} is not a list of root certificates: {bad}"))
        });
    mistakes.noted(name, trust)
}
