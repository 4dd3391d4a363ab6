// A small service through drizzle-orm: the old version on the old tables, the new one on the new tables.
import { and, eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { PROJECT, type Version, url } from '../walk'
import { reminders, rounds, signUps, submissions, votes } from './old'
import { newTables } from './new'

const fresh = newTables({ keys: true, archived: false })
const user = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`

async function connected() {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return { client, db: drizzle(client) }
}

export async function oldVersion(): Promise<Version> {
  const { client, db } = await connected()
  return {
    async act(n) {
      const [round] = await db.insert(rounds).values({ slug: `r${n}`, title: 'a round' }).returning({ id: rounds.id })
      await db.transaction(async (tx) => {
        const mine = { roundId: round.id, userId: user(n) }
        await tx.insert(signUps).values({ ...mine, email: `u${n}@example.org` })
        const [song] = await tx.insert(submissions).values({ ...mine, soundcloudUrl: 'https://soundcloud.com/a' }).returning()
        await tx.insert(votes).values({ submissionId: song.id, userId: user(n), points: n % 6 })
        await tx.insert(reminders).values(mine)
        await tx.update(signUps).set({ youtubeLink: `https://youtu.be/${n}` }).where(eq(signUps.userId, user(n)))
      })
      if (n % 3 === 0) await db.delete(rounds).where(eq(rounds.slug, `r${n - 30}`))
    },
    async read(email) {
      const [found] = await db.select().from(signUps).innerJoin(rounds, eq(rounds.id, signUps.roundId)).where(eq(signUps.email, email))
      return found?.sign_ups
    },
    end: () => client.end(),
  }
}

export async function newVersion(): Promise<Version> {
  const { client, db } = await connected()
  const { projectRounds: rounds, projectSignUps: signUps, projectSubmissions: submissions, projectVotes: votes, projectReminders: reminders } = fresh
  const projectId = PROJECT
  return {
    async act(n) {
      const [round] = await db.insert(rounds).values({ projectId, slug: `r${n}`, title: 'a round' }).returning({ id: rounds.id })
      await db.transaction(async (tx) => {
        const mine = { projectId, roundId: round.id, userId: user(n) }
        await tx.insert(signUps).values({ ...mine, email: `u${n}@example.org` })
        const [song] = await tx.insert(submissions).values({ ...mine, soundcloudUrl: 'https://soundcloud.com/a' }).returning()
        await tx.insert(votes).values({ projectId, submissionId: song.id, userId: user(n), points: n % 6 })
        await tx.insert(reminders).values(mine)
        await tx.update(signUps).set({ youtubeLink: `https://youtu.be/${n}` })
          .where(and(eq(signUps.projectId, projectId), eq(signUps.userId, user(n))))
      })
      if (n % 3 === 0) await db.delete(rounds).where(and(eq(rounds.projectId, projectId), eq(rounds.slug, `r${n - 30}`)))
    },
    async read(email) {
      const [found] = await db.select().from(signUps)
        .innerJoin(rounds, and(eq(rounds.projectId, signUps.projectId), eq(rounds.id, signUps.roundId)))
        .where(and(eq(signUps.projectId, projectId), eq(signUps.email, email)))
      return found?.project_sign_ups
    },
    end: () => client.end(),
  }
}
