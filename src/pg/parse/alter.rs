//! CREATE TABLE and ALTER TABLE.

use super::node::is_temporary;
use super::node::{Constant, Node, constant, items, range, strings, tag, text};
use super::parts::NameParts;
use crate::model::lint::statement::{
    Act, ColumnDefault, ColumnDefinition, ColumnType, Constraint, ConstraintRule, TableChange,
    TableLock,
};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// # Safety
/// `s` is a parser node.
pub unsafe fn create_table(s: &pg_sys::CreateStmt) -> Act {
    // SAFETY: upheld by the caller; elements are cast according to their tags.
    unsafe {
        let elements = items(s.tableElts);
        let of = |wanted: NodeTag| elements.iter().copied().filter(move |e| tag(*e) == wanted);
        let bound = items(s.inhRelations)
            .into_iter()
            .next()
            .filter(|_| !s.partbound.is_null());
        Act::CreateTable {
            table: range(s.relation),
            temporary: is_temporary(s.relation),
            columns: of(NodeTag::T_ColumnDef)
                .map(|c| column(&*c.cast()))
                .collect(),
            constraints: of(NodeTag::T_Constraint)
                .filter_map(|c| constraint(&*c.cast(), None))
                .collect(),
            partition_of: bound.map(|b| range(b.cast())),
        }
    }
}

/// # Safety
/// `s` is a parser node.
pub unsafe fn alter_table(s: &pg_sys::AlterTableStmt) -> Act {
    use pg_sys::ObjectType::{OBJECT_MATVIEW, OBJECT_TABLE};
    // SAFETY: upheld by the caller.
    unsafe {
        if s.objtype != OBJECT_TABLE && s.objtype != OBJECT_MATVIEW {
            return Act::Other;
        }
        Act::AlterTable {
            table: range(s.relation),
            lock: TableLock::from_number(pg_sys::AlterTableGetLockLevel(s.cmds))
                .unwrap_or(TableLock::AccessExclusive),
            changes: items(s.cmds)
                .into_iter()
                .map(|c| change(&*c.cast()))
                .collect(),
        }
    }
}

unsafe fn change(c: &pg_sys::AlterTableCmd) -> TableChange {
    use pg_sys::AlterTableType as T;
    // SAFETY: a node of the parser; `def` has the type that the subtype implies.
    unsafe {
        let name = text(c.name).unwrap_or_default();
        match c.subtype {
            T::AT_AddColumn => TableChange::AddColumn(column(&*c.def.cast())),
            T::AT_DropColumn => TableChange::DropColumn { name },
            T::AT_AlterColumnType => {
                let def = &*c.def.cast::<pg_sys::ColumnDef>();
                TableChange::ColumnType {
                    column: name,
                    to: kind(def.typeName),
                    using: !def.raw_default.is_null(),
                }
            }
            T::AT_SetNotNull => TableChange::SetNotNull { column: name },
            T::AT_AddConstraint => {
                constraint(&*c.def.cast(), None).map_or(TableChange::Catalog, TableChange::Add)
            }
            T::AT_ValidateConstraint => TableChange::Validate { constraint: name },
            T::AT_AttachPartition => TableChange::Attach {
                partition: range((*c.def.cast::<pg_sys::PartitionCmd>()).name),
            },
            T::AT_DetachPartition => TableChange::Detach {
                concurrently: (*c.def.cast::<pg_sys::PartitionCmd>()).concurrent,
            },
            T::AT_SetLogged => TableChange::Rewrite { what: "SET LOGGED" },
            T::AT_SetUnLogged => TableChange::Rewrite {
                what: "SET UNLOGGED",
            },
            T::AT_SetAccessMethod => TableChange::Rewrite {
                what: "SET ACCESS METHOD",
            },
            T::AT_SetTableSpace => TableChange::Rewrite {
                what: "SET TABLESPACE",
            },
            T::AT_DisableTrig | T::AT_DisableTrigAll | T::AT_DisableTrigUser => {
                TableChange::DisableTrigger
            }
            T::AT_EnableRowSecurity => TableChange::EnableRowSecurity,
            _ => TableChange::Catalog,
        }
    }
}

/// # Safety
/// `t` is a parser node.
unsafe fn kind(t: *mut pg_sys::TypeName) -> ColumnType {
    // SAFETY: upheld by the caller.
    unsafe {
        let modifiers = items((*t).typmods)
            .into_iter()
            .filter_map(|m| match constant(m) {
                Some(Constant::Number(n)) => Some(n),
                _ => None,
            });
        ColumnType {
            name: strings((*t).names).pop().unwrap_or_default(),
            modifiers: modifiers.collect(),
            array: !(*t).arrayBounds.is_null(),
        }
    }
}

unsafe fn column(c: &pg_sys::ColumnDef) -> ColumnDefinition {
    const SERIAL: [&str; 6] = [
        "serial",
        "bigserial",
        "smallserial",
        "serial2",
        "serial4",
        "serial8",
    ];
    // SAFETY: a node of the parser.
    unsafe {
        let name = text(c.colname).unwrap_or_default();
        let kind = kind(c.typeName);
        let mut column = ColumnDefinition {
            numbered: SERIAL.contains(&kind.name.as_str()),
            name,
            kind,
            default: None,
            not_null: c.is_not_null,
            computed: false,
            constraints: Vec::new(),
        };
        for node in items(c.constraints) {
            of_column(&mut column, &*node.cast());
        }
        column
    }
}

unsafe fn of_column(column: &mut ColumnDefinition, c: &pg_sys::Constraint) {
    use pg_sys::ConstrType as C;
    // SAFETY: a node of the parser.
    unsafe {
        match c.contype {
            C::CONSTR_NOTNULL => column.not_null = true,
            C::CONSTR_DEFAULT => column.default = Some(default(c.raw_expr)),
            C::CONSTR_IDENTITY => column.numbered = true,
            C::CONSTR_GENERATED => column.computed = true,
            _ => column.constraints.extend(constraint(c, Some(&column.name))),
        }
    }
}

unsafe fn default(node: Node) -> ColumnDefault {
    // SAFETY: a node of the parser.
    unsafe {
        let bare = match tag(node) {
            NodeTag::T_TypeCast => (*node.cast::<pg_sys::TypeCast>()).arg,
            _ => node,
        };
        ColumnDefault {
            calls: NameParts::from_node(node).calls,
            is_null: constant(bare) == Some(Constant::Null),
        }
    }
}

/// Returns None for what is no constraint of its own, such as DEFERRABLE. `of` is the column whose definition it belongs to.
unsafe fn constraint(c: &pg_sys::Constraint, of: Option<&String>) -> Option<Constraint> {
    use pg_sys::ConstrType as C;
    // SAFETY: a node of the parser.
    unsafe {
        let columns = |list| match of {
            Some(column) => vec![column.clone()],
            None => strings(list),
        };
        let rule = match c.contype {
            C::CONSTR_CHECK => ConstraintRule::Check {
                not_null: kept_from_null(c.raw_expr),
            },
            C::CONSTR_UNIQUE => ConstraintRule::Unique {
                columns: columns(c.keys),
                index: text(c.indexname),
            },
            C::CONSTR_PRIMARY => ConstraintRule::Primary {
                columns: columns(c.keys),
                index: text(c.indexname),
            },
            C::CONSTR_FOREIGN => ConstraintRule::Foreign {
                columns: columns(c.fk_attrs),
                parent: range(c.pktable),
            },
            C::CONSTR_EXCLUSION => ConstraintRule::Exclusion,
            _ => return None,
        };
        Some(Constraint {
            name: text(c.conname),
            rule,
            not_valid: c.skip_validation,
        })
    }
}

/// Returns the column of `column IS NOT NULL`.
unsafe fn kept_from_null(node: Node) -> Option<String> {
    // SAFETY: each node is cast according to its tag.
    unsafe {
        if tag(node) != NodeTag::T_NullTest {
            return None;
        }
        let test = &*node.cast::<pg_sys::NullTest>();
        let column: Node = test.arg.cast();
        if test.nulltesttype != pg_sys::NullTestType::IS_NOT_NULL
            || tag(column) != NodeTag::T_ColumnRef
        {
            return None;
        }
        strings((*column.cast::<pg_sys::ColumnRef>()).fields).pop()
    }
}
