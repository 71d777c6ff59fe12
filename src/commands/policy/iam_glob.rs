//! IAM's patterns: `*` is any text, also across `/`, and `?` is any one character.
//!
//! Source: "IAM JSON policy elements: Resource" in AWS's IAM user guide. Resources differ by case;
//! whoever compares actions, which do not, hands them over in small letters.

/// Returns whether all that `narrow` matches is matched by `wide` too.
///
/// `true` is certain. `false` is wrong for some odd pairs, such as `?*a` and `*aa`, that nobody
/// writes: a permission is then taken for missing, and never for there.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (wide, narrow) = (ordered(wide), ordered(narrow));
    let (mut at_wide, mut at_narrow) = (0, 0);
    // Where to go on from where a star has to take in one more.
    let mut star: Option<(usize, usize)> = None;
    while at_narrow < narrow.len() {
        let taken = narrow[at_narrow];
        match wide.get(at_wide) {
            Some('*') => {
                star = Some((at_wide, at_narrow));
                at_wide += 1;
            }
            Some('?') if taken != '*' => (at_wide, at_narrow) = (at_wide + 1, at_narrow + 1),
            Some(&own) if own == taken && own != '?' => {
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

/// Returns whether there is a text that both match.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // A row for each rest of `one`, from its end: whether it meets each rest of `other`.
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

/// Returns whether the text has a wildcard.
pub(super) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Writes each run of wildcards in one order: how many there must be, then whether there may be
/// more.
fn ordered(text: &str) -> Vec<char> {
    let mut ordered = Vec::with_capacity(text.len());
    let mut is_open = false;
    for c in text.chars() {
        match c {
            '*' => is_open = true,
            '?' => ordered.push('?'),
            _ => {
                if is_open {
                    ordered.push('*');
                    is_open = false;
                }
                ordered.push(c);
            }
        }
    }
    if is_open {
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
        assert_eq!(covers(wide, narrow), expected, "{wide} covers {narrow}");
    }

    #[test]
    fn a_pattern_matches_as_iam_says() {
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
    fn a_pattern_is_covered_where_all_that_it_matches_is() {
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

    /// Every text of up to four of two letters is what "all that it matches" is tried with.
    #[test]
    fn what_is_covered_holds_for_every_short_text() {
        let patterns = words("ab*?", 3);
        let texts = words("ab", 4);
        for wide in &patterns {
            for narrow in &patterns {
                let matched = |pattern: &str, text: &str| covers(pattern, text);
                let both = |text: &&String| matched(wide, text) && matched(narrow, text);
                if covers(wide, narrow) {
                    let missed = texts.iter().find(|t| matched(narrow, t) && !matched(wide, t));
                    assert_eq!(missed, None, "{wide} covers {narrow}");
                }
                // Two patterns of three meet in a text of four, if anywhere.
                let meet = texts.iter().any(|text| both(&text));
                assert_eq!(overlap(wide, narrow), meet, "{wide} overlaps {narrow}");
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

    /// Tries every length for every star.
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
