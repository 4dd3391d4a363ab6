export { projects } from './old'
import { pgSequence } from 'drizzle-orm/pg-core'
import { newTables } from './new'

// The identity of sign_ups_archive: tablesFilter leaves the archives out, and Drizzle has none for sequences.
export const archivedIds = pgSequence('sign_ups_id_seq')

export const { projectRounds, projectSignUps, projectSubmissions, projectVotes, projectReminders } = newTables({ keys: true, archived: true })
