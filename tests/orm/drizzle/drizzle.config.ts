import { defineConfig } from 'drizzle-kit'

// What pg_mig keeps lies in a schema of its own, which Drizzle does not look at unless schemaFilter names it. Archived tables
// are no part of the application any more.
export default defineConfig({
  dialect: 'postgresql',
  schema: './schema.ts',
  out: './migrations',
  dbCredentials: { url: process.env.DATABASE_URL ?? '' },
  tablesFilter: ['!*_archive'],
})
