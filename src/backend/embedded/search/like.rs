//! SQL's LIKE for texts that lie beside the database.

/// A pattern: `%` stands for any characters, `_` for one.
#[derive(Debug, Clone)]
pub struct Like {
    pattern: Vec<char>,
    any_case: bool,
}

impl Like {
    /// If `any_case`, ASCII letters of either case are the same, as in the database.
    pub fn new(pattern: &str, any_case: bool) -> Self {
        Self { pattern: pattern.chars().map(|character| folded(character, any_case)).collect(), any_case }
    }

    pub fn matches(&self, text: &str) -> bool {
        let mut at = 0;
        let mut rest = text.chars();
        // Where to go on when what follows the last `%` did not fit: one character further.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if self.pattern.get(at) == Some(&'%') {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            let before = rest.clone();
            let fits = match (self.pattern.get(at), rest.next()) {
                (None, None) => return true,
                (Some(wanted), Some(character)) => {
                    *wanted == '_' || *wanted == folded(character, self.any_case)
                }
                (Some(_), None) if retry.is_none() || before.as_str().is_empty() => return false,
                _ => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((from, behind)) = &mut retry else { return false };
            if behind.next().is_none() {
                return false;
            }
            at = *from;
            rest = behind.clone();
        }
    }
}

fn folded(character: char, any_case: bool) -> char {
    if any_case { character.to_ascii_lowercase() } else { character }
}

/// The longest text without wildcards that whatever matches must hold.
pub fn longest_literal(pattern: &str) -> &str {
    pattern.split(['%', '_']).max_by_key(|piece| piece.chars().count()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_stand_for_any_text_and_one_character() {
        for (pattern, text, matches) in [
            ("%b%", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("%a%b%a", "aabba", true),
            ("%a%b%a", "aabb", false),
            ("é_", "éx", true),
            ("A%", "abc", false),
        ] {
            assert_eq!(Like::new(pattern, false).matches(text), matches, "{pattern} {text}");
        }
        assert!(Like::new("%AB%", true).matches("xaby"));
        assert_eq!(longest_literal("%ab_cde%f"), "cde");
    }

    proptest! {
        #[test]
        fn as_a_regular_expression_would(pattern in "[ab%_]{0,8}", text in "[ab]{0,10}") {
            let expression = pattern.replace('%', ".*").replace('_', ".");
            let expression = regex::Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert_eq!(Like::new(&pattern, false).matches(&text), expression.is_match(&text));
        }
    }
}
