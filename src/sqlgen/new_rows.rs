//! Rows of a target that its source lacks, or has with other values, as the reverse view gives them. For when the forward view is gone.

use crate::sqlgen::direction::Flow;

/// Whether there is such a row. `back`: the reverse direction.
pub fn exists(back: &Flow) -> String {
    let of = |alias: &str| {
        let columns = back.columns.iter();
        let texts: Vec<String> = columns
            .map(|c| format!("{alias}.{c}::pg_catalog.text"))
            .collect();
        texts.join(", ")
    };
    format!(
        "SELECT EXISTS (SELECT {} FROM {} AS v EXCEPT ALL SELECT {} FROM {} AS t)",
        of("v"),
        back.view,
        of("t"),
        back.written
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;
    use crate::model::layout::reverse::{BackColumn, BackValue};

    #[test]
    fn it_compares_what_the_source_has() {
        let (source, target, mut layout) = fixture::sign_ups();
        layout.back = Some(vec![BackColumn {
            source: "id".into(),
            from: BackValue::Target("id".into()),
        }]);
        let sql = Flow::reverse(7, &source.name, &target, &layout, None).map(|back| exists(&back));
        assert_eq!(
            sql.as_deref(),
            Some(
                "SELECT EXISTS (SELECT v.\"id\"::pg_catalog.text FROM \"mig\".\"m7_reverse\" AS v \
                 EXCEPT ALL SELECT t.\"id\"::pg_catalog.text FROM \"public\".\"sign_ups\" AS t)"
            )
        );
    }
}
