//! What the catalog says about somebody's tables, as far as making rows for them needs it.

use super::kinds::{Kind, Kinds};
use super::sql::quoted;
use postgres::Client;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// As SQL spells it, for casts.
    pub declared: String,
    pub kind: Kind,
    pub not_null: bool,
    pub has_default: bool,
    /// Generated, or an identity that takes no value.
    pub computed: bool,
    /// Constants in the checks over this column: what they compare with is likely to fit.
    pub words: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// Places in the columns of the table, and names in the table that is referred to.
    pub columns: Vec<usize>,
    pub parent: u32,
    pub parent_columns: Vec<String>,
    /// Rows of this table change or go with those of the other.
    pub cascades: bool,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
    /// Places of the primary key's columns.
    pub key: Vec<usize>,
    pub foreign_keys: Vec<ForeignKey>,
    pub has_triggers: bool,
}

/// All ordinary and partitioned tables that belong to nobody else: no extension, no part of pg_mig, nothing of this program.
const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text, EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'mig', 'noted', 'fresh')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY 2, 3";

const COLUMNS: &str = "SELECT a.attrelid, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid, a.atttypmod, a.attnotnull,
     a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a',
     ARRAY(SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o WHERE o.contype = 'c' AND (o.conrelid = a.attrelid AND a.attnum = ANY (o.conkey) OR o.contypid = a.atttypid))
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') ORDER BY 1, 2";

const KEYS: &str =
    "SELECT conrelid, conkey FROM pg_constraint WHERE contype = 'p' AND conrelid <> 0";

const FOREIGN_KEYS: &str = "SELECT o.conrelid, o.conkey, o.confrelid,
     ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k(n, place) JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n ORDER BY k.place),
     o.confdeltype IN ('c', 'n', 'd') OR o.confupdtype IN ('c', 'n', 'd')
   FROM pg_constraint o WHERE o.contype = 'f' AND o.conparentid = 0 ORDER BY o.conname";

impl Table {
    pub fn plain(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    pub fn column_sql(&self, place: usize) -> String {
        quoted(&self.columns[place].name)
    }

    pub fn key_sql(&self) -> Vec<String> {
        self.key.iter().map(|k| self.column_sql(*k)).collect()
    }
}

pub fn read(client: &mut Client) -> Vec<Table> {
    let kinds = Kinds::read(client);
    let mut columns = read_columns(client, &kinds);
    let keys = client.query(KEYS, &[]).expect("the keys read");
    let keys: BTreeMap<u32, Vec<i16>> = keys.iter().map(|r| (r.get(0), r.get(1))).collect();
    let references = client.query(FOREIGN_KEYS, &[]).expect("the keys read");
    let rows = client.query(TABLES, &[]).expect("the tables read");
    let table = |row: &postgres::Row| {
        let oid: u32 = row.get(0);
        let (numbers, columns) = columns.remove(&oid).unwrap_or_default();
        let place = |n: &i16| {
            let found = numbers.iter().position(|m| m == n);
            found.expect("a key names columns of its table")
        };
        let places = |key: &Vec<i16>| key.iter().map(place).collect::<Vec<_>>();
        let mine = references.iter().filter(|r| r.get::<_, u32>(0) == oid);
        let foreign_keys = mine.map(|r| ForeignKey {
            columns: places(&r.get(1)),
            parent: r.get(2),
            parent_columns: r.get(3),
            cascades: r.get(4),
        });
        Table {
            oid,
            schema: row.get(1),
            name: row.get(2),
            key: keys.get(&oid).map(places).unwrap_or_default(),
            foreign_keys: foreign_keys.collect(),
            has_triggers: row.get(3),
            columns,
        }
    };
    rows.iter().map(table).collect()
}

/// For each table the numbers of its columns, and the columns.
fn read_columns(client: &mut Client, kinds: &Kinds) -> BTreeMap<u32, (Vec<i16>, Vec<Column>)> {
    let mut found: BTreeMap<u32, (Vec<i16>, Vec<Column>)> = BTreeMap::new();
    for r in client.query(COLUMNS, &[]).expect("the columns read") {
        let (numbers, columns) = found.entry(r.get(0)).or_default();
        let checks: Vec<String> = r.get(9);
        numbers.push(r.get(1));
        columns.push(Column {
            name: r.get(2),
            declared: r.get(3),
            kind: kinds.of(r.get(4), r.get(5)),
            not_null: r.get(6),
            has_default: r.get(7),
            computed: r.get(8),
            words: checks.iter().flat_map(|c| constants(c)).collect(),
        });
    }
    found
}

/// Texts in quotes and whole numbers, with their neighbours.
fn constants(check: &str) -> Vec<String> {
    let mut found: Vec<String> = check
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let numbers = check.split(|c: char| !c.is_ascii_digit());
    for n in numbers.filter_map(|n| n.parse::<i64>().ok()) {
        found.extend([n - 1, n, n + 1].map(|n| n.to_string()));
    }
    found
}
