//! What every answer tells browsers, beside what its own page says.

use actix_web::http::header::{
    self, CACHE_CONTROL, HeaderMap, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// A year: what browsers ask for, and no promise for subdomains, which are not ours to give.
const YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// MLflow's page for a trace in a notebook: the notebook, another site, shows it in a frame.
const NOTEBOOK_PAGE: &str = "/static-files/lib/notebook-trace-renderer/";
/// Files of MLflow's pages: the same for everybody, and fetched often.
const STATIC_FILES: &str = "/static-files/";

/// Sets what is not there yet: a page and an upstream may say more strictly or otherwise what they need.
pub(super) fn set(headers: &mut HeaderMap, path: &str, https: bool) {
    let mut unless_set = |name: header::HeaderName, value: HeaderValue| {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    };
    unless_set(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if !path.starts_with(NOTEBOOK_PAGE) {
        unless_set(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    }
    if !path.starts_with(STATIC_FILES) {
        unless_set(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Of TLS nobody else knows.
    headers.remove(STRICT_TRANSPORT_SECURITY);
    if https {
        headers.insert(STRICT_TRANSPORT_SECURITY, YEAR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, https: bool, before: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        set(&mut headers, path, https);
        headers
    }

    fn value<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn data_is_not_kept_and_pages_are_framed_by_nobody_else() {
        let headers = said("/api/2.0/mlflow/runs/get", false, &[]);
        assert_eq!(value(&headers, &CACHE_CONTROL), Some("no-store"));
        assert_eq!(value(&headers, &X_FRAME_OPTIONS), Some("SAMEORIGIN"));
        assert_eq!(value(&headers, &REFERRER_POLICY), Some("same-origin"));
        assert_eq!(value(&headers, &X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(value(&headers, &STRICT_TRANSPORT_SECURITY), None);
    }

    #[test]
    fn static_files_may_be_kept_and_a_notebook_may_show_its_page() {
        let headers = said("/static-files/static/js/main.js", true, &[]);
        assert_eq!(value(&headers, &CACHE_CONTROL), None);
        assert_eq!(value(&headers, &X_FRAME_OPTIONS), Some("SAMEORIGIN"));
        let headers = said("/static-files/lib/notebook-trace-renderer/index.html", true, &[]);
        assert_eq!(value(&headers, &X_FRAME_OPTIONS), None);
        assert_eq!(value(&headers, &STRICT_TRANSPORT_SECURITY), Some("max-age=31536000"));
    }

    #[test]
    fn what_a_page_or_the_upstream_says_stays_but_not_of_tls() {
        let before = [
            (CACHE_CONTROL, "no-cache"),
            (X_FRAME_OPTIONS, "DENY"),
            (STRICT_TRANSPORT_SECURITY, "max-age=0"),
        ];
        let headers = said("/", false, &before);
        assert_eq!(value(&headers, &CACHE_CONTROL), Some("no-cache"));
        assert_eq!(value(&headers, &X_FRAME_OPTIONS), Some("DENY"));
        assert_eq!(value(&headers, &STRICT_TRANSPORT_SECURITY), None);
        assert_eq!(value(&said("/", true, &before), &STRICT_TRANSPORT_SECURITY), Some("max-age=31536000"));
    }
}
