//! Arguments that nobody gives.

use super::{code, installed};

/// Calls, and the SQLSTATE of each.
const CALLS: [(&str, &str); 35] = [
    (
        "mig_define((repeat('{\"a\":', 200) || '1' || repeat('}', 200))::jsonb)",
        "22023",
    ),
    (
        "mig_define('x', options => (repeat('[', 6000) || repeat(']', 6000))::jsonb)",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', columns => (repeat('[', 129) || repeat(']', 129))::jsonb)",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', unique_keys => (repeat('[', 65) || repeat(']', 65))::jsonb)",
        "22023",
    ),
    ("mig_configure('m', '{\"batch_rows\": 1e400}')", "22023"),
    (
        "mig_configure('m', '{\"batch_rows\": 9223372036854775808}')",
        "22023",
    ),
    (
        "mig_configure('m', jsonb_build_object(repeat('x', 10000000), 1))",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', columns => jsonb_build_object('z', repeat('1+', 60000) || '1'))",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', columns => jsonb_build_object('z', repeat('+', 600000) || '1'))",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', columns => (SELECT jsonb_object_agg('k' || i, null) FROM generate_series(1, 100000) i))",
        "42703",
    ),
    (
        "mig_add_table('m', 'big', 't', filter => repeat('NOT ', 60000) || 'true')",
        "22023",
    ),
    (
        "mig_add_table('m', 'big', 't', filter => repeat('x', 10000000))",
        "22023",
    ),
    ("mig_add_table('m', 'big', repeat('a.', 5000000))", "42602"),
    (
        "mig_add_table('m', 'big', 't', id_mode => repeat('x', 10000000))",
        "22023",
    ),
    (
        "mig_add_check('big', 'c', repeat('+', 600000) || '1')",
        "22023",
    ),
    (
        "mig_create_index('CREATE INDEX x ON big ((' || repeat('+', 600000) || '1))')",
        "22023",
    ),
    (
        "mig_create_index('CREATE /* ' || repeat('index ', 100000) || ' */ INDEX ON big (a)')",
        "22023",
    ),
    ("mig_create_index(repeat(';', 10000000))", "22023"),
    ("mig_create_index('ü')", "42601"),
    (
        "mig_add_foreign_key('big', 'x', ARRAY[NULL]::name[], 'big', ARRAY['id']::name[])",
        "22004",
    ),
    (
        "mig_add_foreign_key('big', 'x', '{}', 'big', '{}')",
        "22023",
    ),
    ("mig_create(repeat('x', 10000000))", "42704"),
    ("mig_rollback('m', repeat('x', 10000000))", "22023"),
    ("mig_wait('m', '178000000 years')", "55000"),
    ("mig_wait('m', '-178000000 years')", "55000"),
    ("mig_wait(-9223372036854775808, '178000000 years')", "42704"),
    ("mig_step('m', -2147483648)", "55000"),
    ("mig.step_of(-1, -1)", "00000"),
    ("mig_check('m', 'sample', sample => 2147483647)", "55000"),
    ("mig_diff('m', 'big', -2147483648)", "22023"),
    ("mig_allow(0)", "42704"),
    ("mig_allow(NULL)", "22004"),
    ("mig_allow(4294967295)", "42704"),
    ("mig_create(repeat('x', 100000000))", "54000"),
    (
        "mig_add_table('m', 'big', 't', columns => jsonb_build_object('z', repeat('x', 100000000)))",
        "54000",
    ),
];

#[test]
fn any_argument_is_answered() {
    let (_cluster, mut client) = installed("it_input_calls");
    client
        .batch_execute("CREATE TABLE big (id int PRIMARY KEY, a text); SELECT mig_define('m')")
        .unwrap();
    for (call, expected) in CALLS {
        assert_eq!(
            code(&mut client, &format!("SELECT {call}")),
            expected,
            "{call}"
        );
    }
}
