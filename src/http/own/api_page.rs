//! Our own API as a page that people read: made of its description, with nothing from elsewhere in it.

use std::fmt::Write;

use serde_json::Value;

use crate::http::page::{self, escaped};
use crate::wire::Reply;

/// Shown first, in this order.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub(super) fn page(document: &Value) -> Reply {
    let mut body = String::from("<div class=\"wide\">\n");
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let _ = writeln!(
        body,
        "<p>{}</p>\n<p>Version {}. For programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
        text(&document["info"]["description"]),
        text(&document["info"]["version"]),
    );
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                write_operation(&mut body, method, path, operation);
            }
        }
    }
    body.push_str("<h2>Schemas</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = writeln!(
            body,
            "<details id=\"schema-{0}\"><summary><code>{0}</code></summary>\n<pre>{1}</pre></details>",
            escaped(name),
            escaped(&serde_json::to_string_pretty(schema).unwrap_or_default()),
        );
    }
    body.push_str("</div>\n");
    page::page(200, "The API", &body)
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let text = |key: &str| escaped(operation[key].as_str().unwrap_or_default());
    let _ = writeln!(
        page,
        "<details id=\"{}\"><summary><b>{}</b> <code>{}</code> {}</summary>\n<p>{}</p>",
        text("operationId"),
        method.to_uppercase(),
        escaped(path),
        text("summary"),
        text("description"),
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        page.push_str("<table><tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr>\n");
        for parameter in parameters {
            let field = |key: &str| escaped(parameter[key].as_str().unwrap_or_default());
            let needed = if parameter["required"] == Value::Bool(true) { " (needed)" } else { "" };
            let _ = writeln!(
                page,
                "<tr><td><code>{}</code>{needed}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                field("name"),
                field("in"),
                schema(&parameter["schema"]),
                field("description"),
            );
        }
        page.push_str("</table>\n");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = writeln!(page, "<p>Takes {}.</p>", schema(body));
    }
    page.push_str("<table><tr><th>status</th><th>meaning</th><th>body</th></tr>\n");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let bodies: Vec<String> = response["content"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(kind, content)| format!("{}: {}", escaped(kind), schema(&content["schema"])))
            .collect();
        let meaning = escaped(response["description"].as_str().unwrap_or_default());
        let _ =
            writeln!(page, "<tr><td>{status}</td><td>{meaning}</td><td>{}</td></tr>", bodies.join("<br>"));
    }
    page.push_str("</table></details>\n");
}

/// A schema in a few words, with a link to the one that it refers to.
fn schema(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\"><code>{0}</code></a>", escaped(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("<code>{}</code>", escaped(value.as_str().unwrap_or("?"))))
            .collect();
        return values.join(", ");
    }
    escaped(schema["type"].as_str().unwrap_or("object"))
}
