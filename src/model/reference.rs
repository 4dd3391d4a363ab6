//! Columns of one table that name a row of another, whether or not a foreign key says so.

use crate::ident::{Ident, QualifiedName};
use crate::model::layout::Layout;
use serde::Deserialize;

/// The other table: a member of the migration, by its place among the mappings, or any other.
#[derive(Clone, Debug, PartialEq)]
pub enum ReferencedTable {
    Member(usize),
    Outside(QualifiedName),
}

/// One reference, by the names that the old tables have.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub child: usize,
    pub parent: ReferencedTable,
    pub pairs: Vec<ColumnPair>,
    /// A foreign key of the old table says so, and PostgreSQL enforces it.
    pub enforced: bool,
    pub declared: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ColumnPair {
    pub child: Ident,
    pub parent: Ident,
    /// `parent = child`; None where their types have no common one: they are compared as text.
    pub equals: Option<QualifiedName>,
}

impl Reference {
    /// The same by the names of the new tables; None where one of the columns is not carried.
    pub fn target_pairs(&self, child: &Layout, parent: Option<&Layout>) -> Option<Vec<ColumnPair>> {
        let pairs = self.pairs.iter().map(|p| {
            let column = child.target_column_of(&p.child)?;
            let equals = match &column.via {
                // The operator is that of the old ids.
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

    /// `round_id -> public.round_metadata`
    pub fn text(&self, parent: &str) -> String {
        let columns: Vec<&str> = self.pairs.iter().map(|p| p.child.as_str()).collect();
        format!("{} -> {parent}", columns.join(", "))
    }
}

impl ColumnPair {
    /// `p.id = c.round_id`
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
