//! The user's expressions, checked by PostgreSQL before they are stored.

use crate::error::{Error, Result};
use crate::ident::{Ident, QualifiedName};
use crate::model::expression::Expression;
use crate::model::layout::{Layout, Origin};
use crate::model::shape::Shape;
use crate::model::spec::Spec;
use crate::pg::expression::{self, CheckedExpression};
use crate::pg::notice::notice;

/// Lets PostgreSQL check every expression, and records its type. With `remap`, an expression for a key draws new ids.
pub fn resolve_types(mut spec: Spec, shape: &Shape, remap: bool) -> Result<Spec> {
    let source = shape.name.to_string();
    let keys: Vec<Ident> = shape.key_columns();
    let keys: Vec<Ident> = keys
        .into_iter()
        .chain(spec.target_key.iter().flatten().cloned())
        .collect();
    for (name, expression) in &mut spec.columns {
        let Some(expression) = expression else {
            continue;
        };
        // A bare column name is a rename, even if it is a keyword.
        let renamed = shape.column(&Ident::new(expression.up.trim()));
        if let Some(column) = renamed {
            expression.type_text = Some(column.type_text.clone());
            continue;
        }
        if remap && keys.contains(name) {
            draws(shape, name, expression)?;
            continue;
        }
        let checked =
            expression::check(shape.owner.into(), name.as_str(), &expression.up, &source)?;
        expression.type_text = Some(checked.type_text);
        expression.reads = checked.reads;
        expression.constant = checked.constant;
        if !checked.immutable {
            spec.mutable.push(name.as_str().to_owned());
        }
    }
    if let Some(filter) = &spec.filter {
        let CheckedExpression {
            type_text,
            immutable,
            ..
        } = expression::check(shape.owner.into(), "filter", filter, &source)?;
        if !immutable {
            spec.mutable.push("filter".to_owned());
        }
        if type_text != "boolean" {
            return Err(Error::bad_expression(
                "filter".into(),
                None,
                format!("Its type is {type_text}, not boolean."),
                "Write a condition over the source row, for example status <> 'draft'.".into(),
            ));
        }
    }
    Ok(spec)
}

fn draws(shape: &Shape, name: &Ident, expression: &mut Expression) -> Result<()> {
    if expression.down.is_some() {
        return Err(Error::bad_expression(
            name.as_str().to_owned(),
            None,
            "It draws new ids, and old ones are drawn by the old table's own default.".into(),
            "Leave \"down\" out.".into(),
        ));
    }
    let checked = expression::check_draw(
        shape.owner.into(),
        name.as_str(),
        &expression.up,
        &shape.name.to_string(),
    )?;
    expression.type_text = Some(checked.type_text);
    expression.reads = checked.reads;
    Ok(())
}

/// Lets PostgreSQL check each `down` over a row of the future target, and records which column it gives back: the one of
/// its own name, or the only one that `up` reads and the target does not carry unchanged.
pub fn given_back(
    mut spec: Spec,
    shape: &Shape,
    layout: &Layout,
    target: &QualifiedName,
) -> Result<Spec> {
    let row: Vec<String> = layout
        .columns
        .iter()
        .map(|c| format!("NULL::{} AS {}", c.type_text, c.name))
        .collect();
    let from = format!("(SELECT {}) AS {}", row.join(", "), target.name);
    let carried = |name: &Ident| {
        layout
            .columns
            .iter()
            .any(|t| t.origin == Origin::Source(name.clone()))
    };
    for (name, expression) in &mut spec.columns {
        let Some((expression, down)) = expression
            .as_mut()
            .and_then(|e| e.down.clone().map(|d| (e, d)))
        else {
            continue;
        };
        expression::check(shape.owner.into(), name.as_str(), &down, &from)?;
        let own = shape.column(name).map(|c| c.name.clone());
        let mut read = expression.reads.iter().filter(|c| !carried(c));
        expression.gives = match (own.filter(|c| !carried(c)), read.next(), read.next()) {
            (Some(own), ..) => Some(own),
            (None, Some(only), None) => Some(only.clone()),
            (None, None, _) => {
                notice(&format!(
                    "\"down\" of column \"{}\" is not needed: what \"up\" reads is carried as it is",
                    name.as_str()
                ));
                None
            }
            (None, Some(one), Some(other)) => {
                return Err(Error::bad_expression(name.as_str().to_owned(), None, format!(
                        "Its \"up\" reads \"{}\" and \"{}\"; which of them \"down\" gives back is not clear.",
                        one.as_str(),
                        other.as_str()
                    ), "Name the new column as the old one that \"down\" gives back, or carry the other as it is.".into()));
            }
        };
    }
    Ok(spec)
}
