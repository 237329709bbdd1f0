//! Reads `operations.txt`: one operation per line, `|` between columns. The grammar is in `docs/OPERATIONS.md`.

use super::super::router::Template;
use super::{Access, Handling, Need, Operation, Source, Step, Target};
use crate::access::Privilege;
use crate::wire::Method;

/// The operations and, beside each, the number of its line.
pub(super) fn operations(text: &str) -> Result<(Vec<Operation>, Vec<usize>), String> {
    let mut operations = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        operations.push(operation(line).map_err(|problem| format!("operations, line {number}: {problem}"))?);
        lines.push(number);
    }
    Ok((operations, lines))
}

fn operation(line: &str) -> Result<Operation, String> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [methods, template, name, needs, handling, flags] = columns[..] else {
        return Err(format!("{} columns instead of 6", columns.len()));
    };
    let methods = methods
        .split(',')
        .map(|method| Method::parse(method).ok_or_else(|| format!("`{method}` is not a method")))
        .collect::<Result<Vec<_>, _>>()?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)) {
        return Err(format!("`{name}` is not a name"));
    }
    let (access, needs) = access(needs)?;
    let handling = Handling::NAMES
        .iter()
        .find(|(known, _)| *known == handling)
        .map(|(_, handling)| *handling)
        .ok_or_else(|| format!("`{handling}` is not a handling"))?;
    let mut operation = Operation {
        name: name.to_owned(),
        mutates: !methods.iter().all(|method| method.is_read()),
        methods,
        template: template.to_owned(),
        access,
        needs,
        handling,
        json_body: false,
        body_shape: None,
    };
    for flag in flags.split_whitespace() {
        match flag {
            "json" => operation.json_body = true,
            "reads" => operation.mutates = false,
            "writes" => operation.mutates = true,
            other => return Err(format!("`{other}` is not a flag")),
        }
    }
    check_sources(&operation)?;
    Ok(operation)
}

/// A source that can never be there would make its need vacuous or the operation unusable.
fn check_sources(operation: &Operation) -> Result<(), String> {
    let params = Template::parse(&super::concrete(&operation.template)[0])?.params();
    // A call that names nothing would pass with nothing checked.
    let vacuous = operation.access == Access::Needs && operation.needs.iter().all(|need| need.optional);
    if vacuous && operation.handling == Handling::Pass {
        return Err("every need is optional: some handling must narrow the answer".to_owned());
    }
    for need in &operation.needs {
        for source in &need.sources {
            match source {
                Source::Path(name) if !params.contains(name) => {
                    return Err(format!("`{source}` is not in the template"));
                }
                Source::Json(_) if !operation.json_body => {
                    return Err(format!("`{source}` needs the flag `json`"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn access(text: &str) -> Result<(Access, Vec<Need>), String> {
    let access = match text {
        "public" => Access::Public,
        "authenticated" => Access::Authenticated,
        "refused" => Access::Refused,
        "" => return Err("no needs; write `authenticated` if there are none".to_owned()),
        _ => Access::Needs,
    };
    let needs = match access {
        Access::Needs => text.split_whitespace().map(need).collect::<Result<Vec<_>, _>>()?,
        _ => Vec::new(),
    };
    Ok((access, needs))
}

fn need(token: &str) -> Result<Need, String> {
    let fail = |problem: &str| format!("need `{token}`: {problem}");
    let privilege = |name: &str| name.parse::<Privilege>().map_err(|error| fail(&error.to_string()));
    let (what, place) = match token.split_once('@') {
        Some((what, place)) => (what, Some(place)),
        None => (token, None),
    };
    let (wanted, own) = match what.split_once('~') {
        Some((wanted, own)) => (privilege(wanted)?, Some(privilege(own)?)),
        None => (privilege(what)?, None),
    };
    let Some(place) = place else {
        if own.is_some() {
            return Err(fail("`~` is for traces"));
        }
        return Ok(Need {
            privilege: wanted,
            own,
            target: Target::Workspace,
            sources: Vec::new(),
            many: false,
            optional: false,
        });
    };
    let (place, optional) = place.strip_suffix('?').map_or((place, false), |rest| (rest, true));
    let (place, many) = place.strip_suffix('*').map_or((place, false), |rest| (rest, true));
    let (target, sources) = place.split_once(':').ok_or_else(|| fail("no `:`"))?;
    let target = Target::NAMES
        .iter()
        .find(|(known, _)| *known == target)
        .map(|(_, target)| *target)
        .ok_or_else(|| fail(&format!("`{target}` is not a target")))?;
    let sources =
        sources.split('=').map(source).collect::<Result<Vec<_>, _>>().map_err(|problem| fail(&problem))?;
    if own.is_some() && target != Target::Trace {
        return Err(fail("`~` is for traces"));
    }
    if target == Target::Workspace && !optional {
        return Err(fail("a workspace with a source is a condition: add `?`"));
    }
    if many && sources.len() > 1 {
        return Err(fail("a list has one source"));
    }
    for source in &sources {
        let list = match source {
            Source::Query(_) => many,
            Source::Json(steps) => steps.contains(&Step::Each),
            Source::Path(_) | Source::Header(_) => false,
        };
        if list != many {
            return Err(fail("`*` belongs to a list, and a list to `*`"));
        }
    }
    Ok(Need { privilege: wanted, own, target, sources, many, optional })
}

fn source(text: &str) -> Result<Source, String> {
    let (place, name) = text.split_once('.').ok_or_else(|| format!("`{text}` is not a source"))?;
    let word =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if place == "json" {
        let mut steps = Vec::new();
        for part in name.split('.') {
            let end = part.find(['[', '(']).unwrap_or(part.len());
            let (field, mut rest) = part.split_at(end);
            if !word(field) {
                return Err(format!("`{text}` has an empty or odd step"));
            }
            steps.push(Step::Field(field.to_owned()));
            while !rest.is_empty() {
                let (step, left) = if let Some(left) = rest.strip_prefix("[]") {
                    (Step::Each, left)
                } else if let Some(left) = rest.strip_prefix("()") {
                    (Step::Embedded, left)
                } else {
                    return Err(format!("`{text}` has an odd step"));
                };
                steps.push(step);
                rest = left;
            }
        }
        return Ok(Source::Json(steps));
    }
    if !word(name) {
        return Err(format!("`{text}` is not a source"));
    }
    match place {
        "path" => Ok(Source::Path(name.to_owned())),
        "query" => Ok(Source::Query(name.to_owned())),
        "header" => Ok(Source::Header(name.to_ascii_lowercase())),
        _ => Err(format!("`{place}` is not a place")),
    }
}
