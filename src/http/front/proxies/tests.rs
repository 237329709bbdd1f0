use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn source(standard: bool, peer: &str, headers: &[(&str, &str)]) -> (String, bool) {
    let config = ServerConfig {
        trusted_proxies: vec!["10.0.0.0/8".to_owned(), "2001:db8:1::/48".to_owned()],
        forwarded_header: if standard { "forwarded" } else { "x-forwarded-for" }.to_owned(),
        ..ServerConfig::default()
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let source = Proxies::new(&config).source(peer.parse().unwrap(), false, &map);
    (source.address.to_string(), source.https)
}

fn common(peer: &str, values: &[&str]) -> String {
    let headers: Vec<(&str, &str)> = values.iter().map(|value| ("X-Forwarded-For", *value)).collect();
    source(false, peer, &headers).0
}

fn standard(values: &[&str]) -> (String, bool) {
    let headers: Vec<(&str, &str)> = values.iter().map(|value| ("Forwarded", *value)).collect();
    source(true, "10.0.0.2", &headers)
}

#[test]
fn nobody_but_a_trusted_proxy_says_whom_a_call_comes_for() {
    assert_eq!(common("203.0.113.7", &["127.0.0.1"]), "203.0.113.7");
    assert_eq!(common("203.0.113.7", &["127.0.0.1, 10.0.0.3"]), "203.0.113.7");
    assert_eq!(common("::ffff:203.0.113.7", &["127.0.0.1"]), "203.0.113.7");
    assert_eq!(common("2001:db8:2::1", &["127.0.0.1"]), "2001:db8:2::1");
    let secure = source(false, "203.0.113.7", &[("X-Forwarded-Proto", "https")]);
    assert_eq!(secure, ("203.0.113.7".to_owned(), false));
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
    for (values, client) in [
        (&["203.0.113.7"][..], "203.0.113.7"),
        (&["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (&["127.0.0.1", "203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7, 10.0.0.9, 10.0.0.3"], "203.0.113.7"),
        // The client says it is one of our proxies, for somebody else.
        (&["192.0.2.1, 10.0.0.9, 203.0.113.7, 10.0.0.3"], "203.0.113.7"),
        (&["what, ever, 203.0.113.7"], "203.0.113.7"),
        (&["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        (&["::ffff:203.0.113.7"], "203.0.113.7"),
        (&["192.0.2.1, ::ffff:10.0.0.9"], "192.0.2.1"),
        (&["2001:db8:5::1, 2001:db8:1::9"], "2001:db8:5::1"),
        (&["203.0.113.7:4711"], "203.0.113.7"),
        (&["[2001:db8:5::1]:4711"], "2001:db8:5::1"),
        (&["[2001:db8:5::1]"], "2001:db8:5::1"),
    ] {
        assert_eq!(common("10.0.0.2", values), client, "{values:?}");
        assert_eq!(common("::ffff:10.0.0.2", values), client, "{values:?}");
    }
    assert_eq!(common("2001:db8:1::2", &["203.0.113.7"]), "203.0.113.7");
}

#[test]
fn of_what_cannot_be_read_nothing_is_believed() {
    for values in [
        &[""][..],
        &[],
        &["unknown"],
        &["203.0.113.7,"],
        &["203.0.113.7, "],
        &["203.0.113.7, 10.0.0.999"],
        &["203.0.113.7 10.0.0.3"],
        &["203.0.113.7, proxy"],
        &["0x7f.1"],
        &["010.0.0.1"],
        &["fe80::1%eth0"],
        &["[203.0.113.7]"],
        &["203.0.113.7:x"],
        &["203.0.113.7", ""],
    ] {
        assert_eq!(common("10.0.0.2", values), "10.0.0.2", "{values:?}");
    }
    let mut map = HeaderMap::new();
    map.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_bytes(b"1.2.3.4\xff").unwrap());
    let config = ServerConfig { trusted_proxies: vec!["10.0.0.0/8".to_owned()], ..ServerConfig::default() };
    let source = Proxies::new(&config).source("10.0.0.2".parse().unwrap(), true, &map);
    assert_eq!(source, Source { address: "10.0.0.2".parse().unwrap(), https: true, forwarded: false });
}

#[test]
fn it_is_https_only_if_nobody_says_otherwise() {
    let secure = |protocols: &[&str]| {
        let mut headers = vec![("X-Forwarded-For", "203.0.113.7")];
        headers.extend(protocols.iter().map(|value| ("X-Forwarded-Proto", *value)));
        source(false, "10.0.0.2", &headers).1
    };
    assert!(secure(&["https"]) && secure(&["HTTPS"]) && secure(&["https, https"]));
    for protocols in [&[][..], &["http"], &["https, http"], &["http", "https"], &["https,"], &["wss"]] {
        assert!(!secure(protocols), "{protocols:?}");
    }
}

#[test]
fn the_standard_header_is_read_the_same_way() {
    for (values, client, https) in [
        (&["for=203.0.113.7;proto=https;by=10.0.0.2"][..], "203.0.113.7", true),
        (&["For=\"[2001:db8:5::1]:4711\";Proto=HTTPS"], "2001:db8:5::1", true),
        (&["for=127.0.0.1;proto=https, for=203.0.113.7"], "203.0.113.7", false),
        (&["for=203.0.113.7;proto=https", "for=10.0.0.9;proto=http"], "203.0.113.7", true),
        // What looks like another element stands within quotes.
        (&["for=192.0.2.1;host=\"a, for=192.0.2.9\", for=203.0.113.7"], "203.0.113.7", false),
    ] {
        assert_eq!(standard(values), (client.to_owned(), https), "{values:?}");
    }
    for values in [
        &["for=unknown"][..],
        &["for=_hidden"],
        &["proto=https"],
        &["for=203.0.113.7;for=192.0.2.1"],
        &["for=\"203.0.113.7"],
        &["for=\"203.0.113.7\", for=\""],
        &["for=203.0.113.7, host=\"x\", for=192.0.2.1, \""],
        &["203.0.113.7"],
        &["for = 203.0.113.7"],
        &["for=\"203.0.113\\.7\""],
        &[""],
    ] {
        assert_eq!(standard(values).0, "10.0.0.2", "{values:?}");
    }
    // Only the header that the configuration names is read.
    assert_eq!(source(true, "10.0.0.2", &[("X-Forwarded-For", "203.0.113.7")]).0, "10.0.0.2");
    assert_eq!(source(false, "10.0.0.2", &[("Forwarded", "for=203.0.113.7")]).0, "10.0.0.2");
}
