//! What `DescribeSecret` answers, as far as the held versions tell.

use super::value::epoch_seconds;
use crate::cache::entry::Entry;
use crate::secret::version::Version;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// Renders what is known of a secret: its current version, and the labels of all `held` ones.
pub(in crate::server) fn description(current: &Version, held: &[Arc<Entry>]) -> Bytes {
    let body = Body {
        arn: &current.arn,
        created_date: current.created.map(epoch_seconds),
        name: &current.name,
        version_ids_to_stages: stages(held),
    };
    serde_json::to_vec(&body).expect("strings and a number are always JSON").into()
}

/// Returns which labels each version carries. Where entries contradict each other, since a label moved
/// between their calls, the newer call counts. A version without a label is left out, as AWS does.
fn stages(held: &[Arc<Entry>]) -> BTreeMap<&str, Vec<&str>> {
    let mut newest_first: Vec<&Entry> = held.iter().map(|entry| &**entry).collect();
    newest_first.sort_by_key(|entry| std::cmp::Reverse(entry.asked_at()));
    let (mut known, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut stages = BTreeMap::new();
    for version in newest_first.into_iter().map(|entry| &entry.version) {
        if !known.insert(&*version.id) {
            continue;
        }
        let labels = version.labels.iter().map(|label| &**label);
        let free: Vec<&str> = labels.filter(|label| taken.insert(*label)).collect();
        if !free.is_empty() {
            stages.insert(&*version.id, free);
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
    use crate::secret::version::Content;
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(id: &str, labels: &[&str], sent: u64) -> Arc<Entry> {
        let version = Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123".into(),
            name: "app/db".into(),
            id: id.into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
            created: Some(UNIX_EPOCH + Duration::from_millis(1500)),
            content: Content::Text(SecretValue::from("hunter2".to_owned())),
        };
        let sent = Moment { wall: UNIX_EPOCH, steady: Duration::from_secs(sent) };
        Arc::new(Entry::new(version, Selector::current(), Policy::default(), sent, 0, 0.5))
    }

    #[test]
    fn a_description_is_that_of_aws_to_the_byte_and_has_no_value() {
        let current = entry("v2", &["AWSCURRENT", "BLUE"], 1);
        let held = [entry("v1", &["AWSPREVIOUS"], 2), current.clone()];
        let body = description(&current.version, &held);
        assert_eq!(
            std::str::from_utf8(&body).expect("text"),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":1.5,"Name":"app/db","VersionIdsToStages":{"v1":["AWSPREVIOUS"],"v2":["AWSCURRENT","BLUE"]}}"#
        );
    }

    #[track_caller]
    fn check(held: &[Arc<Entry>], expected: &[(&str, &[&str])]) {
        let found = stages(held);
        let found: Vec<(&str, &[&str])> = found.iter().map(|(id, all)| (*id, &**all)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_two_that_contradict_each_other_the_newer_counts() {
        let (old, new) = (entry("v1", &["AWSCURRENT", "OLD"], 1), entry("v2", &["AWSCURRENT"], 2));
        check(&[old.clone(), new.clone()], &[("v1", &["OLD"]), ("v2", &["AWSCURRENT"])]);
        check(&[new, old], &[("v1", &["OLD"]), ("v2", &["AWSCURRENT"])]);
        let moved = [entry("v1", &["AWSCURRENT"], 1), entry("v1", &["AWSPREVIOUS"], 2)];
        check(&moved, &[("v1", &["AWSPREVIOUS"])]);
        check(&[entry("v1", &[], 2), entry("v1", &["AWSCURRENT"], 1)], &[]);
    }
}
