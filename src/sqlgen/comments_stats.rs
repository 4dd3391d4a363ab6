//! Annotations of a table and its columns: comments, statistics, publications.

use crate::ident::{Ident, Literal, QualifiedName, list};
use crate::model::layout::{Layout, Origin, TargetIndex, TargetKey};
use crate::model::shape::{Publication, Shape, Statistics};

/// Annotations of an index that is built.
pub fn of_index(target: &QualifiedName, index: &TargetIndex) -> Vec<String> {
    let name = QualifiedName {
        schema: target.schema.clone(),
        name: index.name.clone(),
    };
    let targets = index
        .statistics
        .iter()
        .map(|(n, to)| format!("ALTER INDEX {name} ALTER COLUMN {n} SET STATISTICS {to}"));
    let comment = index.comment.as_ref().map(|text| {
        if index.constraint {
            on_constraint(target, &index.name, text)
        } else {
            format!("COMMENT ON INDEX {name} IS {}", Literal(text))
        }
    });
    targets.chain(comment).collect()
}

/// The comment of a foreign key that exists.
pub fn of_key(target: &QualifiedName, key: &TargetKey) -> Option<String> {
    let text = key.comment.as_ref()?;
    Some(on_constraint(target, &key.name, text))
}

pub fn on_constraint(table: &QualifiedName, constraint: &Ident, text: &str) -> String {
    format!(
        "COMMENT ON CONSTRAINT {constraint} ON {table} IS {}",
        Literal(text)
    )
}

/// Returns the columns' names in the target; None where one is not carried unchanged.
fn target_names(columns: &[Ident], layout: &Layout) -> Option<Vec<Ident>> {
    let target = |name: &Ident| {
        let mut all = layout.columns.iter();
        all.find(|c| c.origin == Origin::Source(name.clone()))
            .map(|c| c.name.clone())
    };
    columns.iter().map(target).collect()
}

/// Whether the target has the columns of the object.
pub fn carries_statistics(s: &Statistics, layout: &Layout) -> bool {
    target_names(&s.columns, layout).is_some()
}

/// Returns CREATE STATISTICS for the objects whose columns the target has.
pub fn statistics(source: &Shape, target: &QualifiedName, layout: &Layout) -> Vec<String> {
    let (mut made, mut taken) = (Vec::new(), Vec::new());
    for s in &source.statistics {
        let Some(columns) = target_names(&s.columns, layout) else {
            continue;
        };
        let mut words = vec![target.name.as_str()];
        words.extend(columns.iter().map(Ident::as_str));
        words.push("stat");
        // Two objects may be over the same columns.
        let own = Ident::derive(&words).avoid_taken(|n| taken.contains(n));
        taken.push(own.clone());
        let name = QualifiedName {
            schema: target.schema.clone(),
            name: own,
        };
        made.push(format!(
            "CREATE STATISTICS {name} ({}) ON {} FROM {target}",
            s.kinds.join(", "),
            list(&columns)
        ));
        made.extend(
            s.target
                .map(|n| format!("ALTER STATISTICS {name} SET STATISTICS {n}")),
        );
        let comment = s.comment.as_ref();
        made.extend(
            comment.map(|text| format!("COMMENT ON STATISTICS {name} IS {}", Literal(text))),
        );
    }
    made
}

/// None where the publication's column list or filter uses columns that the target does not have under these names.
pub fn publication(p: &Publication, target: &QualifiedName, layout: &Layout) -> Option<String> {
    let columns = match &p.columns {
        None => String::new(),
        Some(names) => format!(" ({})", list(&target_names(names, layout)?)),
    };
    let plain = |c: &crate::model::layout::TargetColumn| match &c.origin {
        Origin::Scope => true,
        Origin::Source(name) => *name == c.name,
        Origin::Expression(_) | Origin::Partner => false,
    };
    let filter = match &p.filter {
        None => String::new(),
        Some(_) if !layout.columns.iter().all(plain) => return None,
        Some(text) => format!(" WHERE ({text})"),
    };
    Some(format!(
        "ALTER PUBLICATION {} ADD TABLE {target}{columns}{filter}",
        p.name
    ))
}
