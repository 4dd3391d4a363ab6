// The six phases, walked beside an application that writes and reads through its ORM all the time. The same for each ORM.
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'

/** A user thinks between two clicks, or the machine would do nothing else. */
const THINK_MS = 5

/** One version of an application: the old one knows the old tables, the new one the new tables. */
export interface Version {
  /** A few statements, as a user's click makes them. */
  act(n: number): Promise<void>
  /** What it reads of one sign-up. */
  read(email: string): Promise<{ roundId: number; youtubeLink: string | null } | undefined>
  end(): Promise<void>
}

export interface Orm {
  oldVersion(): Promise<Version>
  newVersion(): Promise<Version>
  /** Brings a file of statements in as the ORM's migration, and does it. */
  migrate(stage: 'created' | 'backfilled' | 'archived', statements: string[]): Promise<void>
  /** What the ORM would change about the database; empty where it sees what it expects. Missing where that cannot be asked. */
  drift?(): Promise<string>
}

export const PROJECT = '00000000-0000-0000-0000-000000000001'
export const url = process.env.DATABASE_URL ?? ''

export function assert(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}

const TABLES = {
  round_metadata: 'project_rounds',
  sign_ups: 'project_sign_ups',
  submissions: 'project_submissions',
  song_selection_votes: 'project_votes',
  email_reminders_sent: 'project_email_reminders',
}

/** Users of one version: until they are told to go, and each has clicked twenty times. */
class Users {
  private going = true
  private readonly at: Promise<number>[]

  constructor(versions: Version[], from: number) {
    this.at = versions.map((v, n) => this.click(v, from + n * 1_000_000))
  }

  private async click(version: Version, from: number) {
    let n = 0
    for (; this.going || n < 20; n++) {
      await version.act(from + n)
      await setTimeout(THINK_MS)
      const email = `u${from + n}@example.org`
      assert((await version.read(email)) !== undefined, `${email} is not there for whoever wrote it`)
    }
    await version.end()
    return n
  }

  async leave() {
    this.going = false
    const clicks = await Promise.all(this.at)
    return clicks.reduce((a, b) => a + b, 0)
  }
}

export async function walk(orm: Orm) {
  const db = new pg.Client({ connectionString: url })
  await db.connect()
  const rows = async (sql: string) => (await db.query(sql)).rows
  const actions = async (call: string) => (await rows(`SELECT action FROM ${call}`)).map((r) => r.action as string)
  let looks = 0
  const quiet = async (where: string) => {
    if (orm.drift === undefined) return
    const seen = await orm.drift()
    assert(seen === '', `${where}: it would change\n${seen}`)
    looks++
  }
  const equal = async (where: string) => {
    const wrong = await rows('SELECT * FROM mig_check() WHERE ok IS NOT TRUE')
    assert(wrong.length === 0, `${where}: ${JSON.stringify(wrong)}`)
  }

  await db.query('CREATE EXTENSION pg_mig')
  await db.query(`SELECT mig_define('cover', 'projects', '${PROJECT}')`)
  for (const [source, target] of Object.entries(TABLES)) await db.query(`SELECT mig_add_table('cover', '${source}', '${target}')`)
  const old = new Users([await orm.oldVersion(), await orm.oldVersion()], 10_000_000)

  await orm.migrate('created', (await rows("SELECT mig_ddl('cover') AS s")).map((r) => r.s))
  const taken = await actions('mig_create()')
  assert(taken.every((a) => a === 'adopted') && taken.length === 5, `adopted: ${taken}`)
  await quiet('created')
  await actions('mig_dual_write()')
  await quiet('dual_write')
  await db.query('SELECT mig_backfill()')
  assert((await rows('SELECT mig_wait() AS done'))[0].done, 'backfilled')
  await orm.migrate('backfilled', (await rows("SELECT mig_ddl('cover', 'backfilled') AS s")).map((r) => r.s))
  await quiet('backfilled')
  await equal('backfilled')

  await actions('mig_switch()')
  const rolling = new Users([await orm.newVersion(), await orm.newVersion()], 20_000_000)
  await quiet('switched')
  await equal('switched')
  let clicks = await rolling.leave()
  await actions("mig_rollback('cover')")
  await quiet('rolled back')
  await actions('mig_switch()')
  const fresh = new Users([await orm.newVersion(), await orm.newVersion()], 30_000_000)
  await equal('switched again')
  clicks += await old.leave()

  await actions('mig_stop()')
  await quiet('stopped')
  await actions('mig_archive(force => true)')
  // Old tables are gone from the application's schema; nothing is to be done for that.
  await orm.migrate('archived', ['SELECT 1;'])
  await quiet('archived')
  clicks += await fresh.leave()
  const [{ n }] = await rows('SELECT count(*) AS n FROM project_sign_ups')
  console.log(`${clicks} clicks through the ORM, ${n} sign-ups, no error, ${looks > 0 ? `no drift in ${looks} looks` : 'drift not looked at'}`)
  await db.end()
}
