//! Compares resource and action patterns of IAM. In these patterns, `*` matches any string,
//! including `/`, and `?` matches any one character.
//!
//! The comparison is case-sensitive. IAM ignores the case of actions, so callers must pass actions
//! in lower case.
//!
//! Source: AWS's page *IAM JSON policy elements: Resource* in the IAM user guide.

/// Returns whether the pattern `wide` matches every string that the pattern `narrow` matches. The
/// result `true` is always right, but `false` is wrong for a few unusual pairs, such as `?*a` and
/// `*aa`.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (wide, narrow) = (ordered(wide), ordered(narrow));
    let (mut at_wide, mut at_narrow) = (0, 0);
    // After a mismatch, the search returns to these positions. The last `*` of `wide` then matches
    // one character more.
    let mut star: Option<(usize, usize)> = None;
    while at_narrow < narrow.len() {
        let next = narrow[at_narrow];
        match wide.get(at_wide) {
            Some('*') => {
                star = Some((at_wide, at_narrow));
                at_wide += 1;
            }
            Some('?') if next != '*' => (at_wide, at_narrow) = (at_wide + 1, at_narrow + 1),
            Some(&own) if own == next && own != '?' => {
                (at_wide, at_narrow) = (at_wide + 1, at_narrow + 1);
            }
            _ => match star {
                Some((at, begun)) => {
                    star = Some((at, begun + 1));
                    (at_wide, at_narrow) = (at + 1, begun + 1);
                }
                None => return false,
            },
        }
    }
    wide[at_wide..].iter().all(|rest| *rest == '*')
}

/// Returns whether at least one string matches both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Each row is for one suffix of `one`, beginning with the shortest. For each suffix of `other`,
    // the row says whether some string matches both suffixes.
    let mut below = vec![false; other.len() + 1];
    for at in (0..=one.len()).rev() {
        let mut row = vec![false; other.len() + 1];
        for to in (0..=other.len()).rev() {
            let (first, second) = (one.get(at), other.get(to));
            row[to] = match (first, second) {
                (None, None) => true,
                (Some('*'), _) if below[to] => true,
                (Some('*'), Some(_)) => row[to + 1],
                (_, Some('*')) => row[to + 1] || (first.is_some() && below[to]),
                (Some(a), Some(b)) => (a == b || *a == '?' || *b == '?') && below[to + 1],
                _ => false,
            };
        }
        below = row;
    }
    below[0]
}

pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Sorts adjacent wildcards and removes duplicates of `*`, so that `*?*` becomes `?*`. The pattern
/// still matches the same strings.
fn ordered(text: &str) -> Vec<char> {
    let mut ordered = Vec::with_capacity(text.len());
    let mut has_star = false;
    for c in text.chars() {
        match c {
            '*' => has_star = true,
            '?' => ordered.push('?'),
            _ => {
                if has_star {
                    ordered.push('*');
                    has_star = false;
                }
                ordered.push(c);
            }
        }
    }
    if has_star {
        ordered.push('*');
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(wide: &str, narrow: &str, expected: bool) {
        assert_eq!(covers(wide, narrow), expected, "covers({wide}, {narrow})");
    }

    #[test]
    fn pattern_matches_as_in_iam() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b:c", true),
            ("a", "A", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", true),
            ("a/*/c", "a//c", true),
            ("a/*/c", "a/c", false),
            ("a-??????", "a-AbC123", true),
            ("a-??????", "a-AbC12", false),
            ("a-??????", "a-AbC1234", false),
            ("a-*", "a-b-AbC123", true),
            ("*ab", "aab", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("?", "/", true),
        ] {
            check(pattern, text, expected);
        }
    }

    #[test]
    fn wider_pattern_covers_narrower_pattern() {
        check("a-*", "a-??????", true);
        check("a-??????", "a-*", false);
        check("a/*-??????", "a/*/b-??????", true);
        check("a/*/b-*", "a/*/b-??????", true);
        check("a/*/b", "a/*", false);
        check("*", "*", true);
        check("?", "?", true);
        check("a", "?", false);
        check("?", "*", false);
        check("*?", "?*", true);
        check("?*?", "*??", true);
        check("??*", "?*", false);
        check("*a", "*", false);
        check("**", "*", true);
    }

    /// Tries all pairs of short patterns. Checks the result of `covers` and `overlap` for each pair
    /// by matching both patterns with every string of up to four letters `a` and `b`.
    #[test]
    fn results_hold_for_every_short_text() {
        let patterns = words("ab*?", 3);
        let texts = words("ab", 4);
        for wide in &patterns {
            for narrow in &patterns {
                if covers(wide, narrow) {
                    let missed =
                        texts.iter().find(|text| covers(narrow, text) && !covers(wide, text));
                    assert_eq!(missed, None, "covers({wide}, {narrow})");
                }
                // If two patterns of three characters overlap, both match a string of at most four
                // characters.
                let meet = texts.iter().any(|text| covers(wide, text) && covers(narrow, text));
                assert_eq!(overlap(wide, narrow), meet, "overlap({wide}, {narrow})");
            }
        }
    }

    fn words(letters: &str, longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            last =
                last.iter().flat_map(|w| letters.chars().map(move |c| format!("{w}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    /// Returns whether the pattern matches the text. Tries every possible length for each `*`,
    /// which is slow, but obviously correct.
    fn matched_by_hand(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), first) => {
                let is_longer = first.is_some_and(|(_, text)| matched_by_hand(pattern, text));
                matched_by_hand(rest, text) || is_longer
            }
            (Some((own, rest)), Some((c, text))) if own == c || *own == b'?' => {
                matched_by_hand(rest, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn for_any_patterns_and_text_the_naive_matcher_agrees(
            wide in "[ab*?]{0,10}",
            narrow in "[ab*?]{0,10}",
            text in "[ab]{0,10}",
        ) {
            let is_on = |pattern: &str| matched_by_hand(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(covers(&wide, &text), is_on(&wide));
            prop_assert_eq!(overlap(&wide, &text), is_on(&wide));
            prop_assert_eq!(overlap(&wide, &narrow), overlap(&narrow, &wide));
            if covers(&wide, &narrow) {
                prop_assert!(overlap(&wide, &narrow));
                prop_assert!(is_on(&wide) || !is_on(&narrow));
            }
        }
    }
}
