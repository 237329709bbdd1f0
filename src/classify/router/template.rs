//! A path template: literals, `{x}`, `{x!}` (opaque), `{x}:suffix` and `{x...}` (one or more segments).

use crate::wire::Malformed;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// One segment; a suffix is literal and may be empty.
    One {
        name: String,
        suffix: String,
        opaque: bool,
    },
    Many {
        name: String,
    },
}

#[derive(Debug, Clone)]
pub(in crate::classify) struct Template {
    parts: Vec<Part>,
}

impl Template {
    pub fn parse(path: &str) -> Result<Self, String> {
        let rest = path.strip_prefix('/').ok_or_else(|| format!("`{path}` does not begin with `/`"))?;
        // One trailing slash folds, as in a canonical path.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let parts = match rest {
            "" => Vec::new(),
            _ => rest.split('/').map(part).collect::<Result<Vec<_>, _>>()?,
        };
        let template = Self { parts };
        let mut names = template.params();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("`{path}` has a parameter twice"));
        }
        Ok(template)
    }

    pub fn params(&self) -> Vec<String> {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Literal(_) => None,
                Part::One { name, .. } | Part::Many { name } => Some(name.clone()),
            })
            .collect()
    }

    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    pub fn literal_prefix(&self) -> Vec<String> {
        self.parts
            .iter()
            .map_while(|part| match part {
                Part::Literal(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    /// Sorts before whatever it beats.
    pub fn precedence(&self) -> Vec<(u8, &str)> {
        let mut ranks: Vec<(u8, &str)> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => (0, text.as_str()),
                Part::One { suffix, .. } if !suffix.is_empty() => (1, suffix.as_str()),
                Part::One { .. } => (2, ""),
                Part::Many { .. } => (3, ""),
            })
            .collect();
        // The end comes last, so that `{x...}/versions` is tried before `{x...}`.
        ranks.push((4, ""));
        ranks
    }

    pub fn same_shape(&self, other: &Self) -> bool {
        self.precedence() == other.precedence()
    }

    /// The parameters, if the whole path matches.
    pub fn matches(&self, segments: &[String]) -> Result<Option<Vec<(String, String)>>, Malformed> {
        let mut taken = Vec::with_capacity(self.parts.len());
        if !take(&self.parts, segments, &mut taken) {
            return Ok(None);
        }
        let mut params = Vec::new();
        let mut start = 0;
        for (part, count) in self.parts.iter().zip(taken) {
            let own = segments.get(start..start + count).unwrap_or_default();
            start += count;
            match part {
                Part::Literal(_) => {}
                Part::One { name, suffix, opaque } => {
                    if !opaque {
                        refuse_separators(name, own)?;
                    }
                    let value = own.concat();
                    params.push((
                        name.clone(),
                        value.strip_suffix(suffix.as_str()).unwrap_or(&value).to_owned(),
                    ));
                }
                Part::Many { name } => {
                    refuse_separators(name, own)?;
                    params.push((name.clone(), own.join("/")));
                }
            }
        }
        Ok(Some(params))
    }
}

/// How many segments each part takes; the first of several `{x...}` takes as many as it can.
fn take(parts: &[Part], segments: &[String], taken: &mut Vec<usize>) -> bool {
    let Some((part, rest)) = parts.split_first() else { return segments.is_empty() };
    let Some(first) = segments.first() else { return false };
    let most = match part {
        Part::Literal(text) => usize::from(text == first),
        Part::One { suffix, .. } => {
            usize::from(first.len() > suffix.len() && first.ends_with(suffix.as_str()) && !first.is_empty())
        }
        Part::Many { .. } => segments.len().saturating_sub(rest.len()),
    };
    for count in (1..=most).rev() {
        taken.push(count);
        if take(rest, segments.get(count..).unwrap_or_default(), taken) {
            return true;
        }
        taken.pop();
    }
    false
}

fn refuse_separators(name: &str, segments: &[String]) -> Result<(), Malformed> {
    if segments.iter().any(|segment| segment.contains(['/', '\\'])) {
        return Err(Malformed::new(format!("path parameter `{name}`"), "may not hold an encoded separator"));
    }
    Ok(())
}

fn part(text: &str) -> Result<Part, String> {
    let odd = || format!("`{text}` is not a path segment");
    let Some(inner) = text.strip_prefix('{') else {
        let dots = text == "." || text == "..";
        return if text.is_empty() || dots || text.contains(['{', '}']) {
            Err(odd())
        } else {
            Ok(Part::Literal(text.to_owned()))
        };
    };
    let (name, suffix) = inner.split_once('}').ok_or_else(odd)?;
    let (name, many) = name.strip_suffix("...").map_or((name, false), |name| (name, true));
    let (name, opaque) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let suffix_fits = suffix.is_empty() || (suffix.starts_with(':') && !suffix.contains(['{', '}']) && !many);
    if !word || !suffix_fits || (many && opaque) {
        return Err(odd());
    }
    let name = name.to_owned();
    Ok(if many { Part::Many { name } } else { Part::One { name, suffix: suffix.to_owned(), opaque } })
}
