//! CHECK constraints of the target: those of each source, for the rows that come from it.

use super::SourcePart;
use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::{Layout, Origin, Scope};
use crate::model::shape::{CheckConstraint, Shape};
use crate::sqlgen::comments_stats;

/// A CHECK constraint of the target.
pub struct TargetCheck<'a> {
    pub name: Ident,
    pub definition: String,
    comment: Option<&'a String>,
}

/// Returns the checks of all sources, each limited to the rows of its own source.
pub fn list_checks<'a>(parts: &[SourcePart<'a>]) -> Vec<TargetCheck<'a>> {
    let mut made: Vec<TargetCheck> = Vec::new();
    for part in parts {
        for check in part.source.checks.iter() {
            if !is_carried(check, part.layout) {
                continue;
            }
            let name = check
                .name
                .avoid_taken(|n| made.iter().any(|m| m.name == *n));
            made.push(TargetCheck {
                name,
                definition: for_own_rows(&check.definition, part.layout),
                comment: check.comment.as_ref(),
            });
        }
    }
    made
}

/// Returns `CHECK (kind <> 'x' OR (…))`: rows of other sources are exempt.
fn for_own_rows(definition: &str, layout: &Layout) -> String {
    let (Some(others), Some(open), Some(close)) = (
        match_other_sources(layout),
        definition.find('('),
        definition.rfind(')'),
    ) else {
        return definition.to_owned();
    };
    let (before, condition, after) = (
        &definition[..open],
        &definition[open..=close],
        &definition[close + 1..],
    );
    format!("{before}({others} OR {condition}){after}")
}

/// Condition: the row comes from another source, or this source has no part in it.
pub fn match_other_sources(layout: &Layout) -> Option<String> {
    if let Some(merge) = layout.merge.as_ref().filter(|m| !m.decides()) {
        let columns = merge.own_part().map(|g| list(&g.columns));
        let columns = columns.filter(|c| !c.is_empty())?;
        return Some(format!("pg_catalog.num_nonnulls({columns}) = 0"));
    }
    let kind = layout.kind.as_ref()?;
    Some(format!(
        "{} <> {}::{}",
        kind.column,
        Literal(&kind.value),
        kind.type_text
    ))
}

/// A check over a column that is dropped or renamed could refer to something else in the target, and one over the row itself is of another type.
pub fn is_carried(check: &CheckConstraint, layout: &Layout) -> bool {
    let carried = |name: &Ident| {
        let mut columns = layout.columns.iter();
        columns.any(|c| {
            let kept = c
                .via
                .as_ref()
                .is_none_or(|v| v.source_type == v.target_type);
            c.name == *name && c.origin == Origin::Source(name.clone()) && kept
        })
    };
    !check.whole_row && check.columns.iter().all(carried)
}

/// Forbids rows of a kind that no source has: they could not be written back.
pub fn kinds(parts: &[SourcePart], target: &QualifiedName) -> Option<String> {
    let all: Vec<&Scope> = parts
        .iter()
        .filter_map(|p| p.layout.kind.as_ref())
        .collect();
    let first = all.first()?;
    let values: Vec<String> = all
        .iter()
        .map(|k| format!("{}::{}", Literal(&k.value), k.type_text))
        .collect();
    Some(format!(
        "CONSTRAINT {} CHECK ({} IN ({}))",
        Ident::derive(&[target.name.as_str(), first.column.as_str(), "check"]),
        first.column,
        values.join(", ")
    ))
}

/// Comments of the checks and of the primary key; other keys come later.
pub fn comments(source: &Shape, target: &QualifiedName, checks: &[TargetCheck]) -> Vec<String> {
    let checks = checks
        .iter()
        .filter_map(|c| Some((c.name.clone(), c.comment?)));
    let key = source.primary_key().and_then(|k| k.comment.as_ref());
    checks
        .chain(key.map(|text| (super::primary_key_name(target), text)))
        .map(|(name, text)| comments_stats::on_constraint(target, &name, text))
        .collect()
}
