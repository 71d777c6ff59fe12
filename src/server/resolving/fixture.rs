//! Secrets for the tests of `/resolve`.

use crate::cache::entry::Entry;
use crate::cache::freshness::Policy;
use crate::cache::{How, Served};
use crate::clock::Moment;
use crate::secret::selector::Selector;
use crate::secret::version::{Content, Details, Version};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Returns a secret with this value, as the cache returns it for a read.
pub(super) fn served(content: Content) -> Served {
    let version = Version {
        arn: "arn".into(),
        name: "app/db".into(),
        id: "v1".into(),
        details: Details::Secret { labels: Vec::new() },
        created: None,
        content,
    };
    let sent = Moment { wall: UNIX_EPOCH, steady: Duration::ZERO };
    let entry = Entry::new(version, Selector::current(), Policy::default(), sent, 0, 0.5);
    Served { entry: Arc::new(entry), how: How::Hit, age: Duration::ZERO }
}

pub(super) fn text(text: &str) -> Content {
    Content::Text(text.to_owned().into())
}
