//! References: columns of one table that identify a row of another, with or without a foreign key.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use serde::Deserialize;

/// The referenced table: a member of the migration, by its index among the mappings, or an outside table.
#[derive(Clone, Debug, PartialEq)]
pub enum ReferencedTable {
    Member(usize),
    Outside(QualifiedName),
}

/// One reference, with the column names of the source tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub child: usize,
    pub parent: ReferencedTable,
    pub pairs: Vec<ColumnPair>,
    /// The reference is a foreign key of the source table that PostgreSQL enforces.
    pub enforced: bool,
    pub declared: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ColumnPair {
    pub child: Ident,
    pub parent: Ident,
    /// The operator of `parent = child`; None where the types have no common operator, and the values are compared as text.
    pub equals: Option<QualifiedName>,
}

impl Reference {
    /// Returns the column pairs of the targets; None where one of the columns is not carried.
    pub fn target_pairs(&self, child: &Layout, parent: Option<&Layout>) -> Option<Vec<ColumnPair>> {
        let pairs = self.pairs.iter().map(|p| {
            let column = child.target_column_of(&p.child)?;
            let equals = match &column.via {
                // `p.equals` is the operator of the old ids.
                Some(via) => Some(via.target_equals()),
                None => p.equals.clone(),
            };
            Some(ColumnPair {
                child: column.name.clone(),
                parent: match parent {
                    Some(layout) => layout.target_column_of(&p.parent)?.name.clone(),
                    None => p.parent.clone(),
                },
                equals,
            })
        });
        pairs.collect()
    }

    /// Returns for example `round_id -> public.round_metadata`.
    pub fn text(&self, parent: &str) -> String {
        let columns: Vec<&str> = self.pairs.iter().map(|p| p.child.as_str()).collect();
        format!("{} -> {parent}", columns.join(", "))
    }
}

impl ColumnPair {
    /// Returns for example `p.id = c.round_id`.
    pub fn join_condition(&self, parent: &str, child: &str) -> String {
        let (left, right) = (&self.parent, &self.child);
        match &self.equals {
            Some(o) => o.infix(&format!("{parent}.{left}"), &format!("{child}.{right}")),
            None => format!(
                "{parent}.{left}::pg_catalog.text OPERATOR(pg_catalog.=) {child}.{right}::pg_catalog.text"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn a_reference_is_carried_with_its_columns() {
        let (_, _, layout) = fixture::sign_ups();
        let pair = |child: &str| ColumnPair {
            child: child.into(),
            parent: "id".into(),
            equals: None,
        };
        let reference = |child| Reference {
            child: 1,
            parent: ReferencedTable::Outside(QualifiedName::new("public", "users")),
            pairs: vec![pair(child)],
            enforced: false,
            declared: false,
        };
        let found = reference("round_id").target_pairs(&layout, None);
        assert_eq!(found, Some(vec![pair("round_id")]));
        assert_eq!(reference("left_out").target_pairs(&layout, None), None);
        assert_eq!(reference("round_id").text("users"), "round_id -> users");
    }
}
