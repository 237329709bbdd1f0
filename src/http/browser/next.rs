//! Where to go after signing in: a path of ours, whatever was asked for.

/// Longest path that is kept.
const LIMIT: usize = 2000;

/// The path if it certainly stays here, else the front page. Browsers take `\` for `/`, leave tabs and line
/// breaks out, and take `//x` for another host.
pub(super) fn local(wanted: &str) -> &str {
    let mut bytes = wanted.bytes();
    let stays = bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && wanted.len() <= LIMIT
        && wanted.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'));
    // Signing in again or out is nowhere to go to.
    let path = wanted.split(['?', '#']).next().unwrap_or_default();
    let leads_back = path.starts_with("/tracegate/log") || path.starts_with("/tracegate/backchannel");
    if stays && !leads_back { wanted } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_are_kept() {
        for path in ["/", "/x", "/#/experiments/1", "/tracegate/account", "/a?next=//b&c=%2F%2Fd", "/a//b"] {
            assert_eq!(local(path), path);
        }
    }

    #[test]
    fn whatever_could_lead_elsewhere_leads_to_the_front_page() {
        let long = format!("/{}", "a".repeat(LIMIT));
        for path in [
            "",
            "x",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/x\r\nSet-Cookie: a=b",
            "\u{1}//evil.example",
            " //evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "/ü",
            "/a b",
            "/\"><script>",
            "/a\\..\\\\evil.example",
            "/tracegate/login?next=/tracegate/login",
            "/tracegate/logout",
            &long,
        ] {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }
}
