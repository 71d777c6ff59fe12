//! The groups of metrics that `SIDEKEY_EMF` can select.

/// A group of metrics that `SIDEKEY_EMF` can select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Reads of secrets, by result.
    Reads,
    /// The duration of reads: the median, and the duration of the slowest read.
    Latency,
    /// Calls to AWS, by outcome.
    Upstream,
    /// Requests that Sidekey refused.
    Refusals,
    /// The state of the cache.
    Cache,
    /// The versions of secrets that callers got.
    Versions,
    /// Calls that Sidekey passes on to external APIs, through routes.
    Routes,
}

impl Group {
    /// All groups, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Reads,
        Self::Latency,
        Self::Upstream,
        Self::Refusals,
        Self::Cache,
        Self::Versions,
        Self::Routes,
    ];

    /// Returns the name of this group in `SIDEKEY_EMF`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Latency => "latency",
            Self::Upstream => "upstream",
            Self::Refusals => "refusals",
            Self::Cache => "cache",
            Self::Versions => "versions",
            Self::Routes => "routes",
        }
    }
}

/// The groups of metrics that Sidekey writes for CloudWatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Parses the value of `SIDEKEY_EMF`. `items` is `on` alone, `off` alone, or a list of names of
    /// groups.
    ///
    /// # Errors
    ///
    /// Returns an error message that contains every unknown item.
    pub(crate) fn parse<'a>(items: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let items: Vec<&str> = items.collect();
        match items[..] {
            ["on"] => return Ok(Self(Group::ALL.to_vec())),
            ["off"] => return Ok(Self::default()),
            _ => {}
        }
        let of_name = |name: &&str| Group::ALL.into_iter().find(|group| group.label() == *name);
        let unknown: Vec<&str> =
            items.iter().copied().filter(|item| of_name(item).is_none()).collect();
        if unknown.is_empty() && !items.is_empty() {
            return Ok(Self(items.iter().filter_map(of_name).collect()));
        }
        let names = Group::ALL.map(Group::label).join(", ");
        let expected = format!("the value must be on, off, or a list of these groups: {names}");
        Err(match unknown[..] {
            [] => expected,
            _ => format!("{expected}; unknown: {}", unknown.join(", ")),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, group: Group) -> bool {
        self.0.contains(&group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Groups, String> {
        Groups::parse(text.split(',').filter(|item| !item.is_empty()))
    }

    #[test]
    fn groups_are_chosen_by_name_or_all_together() {
        for (text, expected) in [
            ("on", &Group::ALL[..]),
            ("off", &[]),
            ("reads,upstream", &[Group::Reads, Group::Upstream]),
            ("versions", &[Group::Versions]),
        ] {
            assert_eq!(parse(text), Ok(Groups(expected.to_vec())), "{text}");
        }
    }

    #[test]
    fn unknown_groups_are_reported_by_name() {
        for (text, unknown) in [
            ("reeds,upstream,x", "unknown: reeds, x"),
            ("on,reads", "unknown: on"),
            ("", "list of these groups: reads,"),
        ] {
            let problem = parse(text).expect_err("a value with an unknown group must be refused");
            assert!(problem.contains(unknown), "{problem}");
        }
    }
}
