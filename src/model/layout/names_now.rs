//! A layout holds the names that were there when it was resolved. What the keys of its target refer to may be called otherwise by now, or
//! be gone.

use super::{Layout, TargetKey};
use crate::ident::{Ident, QualifiedName};
use serde::Deserialize;

/// A foreign key of a source under today's names; or what scope columns refer to.
#[derive(Debug, Deserialize)]
pub struct KeyNow {
    /// None for the scope's.
    pub mapping: Option<i32>,
    pub columns: Vec<Ident>,
    pub references: QualifiedName,
    pub ref_columns: Vec<Ident>,
}

/// A target of the migration: the name that its definition gives, and today's.
pub struct TargetNow {
    pub defined: QualifiedName,
    pub now: QualifiedName,
}

impl Layout {
    /// Replaces the names of what the keys refer to by today's. A key of the source that was dropped meanwhile is marked.
    pub fn rename(&mut self, mapping: i32, keys: &[KeyNow], targets: &[TargetNow]) {
        let scope = keys.iter().find(|k| k.mapping.is_none());
        let scope_was = self.scope.as_ref().and_then(|s| s.table.clone());
        let mut own = std::mem::take(&mut self.fkeys);
        let before = own.clone();
        for key in &mut own {
            let of_scope = scope_was.as_ref().is_some_and(|(table, column)| {
                key.references == *table && key.ref_columns == [column.clone()]
            });
            if let Some(now) = targets.iter().find(|t| t.defined == key.references) {
                key.references = now.now.clone();
            } else if of_scope {
                let there = scope.map(|s| key.rename(s));
                key.is_gone = there.is_none();
            } else {
                let mine = keys.iter().filter(|k| k.mapping == Some(mapping));
                let found = self.find_source_key(mine, key, &before);
                let there = found.map(|k| key.rename(k));
                key.is_gone = there.is_none();
            }
        }
        self.fkeys = own;
        if let (Some(scope_now), Some(scope)) = (scope, &mut self.scope)
            && let (Some(table), [column]) = (&mut scope.table, &scope_now.ref_columns[..])
        {
            *table = (scope_now.references.clone(), column.clone());
        }
    }

    /// Returns the key of the source that the target's stands for. Several may be over the same columns: one that refers to what it did goes first.
    fn find_source_key<'a>(
        &self,
        of_source: impl Iterator<Item = &'a KeyNow>,
        key: &TargetKey,
        before: &[TargetKey],
    ) -> Option<&'a KeyNow> {
        let alike: Vec<&KeyNow> = of_source.filter(|k| self.carries(k, key)).collect();
        let refers_as = |k: &KeyNow, key: &TargetKey| {
            k.references == key.references && k.ref_columns == key.ref_columns
        };
        let unchanged = alike.iter().find(|k| refers_as(k, key));
        let free = |k: &&&KeyNow| !before.iter().any(|other| refers_as(k, other));
        unchanged.or_else(|| alike.iter().find(free)).copied()
    }

    /// Whether the target's key stands for the source's: it is over the same columns.
    fn carries(&self, of_source: &KeyNow, key: &TargetKey) -> bool {
        let source_of = |target: &Ident| {
            let mut columns = self.columns.iter();
            columns.find(|c| c.name == *target)?.source_column()
        };
        key.columns.len() == of_source.columns.len()
            && key
                .columns
                .iter()
                .zip(&of_source.columns)
                .all(|(target, source)| source_of(target) == Some(source))
    }
}

impl TargetKey {
    fn rename(&mut self, now: &KeyNow) {
        self.references = now.references.clone();
        self.ref_columns.clone_from(&now.ref_columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    fn key(mapping: Option<i32>, column: &str, table: &str, parent: &str) -> KeyNow {
        KeyNow {
            mapping,
            columns: vec![column.into()],
            references: QualifiedName::new("public", table),
            ref_columns: vec![parent.into()],
        }
    }

    #[test]
    fn keys_follow_renamed_tables() {
        let (_, _, mut layout) = fixture::sign_ups();
        let now = QualifiedName::new("public", "rounds_two");
        let member = TargetNow {
            defined: QualifiedName::new("public", "project_rounds"),
            now: now.clone(),
        };
        layout.rename(1, &[key(None, "project_id", "teams", "pid")], &[member]);
        assert_eq!(
            layout.fkeys[0].references,
            QualifiedName::new("public", "teams")
        );
        assert_eq!(layout.fkeys[0].ref_columns, [Ident::from("pid")]);
        assert_eq!(layout.fkeys[1].references, now);
        let (table, column) = layout.scope.unwrap().table.unwrap();
        assert_eq!((table.name.as_str(), column.as_str()), ("teams", "pid"));
    }
}
