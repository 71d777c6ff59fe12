//! Builds the answer to the AWS operation `DescribeSecret`. The answer describes only the versions
//! of the secret that Sidekey has fetched.

use super::epoch_seconds::epoch_seconds;
use crate::cache::entry::Entry;
use crate::secret::version::Version;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The JSON body of the answer to `DescribeSecret`. It has only those members of AWS's answer that
/// Sidekey knows.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<f64>,
    name: &'a str,
    version_ids_to_stages: BTreeMap<&'a str, Vec<&'a str>>,
}

/// Builds the answer to `DescribeSecret` from the current version of the secret and from all its
/// cached `versions`.
pub(in crate::server) fn description(current: &Entry, versions: &[Arc<Entry>]) -> Bytes {
    let Version { arn, name, created, .. } = &current.version;
    let body = Body {
        arn,
        created_date: created.map(epoch_seconds),
        name,
        version_ids_to_stages: stages(current, versions),
    };
    serde_json::to_vec(&body)
        .expect("the description of a secret must be serializable as JSON")
        .into()
}

/// Returns the staging labels (such as AWSCURRENT) of each version of a secret. The key is the
/// version's id.
///
/// If two cached versions have the same label, AWS has moved the label in the meantime. The result
/// then has the label only at one of these versions: at the `current` version, or, if neither is
/// current, at the version that was fetched later.
fn stages<'a>(current: &'a Entry, versions: &'a [Arc<Entry>]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut newest_first: Vec<&Entry> = versions.iter().map(|entry| &**entry).collect();
    newest_first.sort_by_key(|entry| std::cmp::Reverse(entry.asked_at()));
    newest_first.insert(0, current);
    let (mut known_versions, mut used_labels) = (BTreeSet::new(), BTreeSet::new());
    let mut stages = BTreeMap::new();
    for version in newest_first.into_iter().map(|entry| &entry.version) {
        if !known_versions.insert(&*version.id) {
            continue;
        }
        let labels = version.labels().iter().map(|label| &**label);
        let unused: Vec<&str> = labels.filter(|label| used_labels.insert(*label)).collect();
        if !unused.is_empty() {
            stages.insert(&*version.id, unused);
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Policy;
    use crate::clock::Moment;
    use crate::secret::selector::Selector;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details};
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(id: &str, labels: &[&str], sent: u64) -> Arc<Entry> {
        let version = Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123".into(),
            name: "app/db".into(),
            id: id.into(),
            details: Details::Secret {
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
            created: Some(UNIX_EPOCH + Duration::from_millis(1500)),
            content: Content::Text(SecretValue::from("hunter2".to_owned())),
        };
        let sent = Moment { wall: UNIX_EPOCH, steady: Duration::from_secs(sent) };
        Arc::new(Entry::new(version, Selector::current(), Policy::default(), sent, 0, 0.5))
    }

    #[test]
    fn description_equals_that_of_aws_and_has_no_value() {
        let current = entry("v2", &["AWSCURRENT", "BLUE"], 1);
        let cached = [entry("v1", &["AWSPREVIOUS"], 2), current.clone()];
        let body = description(&current, &cached);
        assert_eq!(
            std::str::from_utf8(&body).expect("the body must be UTF-8"),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":1.5,"Name":"app/db","VersionIdsToStages":{"v1":["AWSPREVIOUS"],"v2":["AWSCURRENT","BLUE"]}}"#
        );
    }

    #[track_caller]
    fn check(current: &Entry, versions: &[Arc<Entry>], expected: &[(&str, &[&str])]) {
        let found = stages(current, versions);
        let found: Vec<(&str, &[&str])> = found.iter().map(|(id, all)| (*id, &**all)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn current_and_then_newer_of_contradicting_entries_count() {
        let (old, new) = (entry("v1", &["AWSCURRENT", "OLD"], 1), entry("v2", &["AWSCURRENT"], 2));
        let expected: [(&str, &[&str]); 2] = [("v1", &["OLD"]), ("v2", &["AWSCURRENT"])];
        check(&new, &[old.clone(), new.clone()], &expected);
        check(&new, std::slice::from_ref(&old), &expected);
        check(&old, &[new], &[("v1", &["AWSCURRENT", "OLD"])]);
        let moved = entry("v1", &["AWSPREVIOUS"], 3);
        check(&old, std::slice::from_ref(&moved), &[("v1", &["AWSCURRENT", "OLD"])]);
        let older = entry("v0", &["AWSPREVIOUS"], 2);
        let latest = entry("v3", &["AWSCURRENT"], 4);
        check(&latest, &[older, moved], &[("v1", &["AWSPREVIOUS"]), ("v3", &["AWSCURRENT"])]);
        check(&entry("v1", &[], 2), &[entry("v1", &["AWSCURRENT"], 1)], &[]);
    }
}
