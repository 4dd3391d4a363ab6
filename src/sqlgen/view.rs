//! The mapping view: the one definition of what a target row is. Mirror, batch and check all read it, so
//! they cannot disagree, and PostgreSQL keeps the columns it needs from being dropped or retyped.

use crate::ident::{Ident, Literal, QualifiedName};
use crate::model::layout::{Layout, Origin};

/// Name of the view of mapping `id`.
pub fn name(id: i32) -> QualifiedName {
    QualifiedName {
        schema: "mig".into(),
        name: Ident::new(format!("m{id}_forward")),
    }
}

/// The source's key, in the view: not a name that a user's column would have.
pub fn key_name(n: usize) -> Ident {
    Ident::new(format!("mig:k{}", n + 1))
}

/// The row's place in the heap.
pub fn place() -> Ident {
    "mig:ctid".into()
}

/// The transaction and the command that wrote the row.
pub fn writer() -> [Ident; 2] {
    ["mig:xmin".into(), "mig:cmin".into()]
}

/// `filter` and the expressions were checked by PostgreSQL when the mapping was added.
pub fn create(id: i32, source: &QualifiedName, layout: &Layout, filter: Option<&str>) -> String {
    let alias = &source.name;
    let mut columns: Vec<String> = layout
        .columns
        .iter()
        .map(|c| match &c.origin {
            Origin::Scope => {
                let value = layout.scope.as_ref().map_or("", |s| s.value.as_str());
                format!("{}::{} AS {}", Literal(value), c.type_text, c.name)
            }
            Origin::Source(from) => format!("{alias}.{from} AS {}", c.name),
            // The line break ends a comment that the expression may end with.
            Origin::Expression(text) => format!("({text}\n) AS {}", c.name),
        })
        .collect();
    for (n, key) in layout.key.iter().enumerate() {
        columns.push(format!("{alias}.{} AS {}", key.source, key_name(n)));
    }
    columns.push(format!("{alias}.ctid AS {}", place()));
    let [transaction, command] = writer();
    columns.push(format!("{alias}.xmin AS {transaction}"));
    columns.push(format!("{alias}.cmin AS {command}"));
    let filter = filter.map_or(String::new(), |f| format!("\nWHERE ({f}\n)"));
    format!(
        "CREATE VIEW {} AS\nSELECT {}\nFROM {source}{filter}",
        name(id),
        columns.join(",\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn yields_rows_in_the_targets_shape_and_where_they_come_from() {
        let (source, _, layout) = fixture::sign_ups();
        assert_eq!(
            create(7, &source.name, &layout, Some("email <> ''")),
            "CREATE VIEW \"mig\".\"m7_forward\" AS\n\
             SELECT '00000000-0000-0000-0000-000000000001'::uuid AS \"project_id\",\n  \
             \"sign_ups\".\"id\" AS \"id\",\n  \
             \"sign_ups\".\"round_id\" AS \"round_id\",\n  \
             \"sign_ups\".\"email\" AS \"email\",\n  \
             \"sign_ups\".\"id\" AS \"mig:k1\",\n  \
             \"sign_ups\".ctid AS \"mig:ctid\",\n  \
             \"sign_ups\".xmin AS \"mig:xmin\",\n  \
             \"sign_ups\".cmin AS \"mig:cmin\"\n\
             FROM \"public\".\"sign_ups\"\nWHERE (email <> ''\n)"
        );
    }
}
