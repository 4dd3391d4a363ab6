//! The order in which tables are processed, so that a referenced row exists before the rows that refer to it.

use crate::ident::QualifiedName;
use crate::model::records::Mapping;

/// Returns indexes into `mappings`, parents before the tables that refer to them. Tables with circular references keep their
/// own order.
pub fn parents_first(mappings: &[Mapping]) -> Vec<usize> {
    let names: Vec<Option<&QualifiedName>> =
        mappings.iter().map(|p| p.target_now.as_ref()).collect();
    let waits_for = |n: usize, other: usize| {
        let keys = mappings[n].layout.iter().flat_map(|l| &l.fkeys);
        let refers = keys
            .into_iter()
            .any(|k| names[other] == Some(&k.references) && names[n] != names[other]);
        n != other
            && (refers || mappings[n].is_partner() && mappings[n].leader() == mappings[other].id)
    };
    let mut order: Vec<usize> = Vec::new();
    let mut rest: Vec<usize> = (0..mappings.len()).collect();
    while !rest.is_empty() {
        let free = rest
            .iter()
            .position(|n| !rest.iter().any(|o| waits_for(*n, *o)));
        order.push(rest.remove(free.unwrap_or(0)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    #[test]
    fn parents_come_before_what_refers_to_them_and_circles_end() {
        let child = fixture::new_mapping("project_sign_ups", &["project_rounds"]);
        let parent = fixture::new_mapping("project_rounds", &[]);
        assert_eq!(parents_first(&[child.clone(), parent]), [1, 0]);
        let other = fixture::new_mapping("project_rounds", &["project_sign_ups"]);
        assert_eq!(parents_first(&[child, other]), [0, 1]);
    }
}
