//! A table's catalog properties other than its rows: recorded when the target is made or adopted, and compared later to find
//! drift.

use crate::ident::list;
use crate::model::shape::{Grant, Policy, Publication, Shape, TableIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub type FactSet = BTreeSet<String>;

/// Each fact is one line of text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableFacts {
    pub defaults: FactSet,
    pub grants: FactSet,
    pub policies: FactSet,
    pub constraints: FactSet,
    pub replication: FactSet,
    /// Index names.
    pub indexes: FactSet,
    /// None where a version before 0.8.0 noted the facts.
    #[serde(default)]
    pub exclusions: Option<FactSet>,
}

/// Both sides, as `mig_create` left them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreatedFacts {
    pub source: TableFacts,
    pub target: TableFacts,
}

impl TableFacts {
    pub fn from_shape(shape: &Shape) -> Self {
        let columns = shape.columns.iter();
        let defaults = columns.filter_map(|c| {
            let default = c.default.as_ref()?;
            Some(format!("{} DEFAULT {default}", c.name.as_str()))
        });
        let owner = &shape.owner_name;
        let given = shape.grants.iter();
        let given = given.filter(|g| g.grantee != owner.as_str() && g.grantee != owner.to_string());
        let mut policies: FactSet = shape.policies.iter().map(policy).collect();
        if shape.rls {
            policies.insert("row-level security".into());
        }
        if shape.force_rls {
            policies.insert("row-level security forced".into());
        }
        let checks = shape.checks.iter();
        let publications = shape.publications.iter();
        Self {
            defaults: defaults.collect(),
            grants: given
                .map(grant)
                .chain([format!("owner {}", owner.as_str())])
                .collect(),
            policies,
            constraints: checks
                .map(|c| format!("{} {}", c.name.as_str(), c.definition))
                .collect(),
            replication: publications
                .map(publication)
                .chain([format!("replica identity {}", shape.replica_identity)])
                .collect(),
            indexes: shape
                .indexes
                .iter()
                .map(|i| i.name.as_str().to_owned())
                .collect(),
            exclusions: Some(shape.exclusions().map(exclusion).collect()),
        }
    }
}

fn exclusion(x: &TableIndex) -> String {
    let elements = x.columns.iter().zip(&x.operators).map(|(c, o)| {
        let element = format!("{} {}", c.text, c.suffix);
        format!("{} with {}", element.trim_end(), o.plain())
    });
    let elements: Vec<String> = elements.collect();
    let condition = x
        .predicate
        .as_ref()
        .map_or_else(String::new, |p| format!(" where {p}"));
    let late = if x.deferrable { " deferrable" } else { "" };
    format!(
        "{} exclude using {} ({}){condition}{late}",
        x.name.as_str(),
        x.method.as_str(),
        elements.join(", ")
    )
}

fn publication(p: &Publication) -> String {
    let columns = p
        .columns
        .as_ref()
        .map_or_else(String::new, |c| format!(" ({})", list(c)));
    let filter = p
        .filter
        .as_ref()
        .map_or_else(String::new, |f| format!(" where {f}"));
    format!("publication {}{columns}{filter}", p.name.as_str())
}

fn grant(g: &Grant) -> String {
    let column = g
        .column
        .as_ref()
        .map_or(String::new(), |c| format!(" ({})", c.as_str()));
    let option = if g.grantable {
        " with grant option"
    } else {
        ""
    };
    format!("{}{column} to {}{option}", g.privilege, g.grantee)
}

fn policy(p: &Policy) -> String {
    let part = |word: &str, text: &Option<String>| {
        text.as_ref()
            .map_or(String::new(), |t| format!(" {word} ({t})"))
    };
    format!(
        "policy {}{} for {} to {}{}{}",
        p.name.as_str(),
        if p.permissive { "" } else { " (restrictive)" },
        p.command,
        p.roles.join(", "),
        part("using", &p.using),
        part("with check", &p.check),
    )
}

/// Describes what is gone and what is new; None where nothing changed.
pub fn changes(then: &FactSet, now: &FactSet) -> Option<String> {
    let listed = |word: &str, set: Vec<&String>| {
        let names: Vec<&str> = set.into_iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let parts = [
        listed("lacks", then.difference(now).collect()),
        listed("has also", now.difference(then).collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_say_what_is_gone_and_what_is_new() {
        let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<FactSet>();
        let then = set(&["SELECT to anon", "owner app"]);
        assert_eq!(changes(&then, &then), None);
        assert_eq!(
            changes(&then, &set(&["owner app", "ALL to eve"])).as_deref(),
            Some("lacks SELECT to anon; has also ALL to eve")
        );
    }
}
