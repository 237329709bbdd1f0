//! The manifest for people and scripts: `tracegate routes` and `tracegate routes --json`.

use serde_json::{Value, json};

use super::{Access, Manifest, Operation};

impl Operation {
    /// Who may call: `public`, `authenticated`, `refused` or `needs`.
    pub fn access_name(&self) -> &'static str {
        match self.access {
            Access::Public => "public",
            Access::Authenticated => "authenticated",
            Access::Needs => "needs",
            Access::Refused => "refused",
        }
    }

    fn needs_text(&self) -> Vec<String> {
        self.needs.iter().map(ToString::to_string).collect()
    }
}

impl Manifest {
    /// One object per method and concrete path.
    pub fn to_json(&self) -> Value {
        let mut routes = Vec::new();
        for operation in &self.operations {
            for path in operation.paths() {
                for method in &operation.methods {
                    routes.push(json!({
                        "method": method.as_str(),
                        "path": path,
                        "operation": operation.name,
                        "access": operation.access_name(),
                        "needs": operation.needs_text(),
                        "handling": operation.handling.as_str(),
                    }));
                }
            }
        }
        Value::Array(routes)
    }

    /// A table with one line per operation, columns aligned.
    pub fn to_table(&self) -> String {
        let rows: Vec<[String; 4]> = self
            .operations
            .iter()
            .map(|operation| {
                let methods: Vec<&str> = operation.methods.iter().map(|method| method.as_str()).collect();
                let needs = match operation.access {
                    Access::Needs => operation.needs_text().join(" "),
                    _ => operation.access_name().to_owned(),
                };
                [methods.join(","), operation.template.clone(), operation.name.clone(), needs]
            })
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (methods, templates, names) = (width(0), width(1), width(2));
        rows.iter()
            .map(|[method, template, name, needs]| {
                format!("{method:<methods$}  {template:<templates$}  {name:<names$}  {needs}\n")
            })
            .collect()
    }
}
