//! Policies and grants of the target.

use super::{SourcePart, checks};
use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::{Layout, Origin};
use crate::model::shape::{Grant, Policy};

/// Returns the policies of all sources, each limited to the rows of its own source.
pub fn policies(parts: &[SourcePart]) -> Vec<Policy> {
    let mut made: Vec<Policy> = Vec::new();
    for part in parts {
        let kind = part.layout.kind.as_ref();
        let own = |text: &String, permissive: bool| match (
            kind,
            checks::match_other_sources(part.layout),
        ) {
            (Some(kind), _) if permissive => format!(
                "{} = {}::{} AND ({text})",
                kind.column,
                Literal(&kind.value),
                kind.type_text
            ),
            (Some(_), Some(others)) => format!("{others} OR ({text})"),
            _ => text.clone(),
        };
        for policy in part.policies {
            let mut policy = policy.clone();
            policy.using = policy.using.as_ref().map(|t| own(t, policy.permissive));
            policy.check = policy.check.as_ref().map(|t| own(t, policy.permissive));
            policy.name = policy
                .name
                .avoid_taken(|n| made.iter().any(|p| p.name == *n));
            made.push(policy);
        }
    }
    made
}

pub fn policy_comment(target: &QualifiedName, policy: &Policy, text: &str) -> String {
    format!(
        "COMMENT ON POLICY {} ON {target} IS {}",
        policy.name,
        Literal(text)
    )
}

/// Returns the grants of the sources. Where several share the target, their grants are the same; each source gives those on its
/// own columns. What default privileges granted is revoked before; see `revoke`.
pub fn grants(parts: &[SourcePart], target: &QualifiedName) -> Vec<String> {
    let mut made: Vec<String> = Vec::new();
    for part in parts {
        for g in &part.source.grants {
            let owner = &part.source.owner_name;
            let sql = grant_statement(target, part.layout, g, owner);
            made.extend(sql.filter(|sql| !made.contains(sql)));
        }
    }
    made
}

/// Revokes what default privileges granted to `grantee` (a quoted name, or PUBLIC).
pub fn revoke(target: &QualifiedName, grantee: &str) -> String {
    format!("REVOKE ALL ON TABLE {target} FROM {grantee}")
}

fn grant_statement(
    target: &QualifiedName,
    layout: &Layout,
    grant: &Grant,
    owner: &Ident,
) -> Option<String> {
    // quote_ident() leaves simple names unquoted, `Ident` never does: compare both forms.
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

pub fn create_policy(target: &QualifiedName, policy: &Policy) -> String {
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
