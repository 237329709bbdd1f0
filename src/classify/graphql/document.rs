//! Walks the one operation of a document, fragments expanded, under the caps that MLflow has too.

use std::collections::HashMap;

use graphql_parser::query::{
    Definition, Directive, Document, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
    parse_query,
};
use serde_json::{Map, Value};

use super::fields::{self, Operation};
use super::{GraphQlError, GraphQlReading};

const MAX_BYTES: usize = 64 * 1024;
const MAX_SELECTIONS: usize = 1000;
const MAX_DEPTH: usize = 10;
/// How deep fragments may spread fragments.
const MAX_SPREADS: usize = 10;

type Text<'q> = &'q str;

pub(super) fn read(
    query: &str,
    operation_name: Option<&str>,
    variables: &Map<String, Value>,
) -> Result<GraphQlReading, GraphQlError> {
    if query.len() > MAX_BYTES {
        return Err(GraphQlError::TooLarge("64 KiB"));
    }
    // Parsers differ in how they strip and unescape block strings, and no client sends one.
    if query.contains("\"\"\"") {
        return Err(GraphQlError::Syntax("block strings are not supported".to_owned()));
    }
    // GraphQL has no such characters, and the parser at hand would take them into a text.
    if let Some(control) = query.chars().find(|next| *next < ' ' && !matches!(next, '\t' | '\n' | '\r')) {
        let code = u32::from(control);
        return Err(GraphQlError::Syntax(format!(
            "the control character U+{code:04X} cannot stand in a query"
        )));
    }
    let document: Document<'_, Text<'_>> = parse_query(query)
        .map_err(|error| GraphQlError::Syntax(error.to_string().trim().replace('\n', " ")))?;
    let mut fragments = HashMap::new();
    let mut operations = Vec::new();
    for definition in &document.definitions {
        match definition {
            Definition::Operation(operation) => operations.push(operation),
            Definition::Fragment(fragment) => {
                if fragments.insert(fragment.name, fragment).is_some() {
                    return Err(GraphQlError::Fragment(fragment.name.to_owned()));
                }
            }
        }
    }
    let [operation] = operations.as_slice() else { return Err(GraphQlError::Operation) };
    let none: &[Directive<'_, Text<'_>>] = &[];
    let (kind, name, directives, selections) = match operation {
        OperationDefinition::SelectionSet(selections) => (Operation::Query, None, none, selections),
        OperationDefinition::Query(query) => {
            (Operation::Query, query.name, query.directives.as_slice(), &query.selection_set)
        }
        OperationDefinition::Mutation(mutation) => {
            (Operation::Mutation, mutation.name, mutation.directives.as_slice(), &mutation.selection_set)
        }
        OperationDefinition::Subscription(_) => return Err(GraphQlError::Subscription),
    };
    if operation_name.is_some() && operation_name != name {
        return Err(GraphQlError::Operation);
    }
    allow(directives, &["component"])?;
    let mut walk = Walk {
        kind,
        variables,
        fragments,
        spreads: Vec::new(),
        selections: 0,
        reading: GraphQlReading::default(),
    };
    walk.select(selections, &[])?;
    Ok(walk.reading)
}

fn allow<'q>(directives: &[Directive<'q, Text<'q>>], allowed: &[&str]) -> Result<(), GraphQlError> {
    match directives.iter().find(|directive| !allowed.contains(&directive.name)) {
        Some(directive) => Err(GraphQlError::Directive(directive.name.to_owned())),
        None => Ok(()),
    }
}

struct Walk<'q> {
    kind: Operation,
    variables: &'q Map<String, Value>,
    fragments: HashMap<&'q str, &'q FragmentDefinition<'q, Text<'q>>>,
    /// The fragments that are being expanded.
    spreads: Vec<&'q str>,
    selections: usize,
    reading: GraphQlReading,
}

impl<'q> Walk<'q> {
    /// Walks the selections at a place in the response, given by its response keys.
    fn select(&mut self, set: &'q SelectionSet<'q, Text<'q>>, path: &[String]) -> Result<(), GraphQlError> {
        const CONDITIONS: &[&str] = &["include", "skip"];
        for selection in &set.items {
            self.selections += 1;
            if self.selections > MAX_SELECTIONS {
                return Err(GraphQlError::TooLarge("1000 selections"));
            }
            match selection {
                Selection::Field(field) => {
                    allow(&field.directives, CONDITIONS)?;
                    self.field(field, path)?;
                }
                Selection::InlineFragment(fragment) => {
                    allow(&fragment.directives, CONDITIONS)?;
                    self.expand("...", &fragment.selection_set, path)?;
                }
                Selection::FragmentSpread(spread) => {
                    allow(&spread.directives, CONDITIONS)?;
                    let name = spread.fragment_name;
                    let unknown = || GraphQlError::Fragment(name.to_owned());
                    if self.spreads.contains(&name) {
                        return Err(unknown());
                    }
                    let fragment = *self.fragments.get(name).ok_or_else(unknown)?;
                    allow(&fragment.directives, &[])?;
                    self.expand(name, &fragment.selection_set, path)?;
                }
            }
        }
        Ok(())
    }

    fn expand(
        &mut self,
        name: &'q str,
        set: &'q SelectionSet<'q, Text<'q>>,
        path: &[String],
    ) -> Result<(), GraphQlError> {
        if self.spreads.len() >= MAX_SPREADS {
            return Err(GraphQlError::TooLarge("10 nested fragments"));
        }
        self.spreads.push(name);
        self.select(set, path)?;
        self.spreads.pop();
        Ok(())
    }

    fn field(&mut self, field: &'q Field<'q, Text<'q>>, path: &[String]) -> Result<(), GraphQlError> {
        if path.len() >= MAX_DEPTH {
            return Err(GraphQlError::TooLarge("10 levels"));
        }
        if path.is_empty() {
            self.reading.needs.extend(fields::root_needs(self.kind, field, self.variables)?);
        } else if !field.arguments.is_empty() || !fields::is_nested(field.name) {
            return Err(GraphQlError::Field(field.name.to_owned()));
        }
        let mut path = path.to_vec();
        path.push(field.alias.unwrap_or(field.name).to_owned());
        if field.name == fields::MODEL_VERSIONS {
            self.reading.model_version_paths.push(path.clone());
        }
        self.select(&field.selection_set, &path)
    }
}
