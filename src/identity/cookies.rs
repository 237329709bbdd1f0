//! Reading one cookie of a request.

use super::error::IdentityError;
use crate::wire::Headers;

/// The value of the cookie of this name. Sent twice it is refused: somebody who can set a cookie for a
/// neighbouring host or path must not decide which of two counts.
pub(super) fn read<'h>(headers: &'h Headers, name: &str) -> Result<Option<&'h str>, IdentityError> {
    let mut values = headers
        .iter()
        .filter(|(header, _)| *header == "cookie")
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(known, _)| known.trim_matches(' ') == name)
        .map(|(_, value)| value.trim_matches(' '));
    let first = values.next();
    if values.next().is_some() {
        return Err(IdentityError::refused("a cookie of Tracegate's was sent more than once"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> Headers {
        let mut headers = Headers::new();
        for value in values {
            headers.push("Cookie", value);
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let sent = headers(&["a=1; tracegate_session=abc;b=2", "c=3"]);
        assert_eq!(read(&sent, "tracegate_session").unwrap(), Some("abc"));
        assert_eq!(read(&sent, "c").unwrap(), Some("3"));
        for other in ["session", "TRACEGATE_SESSION", "tracegate_session=abc", ""] {
            assert_eq!(read(&sent, other).unwrap(), None, "{other}");
        }
        assert_eq!(read(&headers(&["tracegate_session"]), "tracegate_session").unwrap(), None);
    }

    #[test]
    fn a_second_cookie_of_the_name_is_refused_wherever_it_stands() {
        for sent in [&["s=1; s=2"][..], &["s=1", "s=1"], &["s=; s=1"]] {
            assert!(read(&headers(sent), "s").is_err(), "{sent:?}");
        }
    }
}
