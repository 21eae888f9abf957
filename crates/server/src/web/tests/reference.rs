//! The reference of the HTTP interface in the book, made from the OpenAPI document.
//!
//! `RM_BLESS=1 cargo test -p restic-manager-server --lib reference` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference-http.md");

#[test]
fn the_reference_in_the_book_is_that_of_the_present_routes() {
    let document: Value = serde_json::from_slice(&Table::new().document()).unwrap();
    let written = written(&document);
    if std::env::var_os("RM_BLESS").is_some() {
        std::fs::write(PLACE, &written).unwrap();
    }
    let kept = std::fs::read_to_string(Path::new(PLACE)).unwrap_or_default();
    let differs =
        written.lines().zip(kept.lines().chain(std::iter::repeat(""))).find(|(new, old)| new != old);
    assert!(
        written == kept,
        "docs/src/reference-http.md is not current (first line that differs: {differs:?}); write it anew with RM_BLESS=1 \
         cargo test -p restic-manager-server --lib reference"
    );
}

fn written(document: &Value) -> String {
    let mut text = String::from("# HTTP reference\n\n");
    text.push_str(
        "<!-- Written by `RM_BLESS=1 cargo test -p restic-manager-server --lib reference`; do not edit. -->\n\n",
    );
    let _ = writeln!(text, "{}\n", document["info"]["description"].as_str().unwrap());
    text.push_str(
        "The same as a machine reads it: `GET /api/openapi.json`. Unless a row says otherwise, a request carries \
         `Authorization: Bearer rmt_...`, or the cookie of a session.\n\n",
    );
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.is_object() {
                operation_of(&mut text, path, method, operation);
            }
        }
    }
    text.push_str("## Shapes\n\n`?` after a name: the field may be absent.\n\n");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        shape_of(&mut text, name, schema);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn operation_of(text: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = writeln!(text, "## `{} {path}`\n", method.to_uppercase());
    for said in ["summary", "description"] {
        if let Some(said) = operation[said].as_str() {
            let _ = writeln!(text, "{}\n", on_one_line(said));
        }
    }
    match operation["security"].as_array().map(Vec::as_slice) {
        Some([]) => text.push_str("Open to everybody.\n\n"),
        Some([one]) if one["agent_token"].is_array() => text.push_str("For agents, with `rma_...`.\n\n"),
        Some(_) | None => {}
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let said = parameter["description"].as_str().map(on_one_line).unwrap_or_default();
        let place = parameter["in"].as_str().unwrap();
        let name = parameter["name"].as_str().unwrap();
        let _ = writeln!(text, "- {place} `{name}`: {}{}", type_of(&parameter["schema"]), spaced(&said));
    }
    if let Some(body) = operation.pointer("/requestBody/content").and_then(Value::as_object) {
        for (kind, content) in body {
            let _ = writeln!(text, "- body ({kind}): {}", type_of(&content["schema"]));
        }
    }
    for (status, response) in operation["responses"].as_object().unwrap() {
        if status == "default" {
            continue;
        }
        let said = response["description"].as_str().map(on_one_line).unwrap_or_default();
        let content = response["content"].as_object();
        let shapes: Vec<String> =
            content.into_iter().flatten().map(|(_, content)| type_of(&content["schema"])).collect();
        let _ = writeln!(text, "- answer {status}: {}{}", shapes.join(" or "), spaced(&said));
    }
    text.push('\n');
}

fn shape_of(text: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(text, "### {name}\n");
    if let Some(said) = schema["description"].as_str() {
        let _ = writeln!(text, "{}\n", on_one_line(said));
    }
    let Some(fields) = schema["properties"].as_object() else {
        let _ = writeln!(text, "{}\n", type_of(schema));
        return;
    };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, schema) in fields {
        let absent = if required.contains(&field.as_str()) { "" } else { "?" };
        let said = schema["description"].as_str().map(on_one_line).unwrap_or_default();
        let _ = writeln!(text, "- `{field}`{absent}: {}{}", type_of(schema), spaced(&said));
    }
    text.push('\n');
}

/// What a schema stands for, in a few words.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("`{}`", value.as_str().unwrap_or("null"))).collect();
        return values.join(", ");
    }
    for (key, word) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")] {
        if let Some(parts) = schema[key].as_array() {
            return parts.iter().map(type_of).collect::<Vec<_>>().join(word);
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec!["anything"],
    };
    let kinds: Vec<String> = kinds.into_iter().map(|kind| kind_of(kind, schema)).collect();
    kinds.join(" or ")
}

fn kind_of(kind: &str, schema: &Value) -> String {
    match kind {
        "array" if schema["items"].is_object() => format!("list of {}", type_of(&schema["items"])),
        "object" => match schema["properties"].as_object() {
            Some(fields) if !fields.is_empty() => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, schema)| format!("`{name}`: {}", type_of(schema))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Some(_) | None => "object".to_owned(),
        },
        kind => kind.to_owned(),
    }
}

fn spaced(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" — {said}") }
}

/// Angle brackets would be taken for HTML.
fn on_one_line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "&lt;")
}
