//! Rules for constraints.

use crate::ident::Literal;
use crate::model::lint::statement::{
    Act, ColumnDefinition, Constraint, ConstraintRule, LintStatement, TableChange, TableLock,
    WrittenName,
};
use crate::model::lint::{File, INFO, RuleHit, WARNING, constraint_name};

pub fn check_added(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let new = changes.iter().filter_map(|c| match c {
        TableChange::Add(constraint) => Some(constraint),
        _ => None,
    });
    new.filter_map(|c| judge_constraint(file, s, table, c, changes.len() == 1))
        .collect()
}

/// Checks constraints of an added column. A foreign key on an empty column has nothing to check (transformColumnDefinition
/// marks it valid), unless a default fills the column.
pub fn of_column(
    file: &File,
    s: &LintStatement,
    table: &WrittenName,
    column: &ColumnDefinition,
) -> Vec<RuleHit> {
    let filled =
        column.numbered || column.computed || column.default.as_ref().is_some_and(|d| !d.is_null);
    let costs = |c: &&Constraint| filled || !matches!(c.rule, ConstraintRule::Foreign { .. });
    let of_it = column.constraints.iter().filter(costs);
    of_it
        .filter_map(|c| judge_constraint(file, s, table, c, false))
        .collect()
}

fn judge_constraint(
    file: &File,
    s: &LintStatement,
    table: &WrittenName,
    c: &Constraint,
    alone: bool,
) -> Option<RuleHit> {
    if file.is_new(table) {
        return None;
    }
    let name = constraint_name(table, c.name.as_ref(), &c.rule);
    let t = table.sql();
    let validated = |own: String| {
        // The rest of the statement stays as it was.
        let first = if alone && c.name.is_some() {
            format!("{} NOT VALID;", s.text)
        } else {
            format!("ALTER TABLE {t} ADD CONSTRAINT {name} … NOT VALID;")
        };
        format!(
            "{own} -- or by hand, each a transaction of its own:\n{first}\nALTER TABLE {t} VALIDATE CONSTRAINT {name};"
        )
    };
    let work = file.work(table, false);
    let severity = file.severity(table);
    match &c.rule {
        _ if c.not_valid => None,
        ConstraintRule::Check { .. } => Some(
            RuleHit::new(
                severity,
                "add-check",
                format!("every row is checked under AccessExclusiveLock ({work})"),
            )
            .safer(validated(format!(
                "SELECT mig_add_check({}, {}, '…');",
                Literal(&t),
                Literal(name.as_str())
            ))),
        ),
        ConstraintRule::Foreign { columns, parent } => {
            let mut hit = RuleHit::new(
                severity,
                "add-foreign-key",
                format!(
                    "every row is looked up in {}, and writers of both tables wait until it is done ({work})",
                    parent.plain()
                ),
            )
            .safer(validated(format!(
                "SELECT mig_add_foreign_key({}, {}, {}, {}, …);",
                Literal(&t),
                Literal(name.as_str()),
                Literal(&format!("{{{}}}", columns.join(","))),
                Literal(&parent.sql())
            )));
            hit.lock = Some(TableLock::ShareRowExclusive);
            Some(hit)
        }
        ConstraintRule::Unique { index: Some(_), .. }
        | ConstraintRule::Primary { index: Some(_), .. } => {
            let nullable = match &c.rule {
                ConstraintRule::Primary { .. } => {
                    ", and every row is read where a column of it may be null: SET NOT NULL the safe way comes first"
                }
                _ => "",
            };
            Some(RuleHit::new(
                INFO,
                "add-unique",
                format!("takes over an index that is there: only the catalog changes{nullable}"),
            ))
        }
        ConstraintRule::Unique { columns, .. } => Some(index_first(
            file,
            table,
            &name.to_string(),
            columns,
            "UNIQUE",
            severity,
        )),
        ConstraintRule::Primary { columns, .. } => Some(index_first(
            file,
            table,
            &name.to_string(),
            columns,
            "PRIMARY KEY",
            severity,
        )),
        ConstraintRule::Exclusion => Some(RuleHit::new(
            severity,
            "add-exclusion",
            format!(
                "the index is built under AccessExclusiveLock, and PostgreSQL has no way to build it beside writers ({work}); a new table, filled by a migration of its own, has it from the beginning"
            ),
        )),
    }
}

fn index_first(
    file: &File,
    table: &WrittenName,
    name: &str,
    columns: &[String],
    kind: &str,
    severity: &'static str,
) -> RuleHit {
    let columns: Vec<String> = columns
        .iter()
        .map(|c| crate::ident::Ident::new(c.as_str()).to_string())
        .collect();
    let t = table.sql();
    RuleHit::new(
        severity,
        "add-unique",
        format!(
            "its index is built under AccessExclusiveLock ({})",
            file.work(table, true)
        ),
    )
    .safer(format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {t} ({}); -- outside a transaction block, then\nALTER TABLE {t} ADD CONSTRAINT {name} {kind} USING INDEX {name};",
        columns.join(", ")
    ))
}

/// VALIDATE in the transaction that adds the constraint scans the table under the lock of the addition.
pub fn check_validated(file: &File, s: &LintStatement) -> Vec<RuleHit> {
    let Act::AlterTable { table, changes, .. } = &s.act else {
        return Vec::new();
    };
    let proved = changes.iter().filter_map(|c| match c {
        TableChange::Validate { constraint } => Some(constraint),
        _ => None,
    });
    proved
        .map(|constraint| {
            if file.unproved.contains(constraint) {
                return RuleHit::new(
                    if file.is_quick(table) { INFO } else { WARNING },
                    "validate-with-add",
                    format!("the transaction that added {constraint} still holds its lock: all rows are read under it, as if it had been added valid"),
                )
                .safer(format!("COMMIT; -- then\n{};", proof(table, constraint, s, changes.len())));
            }
            RuleHit::new(
                INFO,
                "validate-constraint",
                format!("reads all rows; writers go on ({})", file.work(table, false)),
            )
        })
        .collect()
}

/// The statement itself; where it makes several changes, only the VALIDATE part.
fn proof(table: &WrittenName, constraint: &str, s: &LintStatement, changes: usize) -> String {
    if changes == 1 {
        return s.text.clone();
    }
    let name = crate::ident::Ident::new(constraint);
    format!("ALTER TABLE {} VALIDATE CONSTRAINT {name}", table.sql())
}
