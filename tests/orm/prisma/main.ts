// A project that uses Prisma. Its client comes from npm as a whole. Its schema engine does not: `prisma migrate` and `prisma
// db pull` download a binary from elsewhere. So the statements of a migration file are run here as `prisma migrate deploy`
// would, and whether Prisma sees drift is not looked at.
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { url, walk } from '../walk'
import { newVersion, oldVersion } from './service'

const db = new pg.Client({ connectionString: url })
await db.connect()
await db.query(readFileSync(process.env.OLD_TABLES ?? '', 'utf8'))
await db.query('SELECT pg_temp.fill(1000)')

await walk({
  oldVersion,
  newVersion,
  async migrate(_, statements) {
    await db.query(statements.join('\n'))
  },
})
await db.end()
