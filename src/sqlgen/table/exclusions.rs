//! Exclusion constraints of the target: those of each source, for the rows that come from it.

use super::SourcePart;
use super::checks::match_other_sources;
use crate::ident::{Ident, QualifiedName, list};
use crate::model::layout::Layout;
use crate::model::layout::exclusions::TargetExclusion;
use crate::sqlgen::comments_stats;
use crate::sqlgen::scope;

/// The constraints of all sources, as parts of CREATE TABLE and with their comments.
pub fn list_exclusions<'a>(parts: &[SourcePart<'a>]) -> Vec<(Ident, String, Option<&'a String>)> {
    let mut made: Vec<(Ident, String, Option<&String>)> = Vec::new();
    for part in parts {
        for x in &part.layout.exclusions {
            let name = x.name.avoid_taken(|n| made.iter().any(|(m, _, _)| m == n));
            made.push((name, define(x, part.layout), x.comment.as_ref()));
        }
    }
    made
}

/// `EXCLUDE …`: an element compares the scope where the access method can, as unique keys have it in front. Where it cannot, only rows of this
/// scope are excluded.
fn define(x: &TargetExclusion, layout: &Layout) -> String {
    let mut conditions: Vec<String> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    if let Some(s) = &layout.scope {
        if x.takes_scope(layout) {
            elements.push(format!("{} WITH OPERATOR(pg_catalog.=)", s.column));
        } else if let Some(value) = scope::value_of(layout, &s.column) {
            conditions.push(format!("{} OPERATOR(pg_catalog.=) {value}", s.column));
        }
    }
    elements.extend(x.elements.iter().map(|(column, operator)| {
        let suffix = match column.suffix.as_str() {
            "" => String::new(),
            suffix => format!(" {suffix}"),
        };
        let [schema, name] = [&operator.schema, &operator.name];
        format!(
            "{}{suffix} WITH OPERATOR({schema}.{})",
            column.text,
            name.as_str()
        )
    }));
    conditions.extend(match_other_sources(layout).map(|others| format!("NOT ({others})")));
    conditions.extend(x.predicate.clone());
    let mut text = format!("EXCLUDE USING {} ({})", x.method, elements.join(", "));
    if !x.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", list(&x.include)));
    }
    if !x.options.is_empty() {
        text.push_str(&format!(" WITH ({})", x.options.join(", ")));
    }
    if !conditions.is_empty() {
        text.push_str(&format!(" WHERE ({})", conditions.join(" AND ")));
    }
    // As for a deferrable unique key: rows may swap their places within a statement.
    if x.deferrable {
        text.push_str(" DEFERRABLE INITIALLY DEFERRED");
    }
    text
}

pub fn comments(target: &QualifiedName, all: &[(Ident, String, Option<&String>)]) -> Vec<String> {
    let commented = all.iter().filter_map(|(name, _, c)| Some((name, (*c)?)));
    commented
        .map(|(name, text)| comments_stats::on_constraint(target, name, text))
        .collect()
}
