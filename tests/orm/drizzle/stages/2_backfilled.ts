export * from './old'
import { newTables } from './new'

export const { projectRounds, projectSignUps, projectSubmissions, projectVotes, projectReminders } = newTables({ keys: true, archived: false })
