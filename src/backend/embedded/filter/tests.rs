use proptest::prelude::*;

use super::*;
use crate::database::Dialect;

fn error(text: &str, rules: Rules) -> String {
    parse(text, rules).unwrap_err().message
}

fn one(text: &str) -> Clause<'_> {
    let mut clauses = parse(text, Rules::TRACES).unwrap();
    assert_eq!(clauses.len(), 1);
    clauses.remove(0)
}

#[test]
fn comparisons_are_joined_by_and() {
    let clauses =
        parse("tags.`my key` LIKE '%x%' and metrics.a>=-1.5e3 AND name = \"b\"", Rules::QUOTED).unwrap();
    let texts: Vec<_> = clauses
        .iter()
        .map(|clause| (clause.identifier.text, clause.comparator(), clause.value.unwrap().text))
        .collect();
    assert_eq!(
        texts,
        [
            ("tags.`my key`", Some(Comparator::Like), "'%x%'"),
            ("metrics.a", Some(Comparator::GreaterOrEqual), "-1.5e3"),
            ("name", Some(Comparator::Equal), "\"b\""),
        ]
    );
    assert_eq!(clauses[1].number_value(|_| String::new()).unwrap(), Number::Float(-1500.0));
    assert_eq!(unquote_key(clauses[0].identifier.split().1), "my key");
}

#[test]
fn lists_and_nulls_are_comparisons_of_their_own() {
    let clause = one("status not in ('it\\'s', \"b\" 'c',)");
    assert_eq!(clause.comparator(), Some(Comparator::NotIn));
    assert_eq!(clause.value.unwrap().list().unwrap(), ["it's", "bc"]);
    assert_eq!(one("tags.a is not null").comparator(), Some(Comparator::IsNotNull));
    assert!(one("tags.a IS NULL").asks_for_null());
    assert_eq!(one("timestamp > 5").identifier.text, "timestamp");
}

/// As the tokenizer of a real server cuts them.
#[test]
fn what_cannot_be_placed_is_named_with_its_position() {
    for (filter, message) in [
        ("a = 'b' OR c = 'd'", "Invalid clause(s) in filter string: 'OR' (at character 9)"),
        ("a = 'b' c", "Invalid clause(s) in filter string: 'a = 'b' c' (at character 1)"),
        ("a = 'b', c = 'd'", "Invalid clause(s) in filter string: 'a = 'b', c = 'd'' (at character 1)"),
        ("type = 'a'", "Invalid clause(s) in filter string: 'type', '=', ''a'' (at character 1)"),
        ("text LIKE 'a'", "Invalid clause(s) in filter string: 'text', 'LIKE', ''a'' (at character 1)"),
        ("(a = 'b')", "Invalid clause(s) in filter string: '(a = 'b')' (at character 1)"),
        ("name = true", "Invalid clause(s) in filter string: 'name', '=', 'true' (at character 1)"),
        ("é = 'é' AND x", "Invalid clause(s) in filter string: 'x' (at character 13)"),
        ("a = 'b", "Invalid clause(s) in filter string: 'a', '=', ''', 'b' (at character 1)"),
        (r"a \e", r"Invalid clause(s) in filter string: 'a', '\e' (at character 1)"),
        ("a=b=c", "Invalid comparison clause. Expected 'Identifier' found 'a=b' (at character 1)"),
        (
            "tags.a-b = 'c'",
            "Invalid comparison clause. Expected 'Identifier' found 'tags.a-b' (at character 1)",
        ),
        ("5 = 'c'", "Invalid comparison clause. Expected 'Identifier' found '5' (at character 1)"),
        ("  ", "Invalid filter '  '. Could not be parsed. (at character 1)"),
        (
            "a = 'b'; c = 'd'",
            "Search filter contained multiple expression \"a = 'b'; c = 'd'\". Provide AND-ed expression list. \
             (at character 10)",
        ),
    ] {
        assert_eq!(error(filter, Rules::TRACES), message, "{filter}");
    }
    assert_eq!(
        error("type = 'a'", Rules::PLAIN),
        "Invalid clause(s) in filter string: type, =, 'a' (at character 1)"
    );
}

#[test]
fn values_that_are_no_values_say_so() {
    let bare = one("status = OK");
    assert!(bare.text_value(|_| String::new()).unwrap_err().message.starts_with(
        "Parameter value is either not quoted or unidentified quote types used for string value OK."
    ));
    for (list, problem) in [("(1, 2)", "different type"), ("()", "empty list"), ("('a' b)", "ill-formed")] {
        let filter = format!("status IN {list}");
        let message = one(&filter).value.unwrap().list().unwrap_err().message;
        assert!(message.contains(problem), "{message}");
    }
    assert!(one("timestamp_ms > 99999999999999999999").value.unwrap().number().is_err());
}

#[test]
fn orders_are_an_identifier_and_a_direction() {
    let read = |text: &str| parse_order_by(text).map(|order| (order.identifier, order.ascending));
    assert_eq!(read("name").unwrap(), ("name".to_owned(), true));
    assert_eq!(read("timestamp  DESC").unwrap(), ("timestamp".to_owned(), false));
    assert_eq!(read("tags.`a b` desc").unwrap(), ("tags.a b".to_owned(), false));
    assert_eq!(read("tags.`a b`").unwrap(), ("tags.`a b`".to_owned(), true));
    for wrong in [" name", "name, status", "name sideways", "", "type", "name DESC NULLS LAST", "'"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert_eq!(
        read("name sideways").unwrap_err().message,
        "Invalid ordering key in order_by clause 'name sideways'. (at character 1)"
    );
}

#[test]
fn long_filters_take_linear_time_or_are_refused() {
    let long = vec!["tags.a = 'b'"; 5000].join(" AND ");
    assert!(error(&long, Rules::TRACES).starts_with("Error on parsing filter"));
    let many = vec!["tags.a = 'b'"; 500].join(" AND ");
    assert!(error(&many, Rules::TRACES).contains("at most 400"));
    assert!(error(&"(".repeat(100_000), Rules::TRACES).starts_with("Error on parsing filter"));
    assert!(parse(&"'".repeat(100_001), Rules::TRACES).is_err());
    let value = "x".repeat(100_000);
    assert_eq!(one(&format!("tags.a = '{value}'")).text_value(|_| String::new()).unwrap(), value);
}

#[test]
fn pages_go_on_behind_the_last_row_with_nulls_last() {
    use order::{Key, KeyKind, Order};
    let order = Order(vec![
        Key::new("t.name", KeyKind::Text, false).nullable(),
        Key::new("t.id", KeyKind::Integer, true),
    ]);
    let mut query = Query::new(Dialect::Sqlite, "1");
    let token = page::Token { keys: vec![Some(Bind::Text("b".into())), Some(Bind::Integer(7))] };
    order.after(&mut query, &token);
    assert_eq!(query.text, "1 AND ((t.name < $1 OR t.name IS NULL) OR (t.name = $2 AND ((t.id > $3))))");
    assert_eq!(
        order.clause(Dialect::Postgres),
        " ORDER BY CASE WHEN t.name IS NULL THEN 1 ELSE 0 END, t.name COLLATE \"C\" DESC, t.id"
    );
}

fn comparison() -> impl Strategy<Value = (String, Comparator, String)> {
    let key = prop_oneof![
        "[a-z][a-z0-9_]{0,8}".prop_map(|key| format!("tags.x{key}")),
        "[a-zA-Z0-9 ./$é(),;-]{1,12}".prop_map(|key| format!("tags.`{key}`")),
    ];
    let text = prop_oneof![
        "[^'\\\\\\x00]{0,20}".prop_map(|text| format!("'{text}'")),
        "[^\"\\\\\\x00]{0,20}".prop_map(|text| format!("\"{text}\"")),
        any::<i32>().prop_map(|number| number.to_string()),
    ];
    let infix = prop_oneof![
        Just(Comparator::Equal),
        Just(Comparator::NotEqual),
        Just(Comparator::Less),
        Just(Comparator::GreaterOrEqual),
        Just(Comparator::Like),
        Just(Comparator::ILike),
        Just(Comparator::RLike),
    ];
    let listed = prop::collection::vec("[^'\\\\\\x00\n]{0,9}", 1..4).prop_map(|texts| {
        format!("({})", texts.iter().map(|t| format!("'{t}'")).collect::<Vec<_>>().join(", "))
    });
    prop_oneof![
        4 => (key.clone(), infix, text),
        1 => (key.clone(), prop_oneof![Just(Comparator::In), Just(Comparator::NotIn)], listed),
        1 => (key, prop_oneof![Just(Comparator::IsNull), Just(Comparator::IsNotNull)], Just(String::new())),
    ]
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(text in ".{0,200}") {
        let _ = parse(&text, Rules::TRACES);
        let _ = parse_order_by(&text);
    }

    #[test]
    fn anything_like_a_filter_is_read_or_refused(
        words in prop::collection::vec(
            prop_oneof![
                Just("tags."), Just("a"), Just("="), Just("'b'"), Just("("), Just(")"), Just(" "), Just("AND "),
                Just(" IN "), Just(" IS NOT NULL "), Just("`"), Just("'"), Just("\""), Just("\\"), Just(","),
                Just("timestamp "), Just("> "), Just("5"), Just("."), Just(" not "), Just("é"), Just(";"),
                Just("--"), Just("desc"), Just("[") , Just("-"), Just("1e"), Just(" AS "),
            ],
            0..40,
        )
    ) {
        let text = words.concat();
        if let Ok(clauses) = parse(&text, Rules::TRACES) {
            for clause in clauses {
                let _ = clause.text_value(|_| String::new());
                let _ = clause.value.map(|value| (value.list().is_ok(), value.number().is_ok()));
            }
        }
        let _ = parse_order_by(&text);
    }

    #[test]
    fn what_is_printed_is_read_again(comparisons in prop::collection::vec(comparison(), 1..6)) {
        let printed: Vec<String> = comparisons
            .iter()
            .map(|(key, comparator, value)| format!("{key} {} {value}", comparator.text()))
            .collect();
        let text = printed.join(" AND ");
        let clauses = parse(&text, Rules::TRACES).unwrap();
        prop_assert_eq!(clauses.len(), comparisons.len());
        for (clause, (key, comparator, value)) in clauses.iter().zip(&comparisons) {
            prop_assert_eq!(clause.identifier.text, key);
            prop_assert_eq!(clause.comparator(), Some(*comparator));
            prop_assert_eq!(clause.value.map_or("", |piece| piece.text), value);
        }
    }
}
