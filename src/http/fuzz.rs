//! Request lines and headers of any bytes as actix-web hands them on, and what we sealed ourselves.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method as HttpMethod, Uri};
use actix_web::test::TestRequest;

pub(crate) use super::front::fuzz::forwarded;
pub(crate) use super::scim::fuzz::scim_filter;
use super::{convert, signed};
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::clock::UnixMillis;
use crate::keys::Ring;
use crate::seal::Sealer;
use crate::store::Purpose;
use crate::wire::{CanonicalPath, Method, Query};

/// A method, a space, a target; and a header a line.
pub(crate) fn request_head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (method, target) = first.split_once(' ').unwrap_or(("GET", &first));
    let (Ok(method), Ok(uri)) = (HttpMethod::from_bytes(method.as_bytes()), target.parse::<Uri>()) else {
        return;
    };
    let mut request = TestRequest::default().method(method).uri(target);
    let mut sent = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            sent.push((name.clone(), value.clone()));
            request = request.append_header((name, value));
        }
    }
    let request = request.to_http_request();
    assert!(convert::head_bytes(&request) >= sent.len() as u64 * 32);
    let Ok(Some(head)) = convert::head(&request) else { return };
    for (name, value) in &sent {
        let count =
            |all: &mut dyn Iterator<Item = &[u8]>| all.filter(|known| *known == value.as_bytes()).count();
        let ours = head.headers.iter().filter(|(known, _)| *known == name.as_str());
        let theirs = sent.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_bytes());
        assert_eq!(
            count(&mut ours.map(|(_, value)| value.as_bytes())),
            count(&mut theirs.into_iter()),
            "{name}"
        );
    }
    assert!(sent.iter().filter(|(name, _)| name == "host").count() <= 1);
    assert_eq!(head.path, CanonicalPath::parse(uri.path()).unwrap());
    assert_eq!(head.query, Query::parse(uri.query().unwrap_or_default()).unwrap());
    assert_eq!(head.method.as_str(), request.method().as_str());
}

/// Three lines: a context, another one, and a token that somebody made up; then a content.
pub(crate) fn sealed(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (context, other, made_up) = (text(), text(), text());
    let content = parts.next().unwrap_or_default();
    let sealer = Sealer::new(&[7; 32]);
    assert!(sealer.open(&context, &made_up).is_err(), "{made_up}");
    let token = sealer.seal(&context, content).unwrap();
    assert_eq!(sealer.open(&context, &token).as_deref(), Ok(content));
    assert_eq!(sealer.open(&other, &token).is_ok(), other == context);
    assert!(Sealer::new(&[8; 32]).open(&context, &token).is_err());
    // One character is another one.
    if let Some(place) = made_up.bytes().next().map(|byte| usize::from(byte) * 97 % token.len()) {
        let mut altered = token.clone().into_bytes();
        altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(sealer.open(&context, &altered).is_err());
        assert!(sealer.open(&context, &token[..place]).is_err());
    }
    // With the same key.
    let ring = Ring::of(Purpose::Sealing, [7; 32]);
    let proof = Proof { scheme: Scheme::Token, credential: "tok_1".to_owned() };
    let caller = Caller::new(Principal::user("ann").unwrap(), Vec::new(), proof);
    let signature = signed::seal(&ring, &caller, Method::Put, &context, UnixMillis(0), 3_600_000).unwrap();
    let open = |method, target: &str, now| signed::open(&ring, &signature, method, target, UnixMillis(now));
    assert_eq!(open(Method::Put, &context, 0).unwrap().principal, caller.principal);
    assert_eq!(open(Method::Put, &other, 0).is_ok(), other == context);
    for method in Method::ALL {
        assert_eq!(open(method, &context, 0).is_ok(), method == Method::Put);
    }
    assert!(open(Method::Put, &context, 3_600_000).is_err());
    // What was sealed for another purpose is no signature, even if it says what one says.
    assert!(signed::open(&ring, &token, Method::Put, &context, UnixMillis(0)).is_err());
    assert!(sealer.open(&context, &signature).is_err());
}
