// A project that uses Drizzle: its migrations are files, its schema is TypeScript.
import { execFile } from 'node:child_process'
import { copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import pg from 'pg'
import { PROJECT, assert, url, walk } from '../walk'
import { newVersion, oldVersion } from './service'

const STAGES = { old: '0_old', created: '1_created', backfilled: '2_backfilled', archived: '3_archived' }

process.chdir(import.meta.dirname)
rmSync('migrations', { recursive: true, force: true })

/** What drizzle-kit says; the application goes on meanwhile. */
async function kit(...args: string[]): Promise<string> {
  const run = promisify(execFile)('npx', ['--no-install', 'drizzle-kit', ...args, '--config', 'drizzle.config.ts'])
  // Nobody answers its questions.
  run.child.stdin?.end()
  return (await run).stdout
}

/** The schema as the developer edits it, and the migration that Drizzle makes of the change. */
async function generate(stage: keyof typeof STAGES): Promise<string> {
  copyFileSync(`stages/${STAGES[stage]}.ts`, 'schema.ts')
  await kit('generate', '--name', stage)
  const file = readdirSync('migrations').find((f) => f.endsWith(`_${stage}.sql`))
  assert(file !== undefined, `a migration for ${stage}`)
  return `migrations/${file}`
}

const file = await generate('old')
assert(readFileSync(file, 'utf8').includes('CREATE TABLE "sign_ups"'), 'Drizzle makes the old tables')
await kit('migrate')
const db = new pg.Client({ connectionString: url })
await db.connect()
await db.query(`INSERT INTO projects VALUES ('${PROJECT}', 'cover', 'Cover Project')`)
await db.query("INSERT INTO round_metadata (slug) SELECT 'round-' || g FROM generate_series(1, 20) g")
await db.query("INSERT INTO sign_ups (round_id, user_id, email) SELECT 1 + g % 20, md5(g::text)::uuid, 'first' || g FROM generate_series(1, 3000) g")
await db.end()

await walk({
  oldVersion,
  newVersion,
  async migrate(stage, statements) {
    // The developer's change as Drizzle sees it, with our statements in the place of its own.
    writeFileSync(await generate(stage), statements.join('\n--> statement-breakpoint\n'))
    await kit('migrate')
  },
  async drift() {
    const generated = await kit('generate', '--name', 'drift')
    const pushed = await kit('push', '--strict', '--verbose')
    const none = generated.includes('No schema changes') && pushed.includes('No changes detected')
    return none ? '' : generated + pushed
  },
})
