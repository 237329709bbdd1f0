use serde_json::json;

use super::super::Kind;
use super::*;

fn ann() -> Value {
    json!({
        "schemas": [],
        "id": "7",
        "externalId": "X-1",
        "userName": "Ann@Example.com",
        "active": true,
        "title": "",
        "name": { "givenName": "Ann", "familyName": "O\"Hara" },
        "emails": [
            { "value": "ann@example.com", "type": "work", "primary": true },
            { "value": "ann@home.org", "type": "home" },
        ],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Tour" },
    })
}

fn holds(text: &str) -> bool {
    filter(Kind::User, text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&ann())
}

#[test]
fn filters_hold_for_what_they_say() {
    for (text, expected) in [
        (r#"userName eq "ann@example.COM""#, true),
        (r#"USERNAME Eq "ann@example.com""#, true),
        (r#"id eq "7""#, true),
        (r#"externalId eq "x-1""#, false),
        (r#"externalId eq "X-1""#, true),
        (r#"userName ne "ann@example.com""#, false),
        (r#"nickName ne "a""#, true),
        (r#"userName co "example""#, true),
        (r#"userName sw "ANN""#, true),
        (r#"userName ew ".com""#, true),
        (r#"userName ew "ann""#, false),
        (r#"userName gt "a" and userName lt "b""#, true),
        (r#"userName ge "ann@example.com" and userName le "ann@example.com""#, true),
        ("title pr", false),
        ("nickName eq null", true),
        ("userName ne null", true),
        ("nickName ne null", false),
        ("active eq true", true),
        ("active ne true", false),
        ("active eq false", false),
        (r#"active eq "true""#, false),
        (r#"name.familyName eq "o\"hara""#, true),
        (r#"emails eq "ann@home.org""#, true),
        (r#"emails.type eq "home" and emails.value sw "ann@example""#, true),
        (r#"emails[type eq "home" and value sw "ann@example"]"#, false),
        (r#"emails[type eq "work" and primary eq true]"#, true),
        (r#"not (userName sw "bob")"#, true),
        // `and` binds closer than `or`.
        (r#"active eq true or active eq false and active eq false"#, true),
        (r#"(active eq true or active eq false) and active eq false"#, false),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "ann""#, true),
        (r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "tour""#, true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_does_not_read_one_way_is_refused() {
    for text in [
        "",
        "userName",
        "userName eq",
        "userName eq ann",
        r#"userName eq "ann"#,
        r#"userName = "ann""#,
        r#"password eq "x""#,
        r#"name.password eq "x""#,
        r#"unknown pr"#,
        r#"userName eq "a" userName eq "b""#,
        r#"userName eq "a" and"#,
        r#"(userName eq "a""#,
        r#"userName eq "a")"#,
        r#"not userName eq "a""#,
        r#"emails[type eq "work""#,
        r#"emails[userName eq "a"]"#,
        r#"emails[emails[type eq "work"]]"#,
        r#"userName[value eq "a"]"#,
        "active gt true",
        "active eq 1e",
        "members pr",
        "userName eq \"a\u{0}",
        r#"userName;drop eq "a""#,
    ] {
        let refused = filter(Kind::User, text);
        assert!(matches!(refused, Err(Refusal::Scim { kind: "invalidFilter", .. })), "{text}: {refused:?}");
    }
    let deep = format!("{}active pr{}", "(".repeat(2000), ")".repeat(2000));
    assert!(filter(Kind::User, &deep).is_err());
    assert!(filter(Kind::User, &format!("userName eq \"{}\"", "a".repeat(5000))).is_err());
}

#[test]
fn paths_name_an_attribute_an_element_or_a_part_of_one() {
    let read = |text: &str| {
        let path = path(Kind::User, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (path.attribute.name, path.filter.is_some(), path.sub)
    };
    assert_eq!(read("active"), ("active", false, None));
    assert_eq!(read("NAME.givenname"), ("name", false, Some("givenName")));
    assert_eq!(read(r#"emails[type eq "work"]"#), ("emails", true, None));
    assert_eq!(read(r#"emails[type eq "work"].value"#), ("emails", true, Some("value")));
    for wrong in
        ["", "none", "active[value eq \"1\"]", "emails[", "emails[type eq \"w\"].none", "name.", "a b"]
    {
        let refused = path(Kind::User, wrong);
        assert!(matches!(refused, Err(Refusal::Scim { kind: "invalidPath", .. })), "{wrong}: {refused:?}");
    }
}

use crate::http::error::Refusal;

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail_otherwise_than_by_refusing(text in r#"[a-zA-Z0-9 ()\[\]"\\.:$é-]{0,60}"#) {
        let _ = filter(Kind::User, &text).map(|filter| filter.holds(&ann()));
        let _ = path(Kind::Group, &text);
    }
}
