//! CREATE TABLE and ALTER TABLE.

use super::node::{Constant, Node, constant, items, range, strings, tag, text};
use super::parts::Parts;
use super::tree::is_temporary;
use crate::model::lint::statement::{Act, Change, Column, Constraint, Default, Lock, Rule, Type};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// # Safety
/// A node of the parser.
pub unsafe fn create_table(s: &pg_sys::CreateStmt) -> Act {
    // SAFETY: as the caller says; elements are read as what their tags say.
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
/// A node of the parser.
pub unsafe fn alter_table(s: &pg_sys::AlterTableStmt) -> Act {
    use pg_sys::ObjectType::{OBJECT_MATVIEW, OBJECT_TABLE};
    // SAFETY: as the caller says.
    unsafe {
        if s.objtype != OBJECT_TABLE && s.objtype != OBJECT_MATVIEW {
            return Act::Other;
        }
        Act::AlterTable {
            table: range(s.relation),
            lock: Lock::from_number(pg_sys::AlterTableGetLockLevel(s.cmds))
                .unwrap_or(Lock::AccessExclusive),
            changes: items(s.cmds)
                .into_iter()
                .map(|c| change(&*c.cast()))
                .collect(),
        }
    }
}

unsafe fn change(c: &pg_sys::AlterTableCmd) -> Change {
    use pg_sys::AlterTableType as T;
    // SAFETY: a node of the parser; `def` is what the subtype says.
    unsafe {
        let name = text(c.name).unwrap_or_default();
        match c.subtype {
            T::AT_AddColumn => Change::AddColumn(column(&*c.def.cast())),
            T::AT_DropColumn => Change::DropColumn { name },
            T::AT_AlterColumnType => {
                let def = &*c.def.cast::<pg_sys::ColumnDef>();
                Change::ColumnType {
                    column: name,
                    to: kind(def.typeName),
                    using: !def.raw_default.is_null(),
                }
            }
            T::AT_SetNotNull => Change::SetNotNull { column: name },
            T::AT_AddConstraint => {
                constraint(&*c.def.cast(), None).map_or(Change::Catalog, Change::Add)
            }
            T::AT_ValidateConstraint => Change::Validate { constraint: name },
            T::AT_AttachPartition => Change::Attach {
                partition: range((*c.def.cast::<pg_sys::PartitionCmd>()).name),
            },
            T::AT_DetachPartition => Change::Detach {
                concurrently: (*c.def.cast::<pg_sys::PartitionCmd>()).concurrent,
            },
            T::AT_SetLogged => Change::Rewrite { what: "SET LOGGED" },
            T::AT_SetUnLogged => Change::Rewrite {
                what: "SET UNLOGGED",
            },
            T::AT_SetAccessMethod => Change::Rewrite {
                what: "SET ACCESS METHOD",
            },
            T::AT_SetTableSpace => Change::Rewrite {
                what: "SET TABLESPACE",
            },
            T::AT_DisableTrig | T::AT_DisableTrigAll | T::AT_DisableTrigUser => {
                Change::DisableTrigger
            }
            T::AT_EnableRowSecurity => Change::EnableRowSecurity,
            _ => Change::Catalog,
        }
    }
}

/// # Safety
/// A node of the parser.
unsafe fn kind(t: *mut pg_sys::TypeName) -> Type {
    // SAFETY: as the caller says.
    unsafe {
        let modifiers = items((*t).typmods)
            .into_iter()
            .filter_map(|m| match constant(m) {
                Some(Constant::Number(n)) => Some(n),
                _ => None,
            });
        Type {
            name: strings((*t).names).pop().unwrap_or_default(),
            modifiers: modifiers.collect(),
            array: !(*t).arrayBounds.is_null(),
        }
    }
}

unsafe fn column(c: &pg_sys::ColumnDef) -> Column {
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
        let mut column = Column {
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

unsafe fn of_column(column: &mut Column, c: &pg_sys::Constraint) {
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

unsafe fn default(node: Node) -> Default {
    // SAFETY: a node of the parser.
    unsafe {
        let bare = match tag(node) {
            NodeTag::T_TypeCast => (*node.cast::<pg_sys::TypeCast>()).arg,
            _ => node,
        };
        Default {
            calls: Parts::from_node(node).calls,
            is_null: constant(bare) == Some(Constant::Null),
        }
    }
}

/// None for what is no rule of its own, as DEFERRABLE. `of` is the column that it stands behind.
unsafe fn constraint(c: &pg_sys::Constraint, of: Option<&String>) -> Option<Constraint> {
    use pg_sys::ConstrType as C;
    // SAFETY: a node of the parser.
    unsafe {
        let columns = |list| match of {
            Some(column) => vec![column.clone()],
            None => strings(list),
        };
        let rule = match c.contype {
            C::CONSTR_CHECK => Rule::Check {
                not_null: kept_from_null(c.raw_expr),
            },
            C::CONSTR_UNIQUE => Rule::Unique {
                columns: columns(c.keys),
                index: text(c.indexname),
            },
            C::CONSTR_PRIMARY => Rule::Primary {
                columns: columns(c.keys),
                index: text(c.indexname),
            },
            C::CONSTR_FOREIGN => Rule::Foreign {
                columns: columns(c.fk_attrs),
                parent: range(c.pktable),
            },
            C::CONSTR_EXCLUSION => Rule::Exclusion,
            _ => return None,
        };
        Some(Constraint {
            name: text(c.conname),
            rule,
            not_valid: c.skip_validation,
        })
    }
}

/// The column of `column IS NOT NULL`.
unsafe fn kept_from_null(node: Node) -> Option<String> {
    // SAFETY: each node is read as what its tag says.
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
