//! Exclusion constraints that the target does not take over as they are.

use super::{PreflightFinding, Severity};
use crate::model::layout::Layout;
use crate::model::records::Mapping;
use crate::model::shape::{Shape, TableIndex};

/// Returns the findings for a target that `mig_create` makes.
pub fn findings(p: &Mapping, source: &Shape, layout: &Layout) -> Vec<PreflightFinding> {
    let finding = |index: &TableIndex| {
        let carried = layout.exclusions.iter().find(|x| x.source == index.name);
        let (detail, hint) = match (carried, &layout.scope) {
            (None, _) => (
                format!(
                    "Exclusion constraint {} is not carried over: the target lacks what it is over, or has it under another name or type.",
                    index.name
                ),
                "Add it to the target by hand after the backfill.".to_owned(),
            ),
            (Some(x), Some(scope)) if !x.takes_scope(layout) => (
                format!(
                    "Exclusion constraint {} is to hold within each scope, and {} has no operator class with \"=\" for type {}: in the target it will hold for the rows of this scope only.",
                    index.name, x.method, scope.type_text
                ),
                match x.method.as_str() {
                    "gist" => "Before mig_create: CREATE EXTENSION btree_gist;".to_owned(),
                    _ => "A constraint by gist, with the extension btree_gist, could hold within each scope.".to_owned(),
                },
            ),
            _ => return None,
        };
        Some(PreflightFinding {
            severity: Severity::Warning,
            check_name: "exclusion constraint".into(),
            relation: Some(p.source),
            detail,
            hint: Some(hint),
        })
    };
    source.exclusions().filter_map(finding).collect()
}
