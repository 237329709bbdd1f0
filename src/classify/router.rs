//! Finds the operation of a method and path.
//!
//! A fully literal path is one hash look-up. Templates with parameters are grouped by method and by the
//! literal segments before their first parameter, longest first, and within a group by precedence: at the
//! first position where two differ, a literal beats a parameter with a literal suffix, that beats a
//! parameter, and that beats a parameter of several segments.

mod template;

use std::collections::HashMap;

pub(super) use template::Template;

use crate::wire::{Malformed, Method};

/// By literal prefix; sorted by precedence.
type Groups = HashMap<Vec<String>, Vec<(Template, usize)>>;

#[derive(Debug, Default)]
pub struct Router {
    literal: HashMap<Method, HashMap<Vec<String>, usize>>,
    templates: HashMap<Method, Groups>,
    longest_prefix: usize,
}

/// An operation's index and the path parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    pub operation: usize,
    pub params: Vec<(String, String)>,
}

impl Router {
    /// Adds a concrete path template. Refuses one that another of equal precedence would also match.
    pub fn add(&mut self, method: Method, path: &str, operation: usize) -> Result<(), String> {
        let template = Template::parse(path)?;
        let clash = || format!("`{method} {path}` is ambiguous");
        let prefix = template.literal_prefix();
        if template.is_literal() {
            return match self.literal.entry(method).or_default().insert(prefix, operation) {
                None => Ok(()),
                Some(_) => Err(clash()),
            };
        }
        self.longest_prefix = self.longest_prefix.max(prefix.len());
        let group = self.templates.entry(method).or_default().entry(prefix).or_default();
        if group.iter().any(|(other, _)| other.same_shape(&template)) {
            return Err(clash());
        }
        group.push((template, operation));
        Ok(())
    }

    /// Puts the groups into order; called once after the last `add`.
    pub fn finish(&mut self) {
        for group in self.templates.values_mut().flat_map(HashMap::values_mut) {
            group.sort_by(|(left, _), (right, _)| left.precedence().cmp(&right.precedence()));
        }
    }

    /// The route of decoded segments. A separator inside a segment (it was encoded) is refused unless the
    /// template declares that parameter opaque: a backend that decodes once more would see another path.
    pub fn find(&self, method: Method, segments: &[String]) -> Result<Option<Route>, Malformed> {
        if let Some(operation) = self.literal.get(&method).and_then(|paths| paths.get(segments)) {
            return Ok(Some(Route { operation: *operation, params: Vec::new() }));
        }
        let Some(groups) = self.templates.get(&method) else { return Ok(None) };
        for length in (0..=segments.len().min(self.longest_prefix)).rev() {
            let Some(group) = segments.get(..length).and_then(|prefix| groups.get(prefix)) else { continue };
            for (template, operation) in group {
                if let Some(params) = template.matches(segments)? {
                    return Ok(Some(Route { operation: *operation, params }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(paths: &[&str]) -> Router {
        let mut router = Router::default();
        for (index, path) in paths.iter().enumerate() {
            router.add(Method::Get, path, index).unwrap();
        }
        router.finish();
        router
    }

    fn find(router: &Router, segments: &[&str]) -> Option<usize> {
        let segments: Vec<String> = segments.iter().map(|segment| (*segment).to_owned()).collect();
        router.find(Method::Get, &segments).unwrap().map(|route| route.operation)
    }

    #[test]
    fn literal_beats_suffix_beats_parameter_beats_several_segments() {
        let router =
            router(&["/t/{many...}", "/t/{id}", "/t/get", "/t/{id}:run", "/t/{id}/info", "/{any...}"]);
        for (segments, expected) in [
            (vec!["t", "get"], Some(2)),
            (vec!["t", "x:run"], Some(3)),
            (vec!["t", "x"], Some(1)),
            (vec!["t", ":run"], Some(1)),
            (vec!["t", "x", "info"], Some(4)),
            (vec!["t", "x", "other"], Some(0)),
            (vec!["t"], Some(5)),
            (vec!["u", "x"], Some(5)),
            (vec![], None),
        ] {
            assert_eq!(find(&router, &segments), expected, "{segments:?}");
        }
    }

    #[test]
    fn several_segments_may_be_followed_by_literals() {
        let router = router(&["/m/{name...}/versions/{version...}", "/m/{name...}/versions", "/m/{name...}"]);
        assert_eq!(find(&router, &["m", "a", "b", "versions", "1"]), Some(0));
        assert_eq!(find(&router, &["m", "a", "b", "versions"]), Some(1));
        assert_eq!(find(&router, &["m", "a", "b"]), Some(2));
        assert_eq!(find(&router, &["m", "versions"]), Some(2));
        assert_eq!(find(&router, &["m"]), None);
    }

    #[test]
    fn parameters_come_back_by_name() {
        let mut router = Router::default();
        router.add(Method::Get, "/a/{x}/b/{rest...}", 0).unwrap();
        router.finish();
        let segments: Vec<String> = ["a", "1", "b", "c", "d"].map(str::to_owned).to_vec();
        let route = router.find(Method::Get, &segments).unwrap().unwrap();
        assert_eq!(route.params, [("x".to_owned(), "1".to_owned()), ("rest".to_owned(), "c/d".to_owned())]);
        assert_eq!(router.find(Method::Post, &segments).unwrap(), None);
    }

    #[test]
    fn an_encoded_separator_is_refused_unless_the_parameter_is_opaque() {
        let router = router(&["/a/{x}", "/o/{x!}", "/m/{x...}"]);
        let segments = |first: &str| vec![first.to_owned(), "b/../c".to_owned()];
        assert!(router.find(Method::Get, &segments("a")).is_err());
        assert!(router.find(Method::Get, &segments("m")).is_err());
        assert!(router.find(Method::Get, &segments("o")).unwrap().is_some());
        assert!(router.find(Method::Get, &["a".to_owned(), "b\\c".to_owned()]).is_err());
        assert!(router.find(Method::Get, &segments("unknown")).unwrap().is_none());
    }

    #[test]
    fn two_templates_for_one_path_are_refused() {
        let mut router = Router::default();
        for good in ["/a/{x}", "/a/b", "/a/{x}:go", "/a/{x...}", "/a/{x}/c"] {
            router.add(Method::Get, good, 0).unwrap();
        }
        for clash in ["/a/{y}", "/a/b", "/a/{y}:go", "/a/{z...}", "/a/{z!}"] {
            assert!(router.add(Method::Get, clash, 1).is_err(), "{clash}");
        }
        router.add(Method::Post, "/a/{y}", 1).unwrap();
        for odd in ["a/b", "/a//b", "/a/{}", "/a/{x", "/a/{x}y", "/a/{x}/{x}", "/a/../b"] {
            assert!(Template::parse(odd).is_err(), "{odd}");
        }
    }
}
