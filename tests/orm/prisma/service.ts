// A small service through Prisma Client: the old version on the old tables, the new one on the new tables.
import { PrismaPg } from '@prisma/adapter-pg'
import { PROJECT, type Version, url } from '../walk'
import { PrismaClient } from './generated/client'

const user = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`
const connected = () => new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 1 }) })
const seen = (row: { round_id: number; youtube_link: string | null } | null) =>
  row === null ? undefined : { roundId: row.round_id, youtubeLink: row.youtube_link }

export async function oldVersion(): Promise<Version> {
  const db = connected()
  return {
    async act(n) {
      const mine = { user_id: user(n) }
      const round = await db.round_metadata.create({
        data: {
          slug: `r${n}`,
          title: 'a round',
          sign_ups: { create: { ...mine, email: `u${n}@example.org` } },
          submissions: { create: { ...mine, soundcloud_url: 'https://soundcloud.com/a', votes: { create: { ...mine, points: n % 6 } } } },
        },
      })
      await db.$transaction([
        db.email_reminders_sent.create({ data: { ...mine, round_id: round.id } }),
        db.sign_ups.upsert({
          where: { round_id_user_id: { round_id: round.id, ...mine } },
          create: { ...mine, round_id: round.id, email: 'never' },
          update: { youtube_link: `https://youtu.be/${n}` },
        }),
      ])
      if (n % 3 === 0) await db.round_metadata.deleteMany({ where: { slug: `r${n - 30}` } })
    },
    read: async (email) => seen(await db.sign_ups.findFirst({ where: { email, round: { title: 'a round' } } })),
    end: () => db.$disconnect(),
  }
}

export async function newVersion(): Promise<Version> {
  const db = connected()
  const project_id = PROJECT
  return {
    async act(n) {
      const mine = { user_id: user(n) }
      const round = await db.project_rounds.create({
        data: {
          project_id,
          slug: `r${n}`,
          title: 'a round',
          sign_ups: { create: { ...mine, email: `u${n}@example.org` } },
          submissions: { create: { ...mine, soundcloud_url: 'https://soundcloud.com/a', votes: { create: { ...mine, points: n % 6 } } } },
        },
      })
      await db.$transaction([
        db.project_email_reminders.create({ data: { ...mine, project_id, round_id: round.id } }),
        db.project_sign_ups.upsert({
          where: { project_id_round_id_user_id: { project_id, round_id: round.id, ...mine } },
          create: { ...mine, project_id, round_id: round.id, email: 'never' },
          update: { youtube_link: `https://youtu.be/${n}` },
        }),
      ])
      if (n % 3 === 0) await db.project_rounds.deleteMany({ where: { project_id, slug: `r${n - 30}` } })
    },
    read: async (email) => seen(await db.project_sign_ups.findFirst({ where: { project_id, email, round: { title: 'a round' } } })),
    end: () => db.$disconnect(),
  }
}
