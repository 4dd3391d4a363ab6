//! The reverse direction: computes a source's columns from a target row, for writes to the target.

use super::{Layout, Origin};
use crate::ident::Ident;
use crate::model::shape::{Shape, TableColumn};
use crate::model::spec::Spec;
use serde::{Deserialize, Serialize};

/// A source column, and where its value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackColumn {
    pub source: Ident,
    pub from: BackValue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackValue {
    Target(Ident),
    Expression {
        /// SQL over the target row.
        down: String,
        /// The target column that was made from this one.
        made: Ident,
    },
}

/// Why a mapping has no reverse direction, and how to fix that.
#[derive(Clone, Debug, PartialEq)]
pub struct NotReversible {
    pub reason: String,
    pub hint: String,
}

/// Returns all columns that a target row gives back, or all obstacles. A column that was left out on purpose (`null`) is no
/// obstacle if new rows can do without it; existing rows keep their value.
pub fn way_back(
    source: &Shape,
    spec: &Spec,
    layout: &Layout,
) -> Result<Vec<BackColumn>, Vec<NotReversible>> {
    let (mut columns, mut stuck) = (Vec::new(), Vec::new());
    if layout.key_deferrable {
        stuck.push(NotReversible {
            reason:
                "The old table's primary key is deferrable, and an upsert cannot name such a key."
                    .into(),
            hint: "Make the primary key not deferrable.".into(),
        });
    }
    let drawn = layout.drawn.as_ref().and_then(|d| source.column(&d.source));
    if let Some(id) = drawn.filter(|c| c.default.is_none() && c.identity.is_none()) {
        stuck.push(NotReversible {
            reason: format!("Column \"{}\" of the old table has no default, so nothing draws the old id of a row that is born in the new one.", id.name.as_str()),
            hint: format!("ALTER TABLE ... ALTER COLUMN {} SET DEFAULT ...;", id.name),
        });
    }
    let in_key = |c: &TableColumn| layout.key.iter().any(|k| k.source == c.name);
    for column in source.columns.iter().filter(|c| c.generated.is_none()) {
        if column.identity.is_some() && !in_key(column) {
            stuck.push(NotReversible {
                reason: format!("Column \"{}\" of the old table is an identity column outside the key, and such a column cannot be set.", column.name.as_str()),
                hint: format!("ALTER TABLE ... ALTER COLUMN {} DROP IDENTITY;", column.name),
            });
            continue;
        }
        match origin(column, spec, layout) {
            Some(from) => columns.push(BackColumn {
                source: column.name.clone(),
                from,
            }),
            None => stuck.extend(find_obstacle(column, spec)),
        }
    }
    if stuck.is_empty() {
        Ok(columns)
    } else {
        Err(stuck)
    }
}

fn origin(column: &TableColumn, spec: &Spec, layout: &Layout) -> Option<BackValue> {
    let carried = layout
        .columns
        .iter()
        .find(|t| t.origin == Origin::Source(column.name.clone()));
    if let Some(target) = carried {
        return Some(BackValue::Target(target.name.clone()));
    }
    spec.columns.iter().find_map(|(made, expression)| {
        let giving = expression
            .as_ref()
            .filter(|e| e.gives.as_ref() == Some(&column.name))?;
        Some(BackValue::Expression {
            down: giving.down.clone()?,
            made: made.clone(),
        })
    })
}

/// Returns the obstacle where a column cannot be restored.
fn find_obstacle(column: &TableColumn, spec: &Spec) -> Option<NotReversible> {
    let name = column.name.as_str();
    let reader = spec
        .columns
        .iter()
        .find(|(_, e)| e.as_ref().is_some_and(|e| e.reads.contains(&column.name)));
    if let Some((target, Some(expression))) = reader {
        let target = target.as_str();
        return Some(NotReversible {
            reason: format!(
                "Column \"{name}\" of the old table went into \"{target}\", whose expression has no \"down\"."
            ),
            hint: format!(
                "columns => '{{\"{target}\": {{\"up\": \"{}\", \"down\": \"an expression over the new row\"}}}}'",
                expression.up.replace('\'', "''")
            ),
        });
    }
    let needed = column.not_null && column.default.is_none() && column.identity.is_none();
    needed.then(|| NotReversible {
        reason: format!("Column \"{name}\" of the old table is NOT NULL without a default, and the new table lacks it."),
        hint: format!("Carry the column, or ALTER TABLE ... ALTER COLUMN {} SET DEFAULT ...;", column.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::expression::Expression;
    use crate::model::fixture;
    use crate::model::layout::{Member, resolve};

    fn resolve_back(
        columns: Vec<(Ident, Option<Expression>)>,
    ) -> Result<Vec<BackColumn>, Vec<NotReversible>> {
        let (source, target, _) = fixture::sign_ups();
        let spec = Spec {
            columns,
            ..Spec::default()
        };
        let member = Member {
            id: 1,
            shape: &source,
            spec: &spec,
            target: &target,
            remap: false,
            adopted_shape: None,
        };
        let layout = resolve(&[member], 0, None).expect("layout");
        way_back(&source, &spec, &layout)
    }

    fn expression(up: &str, reads: &str, down: Option<(&str, &str)>) -> Option<Expression> {
        Some(Expression {
            up: up.into(),
            down: down.map(|d| d.0.into()),
            type_text: Some("text".into()),
            reads: vec![reads.into()],
            gives: down.map(|d| d.1.into()),
            constant: None,
        })
    }

    #[test]
    fn columns_come_back_by_name_by_rename_and_by_down() {
        let columns = vec![
            (
                "mail".into(),
                expression("lower(email)", "email", Some(("upper(mail)", "email"))),
            ),
            ("email".into(), None),
        ];
        let found = resolve_back(columns).expect("a way back");
        let of = |name: &str| {
            found
                .iter()
                .find(|c| c.source == name.into())
                .map(|c| c.from.clone())
        };
        assert_eq!(of("id"), Some(BackValue::Target("id".into())));
        assert_eq!(
            of("email"),
            Some(BackValue::Expression {
                down: "upper(mail)".into(),
                made: "mail".into()
            })
        );
    }

    #[test]
    fn what_went_into_an_expression_without_down_is_lost() {
        let columns = vec![
            ("mail".into(), expression("lower(email)", "email", None)),
            ("email".into(), None),
        ];
        let stuck = resolve_back(columns).expect_err("no way back");
        assert!(
            stuck[0].reason.contains("\"email\"") && stuck[0].reason.contains("\"mail\""),
            "{stuck:?}"
        );
    }

    #[test]
    fn a_derived_column_beside_its_source_is_no_obstacle() {
        let columns = vec![("mail".into(), expression("lower(email)", "email", None))];
        assert!(resolve_back(columns).is_ok());
    }
}
