//! Checks the versions of secrets that AWS returns, and stores them in the cache.

use super::entry::Entry;
use super::failover::{self, Cached, explained};
use super::failure::Failure;
use super::fetched::{Replica, Sent};
use super::flight::Outcome;
use super::freshness::{BACK_OFF_MAX, Policy};
use super::logged_versions::LoggedVersions;
use super::malformed::Malformed;
use super::publisher::Publisher;
use super::rollback::Verdict;
use super::snapshot::Snapshot;
use super::state::State;
use super::withheld::Withheld;
use crate::printable::LogExcerpt;
use crate::secret::arn::Arn;
use crate::secret::key::{Key, KeyRef};
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::{PARAMETER_PREFIX, SecretId};
use crate::secret::role::RoleArn;
use crate::secret::version::{Details, Version};
use crate::source::{FetchError, FetchErrorKind};
use std::sync::Arc;
use tokio::sync::Notify;

const HINT: &str =
    "correct the secret's value; docs/configuration.md lists the rules (conventions)";

#[derive(Debug)]
pub(super) struct Acceptor {
    state: Arc<State>,
    publisher: Publisher,
    /// Notified when a cached secret takes more memory than before, so that the cache checks its
    /// memory limit.
    grown: Arc<Notify>,
    logged_versions: LoggedVersions,
}

impl Acceptor {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            publisher: Publisher::new(state.clone()),
            state,
            grown: Arc::default(),
            logged_versions: LoggedVersions::default(),
        }
    }

    /// Waits until a cached secret takes more memory than before. Returns at once if this has
    /// happened since the last call of this function.
    pub(super) async fn grown(&self) {
        self.grown.notified().await;
    }

    pub(super) fn trim(&self) {
        self.publisher.trim();
    }

    /// Caches `version`, which AWS returned for the request `key`, unless the secret's TTL is 0.
    ///
    /// Returns an error if `version` is not what `key` asks for, if `SIDEKEY_ALLOW` does not allow
    /// the secret, or if a newer version is cached.
    pub(super) fn accept(&self, key: &Key, sent: Sent, version: Version) -> Outcome {
        if let (SecretId::Path(path), Details::Path(parameters)) = (&key.id, &version.details) {
            return self.accept_path(key, path, sent, parameters);
        }
        let entry = self.judged(key, sent, version)?;
        if entry.policy.ttl.is_zero() {
            self.publisher.remove(&entry);
            return Ok(entry);
        }
        Ok(self.publisher.publish(key, entry))
    }

    /// Caches the version that a replica returned for the request `key`, unless the secret's TTL is
    /// 0.
    ///
    /// The call to the home region (the agent's own region) has failed. Returns the error of that
    /// call if the cache may not use the replica's version, for example because a newer version is
    /// cached.
    pub(super) fn accept_replica(&self, key: &Key, sent: Sent, replica: Replica) -> Outcome {
        let state = &self.state;
        let Replica { version, region, home } = replica;
        let region_name = String::from_utf8_lossy(&region).into_owned();
        let arn = match self.checked(key, &version) {
            Ok(arn) => arn,
            Err(error) => return Err(explained(home, &region_name, &error)),
        };
        let snapshot = state.snapshot.load();
        let now = state.clock.now();
        state.detect_restore(now);
        // The cache may not know yet that the name in `key` belongs to this ARN, or may know the
        // name under another ARN, because the secret was created again.
        let by_arn = KeyRef { id: &version.arn, ..KeyRef::from(key) };
        let cached = snapshot.exact(by_arn).or_else(|| snapshot.exact(key));
        let judged = cached.map(|entry| Cached {
            version: &entry.version,
            freshness: entry.freshness(now, state.epoch()),
            is_refused: entry.marks.is_refused(),
        });
        // A newer version may have been fetched by its id or by another label.
        let versions = snapshot.secret(by_arn).map_or(&[][..], |secret| secret.entries());
        let is_outdated = versions.iter().any(|own| {
            key.selector.selects(&own.selector, &own.version)
                && version.id != own.version.id
                && version.is_older_than(&own.version)
        });
        let verdict = match failover::judge(judged.as_ref(), &version) {
            failover::Verdict::Accept if is_outdated => failover::Verdict::Older,
            verdict => verdict,
        };
        if verdict != failover::Verdict::Accept {
            if let Some(cached) = cached {
                self.publisher.publish(key, cached.clone());
            }
            let older = FetchError::new(FetchErrorKind::Lagging, "StaleAnswer", "");
            return Err(match verdict {
                failover::Verdict::Older => explained(home, &region_name, &older),
                failover::Verdict::Accept | failover::Verdict::Unneeded => home,
            });
        }
        tracing::warn!(
            secret = %LogExcerpt(&version.name),
            kind = home.kind.label(),
            code = &*home.code,
            region = region_name,
            "the region of a secret failed, so Sidekey read the secret's replica in another region"
        );
        let policy = self.policy(key, &arn, &version);
        let previous = match cached {
            Some(cached) => cached.marks.failure(),
            None => state.failure(key),
        };
        let failure = Failure::after(previous.as_deref(), home, now, BACK_OFF_MAX, sent.draw);
        let entry = self.entry(key, sent, version, policy, &snapshot);
        let entry = Arc::new(entry.with_replica(region, failure));
        if entry.policy.ttl.is_zero() {
            self.publisher.remove(&entry);
            return Ok(entry);
        }
        Ok(self.publisher.publish(key, entry))
    }

    /// Caches the list of parameters that AWS returned for `path`, and each parameter by its name.
    ///
    /// Omits parameters that `SIDEKEY_ALLOW` does not allow, and parameters that callers cannot
    /// read because only a route (calls to one external API) uses them. If AWS returned an older
    /// version of a parameter than the cached version, keeps the cached list, and returns an error.
    /// If no list is cached, caches a list with the cached version of the parameter.
    fn accept_path(
        &self,
        key: &Key,
        path: &ParameterPath,
        sent: Sent,
        parameters: &[Version],
    ) -> Outcome {
        let state = &self.state;
        let mut listed = Vec::with_capacity(parameters.len());
        let mut entries = Vec::new();
        let mut lagging = None;
        for version in parameters {
            let name = format!("{PARAMETER_PREFIX}{}", version.name);
            let Ok(id) = SecretId::parse(&name) else { continue };
            if !path.contains(&version.name) {
                continue;
            }
            let key = Key { id, ..key.clone() };
            if path.filters().is_some() {
                // A filter can select an older version by its label, so this version must not
                // answer requests by name.
                let is_listed = self.checked(&key, version).is_ok() && !self.is_use_only(version);
                listed.extend(is_listed.then(|| version.clone()));
                continue;
            }
            match self.judged(&key, sent, version.clone()) {
                Ok(entry) => {
                    if !self.is_use_only(version) {
                        listed.push(entry.version.clone());
                    }
                    state.negative.forget(&key);
                    // Only the list was requested, so the parameter is evicted before secrets that
                    // were read.
                    entry.marks.set_unread();
                    entries.extend((!entry.policy.ttl.is_zero()).then_some((key, entry)));
                }
                Err(error) if error.kind == FetchErrorKind::Lagging => {
                    let snapshot = state.snapshot.load();
                    let newer = snapshot.exact(&key);
                    let newer = newer.filter(|_| !self.is_use_only(version));
                    listed.extend(newer.map(|newer| newer.version.clone()));
                    lagging = Some(error);
                }
                Err(_) => {}
            }
        }
        self.publisher.publish_all(&entries);
        let snapshot = state.snapshot.load();
        let has_list = snapshot.exact(key).is_some();
        if let Some(error) = lagging.filter(|_| has_list) {
            return Err(error);
        }
        let version = Version::of_path(path, listed);
        let home = state.home.load();
        let home = home.of_role(key.role.as_ref());
        let policy = state.config.policies.of_reference(&key.id, &home);
        let entry = Arc::new(self.entry(key, sent, version, policy, &snapshot));
        Ok(match policy.ttl.is_zero() {
            true => entry,
            false => self.publisher.publish(key, entry),
        })
    }

    /// Caches the secrets that a search found, until the cache is full. Evicts no other secret.
    /// Returns the number of secrets for which the cache had no room.
    ///
    /// Omits secrets that `SIDEKEY_ALLOW` does not allow, and secrets of which a newer version is
    /// cached.
    pub(super) fn accept_found(&self, sent: Sent, found: Vec<(Key, Version)>) -> usize {
        let mut entries = Vec::with_capacity(found.len());
        for (key, version) in found {
            let Ok(entry) = self.judged(&key, sent, version) else { continue };
            if !entry.policy.ttl.is_zero() {
                self.state.negative.forget(&key);
                // No request has asked for the secret, so it is evicted before secrets that were
                // read.
                entry.marks.set_unread();
                entries.push((key, entry));
            }
        }
        match entries.is_empty() {
            true => 0,
            false => self.publisher.publish_in_free_room(&entries),
        }
    }

    /// Removes the secrets and parameters `gone` from the cache, unless `SIDEKEY_SECRETS`
    /// lists them by name or ARN.
    pub(super) fn remove_gone(&self, gone: &[Key]) {
        self.publisher.remove_gone(gone);
    }

    /// Returns the ARN in the answer `version` of AWS. Returns an error if `version` is not what
    /// `key` asks for, or if `SIDEKEY_ALLOW` does not allow the secret.
    fn checked(&self, key: &Key, version: &Version) -> Result<Arn, FetchError> {
        let state = &self.state;
        let arn = Arn::parse(&version.arn).map_err(|_| {
            let message = "AWS returned a secret or parameter without a valid ARN";
            FetchError::new(FetchErrorKind::Unreadable, "ConnectionError", message)
        })?;
        if !key.is_answered_by(version, &arn) || is_of_another_account(key, &arn) {
            let message = "AWS returned another secret or version than Sidekey requested";
            return Err(FetchError::new(FetchErrorKind::Mismatched, "MismatchedAnswer", message));
        }
        // The ARN of a public parameter, which AWS itself owns, contains no account.
        if key.role.is_none() && !key.id.is_arn() && !arn.account().is_empty() {
            state.learn_account(arn.account());
        }
        let home = state.home.load();
        let home = home.of_role(key.role.as_ref());
        match state.config.scope.admits_answer(&arn, &version.name, &home) {
            true => Ok(arn),
            false => Err(out_of_scope()),
        }
    }

    /// Makes the cache entry for `version`, which AWS returned for the request `key`. Returns an
    /// error under the same conditions as [`accept`](Self::accept).
    fn judged(&self, key: &Key, sent: Sent, version: Version) -> Outcome {
        let state = &self.state;
        let arn = self.checked(key, &version)?;
        let snapshot = state.snapshot.load();
        let now = state.clock.now();
        state.detect_restore(now);
        // Search by the ARN that AWS returned, because the cache may not know yet that the name in
        // `key` belongs to this ARN.
        let by_arn = KeyRef { id: &version.arn, ..KeyRef::from(key) };
        if let Some(older) = snapshot.exact(by_arn)
            && older.judge(&version, now, state.epoch()) == Verdict::HoldBack
        {
            if snapshot.secret(key).is_none_or(|secret| *secret.arn != *version.arn) {
                self.publisher.publish(key, older.clone());
            }
            let message = "AWS returned an older version of the secret than the cached version";
            return Err(FetchError::new(FetchErrorKind::Lagging, "StaleAnswer", message));
        }
        let policy = self.policy(key, &arn, &version);
        Ok(Arc::new(self.entry(key, sent, version, policy, &snapshot)))
    }

    /// Returns the refresh policy of `version`, whose full ARN is `arn`, and stores it for `key`.
    fn policy(&self, key: &Key, arn: &Arn, version: &Version) -> Policy {
        let state = &self.state;
        let home = state.home.load();
        let home = home.of_role(key.role.as_ref());
        let policy = state.config.policies.of_answer(arn, &version.name, &home);
        state.learn_policy(key, policy);
        policy
    }

    fn entry(
        &self,
        key: &Key,
        sent: Sent,
        version: Version,
        policy: Policy,
        snapshot: &Snapshot,
    ) -> Entry {
        let malformed = self.check_convention(key, snapshot, &version);
        let broken = malformed.clone().filter(|malformed| malformed.is_withheld);
        let own = if broken.is_some() { policy.of_withheld() } else { policy };
        let withheld = match self.use_only_route(&version) {
            Some(route) => Some(Withheld::UseOnly(route)),
            None => broken.map(Withheld::Malformed),
        };
        Entry::new(version, key.selector.clone(), own, sent.moment, sent.epoch, sent.draw)
            .with_role(key.role.clone())
            .with_malformed(malformed)
            .with_withheld(withheld)
            .with_grown(self.grown.clone())
    }

    fn is_use_only(&self, version: &Version) -> bool {
        self.use_only_route(version).is_some()
    }

    /// Returns the path of the route (calls to one external API) that uses the secret `version`, if
    /// no caller can read this secret. Returns `None` if callers can read it.
    fn use_only_route(&self, version: &Version) -> Option<Arc<str>> {
        let state = &self.state;
        let use_only = state.config.use_only.as_ref()?;
        use_only.route_of(version, &state.config.conventions)
    }

    /// Returns how the value of `version` breaks the rules for secrets of this name, or `None` if
    /// the value follows the rules. Logs each version that breaks the rules only once.
    fn check_convention(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        version: &Version,
    ) -> Option<Arc<Malformed>> {
        if !matches!(version.details, Details::Secret { .. }) {
            return None;
        }
        let by_arn = KeyRef { id: &version.arn, ..KeyRef::from(key) };
        let cached = snapshot.secret(by_arn).map_or(&[][..], |secret| secret.entries());
        if let Some(known) = cached.iter().find(|entry| entry.version.is_same_as(version)) {
            return known.malformed.clone();
        }
        let config = &self.state.config;
        let found = Malformed::find(&config.conventions, version, config.is_strict)?;
        if self.logged_versions.insert(&version.arn, &version.id) {
            tracing::warn!(
                secret = %LogExcerpt(&version.name),
                version = %LogExcerpt(&version.id),
                kind = found.kind(),
                problems = found.codes(),
                withheld = found.is_withheld,
                hint = HINT,
                "the value of a secret breaks the convention (the rules) for secrets of this name"
            );
        }
        Some(Arc::new(found))
    }
}

pub(super) fn out_of_scope() -> FetchError {
    let message = "Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret";
    FetchError::new(FetchErrorKind::OutOfScope, "AccessDeniedException", message)
}

/// Returns whether `key` has a role and a plain name, but AWS returned a secret (`arn`) of another
/// account than the role's account. With a role, a plain name means a secret of the role's account.
fn is_of_another_account(key: &Key, arn: &Arn) -> bool {
    let is_foreign = |role: &RoleArn| arn.account() != role.account();
    !key.id.is_arn() && !arn.account().is_empty() && key.role.as_ref().is_some_and(is_foreign)
}

#[cfg(test)]
mod tests;
