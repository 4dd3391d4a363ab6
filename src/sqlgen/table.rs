//! The target table, with what it takes over from its source.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::{Layout, Origin, TargetColumn};
use crate::model::shape::{Check, Column, Grant, Policy, Shape};
use crate::sqlgen::{Statement, details};

/// Every statement that makes the target, keys included; other indexes and foreign keys come after the copy.
pub fn create(
    source: &Shape,
    target: &QualifiedName,
    layout: &Layout,
    policies: &[Policy],
) -> Vec<Statement> {
    let mut made = vec![Statement::new(
        target,
        "AccessExclusiveLock (new table)",
        create_table(source, target, layout),
    )];
    let mut add = |sql: String| {
        made.push(Statement::new(
            target,
            "AccessExclusiveLock (new table)",
            sql,
        ))
    };
    if let Some(comment) = &source.comment {
        add(format!("COMMENT ON TABLE {target} IS {}", Literal(comment)));
    }
    for (column, from) in carried_columns(source, layout) {
        column_details(target, column, from)
            .into_iter()
            .for_each(&mut add);
    }
    add(format!(
        "ALTER TABLE {target} OWNER TO {}",
        source.owner_name
    ));
    grants(source, target, layout)
        .into_iter()
        .for_each(&mut add);
    if source.rls {
        add(format!("ALTER TABLE {target} ENABLE ROW LEVEL SECURITY"));
    }
    if source.force_rls {
        add(format!("ALTER TABLE {target} FORCE ROW LEVEL SECURITY"));
    }
    for policy in policies {
        add(create_policy(target, policy));
        let comment = policy.comment.as_ref();
        comment
            .map(|text| policy_comment(target, policy, text))
            .into_iter()
            .for_each(&mut add);
    }
    constraint_comments(source, target, layout)
        .into_iter()
        .for_each(&mut add);
    details::statistics(source, target, layout)
        .into_iter()
        .for_each(&mut add);
    match source.replica_identity.as_str() {
        "f" => add(format!("ALTER TABLE {target} REPLICA IDENTITY FULL")),
        "n" => add(format!("ALTER TABLE {target} REPLICA IDENTITY NOTHING")),
        _ => {}
    }
    made
}

fn create_table(source: &Shape, target: &QualifiedName, layout: &Layout) -> String {
    let mut parts: Vec<String> = layout
        .columns
        .iter()
        .map(|c| column_definition(source, c, layout))
        .collect();
    for check in &source.checks {
        if is_carried(check, layout) {
            parts.push(format!("CONSTRAINT {} {}", check.name, check.definition));
        }
    }
    let name = target.name.as_str();
    parts.push(format!(
        "CONSTRAINT {} PRIMARY KEY ({})",
        primary_key_name(target),
        list(&layout.primary_key)
    ));
    if let Some(key) = &layout.scoped_key {
        let mut words = vec![name];
        words.extend(key.iter().map(Ident::as_str));
        words.push("key");
        parts.push(format!(
            "CONSTRAINT {} UNIQUE ({})",
            Ident::derived(&words),
            list(key)
        ));
    }
    let options = if source.options.is_empty() {
        String::new()
    } else {
        format!(" WITH ({})", source.options.join(", "))
    };
    format!(
        "CREATE TABLE {target} (\n  {}\n){options}",
        parts.join(",\n  ")
    )
}

/// A check over a column that is gone or renamed would speak of something else.
fn is_carried(check: &Check, layout: &Layout) -> bool {
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
    check.columns.iter().all(carried)
}

fn primary_key_name(target: &QualifiedName) -> Ident {
    Ident::derived(&[target.name.as_str(), "pkey"])
}

/// Of the checks and of the primary key; other keys come later.
fn constraint_comments(source: &Shape, target: &QualifiedName, layout: &Layout) -> Vec<String> {
    let checks = source.checks.iter().filter(|c| is_carried(c, layout));
    let checks = checks.filter_map(|c| Some((c.name.clone(), c.comment.as_ref()?)));
    let key = source.primary_key().and_then(|k| k.comment.as_ref());
    checks
        .chain(key.map(|text| (primary_key_name(target), text)))
        .map(|(name, text)| details::on_constraint(target, &name, text))
        .collect()
}

fn policy_comment(target: &QualifiedName, policy: &Policy, text: &str) -> String {
    format!(
        "COMMENT ON POLICY {} ON {target} IS {}",
        policy.name,
        Literal(text)
    )
}

fn column_definition(source: &Shape, column: &TargetColumn, layout: &Layout) -> String {
    let mut text = format!("{} {}", column.name, column.type_text);
    match &column.origin {
        Origin::Scope => text.push_str(" NOT NULL"),
        Origin::Expression(_) => {}
        Origin::Source(name) => {
            let Some(from) = source.column(name) else {
                return text;
            };
            let drawn = layout.drawn.as_ref().filter(|d| d.target == column.name);
            if column.type_text == from.type_text
                && let Some(collation) = &from.collation
            {
                text.push_str(&format!(" COLLATE {collation}"));
            }
            if let Some(drawn) = drawn {
                text.push_str(&match &drawn.default {
                    Some(default) => format!(" DEFAULT {default}"),
                    None => " GENERATED BY DEFAULT AS IDENTITY".to_owned(),
                });
            } else if column.via.is_some() {
                // Its default, if it has one, is an id of the old table.
            } else if let (Some(expression), false) = (&from.generated, column.insert) {
                text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
            } else if let Some(sequence) = &from.identity {
                // Both sides draw from one sequence while both live, so ids never collide.
                text.push_str(&format!(
                    " DEFAULT nextval({}::regclass)",
                    Literal(&sequence.to_string())
                ));
            } else if let Some(default) = &from.default {
                text.push_str(&format!(" DEFAULT {default}"));
            }
            let in_key = layout.primary_key.contains(&column.name);
            if from.not_null && !in_key {
                text.push_str(" NOT NULL");
            }
        }
    }
    text
}

fn carried_columns<'a>(
    source: &'a Shape,
    layout: &'a Layout,
) -> impl Iterator<Item = (&'a Ident, &'a Column)> {
    layout.columns.iter().filter_map(|c| match &c.origin {
        Origin::Source(name) => source.column(name).map(|from| (&c.name, from)),
        _ => None,
    })
}

fn column_details(target: &QualifiedName, column: &Ident, from: &Column) -> Vec<String> {
    let mut made = Vec::new();
    if let Some(storage) = &from.storage {
        made.push(format!(
            "ALTER TABLE {target} ALTER COLUMN {column} SET STORAGE {storage}"
        ));
    }
    if let Some(compression) = &from.compression {
        made.push(format!(
            "ALTER TABLE {target} ALTER COLUMN {column} SET COMPRESSION {compression}"
        ));
    }
    if !from.options.is_empty() {
        made.push(format!(
            "ALTER TABLE {target} ALTER COLUMN {column} SET ({})",
            from.options.join(", ")
        ));
    }
    if let Some(n) = from.statistics {
        made.push(format!(
            "ALTER TABLE {target} ALTER COLUMN {column} SET STATISTICS {n}"
        ));
    }
    if let Some(comment) = &from.comment {
        made.push(format!(
            "COMMENT ON COLUMN {target}.{column} IS {}",
            Literal(comment)
        ));
    }
    made
}

/// The source's grants. What default privileges gave is taken back before, see `revoke`.
fn grants(source: &Shape, target: &QualifiedName, layout: &Layout) -> Vec<String> {
    let given = source.grants.iter();
    given
        .filter_map(|g| grant_statement(target, layout, g, &source.owner_name))
        .collect()
}

/// Takes back what default privileges gave to `grantee` (a quoted name, or PUBLIC).
pub fn revoke(target: &QualifiedName, grantee: &str) -> String {
    format!("REVOKE ALL ON TABLE {target} FROM {grantee}")
}

fn grant_statement(
    target: &QualifiedName,
    layout: &Layout,
    grant: &Grant,
    owner: &Ident,
) -> Option<String> {
    // quote_ident() leaves simple names bare, Ident never does: compare what they stand for.
    if grant.grantee == owner.as_str() || grant.grantee == owner.to_string() {
        return None;
    }
    let columns = match &grant.column {
        None => String::new(),
        Some(name) => {
            let target = layout
                .columns
                .iter()
                .find(|c| c.origin == Origin::Source(name.clone()))?;
            format!(" ({})", target.name)
        }
    };
    let option = if grant.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    Some(format!(
        "GRANT {}{columns} ON TABLE {target} TO {}{option}",
        grant.privilege, grant.grantee
    ))
}

fn create_policy(target: &QualifiedName, policy: &Policy) -> String {
    let mut text = format!(
        "CREATE POLICY {} ON {target} AS {} FOR {} TO {}",
        policy.name,
        if policy.permissive {
            "PERMISSIVE"
        } else {
            "RESTRICTIVE"
        },
        policy.command,
        policy.roles.join(", "),
    );
    if let Some(using) = &policy.using {
        text.push_str(&format!(" USING ({using})"));
    }
    if let Some(check) = &policy.check {
        text.push_str(&format!(" WITH CHECK ({check})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn the_table_has_scope_keys_and_defaults() {
        let (source, target, layout) = fixture::sign_ups();
        assert_eq!(
            create_table(&source, &target, &layout),
            "CREATE TABLE \"public\".\"project_sign_ups\" (\n  \
             \"project_id\" uuid NOT NULL,\n  \
             \"id\" integer DEFAULT nextval('sign_ups_id_seq'::regclass),\n  \
             \"round_id\" integer NOT NULL,\n  \
             \"email\" text,\n  \
             CONSTRAINT \"project_sign_ups_pkey\" PRIMARY KEY (\"id\")\n)"
        );
    }
}
