//! Indexes of the target.

use crate::ident::{QualifiedName, list};
use crate::model::layout::TargetIndex;

/// `CREATE INDEX`, plain or concurrent. The index of a constraint is built like any other and attached afterwards.
pub fn create(target: &QualifiedName, index: &TargetIndex, concurrently: bool) -> String {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|c| {
            if c.suffix.is_empty() {
                c.text.clone()
            } else {
                format!("{} {}", c.text, c.suffix)
            }
        })
        .collect();
    let mut text = format!(
        "CREATE {}INDEX {}{} ON {target} USING {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        if concurrently { "CONCURRENTLY " } else { "" },
        index.name,
        index.method,
        columns.join(", "),
    );
    if !index.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", list(&index.include)));
    }
    if index.nulls_not_distinct {
        text.push_str(" NULLS NOT DISTINCT");
    }
    if !index.options.is_empty() {
        text.push_str(&format!(" WITH ({})", index.options.join(", ")));
    }
    if let Some(tablespace) = &index.tablespace {
        text.push_str(&format!(" TABLESPACE {tablespace}"));
    }
    if let Some(predicate) = &index.predicate {
        text.push_str(&format!(" WHERE {predicate}"));
    }
    text
}

/// Turns the built index into its constraint; None for a plain index.
pub fn attach(target: &QualifiedName, index: &TargetIndex) -> Option<String> {
    // A deferrable key of the source lets two rows swap values within a statement, so the target's key must too.
    let late = if index.deferrable {
        " DEFERRABLE INITIALLY DEFERRED"
    } else {
        ""
    };
    index.constraint.then(|| {
        format!(
            "ALTER TABLE {target} ADD CONSTRAINT {0} UNIQUE USING INDEX {0}{late}",
            index.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn unique_key_with_scope_in_front() {
        let (_, target, layout) = fixture::sign_ups();
        assert_eq!(
            create(&target, &layout.indexes[0], true),
            "CREATE UNIQUE INDEX CONCURRENTLY \"project_sign_ups_project_id_round_id_email_key\" ON \
             \"public\".\"project_sign_ups\" USING \"btree\" (\"project_id\", \"round_id\", \"email\")"
        );
        assert_eq!(
            attach(&target, &layout.indexes[0]).as_deref(),
            Some(
                "ALTER TABLE \"public\".\"project_sign_ups\" ADD CONSTRAINT \
                  \"project_sign_ups_project_id_round_id_email_key\" UNIQUE USING INDEX \
                  \"project_sign_ups_project_id_round_id_email_key\""
            )
        );
    }
}
