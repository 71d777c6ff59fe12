//! Searches for the secrets that match the patterns in `SIDEKEY_SECRETS`, and caches them. A loop
//! makes one search at a time, and then sleeps until the next search is due.

use super::discovery::{Ended, Subject, pages_max};
use super::entry::Entry;
use super::fetched::{Answer, Sent};
use super::slots::Rank;
use super::writer::Writer;
use crate::printable::LogExcerpt;
use crate::secret::key::Key;
use crate::secret::reference::{PARAMETER_PREFIX, SecretId};
use crate::secret::secret_pattern::SecretPattern;
use crate::secret::selector::Selector;
use crate::secret::version::Version;
use crate::source::{BATCH_MAX, FetchError, FetchErrorKind, Found};
use crate::telemetry::metrics::SearchResult;
use std::collections::HashSet;
use std::time::Duration;

/// The longest sleep of the loop. A sleep makes no progress while Lambda freezes the process, so a
/// long sleep would delay a search that became due during the freeze.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Returns whether `SIDEKEY_SECRETS` contains patterns or paths that Sidekey must search for.
pub(crate) fn is_needed(writer: &Writer) -> bool {
    !writer.state().discovery().is_empty()
}

/// Searches for the patterns and paths in `SIDEKEY_SECRETS` until the agent stops.
pub(crate) async fn run(writer: Writer) {
    let state = writer.state();
    loop {
        let changed = state.changed.notified();
        let now = state.clock.now();
        state.detect_restore(now);
        let next = state.discovery().next(now, state.epoch());
        let due = async {
            match next {
                Some((index, Duration::ZERO)) => search(&writer, index).await,
                Some((_, wait)) => state.clock.sleep(wait.min(SLEEP_MAX)).await,
                None => state.clock.sleep(SLEEP_MAX).await,
            }
        };
        let is_due = next.is_some_and(|(_, wait)| wait.is_zero());
        tokio::select! {
            biased;
            () = writer.stopped() => return,
            () = due => {}
            () = changed, if !is_due => {}
        }
    }
}

/// The progress of one search.
#[derive(Debug, Default)]
struct Progress {
    found: HashSet<Key>,
    /// The number of secrets that match the pattern, but that `SIDEKEY_ALLOW` does not allow.
    not_allowed: usize,
    /// The number of secrets for which the cache had no room.
    without_room: usize,
    unreadable: usize,
}

async fn search(writer: &Writer, index: usize) {
    let subject = writer.state().discovery().subject(index);
    match subject {
        Subject::Pattern(pattern) => {
            let mut progress = Progress::default();
            let ended = search_pattern(writer, index, &pattern, &mut progress).await;
            record(writer, index, &pattern, progress, ended);
        }
        Subject::Path(key) => list_path(writer, index, &key).await,
    }
    writer.state().changed.notify_waiters();
}

/// Reads all pages of the secrets that match `pattern`, and caches the secrets. Returns whether the
/// last page was read.
async fn search_pattern(
    writer: &Writer,
    index: usize,
    pattern: &SecretPattern,
    progress: &mut Progress,
) -> Result<bool, FetchError> {
    let state = writer.state();
    let pause = state.discovery().page_pause(index);
    let mut token: Option<Box<str>> = None;
    for _ in 0..pages_max(state.config.entries_max) {
        let (sent, page) = writer.upstream().find(pattern, token.as_deref()).await;
        let page = page?;
        cache(writer, sent, page.found, progress).await?;
        token = page.next;
        if token.is_none() {
            return Ok(true);
        }
        if !pause.is_zero() {
            state.clock.sleep(pause).await;
        }
    }
    Ok(false)
}

/// Caches one page of secrets that a search found. Also fetches the secrets of which the search
/// returned only the name, unless they are cached or their TTL is 0.
async fn cache(
    writer: &Writer,
    sent: Sent,
    found: Vec<Found>,
    progress: &mut Progress,
) -> Result<(), FetchError> {
    let state = writer.state();
    let (mut versions, mut names) = (Vec::new(), Vec::new());
    for found in found {
        let Ok(id) = SecretId::parse(found.name()) else { continue };
        if !state.config.scope.admits(&id, &state.home.load()) {
            progress.not_allowed += 1;
            continue;
        }
        let key = Key::own(id, Selector::current());
        progress.found.insert(key.clone());
        match found {
            Found::Version(version) => versions.push((key, version)),
            Found::Name(_) => names.push(key),
            Found::Unreadable { name, error } => progress.skip(&name, &error),
        }
    }
    progress.without_room += writer.acceptor().accept_found(sent, versions);
    let is_wanted = |key: &Key| {
        let policy = state.config.policies.of_reference(&key.id, &state.home.load());
        let is_cached = state.snapshot.load().exact(key).is_some();
        !is_cached && !policy.ttl.is_zero()
    };
    names.retain(is_wanted);
    for keys in names.chunks(BATCH_MAX) {
        let (keys, left) = keys.split_at(keys.len().min(room(writer)));
        progress.without_room += left.len();
        if !keys.is_empty() {
            fetch(writer, keys, progress).await?;
        }
    }
    Ok(())
}

/// Returns for how many more secrets the cache has room.
fn room(writer: &Writer) -> usize {
    let state = writer.state();
    let snapshot = state.snapshot.load();
    match snapshot.bytes() < state.limits.bytes_max {
        true => state.limits.entries_max.saturating_sub(snapshot.entries().count()),
        false => 0,
    }
}

/// Fetches the values of at most [`BATCH_MAX`] secrets by one call, and caches them. If AWS answers
/// with a permanent error, such as denied access, fetches each secret by its own call.
async fn fetch(writer: &Writer, keys: &[Key], progress: &mut Progress) -> Result<(), FetchError> {
    let slot = writer.state().flights.slot(Rank::FirstTime).await;
    let answers = writer.upstream().fetch_batch_again(keys).await;
    drop(slot);
    match answers {
        Some((_, Err(error))) if error.kind.is_transient() => Err(error),
        Some((sent, Ok(answers))) => {
            let answers = keys.iter().cloned().zip(answers);
            let answers = answers.filter_map(|(key, answer)| Some((key, answer?)));
            accept(writer, sent, answers, progress)
        }
        Some((_, Err(_))) | None => {
            for key in keys {
                let slot = writer.state().flights.slot(Rank::FirstTime).await;
                let started = writer.state().clock.now();
                let (sent, answer) = writer.upstream().fetch_one(key, started).await;
                drop(slot);
                // A search caches only what the secret's own region returns.
                let answer = answer.and_then(Answer::into_home);
                accept(writer, sent, [(key.clone(), answer)], progress)?;
            }
            Ok(())
        }
    }
}

/// Caches the secrets that AWS returned for their names. Returns the first error that a retry may
/// fix, if there is one.
fn accept(
    writer: &Writer,
    sent: Sent,
    answers: impl IntoIterator<Item = (Key, Result<Version, FetchError>)>,
    progress: &mut Progress,
) -> Result<(), FetchError> {
    let mut versions = Vec::new();
    let mut failure = None;
    for (key, answer) in answers {
        match answer {
            Ok(version) => versions.push((key, version)),
            Err(error) if error.kind.is_transient() => failure = failure.or(Some(error)),
            Err(error) => progress.skip(key.id.as_str(), &error),
        }
    }
    progress.without_room += writer.acceptor().accept_found(sent, versions);
    failure.map_or(Ok(()), Err)
}

impl Progress {
    /// Increases the count of unreadable secrets, and logs why the secret `name`, which a search
    /// found, cannot be read.
    fn skip(&mut self, name: &str, error: &FetchError) {
        self.unreadable += 1;
        tracing::debug!(
            secret = %LogExcerpt(name),
            kind = error.kind.label(),
            code = &*error.code,
            "Sidekey cannot read a secret that matches a pattern of SIDEKEY_SECRETS"
        );
    }
}

/// Records and logs the end of a search, and removes from the cache the secrets that no search
/// finds any more.
fn record(
    writer: &Writer,
    index: usize,
    pattern: &SecretPattern,
    progress: Progress,
    outcome: Result<bool, FetchError>,
) {
    let state = writer.state();
    let Progress { found: keys, not_allowed, without_room, unreadable } = progress;
    let found = keys.len();
    let (is_first, is_repeated) = {
        let discovery = state.discovery();
        let failure = outcome.as_ref().err();
        let is_repeated = failure.is_some_and(|error| discovery.has_failed_before(index, error));
        (!discovery.has_succeeded_before(index), is_repeated)
    };
    let pattern = LogExcerpt(pattern.as_str());
    let result = match &outcome {
        Ok(is_complete) => {
            if is_first && found + not_allowed == 0 {
                tracing::warn!(
                    %pattern,
                    "no secret matches a pattern of SIDEKEY_SECRETS; check the pattern, the region \
                     and the account, or create the secrets"
                );
            } else if is_first {
                tracing::info!(
                    %pattern,
                    found,
                    not_allowed,
                    unreadable,
                    "Sidekey found the secrets that match a pattern of SIDEKEY_SECRETS"
                );
            }
            match *is_complete && without_room == 0 {
                true => SearchResult::Complete,
                false => SearchResult::Limited,
            }
        }
        Err(error) => {
            if !is_repeated {
                tracing::warn!(
                    %pattern,
                    kind = error.kind.label(),
                    code = &*error.code,
                    message = %LogExcerpt(&error.message),
                    request_id = error.request_id.as_deref(),
                    hint = error.hint(),
                    "the search for the secrets that match a pattern of SIDEKEY_SECRETS failed; \
                     Sidekey reads these secrets when callers request them"
                );
            }
            match error.kind {
                FetchErrorKind::Denied => SearchResult::Denied,
                _ => SearchResult::Failed,
            }
        }
    };
    let ended = match outcome {
        Ok(true) => Ended::Complete(keys),
        Ok(false) => Ended::Unfinished(keys),
        Err(error) => Ended::Failed(keys, error),
    };
    let is_limited = result == SearchResult::Limited;
    let (gone, count, was_limited) = {
        let now = state.clock.now();
        let (epoch, draw) = (state.epoch(), state.draw());
        let mut discovery = state.discovery();
        let gone = discovery.end(index, ended, now, epoch, draw);
        (gone, discovery.count(), discovery.set_limited(index, is_limited))
    };
    if is_limited && !was_limited {
        tracing::warn!(
            %pattern,
            found,
            without_room,
            "SIDEKEY_CACHE_SIZE or SIDEKEY_CACHE_BYTES leaves no room for all secrets that match a \
             pattern of SIDEKEY_SECRETS; Sidekey reads the others when callers request them; raise \
             the limit, or use a narrower pattern"
        );
    }
    state.metrics.searched(result);
    state.metrics.found_secrets.set(i64::try_from(count).unwrap_or(i64::MAX));
    remove(writer, &gone);
}

/// Lists the parameters under a path again, unless the path was listed in the current interval.
/// Removes the parameters that are not listed any more from the cache.
async fn list_path(writer: &Writer, index: usize, key: &Key) {
    let state = writer.state();
    if state.config.policies.of_reference(&key.id, &state.home.load()).ttl.is_zero() {
        let (ended, draw) = (Ended::Complete(HashSet::new()), state.draw());
        state.discovery().end(index, ended, state.clock.now(), state.epoch(), draw);
        return;
    }
    let cached = state.snapshot.load().exact(key).cloned();
    if let Some(list) = &cached {
        state.discovery().remember(index, parameters(key, list));
    }
    let recent = cached.filter(|list| {
        let age = list.age(state.clock.now(), state.epoch());
        let age = age.filter(|_| list.epoch == state.epoch());
        age.is_some_and(|age| age < state.config.discovery.recent())
    });
    let listed = match recent {
        Some(list) => Ok(list),
        None => match writer.join_or_start(key) {
            Ok((flight, _)) => flight.outcome().await,
            Err(error) => Err(error),
        },
    };
    let draw = state.draw();
    let (ended, at) = match listed {
        Ok(list) => (Ended::Complete(parameters(key, &list).collect()), list.sent),
        Err(error) => (Ended::Failed(HashSet::new(), error), state.clock.now()),
    };
    let gone = state.discovery().end(index, ended, at, state.epoch(), draw);
    remove(writer, &gone);
}

/// Returns the keys of the parameters in `list`, the list of the path `path`.
fn parameters<'a>(path: &'a Key, list: &'a Entry) -> impl Iterator<Item = Key> + 'a {
    let names = list.version.parameters().iter().map(|own| &own.name);
    let ids = names.filter_map(|name| SecretId::parse(&format!("{PARAMETER_PREFIX}{name}")).ok());
    ids.map(|id| Key { id, ..path.clone() })
}

fn remove(writer: &Writer, gone: &[Key]) {
    if gone.is_empty() {
        return;
    }
    tracing::info!(
        secrets = gone.len(),
        "Sidekey removed secrets from its cache, because they match no pattern of SIDEKEY_SECRETS any \
         more"
    );
    writer.acceptor().remove_gone(gone);
}

#[cfg(test)]
mod tests;
