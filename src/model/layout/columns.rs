//! The target's columns and key columns.

use super::id_map::{self, NewIds};
use super::{Compare, KeyColumn, Member, Origin, Scope, TargetColumn};
use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::expression::Expression;
use crate::model::shape::TableIndex;
use std::collections::BTreeMap;

pub(super) fn target_columns(
    members: &[Member],
    me: &Member,
    scope: Option<&Scope>,
) -> Result<Vec<TargetColumn>> {
    let mut columns: Vec<TargetColumn> = Vec::new();
    if let Some(scope) = scope {
        if me.shape.column(&scope.column).is_some() {
            return Err(Error::bad_scope(
                format!("Table {} has a column \"{}\" already.", me.shape.name.plain(), scope.column.as_str()),
                "Choose another scope_column, or leave that column out: columns => '{\"…\": null}'.".into(),
            ));
        }
        columns.push(TargetColumn {
            name: scope.column.clone(),
            origin: Origin::Scope,
            type_text: scope.type_text.clone(),
            insert: true,
            compare: Compare::Hash,
            via: None,
        });
    }
    let replaced = |name: &Ident| me.spec.columns.iter().any(|(n, _)| n == name);
    // A generated column stays generated only if every column that its expression may name is still there.
    let untouched = me.keeps_all();
    for c in me.shape.columns.iter().filter(|c| !replaced(&c.name)) {
        columns.push(TargetColumn {
            name: c.name.clone(),
            origin: Origin::Source(c.name.clone()),
            type_text: c.type_text.clone(),
            insert: c.generated.is_none() || !untouched,
            compare: Compare::default(),
            via: None,
        });
    }
    let drawn = id_map::resolve_new_ids(members, me)?;
    for (name, expression) in &me.spec.columns {
        if let Some(expression) = expression {
            columns.push(made_column(me, name, expression, drawn.as_ref()));
        }
    }
    for column in &mut columns {
        let Origin::Source(source) = &column.origin else {
            continue;
        };
        column.via = id_map::find_via(members, me, source)?;
        if let Some(via) = &column.via {
            column.type_text.clone_from(&via.target_type);
        }
    }
    Ok(columns)
}

/// Returns a column that the user defined: a renamed source column, the column that draws new ids, or an expression.
fn made_column(
    me: &Member,
    name: &Ident,
    expression: &Expression,
    drawn: Option<&NewIds>,
) -> TargetColumn {
    let renamed = me.shape.column(&Ident::new(expression.up.trim()));
    let given = || {
        expression
            .type_text
            .clone()
            .unwrap_or_else(|| "text".into())
    };
    let (origin, type_text) = match (renamed, drawn) {
        (Some(c), _) => (Origin::Source(c.name.clone()), c.type_text.clone()),
        (None, Some(d)) if d.target == *name => (Origin::Source(d.source.clone()), given()),
        _ => (Origin::Expression(expression.up.clone()), given()),
    };
    TargetColumn {
        name: name.clone(),
        origin,
        type_text,
        insert: true,
        compare: Compare::default(),
        via: None,
    }
}

/// Maps source columns to target columns.
pub(super) fn renames(columns: &[TargetColumn]) -> BTreeMap<Ident, Ident> {
    columns
        .iter()
        .filter_map(|c| match &c.origin {
            Origin::Source(source) => Some((source.clone(), c.name.clone())),
            _ => None,
        })
        .collect()
}

pub(super) fn key_columns(
    me: &Member,
    pk: &TableIndex,
    columns: &[TargetColumn],
) -> Result<Vec<KeyColumn>> {
    pk.columns
        .iter()
        .map(|c| {
            let source = c
                .name
                .clone()
                .ok_or_else(|| Error::internal("a primary key over an expression".into()))?;
            let origin = Origin::Source(source.clone());
            // Where the column is carried under two names, the user's name wins.
            let carried = columns.iter().rev().find(|c| c.origin == origin);
            let target = carried.ok_or_else(|| {
                Error::key_not_carried(me.shape.name.plain(), source.as_str().to_owned())
            })?;
            let equals = c.equals.clone();
            let type_text = me.shape.column(&source).map(|c| c.type_text.clone());
            Ok(KeyColumn {
                target: target.name.clone(),
                type_text: type_text.unwrap_or_else(|| "text".into()),
                equals: equals.unwrap_or_else(|| QualifiedName::new("pg_catalog", "=")),
                hashable: false,
                via: target.via.clone(),
                source,
            })
        })
        .collect()
}
