//! The target table, with what it takes over from its source.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{Policy, Shape, TableTrigger};
use crate::sqlgen::{PlanStatement, comments_stats};

pub mod checks;
mod columns;
mod exclusions;
mod rights;
mod triggers;

use checks::TargetCheck;
pub use rights::revoke;

/// What one source gives to the target.
pub struct SourcePart<'a> {
    pub source: &'a Shape,
    pub layout: &'a Layout,
    pub policies: &'a [Policy],
    pub triggers: &'a [TableTrigger],
}

/// Gives a table or a view to a role.
pub fn change_owner(relation: &QualifiedName, owner: &Ident) -> String {
    format!("ALTER TABLE {relation} OWNER TO {owner}")
}

/// All statements that create the target, primary key included; other indexes and foreign keys come after the copy. The target
/// gets the owner, grants and settings of the first source.
pub fn create(parts: &[SourcePart], target: &QualifiedName) -> Vec<PlanStatement> {
    let mut made = Vec::new();
    let mut add = |sql: String| {
        made.push(PlanStatement::new(
            target,
            "AccessExclusiveLock (new table)",
            sql,
        ))
    };
    let Some(first) = parts.first() else {
        return made;
    };
    let source = first.source;
    let checks = checks::list_checks(parts);
    let exclusions = exclusions::list_exclusions(parts);
    add(create_table(parts, target, &checks));
    if let Some(comment) = &source.comment {
        add(format!("COMMENT ON TABLE {target} IS {}", Literal(comment)));
    }
    for (part, column) in columns::list_columns(parts) {
        if let Origin::Source(name) = &column.origin
            && let Some(from) = part.source.column(name)
        {
            let details = columns::details(target, &column.name, from);
            details.into_iter().for_each(&mut add);
        }
    }
    add(change_owner(target, &source.owner_name));
    for sql in rights::grants(parts, target) {
        add(sql);
    }
    if source.rls {
        add(format!("ALTER TABLE {target} ENABLE ROW LEVEL SECURITY"));
    }
    if source.force_rls {
        add(format!("ALTER TABLE {target} FORCE ROW LEVEL SECURITY"));
    }
    for policy in &rights::policies(parts) {
        add(rights::create_policy(target, policy));
        let comment = policy.comment.as_ref();
        comment
            .map(|text| rights::policy_comment(target, policy, text))
            .into_iter()
            .for_each(&mut add);
    }
    checks::comments(source, target, &checks)
        .into_iter()
        .chain(exclusions::comments(target, &exclusions))
        .for_each(&mut add);
    for part in parts {
        comments_stats::statistics(part.source, target, part.layout)
            .into_iter()
            .for_each(&mut add);
    }
    match source.replica_identity.as_str() {
        "f" => add(format!("ALTER TABLE {target} REPLICA IDENTITY FULL")),
        "n" => add(format!("ALTER TABLE {target} REPLICA IDENTITY NOTHING")),
        _ => {}
    }
    for trigger in parts.iter().flat_map(|part| part.triggers) {
        triggers::create(target, trigger)
            .into_iter()
            .for_each(&mut add);
    }
    made
}

fn create_table(parts: &[SourcePart], target: &QualifiedName, checks: &[TargetCheck]) -> String {
    let mut texts: Vec<String> = columns::list_columns(parts)
        .iter()
        .map(|(part, column)| columns::definition(parts, part, column))
        .collect();
    let text = |c: &TargetCheck| format!("CONSTRAINT {} {}", c.name, c.definition);
    texts.extend(checks.iter().map(text));
    let name = target.name.as_str();
    let Some(SourcePart { source, layout, .. }) = parts.first() else {
        return String::new();
    };
    texts.extend(checks::kinds(parts, target));
    texts.push(format!(
        "CONSTRAINT {} PRIMARY KEY ({})",
        primary_key_name(target),
        list(&layout.primary_key)
    ));
    if let Some(key) = &layout.scoped_key {
        let mut words = vec![name];
        words.extend(key.iter().map(Ident::as_str));
        words.push("key");
        texts.push(format!(
            "CONSTRAINT {} UNIQUE ({})",
            Ident::derive(&words),
            list(key)
        ));
    }
    let exclusions = exclusions::list_exclusions(parts).into_iter();
    texts.extend(exclusions.map(|(name, text, _)| format!("CONSTRAINT {name} {text}")));
    let options = if source.options.is_empty() {
        String::new()
    } else {
        format!(" WITH ({})", source.options.join(", "))
    };
    format!(
        "CREATE TABLE {target} (\n  {}\n){options}",
        texts.join(",\n  ")
    )
}

fn primary_key_name(target: &QualifiedName) -> Ident {
    Ident::derive(&[target.name.as_str(), "pkey"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn the_table_has_scope_keys_and_defaults() {
        let (source, target, layout) = fixture::sign_ups();
        assert_eq!(
            create_table(
                &[SourcePart {
                    source: &source,
                    layout: &layout,
                    policies: &[],
                    triggers: &[]
                }],
                &target,
                &[]
            ),
            "CREATE TABLE \"public\".\"project_sign_ups\" (\n  \
             \"project_id\" uuid NOT NULL,\n  \
             \"id\" integer DEFAULT nextval('sign_ups_id_seq'::regclass),\n  \
             \"round_id\" integer NOT NULL,\n  \
             \"email\" text,\n  \
             CONSTRAINT \"project_sign_ups_pkey\" PRIMARY KEY (\"id\")\n)"
        );
    }
}
