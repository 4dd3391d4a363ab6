//! Values for columns of any type, by what the type is made of.

use crate::common::writers::Random;
use postgres::Client;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub enum Kind {
    /// A type of the server or of an extension, and its modifier.
    Named(String, i32),
    Labels(Vec<String>),
    Array(Box<Kind>),
    /// A row of so many columns.
    Row(usize),
}

struct Type {
    name: String,
    kind: i8,
    base: u32,
    modifier: i32,
    element: u32,
    labels: Vec<String>,
    columns: i64,
}

pub struct Kinds(BTreeMap<u32, Type>);

const TYPES: &str = "SELECT t.oid, t.typname::text, t.typtype, t.typbasetype, t.typtypmod, CASE WHEN t.typsubscript = 'array_subscript_handler'::regproc THEN t.typelem ELSE 0::oid END,
     ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
     (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) FROM pg_type t";

impl Kinds {
    pub fn read(client: &mut Client) -> Self {
        let rows = client.query(TYPES, &[]).expect("the types read");
        let one = |r: &postgres::Row| Type {
            name: r.get(1),
            kind: r.get(2),
            base: r.get(3),
            modifier: r.get(4),
            element: r.get(5),
            labels: r.get(6),
            columns: r.get(7),
        };
        Self(rows.iter().map(|r| (r.get(0), one(r))).collect())
    }

    pub fn of(&self, oid: u32, modifier: i32) -> Kind {
        let t = &self.0[&oid];
        match t.kind.cast_unsigned() {
            b'd' => self.of(t.base, t.modifier),
            b'e' => Kind::Labels(t.labels.clone()),
            b'c' => Kind::Row(usize::try_from(t.columns).unwrap_or(0)),
            _ if t.element != 0 => Kind::Array(Box::new(self.of(t.element, modifier))),
            _ => Kind::Named(t.name.clone(), modifier),
        }
    }
}

impl Kind {
    /// A value as its type reads it; none where this program knows none.
    pub fn value(&self, random: &mut Random) -> Option<String> {
        match self {
            Kind::Named(name, modifier) => named(name, *modifier, random),
            Kind::Labels(labels) => labels
                .get(usize::try_from(random.below(labels.len().max(1) as u64)).ok()?)
                .cloned(),
            Kind::Row(columns) => Some(format!("({})", ",".repeat(columns.saturating_sub(1)))),
            Kind::Array(of) => {
                let each: Option<Vec<String>> =
                    (0..random.below(4)).map(|_| of.value(random)).collect();
                let each = each?;
                let quoted = each
                    .iter()
                    .map(|v| format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")));
                Some(format!("{{{}}}", quoted.collect::<Vec<_>>().join(",")))
            }
        }
    }
}

/// `numeric(p, s)`: how many digits stand before and behind the point (numeric.c, make_numeric_typmod).
fn digits(modifier: i32) -> (u32, u32) {
    if modifier < 4 {
        return (9, 4);
    }
    let (precision, scale) = ((modifier - 4) >> 16 & 0xffff, (modifier - 4) & 0x7ff);
    let before = u32::try_from(precision - scale).unwrap_or(0);
    (before.min(9), u32::try_from(scale).unwrap_or(0).min(9))
}

fn number(modifier: i32, random: &mut Random) -> String {
    let (before, behind) = digits(modifier);
    let whole = random.below(10u64.pow(before));
    match behind {
        0 => whole.to_string(),
        n => format!(
            "{whole}.{:0width$}",
            random.below(10u64.pow(n)),
            width = n as usize
        ),
    }
}

/// Some are long, and some are odd.
fn text(modifier: i32, random: &mut Random) -> String {
    let n = random.below(1_000_000);
    let text = match random.below(12) {
        0 => "a".repeat(usize::try_from(random.below(40)).unwrap_or(0)),
        1 => format!("Größe {n} \"x\" \\ 'y'"),
        2 => format!("long {n} ").repeat(60),
        3 => format!("{}", random.below(10)),
        4 => format!("https://example.org/{n}"),
        _ => format!("w{n}"),
    };
    match usize::try_from(modifier - 4) {
        Ok(most) if modifier >= 4 => text.chars().take(most).collect(),
        _ => text,
    }
}

fn day(random: &mut Random) -> String {
    format!(
        "{}-{:02}-{:02}",
        2020 + random.below(9),
        1 + random.below(12),
        1 + random.below(28)
    )
}

fn clock(random: &mut Random) -> String {
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(1_000_000)
    )
}

fn bits(modifier: i32, random: &mut Random) -> String {
    let length = usize::try_from(modifier).unwrap_or(5).max(1);
    (0..length)
        .map(|_| if random.below(2) == 0 { '0' } else { '1' })
        .collect()
}

fn range(low: String, high: String) -> String {
    let (low, high) = if low <= high {
        (low, high)
    } else {
        (high, low)
    };
    format!("[\"{low}\",\"{high}\"]")
}

fn named(name: &str, modifier: i32, random: &mut Random) -> Option<String> {
    let n = random.below(1000);
    let far = random.below(1_000_000_000);
    Some(match name {
        "bool" => if n.is_multiple_of(2) { "true" } else { "false" }.to_owned(),
        "int2" => random.below(30_000).to_string(),
        "int4" | "int8" | "oid" | "xid" if n.is_multiple_of(2) => n.to_string(),
        "int4" | "int8" | "oid" | "xid" => far.to_string(),
        "numeric" | "money" => number(modifier, random),
        "float4" | "float8" => format!("{}", far as f64 / 7.0),
        "text" | "varchar" | "bpchar" | "citext" => text(modifier, random),
        "name" => format!("n{n}"),
        "char" => "c".to_owned(),
        "uuid" => format!("{far:08x}-0000-4000-8000-{:012x}", random.below(1 << 40)),
        "timestamp" => format!("{} {}", day(random), clock(random)),
        "timestamptz" => format!("{} {}+00", day(random), clock(random)),
        "date" => day(random),
        "time" => clock(random),
        "timetz" => format!("{}+00", clock(random)),
        "interval" => format!("{n} days {far} microseconds"),
        "json" => format!("{{\"b\": {n},  \"a\": [1, null, \"ä\"]}}"),
        "jsonb" => format!("{{\"n\": {n}, \"s\": [\"x\", {{}}]}}"),
        "jsonpath" => "$.a[*] ? (@ > 1)".to_owned(),
        "bytea" => format!(
            "\\x{far:016x}{}",
            "00ff".repeat(usize::try_from(n).unwrap_or(0))
        ),
        "inet" => format!("10.{}.{}.7", n % 250, far % 250),
        "cidr" => format!("10.{}.0.0/16", n % 250),
        "macaddr" => format!("08:00:2b:01:{:02x}:{:02x}", n % 256, far % 256),
        "macaddr8" => format!("08:00:2b:01:{:02x}:{:02x}:01:02", n % 256, far % 256),
        "bit" | "varbit" => bits(modifier, random),
        "tsvector" => format!("'a{n}':1 'fat':2A"),
        "tsquery" => format!("'a{n}' & 'b'"),
        "ltree" => format!("0.{n}"),
        "lquery" => "*.a.*".to_owned(),
        "hstore" => format!("\"a\"=>\"{n}\", \"b\"=>NULL"),
        "point" => format!("({n},{})", far % 1000),
        "box" => format!("({n},{n}),(0,0)"),
        "lseg" => format!("[(0,0),({n},1)]"),
        "line" => format!("{{1,{n},3}}"),
        "path" => format!("[(0,0),({n},1)]"),
        "polygon" => format!("((0,0),({n},1),(5,5))"),
        "circle" => format!("<(1,2),{n}>"),
        "cube" => format!("({n}, 2)"),
        "xml" => format!("<a>{n}</a>"),
        "pg_lsn" => format!("0/{n:X}"),
        "int4range" | "int8range" | "numrange" => format!("[{n},{})", n + 1 + far % 100),
        "int4multirange" | "int8multirange" | "nummultirange" => format!("{{[{n},{})}}", n + 5),
        "daterange" => range(day(random), day(random)),
        "tsrange" | "tstzrange" => range(day(random), day(random)),
        _ => return None,
    })
}
